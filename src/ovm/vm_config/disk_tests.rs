use proptest::prelude::*;

use super::*;

/// Scheme, path, device, mode, and whether it is a CD drive.
type Read<'a> = (&'a str, &'a str, &'a str, &'a str, bool);

fn shown(entry: &DiskEntry) -> Read<'_> {
    let scheme = match &entry.scheme {
        DiskScheme::File => "file",
        DiskScheme::Phy => "phy",
        DiskScheme::Other(other) => other,
        DiskScheme::Bare => "",
    };
    (
        scheme,
        &entry.path,
        &entry.device_name,
        entry.mode.as_str(),
        entry.is_cdrom,
    )
}

#[test]
fn entries_that_are_in_order() {
    for (raw, expected) in [
        (
            "file:/R/V/a.img,xvda,w",
            ("file", "/R/V/a.img", "xvda", "w", false),
        ),
        (
            "file:///R/a.img,xvda,w",
            ("file", "/R/a.img", "xvda", "w", false),
        ),
        (
            "file:/R/a.iso,xvdb:cdrom,r",
            ("file", "/R/a.iso", "xvdb", "r", true),
        ),
        (
            "file:/R/a.iso,hdc:cdrom,r",
            ("file", "/R/a.iso", "hdc", "r", true),
        ),
        (
            "file:/R/a.iso,ioemu:hdc:cdrom,r",
            ("file", "/R/a.iso", "hdc", "r", true),
        ),
        (
            "file:/R/a.img,ioemu:hda,w",
            ("file", "/R/a.img", "hda", "w", false),
        ),
        (
            "file:/R/a.img,hda:disk,w",
            ("file", "/R/a.img", "hda", "w", false),
        ),
        (
            "phy:/dev/mapper/3600a0b80,xvdc,w!",
            ("phy", "/dev/mapper/3600a0b80", "xvdc", "w!", false),
        ),
        (
            "phy:vg/lv,xvdc,w",
            ("phy", "/dev/vg/lv", "xvdc", "w", false),
        ),
        // Four fields.
        (
            "file:/R/a.img,xvda,w,backenddom",
            ("file", "/R/a.img", "xvda", "w", false),
        ),
        (
            "file:/R/a.img,xvda,w!,0",
            ("file", "/R/a.img", "xvda", "w!", false),
        ),
        (
            "file:/R/a.img,xvda,w,",
            ("file", "/R/a.img", "xvda", "w", false),
        ),
        ("/R/a.img,raw,xvda,rw", ("", "/R/a.img", "xvda", "w", false)),
        ("/R/a.img,,xvda,w", ("", "/R/a.img", "xvda", "w", false)),
        // Commas in the path.
        (
            "file:/R/a,b.img,xvda,w",
            ("file", "/R/a,b.img", "xvda", "w", false),
        ),
        (
            "file:/R/a,b.img,xvda,w,0",
            ("file", "/R/a,b.img", "xvda", "w", false),
        ),
        (
            "file:/R/a,r,b.img,xvda,w",
            ("file", "/R/a,r,b.img", "xvda", "w", false),
        ),
        (
            "file:/R/a,xvda,w,xvdb,r",
            ("file", "/R/a,xvda,w", "xvdb", "r", false),
        ),
        // Other characters.
        (
            "file:/R/a b:c=d.img, xvda , w ",
            ("file", "/R/a b:c=d.img", "xvda", "w", false),
        ),
        (
            "file:/R/é.img,xvdaa12,ro",
            ("file", "/R/é.img", "xvdaa12", "r", false),
        ),
        (
            "file:/R/..a/b..img,xvda,w",
            ("file", "/R/..a/b..img", "xvda", "w", false),
        ),
        // Other schemes, and none.
        (
            "tap:aio:/R/a.img,xvda,w",
            ("tap:aio", "/R/a.img", "xvda", "w", false),
        ),
        (
            "tap2:tapdisk:aio:/R/a.img,xvda,w",
            ("tap2:tapdisk:aio", "/R/a.img", "xvda", "w", false),
        ),
        (
            "tap:qcow:///R/a.img,xvda,w",
            ("tap:qcow", "/R/a.img", "xvda", "w", false),
        ),
        (
            "nbd:host:1234,xvda,w",
            ("nbd", "host:1234", "xvda", "w", false),
        ),
        ("/R/a.img,xvda,w", ("", "/R/a.img", "xvda", "w", false)),
        (
            "/R/a:b.img,/dev/sda1,w",
            ("", "/R/a:b.img", "/dev/sda1", "w", false),
        ),
        // CD drives without a medium.
        (",xvdb:cdrom,r", ("", "", "xvdb", "r", true)),
        ("file:,xvdb:cdrom,r", ("file", "", "xvdb", "r", true)),
        ("phy:,hdc:cdrom,r", ("phy", "", "hdc", "r", true)),
    ] {
        let entry = DiskEntry::parse(raw);
        assert_eq!(shown(&entry), expected, "{raw}");
        assert_eq!(entry.problem, None, "{raw}");
        assert_eq!(entry.oddities(), Vec::<String>::new(), "{raw}");
        assert_eq!(entry.raw, raw);
    }
}

#[test]
fn entries_that_no_snapshot_may_use() {
    for (raw, expected, problem) in [
        (
            "file:R/a.img,xvda,w",
            ("file", "R/a.img", "xvda", "w", false),
            DiskProblem::RelativePath,
        ),
        (
            "R/a.img,xvda,w",
            ("", "R/a.img", "xvda", "w", false),
            DiskProblem::RelativePath,
        ),
        (
            "tap:aio:a.img,xvda,w",
            ("tap:aio", "a.img", "xvda", "w", false),
            DiskProblem::RelativePath,
        ),
        (
            "file:/R/../a.img,xvda,w",
            ("file", "/R/../a.img", "xvda", "w", false),
            DiskProblem::ParentDirectory,
        ),
        (
            "file:/R/..,xvda,w",
            ("file", "/R/..", "xvda", "w", false),
            DiskProblem::ParentDirectory,
        ),
        (
            "phy:/dev/../x,xvda,w",
            ("phy", "/dev/../x", "xvda", "w", false),
            DiskProblem::ParentDirectory,
        ),
        (
            "file:/R/a\0.img,xvda,w",
            ("file", "/R/a\0.img", "xvda", "w", false),
            DiskProblem::NulCharacter,
        ),
        (
            "file:,xvda,w",
            ("file", "", "xvda", "w", false),
            DiskProblem::NoPath,
        ),
        (",xvda,w", ("", "", "xvda", "w", false), DiskProblem::NoPath),
        (
            "file:/R/a.img",
            ("file", "/R/a.img", "", "", false),
            DiskProblem::Unreadable,
        ),
        (
            "file:/R/a.img,w",
            ("file", "/R/a.img", "", "", false),
            DiskProblem::Unreadable,
        ),
        (
            "garbage",
            ("", "garbage", "", "", false),
            DiskProblem::Unreadable,
        ),
        ("", ("", "", "", "", false), DiskProblem::Unreadable),
        (",,,", ("", "", "", "", false), DiskProblem::Unreadable),
    ] {
        let entry = DiskEntry::parse(raw);
        assert_eq!(shown(&entry), expected, "{raw:?}");
        assert_eq!(entry.problem, Some(problem), "{raw:?}");
        assert!(
            entry.oddities()[0].contains("no snapshot can use it"),
            "{raw:?}"
        );
    }
}

#[test]
fn odd_entries_are_read_as_far_as_they_go() {
    for (raw, expected, oddity) in [
        (
            "file:/R/a.img,xvda,x",
            ("file", "/R/a.img", "xvda", "x", false),
            "mode",
        ),
        (
            "file:/R/a.img,xvda",
            ("file", "/R/a.img", "xvda", "", false),
            "mode",
        ),
        (
            "file:/R/a.img,xvda,",
            ("file", "/R/a.img", "xvda", "", false),
            "mode",
        ),
        (
            "file:/R/a.img,51712,w",
            ("file", "/R/a.img", "51712", "w", false),
            "device",
        ),
        (
            "file:/R/a.img,XVDA,w,0",
            ("file", "/R/a.img", "XVDA", "w", false),
            "device",
        ),
    ] {
        let entry = DiskEntry::parse(raw);
        assert_eq!(shown(&entry), expected, "{raw}");
        assert_eq!(entry.problem, None, "{raw}");
        assert!(entry.oddities().concat().contains(oddity), "{raw}");
    }
}

#[test]
fn what_may_be_an_image_file() {
    for (raw, expected) in [
        ("file:/a,xvda,w", true),
        ("/a,xvda,w", true),
        ("tap:aio:/a,xvda,w", true),
        ("tap2:tapdisk:aio:/a,xvda,w", true),
        ("tap:qcow:/a,xvda,w", false),
        ("phy:/dev/a,xvda,w", false),
        ("nbd:a,xvda,w", false),
        ("FILE:/a,xvda,w", false),
    ] {
        assert_eq!(
            DiskEntry::parse(raw).scheme.may_be_file(),
            expected,
            "{raw}"
        );
    }
}

#[test]
fn only_a_read_only_cdrom_need_not_be_copied() {
    for (raw, expected) in [
        ("file:/a.iso,xvdb:cdrom,r", true),
        (",xvdb:cdrom,r", true),
        ("file:/a.iso,xvdb:cdrom,w", false),
        ("file:/a.iso,xvdb:cdrom,x", false),
        ("file:/a.iso,xvdb,r", false),
    ] {
        assert_eq!(
            DiskEntry::parse(raw).is_read_only_cdrom(),
            expected,
            "{raw}"
        );
    }
}

/// A prefix that was put together anew for each of its words took minutes.
#[test]
fn a_prefix_of_very_many_words_takes_little_time() {
    let words = "a:".repeat(crate::ovm::vm_config::MAX_SIZE / 2);
    let begin = std::time::Instant::now();
    let entry = DiskEntry::parse(&format!("tap:{words}/a.img,xvda,w"));
    assert_eq!(entry.path, "/a.img");
    assert_eq!(
        entry.scheme,
        DiskScheme::Other(format!("tap:{}", words.trim_end_matches(':')))
    );
    assert!(begin.elapsed().as_secs() < 20, "took {:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn no_text_panics_and_every_entry_is_kept(raw in any::<String>()) {
        let entry = DiskEntry::parse(&raw);
        prop_assert_eq!(&entry.raw, &raw);
        prop_assert!(entry.problem.is_some() || !entry.device_name.is_empty());
    }

    #[test]
    fn no_text_of_pieces_panics(raw in "(file:|phy:|tap:|/|\\.\\.|a|,|xvda|:cdrom|r|w|!| ){0,20}") {
        let entry = DiskEntry::parse(&raw);
        // What may be used has an absolute path, or is a CD drive without a medium.
        if entry.problem.is_none() && entry.scheme.may_be_file() {
            prop_assert!(entry.path.starts_with('/') || entry.is_cdrom && entry.path.is_empty());
        }
    }

    /// Whatever the path is, commas included, it is found again.
    #[test]
    fn a_path_is_read_back(path in "/[a-z,.:= é]{0,30}[a-z]", extra in "(,0|,dom0)?") {
        prop_assume!(!path.split('/').any(|part| part == ".."));
        prop_assume!(![",raw", ",qcow", ",vhd"].iter().any(|format| path.ends_with(format)));
        let raw = format!("file:{path},xvdb,w!{extra}");
        let entry = DiskEntry::parse(&raw);
        prop_assert_eq!(shown(&entry), ("file", path.as_str(), "xvdb", "w!", false));
    }
}
