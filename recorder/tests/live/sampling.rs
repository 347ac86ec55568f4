//! Samples: about as many connections as were asked for, and both ends of each.

use crate::kernel_support::{Body, Recording, own_sockets, turn};
use retrospan_formats::event::role;
use retrospan_recorder::filters::Filters;
use retrospan_recorder::kernel::Options;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{TcpListener, TcpStream};

/// Connections, by the ports of which they can be told, to servers at several addresses.
const CONNECTIONS: usize = 4_000;
const ONE_IN: usize = 4;

#[test]
fn one_connection_in_so_many_is_recorded_with_both_ends() {
    let _turn = turn();
    let filters = Filters { one_in: ONE_IN as u32, ..Filters::default() }.rules();
    let options = Options { filters, snap_bytes: 0, ring_bytes: 16 << 20, ..own_sockets() };
    let Some(mut recording) = Recording::start(&options) else { return };
    let listeners: Vec<TcpListener> = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "[::]:0"]
        .into_iter()
        .map(|address| TcpListener::bind(address).expect("bind"))
        .collect();
    for number in 0..CONNECTIONS {
        let address = listeners[number % listeners.len()].local_addr().expect("address");
        // The last one is a socket of both families, and the other end is one of IPv4.
        let at = if address.is_ipv6() { ([127, 0, 0, 1], address.port()).into() } else { address };
        let mut client = TcpStream::connect(at).expect("connect");
        let (server, _) = listeners[number % listeners.len()].accept().expect("accept");
        // The server's end closes first, so that ports are free again.
        drop(server);
        let _ = client.read(&mut [0]);
        if number % 200 == 0 {
            recording.drain();
        }
    }
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");
    let mut ends = [BTreeSet::new(), BTreeSet::new()];
    let mut listening = BTreeSet::new();
    for record in &records {
        let Body::Socket(socket) = record.body else { continue };
        match socket.role {
            role::LISTENER => drop(listening.insert(socket.local_port)),
            role::CLIENT => {
                ends[0].insert((socket.local_port, socket.remote_port, socket.remote_addr));
            }
            _ => {
                ends[1].insert((socket.remote_port, socket.local_port, socket.local_addr));
            }
        }
    }
    assert_eq!(listening.len(), listeners.len(), "what listens is always recorded");
    let [clients, servers] = ends;
    assert_eq!(clients, servers, "both ends are decided alike");
    // Six standard deviations of what chance leaves.
    let expected = CONNECTIONS / ONE_IN;
    let far = 6.0 * (expected as f64 * (1.0 - 1.0 / ONE_IN as f64)).sqrt();
    assert!((clients.len() as f64 - expected as f64).abs() < far, "{} of {CONNECTIONS}", clients.len());
}
