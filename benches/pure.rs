//! The parts that only compute, by themselves: `cargo bench --bench pure`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use coriolis_ovm_exporter::extents::{
    Content, Extent, Fetches, Fingerprinting, Range, Segments, flags, squash, sweep,
};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::protocol::delta::{Compression, Decoder, Encoder, StreamHeader, runs};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const EXTENTS: u64 = 100_000;
const BLOCK: u64 = 4096;
const MEGABYTE: u64 = 1 << 20;

/// A map of blocks with holes between; every hundredth one lies elsewhere than it was.
fn map(moved: u64) -> Vec<Extent> {
    (0..EXTENTS)
        .map(|at| Extent {
            logical: at * 2 * BLOCK,
            physical: (at + EXTENTS * 3) * BLOCK + if at % 100 == 0 { moved } else { 0 },
            length: BLOCK,
            flags: flags::SHARED,
        })
        .collect()
}

fn segments(map: &[Extent]) -> Segments<impl Iterator<Item = Result<Extent, Infallible>>> {
    let extents = map.iter().copied().map(Ok);
    Segments::new(extents, EXTENTS * 2 * BLOCK, 0)
}

fn maps(criterion: &mut Criterion) {
    let (before, now) = (map(0), map(EXTENTS * 8 * BLOCK));
    let mut group = criterion.benchmark_group("maps of 100,000 extents");
    group.throughput(Throughput::Elements(EXTENTS));
    group.bench_function("sweep", |bencher| {
        bencher.iter(|| {
            let pieces = sweep(segments(black_box(&before)), segments(black_box(&now)));
            pieces.filter_map(|piece| piece.unwrap().change()).count()
        });
    });
    group.bench_function("fingerprint", |bencher| {
        bencher.iter(|| {
            let mut print = Fingerprinting::default();
            for segment in segments(black_box(&now)) {
                print.push(segment.unwrap());
            }
            print.finish()
        });
    });
    let ranges: Vec<Range> = segments(&now)
        .map(|segment| Range::from(segment.unwrap()))
        .collect();
    group.bench_function("squash", |bencher| {
        bencher.iter_batched(|| ranges.clone(), squash, BatchSize::LargeInput);
    });
    let data = segments(&now).map(Result::unwrap);
    let data: VecDeque<Range> = data
        .filter(|segment| segment.content != Content::Zero)
        .map(Range::from)
        .collect();
    group.bench_function("plan of reads", |bencher| {
        let plan = |mut left: VecDeque<Range>| {
            let mut reads = 0;
            while !left.is_empty() {
                reads += Fetches::take(&mut left, 1 << 20).reads.len();
            }
            reads
        };
        bencher.iter_batched(|| data.clone(), plan, BatchSize::LargeInput);
    });
    group.finish();
}

fn bytes(criterion: &mut Criterion) {
    let mut random = vec![0; 1 << 20];
    Random::new(1).fill(&mut random);
    let zeros = vec![0; 1 << 20];
    let mut group = criterion.benchmark_group("a megabyte");
    group.throughput(Throughput::Bytes(MEGABYTE));
    for (name, bytes) in [("runs in data", &random), ("runs in zeros", &zeros)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runs(0, black_box(bytes)).count());
        });
    }
    let header = StreamHeader {
        size: 1 << 40,
        base: Some(uuid::Uuid::nil()),
        ..StreamHeader::default()
    };
    for (name, step) in [("one frame", 1 << 20), ("frames of 4 KiB", 1 << 12)] {
        let encode = |bytes: &[u8]| {
            let (mut encoder, mut stream) = Encoder::new(&header, Compression::None).unwrap();
            for (at, bytes) in bytes.chunks(step).enumerate() {
                let frame = encoder.data((at * step) as u64, bytes).unwrap();
                stream.extend_from_slice(&frame.head);
                stream.extend_from_slice(&frame.payload);
            }
            stream.extend_from_slice(&encoder.end(0).unwrap());
            stream
        };
        group.bench_function(format!("encode, {name}"), |bencher| {
            bencher.iter(|| encode(black_box(&random)));
        });
        let stream = encode(&random);
        group.bench_function(format!("decode, {name}"), |bencher| {
            bencher.iter(|| {
                let (mut decoder, mut input) = (Decoder::new(), black_box(&stream[..]));
                while decoder.next(&mut input).unwrap().is_some() {}
                decoder.finish().unwrap()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = pure;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(500));
    targets = maps, bytes
}
criterion_main!(pure);
