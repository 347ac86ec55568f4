//! What does not fit is counted, exactly.

use crate::kernel_support::{Pair, Recording, own_sockets, turn};
use retrospan_formats::event::{Kind, Record, SchedKind, loss};
use retrospan_recorder::kernel::Evidence;
use retrospan_recorder::kernel::Options;
use retrospan_recorder::pipeline::losses::without_room;
use std::io::{Read, Write};

#[test]
fn made_is_stored_plus_counted_for_every_cpu_and_kind() {
    let _turn = turn();
    // Every wait is evidence.
    let options =
        Options { ring_bytes: 4096, evidence: Evidence::ALL, sched_threshold_us: 0, ..own_sockets() };
    let Some(recording) = Recording::start(&options) else { return };
    let mut pair = Pair::open();
    let mut server = pair.server.try_clone().expect("clone");
    let echo = std::thread::spawn(move || {
        for _ in 0..500 {
            server.read_exact(&mut [0; 100]).expect("receive");
            server.write_all(b"y").expect("send");
        }
    });
    for _ in 0..500 {
        pair.client.write_all(&[b'x'; 100]).expect("send");
        pair.client.read_exact(&mut [0]).expect("receive");
    }
    echo.join().expect("echo");
    drop(pair);
    let (records, losses, seqs) = recording.finish();
    let mut lost_somewhere = 0;
    for (cpu, counters) in losses.iter().enumerate() {
        let here: Vec<_> = records.iter().filter(|record| usize::from(record.header.cpu) == cpu).collect();
        let lost = without_room(counters);
        assert_eq!(here.len() as u64 + lost, seqs[cpu], "CPU {cpu}");
        // Within a CPU the numbers rise, and the gaps are the losses.
        let mut numbers: Vec<u64> = here.iter().map(|record| record.header.seq).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), here.len());
        assert!(numbers.last().is_none_or(|&last| last < seqs[cpu]));
        lost_somewhere += lost;
    }
    assert!(lost_somewhere > 500, "a ring of one page holds not even half of it");
    let calls = |kind: Kind| {
        let stored = records
            .iter()
            .filter(|r| r.header.record == Record::Call as u8 && r.kind() == Some(kind))
            .count() as u64;
        stored + losses.iter().map(|counters| counters[kind as usize]).sum::<u64>()
    };
    assert!(calls(Kind::Send) >= 1000 && calls(Kind::Receive) >= 1000);
    let lost = |kind: SchedKind| losses.iter().map(|counters| counters[kind as usize]).sum::<u64>();
    let kept = records.iter().filter(|r| r.header.kind == SchedKind::RunQueue as u8).count() as u64;
    assert!(kept + lost(SchedKind::RunQueue) >= 500, "every answer woke somebody");
    assert!(lost(SchedKind::RunQueue) > 100);
}

#[test]
fn sockets_beyond_the_map_are_counted() {
    let _turn = turn();
    let Some(recording) = Recording::start(&Options { most_sockets: 8, ..own_sockets() }) else { return };
    let pairs: Vec<Pair> = (0..20).map(|_| Pair::open()).collect();
    drop(pairs);
    let (_, losses, _) = recording.finish();
    assert!(losses.iter().map(|counters| counters[loss::SOCKET_MAP as usize]).sum::<u64>() > 0);
}
