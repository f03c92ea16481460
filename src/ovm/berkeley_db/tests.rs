//! Files made by hand, to reach what libdb does not write. Files by libdb itself are in the
//! integration tests.

use super::*;

const PAGE: usize = 512;

/// A little-endian file of 512-byte pages with as many buckets as asked for.
struct Made(Vec<u8>);

impl Made {
    fn new(pages: usize, max_bucket: u32) -> Self {
        let mut made = Self(vec![0; pages * PAGE]);
        made.put32(12, 0x0006_1561);
        made.put32(16, 9);
        made.put32(20, 512);
        made.0[25] = 8;
        made.put32(72, max_bucket);
        for spare in 0..32 {
            made.put32(96 + 4 * spare, 1);
        }
        made
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn put16(&mut self, at: usize, value: usize) {
        self.0[at..at + 2].copy_from_slice(&u16::try_from(value).unwrap().to_le_bytes());
    }

    fn page(&mut self, number: usize, kind: u8, next: u32, items: &[&[u8]]) {
        let start = number * PAGE;
        self.put32(start + 8, u32::try_from(number).unwrap());
        self.put32(start + 16, next);
        self.put16(start + 20, items.len());
        self.0[start + 25] = kind;
        let mut end = PAGE;
        for (index, item) in items.iter().enumerate() {
            let begin = end - item.len();
            self.0[start + begin..start + end].copy_from_slice(item);
            self.put16(start + 26 + 2 * index, begin);
            end = begin;
        }
    }

    fn overflow(&mut self, number: usize, next: u32, data: &[u8]) {
        self.page(number, 7, next, &[]);
        let start = number * PAGE;
        self.put16(start + 22, data.len());
        self.0[start + 26..start + 26 + data.len()].copy_from_slice(data);
    }

    fn parse(&self) -> HashFile {
        HashFile::parse(&self.0).unwrap()
    }
}

fn overflow_item(first: u32, len: u32) -> Vec<u8> {
    [
        &[3, 0, 0, 0],
        &first.to_le_bytes()[..],
        &len.to_le_bytes()[..],
    ]
    .concat()
}

fn record(key: &[u8], value: &[u8]) -> Record {
    (key.to_vec(), value.to_vec())
}

#[test]
fn a_bucket_goes_on_along_its_links() {
    let mut made = Made::new(4, 0);
    made.page(1, 13, 3, &[b"\x01a", b"\x01one"]);
    made.page(3, 2, 0, &[b"\x01b", b"\x01"]);
    assert_eq!(
        made.parse().records,
        [record(b"a", b"one"), record(b"b", b"")]
    );
    assert_eq!(made.parse().damage, []);
}

#[test]
fn links_in_a_circle_end() {
    let mut made = Made::new(3, 0);
    made.page(1, 13, 2, &[b"\x01a", b"\x01one"]);
    made.page(2, 13, 1, &[b"\x01b", b"\x01two"]);
    let file = made.parse();
    assert_eq!(file.records.len(), 2);
    assert_eq!(file.damage, [Damage::Loop { page: 1 }]);
}

#[test]
fn an_overflow_chain_in_a_circle_ends_and_hides_nothing_else() {
    let mut made = Made::new(4, 0);
    let endless = overflow_item(2, u32::MAX);
    made.page(1, 13, 0, &[b"\x01a", &endless, b"\x01b", b"\x01two"]);
    made.overflow(2, 3, &[7; 400]);
    made.overflow(3, 2, &[7; 400]);
    let file = made.parse();
    assert_eq!(file.records, [record(b"b", b"two")]);
    assert_eq!(file.damage, [Damage::Loop { page: 2 }]);
}

#[test]
fn an_overflow_chain_has_exactly_the_length_it_says() {
    for (says, right) in [(499, false), (500, true), (501, false)] {
        let mut made = Made::new(4, 0);
        made.page(1, 13, 0, &[b"\x01a", &overflow_item(2, says)]);
        made.overflow(2, 3, &[7; 400]);
        made.overflow(3, 0, &[8; 100]);
        let file = made.parse();
        assert_eq!(
            file.records.len(),
            usize::from(right),
            "{says}: {:?}",
            file.damage
        );
        assert_eq!(file.damage.is_empty(), right);
    }
}

#[test]
fn one_torn_page_does_not_hide_the_other_bucket() {
    let mut made = Made::new(3, 1);
    made.page(1, 13, 0, &[b"\x01a", b"\x01one"]);
    made.page(2, 13, 0, &[b"\x01b", b"\x01two"]);
    made.put32(PAGE + 8, 99);
    let file = made.parse();
    assert_eq!(file.records, [record(b"b", b"two")]);
    assert_eq!(file.damage, [Damage::WrongNumber { page: 1, found: 99 }]);
}

#[test]
fn a_page_never_written_is_an_empty_bucket() {
    let mut made = Made::new(3, 1);
    made.page(2, 13, 0, &[b"\x01b", b"\x01two"]);
    assert_eq!(made.parse().records, [record(b"b", b"two")]);
    assert_eq!(made.parse().damage, []);
}

#[test]
fn buckets_beyond_the_end_are_said_and_not_tried_one_by_one() {
    let mut made = Made::new(2, u32::MAX);
    made.page(1, 13, 0, &[b"\x01a", b"\x01one"]);
    let file = made.parse();
    assert_eq!(file.records, [record(b"a", b"one")]);
    assert_eq!(
        file.damage,
        [Damage::CutShort {
            pages: 2,
            buckets: 1 << 32
        }]
    );
}

#[test]
fn each_duplicate_is_a_record_with_the_long_key() {
    let mut made = Made::new(200, 0);
    for number in 2..142 {
        let next = if number == 141 {
            0
        } else {
            u32::try_from(number).unwrap() + 1
        };
        made.overflow(number, next, &[b'k'; 480]);
    }
    let duplicates: Vec<u8> = [2].into_iter().chain([0; 4 * 110]).collect();
    made.page(1, 13, 0, &[&overflow_item(2, 140 * 480), &duplicates]);
    let file = made.parse();
    assert_eq!(file.records.len(), 110);
    assert!(file.damage.is_empty());
}

#[test]
fn duplicates_beyond_the_limit_are_refused() {
    // A key of 60,000 bytes and a 64 KiB page of empty duplicates: 900 MB from three pages.
    const LARGE: usize = 65536;
    let mut made = Made::new(2, 0);
    made.put32(20, 65536);
    made.0.resize(3 * LARGE, 0);
    // Page 1: the key's item at the end, below it the list: its type, then zero lengths.
    made.put32(LARGE + 8, 1);
    made.put16(LARGE + 20, 2);
    made.0[LARGE + 25] = 13;
    let (key, list) = (LARGE - 12, LARGE - 12 - 1 - 60_000);
    made.put16(LARGE + 26, key);
    made.put16(LARGE + 28, list);
    made.0[LARGE + key..2 * LARGE].copy_from_slice(&overflow_item(2, 60_000));
    made.0[LARGE + list] = 2;
    // Page 2: the key.
    made.put32(2 * LARGE + 8, 2);
    made.put16(2 * LARGE + 22, 60_000);
    made.0[2 * LARGE + 25] = 7;
    assert_eq!(
        HashFile::parse(&made.0),
        Err(FormatError::TooMuch(MAX_OUTPUT))
    );
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let refused = |at: usize, value: u32| {
        let mut made = Made::new(2, 0);
        made.put32(at, value);
        HashFile::parse(&made.0).unwrap_err()
    };
    assert!(
        matches!(refused(12, 0x0005_3162), FormatError::NotHash(why) if why.contains("B-tree"))
    );
    assert!(matches!(refused(12, 1), FormatError::NotHash(_)));
    for version in [0, 6, 10] {
        assert_eq!(refused(16, version), FormatError::Version(version));
    }
    for size in [0, 256, 513, 131_072, u32::MAX] {
        assert_eq!(refused(20, size), FormatError::PageSize(size));
    }
    assert_eq!(refused(24, 0x0800 | 1), FormatError::Encrypted);
    assert_eq!(refused(24, 0x0800 | 0x2_0000), FormatError::Partitioned);
    assert_eq!(refused(48, 2), FormatError::Subdatabases);
    assert_eq!(HashFile::parse(&[0; 511]), Err(FormatError::TooShort(511)));
}

mod rereading {
    use std::fs;
    use std::io;
    use std::time::Duration;

    use super::super::file::read_pausing;
    use super::*;

    fn good(value: &[u8]) -> Vec<u8> {
        let mut made = Made::new(2, 0);
        made.page(1, 13, 0, &[b"\x01key", &[b"\x01", value].concat()]);
        made.0
    }

    #[test]
    fn a_torn_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repository");
        fs::write(&path, &good(b"old")[..700]).unwrap();
        let mut pauses = 0;
        let file = read_pausing(&path, &mut |_| {
            pauses += 1;
            if pauses == 2 {
                fs::write(&path, good(b"new")).unwrap();
            }
        })
        .unwrap();
        assert_eq!(file.records, [record(b"key", b"new")]);
        assert!(pauses >= 2);
    }

    #[test]
    fn a_change_before_the_file_came_to_rest_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repository");
        fs::write(&path, good(b"old")).unwrap();
        let mut first = true;
        let file = read_pausing(&path, &mut |pause| {
            if std::mem::take(&mut first) {
                fs::write(&path, good(b"newer")).unwrap();
            }
            std::thread::sleep(pause);
        })
        .unwrap();
        assert_eq!(file.records, [record(b"key", b"newer")]);
    }

    #[test]
    fn a_file_that_never_rests_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repository");
        fs::write(&path, good(b"0")).unwrap();
        let mut round = 0;
        let error = read_pausing(&path, &mut |_| {
            round += 1;
            fs::write(&path, good(&vec![b'x'; round])).unwrap();
        })
        .unwrap_err();
        assert!(matches!(error, BerkeleyDbError::Changing { .. }), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_stays_damaged_is_handed_out_with_its_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repository");
        let mut made = Made::new(3, 1);
        made.page(1, 13, 0, &[b"\x01a", b"\x01one"]);
        made.page(2, 7, 0, &[]);
        fs::write(&path, &made.0).unwrap();
        let file = read_pausing(&path, &mut |_| {}).unwrap();
        assert_eq!(file.records, [record(b"a", b"one")]);
        assert_eq!(file.damage.len(), 1);
    }

    #[test]
    fn no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let never = &mut |_: Duration| panic!("no pause expected");
        for path in [pipe.as_path(), dir.path()] {
            let error = read_pausing(path, never).unwrap_err();
            assert!(
                matches!(error, BerkeleyDbError::NotRegular { .. }),
                "{error}"
            );
        }
        let big = dir.path().join("big");
        fs::File::create(&big)
            .unwrap()
            .set_len(MAX_FILE + 1)
            .unwrap();
        let error = read_pausing(&big, never).unwrap_err();
        assert!(matches!(error, BerkeleyDbError::TooBig { .. }), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = read_pausing("/nowhere/repository".as_ref(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("/nowhere/repository"), "{error}");
        let not_found = |e: &BerkeleyDbError| matches!(e, BerkeleyDbError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        assert!(not_found(&error));
    }
}
