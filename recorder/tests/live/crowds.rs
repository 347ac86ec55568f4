//! More sockets, and threads, than have a place of their own in the kernel programs: nothing may depend on who came first.

use crate::kernel_support::{Ends, Pair, Recording, calls_of, only, own_sockets, states_of, turn};
use retrospan_formats::event::{Kind, loss};
use retrospan_recorder::kernel::Options;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

fn exchange(pair: &mut Pair) {
    let mut buffer = [0; 16];
    pair.client.write_all(b"ping").expect("send");
    assert_eq!(pair.server.read(&mut buffer).expect("receive"), 4);
    pair.server.write_all(b"pong!").expect("send");
    assert_eq!(pair.client.read(&mut buffer).expect("receive"), 5);
}

#[test]
fn sockets_whose_place_is_anothers_are_told_apart() {
    let _turn = turn();
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

fn own_tid() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::gettid() }
}

/// A thread that makes an exchange, says who it is, and makes another when it is told to.
fn keeper() -> (i32, Ends, Sender<()>, JoinHandle<()>) {
    let ((tell, told), (go, may_go)) = (channel(), channel());
    let thread = thread::spawn(move || {
        let mut pair = Pair::open();
        exchange(&mut pair);
        tell.send((own_tid(), pair.sockets())).expect("somebody listens");
        may_go.recv().expect("somebody says when");
        exchange(&mut pair);
    });
    let (tid, ends) = told.recv().expect("it says so");
    (tid, ends, go, thread)
}

#[test]
fn a_thread_whose_place_is_anothers_is_recorded_too() {
    let _turn = turn();
    const PLACES: i32 = 16_384;
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    // Several, for the one id that shares a place with another may be taken for good.
    let keepers: Vec<_> = (0..16).map(|_| keeper()).collect();
    let taken: Vec<i32> = keepers.iter().map(|keeper| keeper.0 % PLACES).collect();
    let neighbour = (0..4 * PLACES).find_map(|_| {
        let taken = taken.clone();
        let thread = thread::spawn(move || {
            taken.contains(&(own_tid() % PLACES)).then(|| {
                let mut pair = Pair::open();
                exchange(&mut pair);
                (own_tid(), pair.sockets())
            })
        });
        thread.join().expect("no panic")
    });
    let mut expected = vec![(neighbour.expect("thread ids go round"), 1)];
    for (tid, ends, go, thread) in keepers {
        go.send(()).expect("it waits");
        thread.join().expect("no panic");
        expected.push(((tid, ends), 2));
    }
    let (records, losses, _) = recording.finish();
    assert_eq!(losses.iter().map(|counters| counters[loss::CALL_MAP as usize]).sum::<u64>(), 0);
    for ((tid, ends), exchanges) in expected {
        let calls = [ends.client_calls(&records), ends.server_calls(&records)].concat();
        assert_eq!(only(&calls, Kind::Send).len(), 2 * exchanges);
        assert_eq!(only(&calls, Kind::Receive).len(), 2 * exchanges);
        assert!(calls.iter().all(|event| event.tid == tid as u32), "each thread's calls are its own");
    }
}
