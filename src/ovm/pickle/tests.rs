//! Pickles by Python 2.7 itself (`pickle` and `cPickle`), byte for byte, and hostile ones.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// One repository record in the three protocols. `cPickle` counts its memo from 1 and `pickle`
/// from 0; both are here.
const RECORDS: [&[u8]; 4] = [
    b"(dp0\nS'mount_point'\np1\nS'/OVS/Repositories/0004fb0000030000aa'\np2\nsS'manager_uuid'\np3\nS'0004fb'\np4\nsS'alias'\np5\nS'repo-one'\np6\nsS'version'\np7\nS'3.0'\np8\nsS'filesystem'\np9\nS'ocfs2'\np10\nsS'fs_location'\np11\nS'/dev/mapper/3600'\np12\ns.",
    b"}q\x00(U\x0bmount_pointq\x01U$/OVS/Repositories/0004fb0000030000aaq\x02U\x0cmanager_uuidq\x03U\x060004fbq\x04U\x05aliasq\x05U\x08repo-oneq\x06U\x07versionq\x07U\x033.0q\x08U\nfilesystemq\tU\x05ocfs2q\nU\x0bfs_locationq\x0bU\x10/dev/mapper/3600q\x0cu.",
    b"\x80\x02}q\x00(U\x0bmount_pointq\x01U$/OVS/Repositories/0004fb0000030000aaq\x02U\x0cmanager_uuidq\x03U\x060004fbq\x04U\x05aliasq\x05U\x08repo-oneq\x06U\x07versionq\x07U\x033.0q\x08U\nfilesystemq\tU\x05ocfs2q\nU\x0bfs_locationq\x0bU\x10/dev/mapper/3600q\x0cu.",
    b"\x80\x02}q\x01(U\x0bmount_pointq\x02U$/OVS/Repositories/0004fb0000030000aaq\x03U\x0cmanager_uuidq\x04U\x060004fbq\x05U\x05aliasq\x06U\x08repo-oneq\x07U\x07versionq\x08U\x033.0q\tU\nfilesystemq\nU\x05ocfs2q\x0bU\x0bfs_locationq\x0cU\x10/dev/mapper/3600q\ru.",
];

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_record_is_the_same_in_every_protocol() {
    for pickle in RECORDS {
        let record = Value::decode(pickle).unwrap();
        for (name, value) in [
            ("alias", "repo-one"),
            ("mount_point", "/OVS/Repositories/0004fb0000030000aa"),
            ("manager_uuid", "0004fb"),
            ("version", "3.0"),
            ("filesystem", "ocfs2"),
            ("fs_location", "/dev/mapper/3600"),
        ] {
            assert_eq!(record.get(name), Some(&text(value)), "{name}");
        }
        assert_eq!(record.get("other"), None);
    }
}

#[test]
fn strings_are_utf8_or_else_latin1() {
    // The bytes c3 a9 (é in UTF-8) and ff, which is in no UTF-8 text.
    for pickle in [
        &b"S\"plain \\xc3\\xa9 \\xff\\n'q'\"\np0\n."[..],
        b"U\x0eplain \xc3\xa9 \xff\n'q'q\x00.",
        b"T\x0e\x00\x00\x00plain \xc3\xa9 \xff\n'q'q\x00.",
        b"\x80\x02U\x0eplain \xc3\xa9 \xff\n'q'q\x00.",
    ] {
        assert_eq!(
            Value::decode(pickle).unwrap(),
            text("plain \u{c3}\u{a9} \u{ff}\n'q'")
        );
    }
    assert_eq!(Value::decode(b"U\x02\xc3\xa9q\x00.").unwrap(), text("é"));
    assert_eq!(Value::decode(b"S'\\xc3\\xa9'\np0\n.").unwrap(), text("é"));
    for unicode in [
        &b"Vuni\\u20ac\np0\n."[..],
        b"X\x06\x00\x00\x00uni\xe2\x82\xacq\x00.",
    ] {
        assert_eq!(Value::decode(unicode).unwrap(), text("uni€"));
    }
}

#[test]
fn single_values() {
    let cases: [(&[u8], Value); 20] = [
        (b"I5\n.", Value::Int(5)),
        (b"K\x05.", Value::Int(5)),
        (b"M\x00\x01.", Value::Int(256)),
        (b"J\xff\xff\xff\xff.", Value::Int(-1)),
        (b"I1099511627776\n.", Value::Int(1 << 40)),
        (b"L-3L\n.", Value::Int(-3)),
        (b"\x80\x02\x8a\x01\xfd.", Value::Int(-3)),
        (b"\x80\x02\x8a\x00.", Value::Int(0)),
        (b"\x80\x02\x8a\x02\xff\x00.", Value::Int(255)),
        (
            b"\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.",
            Value::Int(u64::MAX.into()),
        ),
        (b"I9223372036854775808\n.", Value::Int(1 << 63)),
        (
            b"L123456789012345678901234567890L\n.",
            Value::Int(123_456_789_012_345_678_901_234_567_890),
        ),
        (b"I01\n.", Value::Bool(true)),
        (b"I00\n.", Value::Bool(false)),
        (b"\x80\x02\x88.", Value::Bool(true)),
        (b"\x80\x02\x89.", Value::Bool(false)),
        (b"N.", Value::None),
        (b"F1.5\n.", Value::Float(1.5)),
        (b"G?\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5)),
        (b"\x80\x02).", Value::Tuple(vec![])),
    ];
    for (pickle, value) in cases {
        assert_eq!(
            Value::decode(pickle),
            Ok(value),
            "{}",
            pickle.escape_ascii()
        );
    }
}

#[test]
fn nested_values() {
    let value = Value::List(vec![
        text("a"),
        Value::Dict(vec![(
            text("b"),
            Value::Tuple(vec![Value::Int(1), Value::Int(2), Value::Int(3)]),
        )]),
    ]);
    for pickle in [
        &b"(lp0\nS'a'\np1\na(dp2\nS'b'\np3\n(I1\nI2\nI3\ntp4\nsa."[..],
        b"(lp1\nS'a'\na(dp2\nS'b'\n(I1\nI2\nI3\ntp3\nsa.",
        b"]q\x00(U\x01aq\x01}q\x02U\x01bq\x03(K\x01K\x02K\x03tq\x04se.",
        b"\x80\x02]q\x00(U\x01aq\x01}q\x02U\x01bq\x03K\x01K\x02K\x03\x87q\x04se.",
    ] {
        assert_eq!(
            Value::decode(pickle).as_ref(),
            Ok(&value),
            "{}",
            pickle.escape_ascii()
        );
    }
    // A string that occurs twice is a reference the second time.
    let twice = b"(lp0\nS'same'\np1\nag1\na.";
    assert_eq!(
        Value::decode(twice),
        Ok(Value::List(vec![text("same"), text("same")]))
    );
}

#[test]
fn nothing_is_ever_called_or_named() {
    for pickle in [
        &b"cos\nsystem\n(S'touch /tmp/owned'\ntR."[..],
        b"c__builtin__\nset\n((lp0\nI1\natR.",
        b"(ios\nsystem\n.",
        b"(c__builtin__\nint\no.",
        b"\x80\x02cos\nsystem\nK\x01\x85\x81.",
        b"\x80\x02}}b.",
        b"Pid\n.",
        b"\x82\x01.",
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.",
        b"\x80\x03C\x01a.",
        b"N2\x86.",
        b"NN0.",
    ] {
        let error = Value::decode(pickle).unwrap_err();
        assert!(
            matches!(error, PickleError::Refused { .. }),
            "{}: {error}",
            pickle.escape_ascii()
        );
    }
}

#[test]
fn a_list_that_holds_itself_or_is_shared_is_refused() {
    for pickle in [&b"(lp0\ng0\na."[..], b"]q\x00]q\x01(h\x00h\x00e."] {
        assert!(matches!(
            Value::decode(pickle),
            Err(PickleError::Refused { .. })
        ));
    }
}

#[test]
fn parts_that_do_not_fit_are_malformed() {
    for pickle in [
        &b"."[..],
        b"",
        b"a.",
        b"Na.",
        b"NNa.",
        b"]Ns.",
        b"}Na.",
        b"}NNNs.",
        b"(N.",
        b"t.",
        b"K\x01t.",
        b"(Nd.",
        b"(]Nd.",
        b"}(Nu.",
        b")Na.",
        b"g1\n.",
        b"gx\n.",
        b"N.N",
        b"p0\n.",
        b"(p0\n.",
        b"\x86.",
        b"N\x86.",
        b"N(N\x86.",
        b"Sabc\n.",
        b"S'abc\n.",
        b"S'\n.",
        b"S'\\'\n.",
        b"S'\\x4'\n.",
        b"S'\\q'\n.",
        b"Ione\n.",
        b"L\n.",
        b"Fx\n.",
        b"X\x01\x00\x00\x00\xff.",
        b"V\\ud83d\n.",
        b"V\\u12\n.",
        b"I1",
    ] {
        let result = Value::decode(pickle);
        assert!(
            matches!(result, Err(PickleError::Malformed { .. })),
            "{}: {result:?}",
            pickle.escape_ascii()
        );
    }
}

#[test]
fn bounds_hold() {
    let bound = |pickle: &[u8]| matches!(Value::decode(pickle), Err(PickleError::Bound { .. }));
    let wrap = |depth| [&b"N"[..], &vec![0x85; depth], b"."].concat();
    assert!(Value::decode(&wrap(MAX_DEPTH)).is_ok());
    assert!(bound(&wrap(MAX_DEPTH + 1)));
    // A million deep, by each way to nest.
    assert!(bound(&wrap(1_000_000)));
    assert!(Value::decode(&vec![b'('; 1_000_000]).is_err());
    assert!(bound(&[vec![b'('; 500_000], vec![b't'; 500_000]].concat()));
    assert!(bound(&[&vec![b']'; 100][..], &[b'a'; 99], b"."].concat()));
    // Half a MiB, referred to a thousand times.
    let big = vec![b'x'; 500_000];
    let len = u32::try_from(big.len()).unwrap().to_le_bytes();
    assert!(bound(
        &[
            &b"(T"[..],
            &len,
            &big,
            b"q\x00",
            &b"h\x00".repeat(1000),
            b"t."
        ]
        .concat()
    ));
    assert!(bound(
        &[&b"(T"[..], &len, &big, &b"q\x00".repeat(1000), b"t."].concat()
    ));
    for number in [
        [&b"L"[..], &vec![b'9'; 500_000], b"L\n."].concat(),
        b"\x8a\x11aaaaaaaaaaaaaaaaa.".to_vec(),
    ] {
        assert!(matches!(
            Value::decode(&number),
            Err(PickleError::Malformed { .. })
        ));
    }
    assert_eq!(
        Value::decode(&vec![b'N'; MAX_INPUT + 1]),
        Err(PickleError::TooLarge(MAX_INPUT + 1))
    );
    // Lengths beyond the end are not believed.
    for pickle in [
        &b"T\xff\xff\xff\x7fx."[..],
        b"T\xff\xff\xff\xffx.",
        b"X\xff\xff\xff\xff.",
    ] {
        assert!(matches!(
            Value::decode(pickle),
            Err(PickleError::Malformed { .. })
        ));
    }
}

#[test]
fn cut_or_changed_pickles_end_in_a_result() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for pickle in RECORDS {
        for end in 0..pickle.len() {
            assert!(Value::decode(&pickle[..end]).is_err(), "cut at {end}");
        }
        for _ in 0..20_000 {
            let mut changed = pickle.to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..changed.len());
                changed[at] = rng.random();
            }
            drop(Value::decode(&changed));
        }
    }
    // Opcodes alone, in any order.
    let opcodes = b"(.N)]}tldasue\x85\x86\x87\x88\x89KUpqghI1\n\x00\x01'SVL";
    for _ in 0..100_000 {
        let len = rng.random_range(0..40);
        let mut pickle: Vec<u8> = (0..len)
            .map(|_| opcodes[rng.random_range(0..opcodes.len())])
            .collect();
        pickle.push(b'.');
        drop(Value::decode(&pickle));
    }
}
