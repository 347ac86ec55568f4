//! No change of state is missed over many short connections on all CPUs. Losing one to a soft interrupt on top of
//! the program (see `recorder-ebpf/src/state.rs`) cannot be provoked here at will: it took longer runs on busy machines.

use crate::kernel_support::{Body, Recording, own_sockets, states_of, turn};
use retrospan_formats::event::role;
use std::net::{TcpListener, TcpStream};

const CLOSE: u8 = 7;
const SYN_RECV: u8 = 3;
/// Connections of each of two threads.
const CONNECTIONS: usize = 1_000;

/// Opens and closes connections, the two sides in turn first.
fn connect_and_close() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    for nth in 0..CONNECTIONS {
        let client = TcpStream::connect(address).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let (first, last) = if nth % 2 == 0 { (client, server) } else { (server, client) };
        drop(first);
        drop(last);
    }
}

#[test]
fn every_socket_goes_from_its_first_state_to_close_without_a_hole() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(connect_and_close), scope.spawn(connect_and_close)];
        while threads.iter().any(|thread| !thread.is_finished()) {
            recording.drain();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");
    let mut sockets: Vec<_> = records
        .iter()
        .filter_map(|record| match record.body {
            Body::Socket(socket) if socket.role != role::LISTENER => Some((socket.socket_id, socket.role)),
            _ => None,
        })
        .collect();
    sockets.sort_unstable();
    sockets.dedup_by_key(|socket| socket.0);
    assert_eq!(sockets.len(), 4 * CONNECTIONS);
    for (socket_id, role) in sockets {
        let states = states_of(&records, socket_id);
        assert!(states.windows(2).all(|pair| pair[0].1 == pair[1].0), "socket {socket_id}: {states:?}");
        // A server's first change comes before anybody knows whose it is; what is recorded of it begins later.
        if role == role::CLIENT {
            assert_eq!(states.first().map(|state| state.0), Some(CLOSE), "socket {socket_id}: {states:?}");
        } else {
            assert_ne!(states.first().map(|state| state.0), Some(SYN_RECV), "socket {socket_id}: {states:?}");
        }
        assert_eq!(states.last().map(|state| state.1), Some(CLOSE), "socket {socket_id}: {states:?}");
    }
}
