//! Sockets that were there before the recording.

use crate::kernel_support::{Body, Pair, Recording, only, own_sockets, turn};
use retrospan_formats::event::{Kind, role};
use std::io::{Read, Write};

#[test]
fn open_sockets_are_found_with_owner_and_position() {
    let _turn = turn();
    let mut pair = Pair::open();
    let ends = pair.sockets();
    pair.client.write_all(b"before").expect("send");
    pair.server.read_exact(&mut [0; 6]).expect("receive");
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    recording.probes.snapshot_sockets().expect("the walk");
    recording.wait_for("both ends", |records| {
        ends.client_in(records).is_some() && ends.server_in(records).is_some()
    });
    pair.client.write_all(b"after").expect("send");
    pair.server.read_exact(&mut [0; 5]).expect("receive");
    let (records, ..) = recording.finish();

    let (client, server) =
        (ends.client_in(&records).expect("client"), ends.server_in(&records).expect("server"));
    assert_eq!((client.discovered, client.seq_from_start, client.opened_boot_ns), (1, 0, 0));
    assert_eq!((client.role, server.role), (role::UNKNOWN, role::UNKNOWN));
    assert_eq!(client.first_send_seq, server.first_receive_seq);
    assert!(client.inode != 0 && server.inode != 0);
    let sent = only(&ends.client_calls(&records), Kind::Send);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].call.tcp_seq, client.first_send_seq);
    let owners: Vec<u32> = records
        .iter()
        .filter(|record| record.socket_id() == client.socket_id && matches!(record.body, Body::Socket(_)))
        .map(|record| record.header.pid)
        .collect();
    assert_eq!(owners, [std::process::id()]);
    let listener = records.iter().find_map(|record| match record.body {
        Body::Socket(socket) if socket.local_port == ends.server && socket.remote_port == 0 => Some(socket),
        _ => None,
    });
    assert_eq!(listener.map(|socket| (socket.role, socket.discovered)), Some((role::LISTENER, 1)));
}

#[test]
fn an_unknown_socket_is_found_by_its_first_call() {
    let _turn = turn();
    let mut pair = Pair::open();
    let ends = pair.sockets();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    pair.client.write_all(b"late").expect("send");
    pair.server.read_exact(&mut [0; 4]).expect("receive");
    let (records, ..) = recording.finish();
    let client = ends.client_in(&records).expect("client");
    assert_eq!((client.discovered, client.seq_from_start), (1, 0));
    let sent = only(&ends.client_calls(&records), Kind::Send);
    assert_eq!((sent[0].call.tcp_seq, sent[0].head.as_slice()), (client.first_send_seq, &b"late"[..]));
}
