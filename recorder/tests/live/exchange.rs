//! One exchange over loopback from the first call to the last state: what every record says.

use crate::kernel_support::{Body, Pair, Recording, calls_of, only, own_sockets, states_of, turn};
use retrospan_formats::event::{Kind, flags, role};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn one_exchange_is_told_by_both_ends() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let ends = pair.sockets();
    pair.client.write_all(REQUEST).expect("send");
    let mut buffer = [0; 100];
    assert_eq!(pair.server.read(&mut buffer).expect("receive"), REQUEST.len());
    pair.server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("send");
    assert_eq!(pair.client.read(&mut buffer).expect("receive"), 27);
    drop(pair.client);
    assert_eq!(pair.server.read(&mut buffer).expect("end"), 0);
    drop(pair.server);
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");

    let (client, server) =
        (ends.client_in(&records).expect("client"), ends.server_in(&records).expect("server"));
    assert_eq!((client.role, server.role), (role::CLIENT, role::SERVER));
    assert_eq!((client.family, client.protocol, client.discovered), (2, 6, 0));
    assert_eq!(client.local_addr, *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01");
    assert!(client.inode != 0 && server.inode != 0 && client.netns != 0 && client.netns == server.netns);
    assert_eq!((client.seq_from_start, server.seq_from_start), (1, 1));
    assert_eq!(client.first_send_seq, server.first_receive_seq);
    assert_eq!(client.first_receive_seq, server.first_send_seq);

    let kinds = |id| calls_of(&records, id).iter().map(|event| event.kind).collect::<Vec<_>>();
    assert_eq!(kinds(client.socket_id), [Kind::Connect, Kind::Send, Kind::Receive, Kind::Close]);
    assert_eq!(
        kinds(server.socket_id),
        [Kind::Accept, Kind::Receive, Kind::Send, Kind::Receive, Kind::Close]
    );

    let (sent, received) = (ends.client_calls(&records), ends.server_calls(&records));
    for event in [&sent[1], &received[1]] {
        assert_eq!((event.call.tcp_seq, event.call.done_bytes), (client.first_send_seq, 27));
        assert_eq!((event.head.as_slice(), event.tail.as_slice()), (REQUEST, &b""[..]));
        assert_eq!(event.call.flags, flags::TURN);
        assert_eq!(event.pid, std::process::id());
    }
    assert_eq!((sent[1].call.asked_bytes, received[1].call.asked_bytes), (27, 100));
    assert_eq!(received[2].call.tcp_seq, server.first_send_seq);
    assert_eq!(sent[2].call.tcp_seq, client.first_receive_seq);
    // The end of the stream: nothing moved, though the FIN counts one in copied_seq.
    assert_eq!((received[3].call.done_bytes, received[3].call.flags), (0, 0));
    assert_eq!(received[3].call.tcp_seq, client.first_send_seq + 27);

    assert_eq!(states_of(&records, client.socket_id), [(7, 2), (2, 1), (1, 4), (4, 5), (5, 7)]);
    // Whose it is became known with the accept: what came before is in `opened_boot_ns`.
    assert_eq!(states_of(&records, server.socket_id), [(1, 8), (8, 9), (9, 7)]);
    assert!(server.opened_boot_ns > client.opened_boot_ns && client.opened_boot_ns != 0);
}

#[test]
fn a_socket_record_stands_before_the_first_event() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    pair.client.write_all(b"x").expect("send");
    drop(pair);
    let (records, ..) = recording.finish();
    let mut seen = std::collections::BTreeSet::new();
    for record in &records {
        match record.body {
            Body::Socket(socket) => {
                seen.insert(socket.socket_id);
            }
            Body::Call { .. } | Body::Datagram { .. } | Body::State(_) | Body::Tcp(_) => {
                assert!(seen.contains(&record.socket_id()), "{record:?}")
            }
            Body::Process { .. } | Body::Sched(_) | Body::Wake(_) | Body::More { .. } => {}
        }
    }
    assert!(seen.len() >= 3);
}

#[test]
fn a_refused_connection_has_its_error_and_the_next_attempt_its_own_id() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    assert!(TcpStream::connect(address).is_err());
    let (records, ..) = recording.finish();
    let refused: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Socket(socket) if socket.remote_port == address.port() => Some(socket.socket_id),
            _ => None,
        })
        .collect();
    let id = *refused.first().expect("the socket is there");
    let calls = calls_of(&records, id);
    assert_eq!(calls[0].kind, Kind::Connect);
    assert_eq!(calls[0].call.errno, libc::ECONNREFUSED as u16);
    assert_eq!(states_of(&records, id), [(7, 2), (2, 7)]);
}

#[test]
fn ids_do_not_repeat_over_many_connections() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    let mut all = Vec::new();
    for _ in 0..300 {
        let mut pair = Pair::open();
        pair.client.write_all(b"ping").expect("send");
        pair.server.read_exact(&mut [0; 4]).expect("receive");
        all.push(pair.sockets());
        recording.drain();
    }
    let (records, ..) = recording.finish();
    let mut ids = std::collections::BTreeSet::new();
    for ends in &all {
        for socket in [ends.client_in(&records), ends.server_in(&records)] {
            let socket = socket.expect("every end is there");
            assert!(ids.insert(socket.socket_id), "an id repeats");
            let data = calls_of(&records, socket.socket_id);
            assert_eq!(only(&data, Kind::Send).len() + only(&data, Kind::Receive).len(), 1);
            assert_eq!(states_of(&records, socket.socket_id).last().map(|change| change.1), Some(7));
        }
    }
}
