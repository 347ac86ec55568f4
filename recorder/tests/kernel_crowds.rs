//! More sockets, and threads, than have a place of their own in the kernel programs: nothing may depend on who came first.

mod kernel_support;

use kernel_support::{Pair, Recording, calls_of, only, own_sockets, states_of};
use retrospan_formats::event::{Kind, loss};
use retrospan_recorder::probes::Options;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;

fn exchange(pair: &mut Pair) {
    let mut buffer = [0; 16];
    pair.client.write_all(b"ping").expect("send");
    assert_eq!(pair.server.read(&mut buffer).expect("receive"), 4);
    pair.server.write_all(b"pong!").expect("send");
    assert_eq!(pair.client.read(&mut buffer).expect("receive"), 5);
}

#[test]
fn sockets_whose_place_is_anothers_are_told_apart() {
    // Room for 500, places for 64, and the listeners are sockets too.
    let Some(recording) = Recording::start(&Options { most_sockets: 500, ..own_sockets() }) else { return };
    let mut pairs: Vec<Pair> = (0..30).map(|_| Pair::open()).collect();
    let ends: Vec<_> = pairs.iter().map(Pair::sockets).collect();
    for _ in 0..3 {
        pairs.iter_mut().for_each(exchange);
    }
    // Those that go leave places and crowd; those that stay keep what they had, and newcomers take over.
    pairs.drain(..15);
    let mut newcomers: Vec<Pair> = (0..15).map(|_| Pair::open()).collect();
    let ends: Vec<_> = ends.into_iter().chain(newcomers.iter().map(Pair::sockets)).collect();
    pairs.iter_mut().chain(&mut newcomers).for_each(exchange);
    drop((pairs, newcomers));
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");

    let mut ids = BTreeSet::new();
    for (index, ends) in ends.iter().enumerate() {
        let (client, server) =
            (ends.client_in(&records).expect("client"), ends.server_in(&records).expect("server"));
        assert!(ids.insert(client.socket_id) && ids.insert(server.socket_id), "an id given twice");
        let rounds = match index {
            0..15 => 3,
            15..30 => 4,
            _ => 1,
        };
        for (id, sent, received) in [(client.socket_id, 4, 5), (server.socket_id, 5, 4)] {
            let calls = calls_of(&records, id);
            for (kind, bytes) in [(Kind::Send, sent), (Kind::Receive, received)] {
                let done: Vec<u64> = only(&calls, kind).iter().map(|event| event.call.done_bytes).collect();
                assert_eq!(done, vec![bytes; rounds], "pair {index}, {kind:?}");
            }
            assert_eq!(only(&calls, Kind::Close).len(), 1);
            assert_eq!(states_of(&records, id).last().map(|state| state.1), Some(7));
        }
    }
}

#[test]
fn a_thread_whose_place_is_anothers_is_recorded_too() {
    const PLACES: i32 = 16_384;
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut first = Pair::open();
    let first_ends = first.sockets();
    exchange(&mut first);
    // SAFETY: no memory is passed.
    let here = unsafe { libc::gettid() };
    let mut found = None;
    for _ in 0..4 * PLACES {
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            // SAFETY: as above.
            let tid = unsafe { libc::gettid() };
            let neighbour = (tid - here) % PLACES == 0;
            tell.send(neighbour).expect("somebody listens");
            if neighbour {
                let mut pair = Pair::open();
                let ends = pair.sockets();
                exchange(&mut pair);
                return Some((tid, ends));
            }
            None
        });
        let neighbour = told.recv().expect("it says so");
        if neighbour {
            // Both are in their calls' history at once.
            exchange(&mut first);
        }
        found = thread.join().expect("no panic");
        if found.is_some() {
            break;
        }
    }
    let (tid, ends) = found.expect("thread ids go round");
    exchange(&mut first);
    drop(first);
    let (records, losses, _) = recording.finish();
    assert_eq!(losses.iter().map(|counters| counters[loss::CALL_MAP as usize]).sum::<u64>(), 0);
    let calls = |ends: kernel_support::Ends| {
        let (mut all, server) = (ends.client_calls(&records), ends.server_calls(&records));
        all.extend(server);
        all
    };
    let theirs = calls(ends);
    assert_eq!((only(&theirs, Kind::Send).len(), only(&theirs, Kind::Receive).len()), (2, 2));
    assert!(theirs.iter().all(|event| event.tid == tid as u32), "the neighbour's calls are its own");
    let ours = calls(first_ends);
    assert_eq!((only(&ours, Kind::Send).len(), only(&ours, Kind::Receive).len()), (6, 6));
    assert!(ours.iter().all(|event| event.tid == here as u32));
}
