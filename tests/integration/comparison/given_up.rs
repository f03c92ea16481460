//! A delta whose very first read fails.

use std::fs;

use coriolis_ovm_exporter::protocol::ErrorBody;
use coriolis_ovm_exporter::protocol::delta::{Compression, Decoder, DeltaError, Item};
use coriolis_ovm_exporter::snapshots::{BufferPool, Delta, Format, Question};

use super::super::support::node::Kind;
use super::house::{House, disk_in};

#[test]
fn the_reason_comes_behind_the_header() {
    let ground = Kind::Xfs.make(512 << 20);
    let house = House::over(&[&ground]);
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![3; 1 << 20]).unwrap();
    let snapshot = house.take(&disk);
    let question = Question::default();
    let walk = house.snapshots.walk(snapshot, "disk.img", &question);
    let share = BufferPool::default().join();
    let mut delta = Delta::new(walk.unwrap(), Format::Native(Compression::None), share).unwrap();
    let reason = ErrorBody {
        error: "Internal Server Error".to_owned(),
        details: "cannot read disk.img: the device is sick".to_owned(),
        request_id: None,
    };
    let stream = delta.give_up(&reason).unwrap();
    let (mut decoder, mut input) = (Decoder::new(), &stream[..]);
    let header = decoder.next(&mut input).unwrap();
    assert!(matches!(header, Some(Item::Header(_))), "{header:?}");
    match decoder.next(&mut input) {
        Err(DeltaError::GivenUp(body)) => assert_eq!(body, reason),
        other => panic!("no reason: {other:?}"),
    }
    assert!(delta.step().unwrap().is_none());
}
