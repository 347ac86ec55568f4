//! Datagrams of UDP: each says who it is from and to.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use retrospan_formats::event::{Call, Ends, Kind, flags};
use retrospan_recorder::kernel::{Options, SocketKinds};

use crate::kernel_support::{Body, Recorded, Recording, own_sockets, turn};

fn options(kinds: &str) -> Options {
    Options { kinds: SocketKinds::parse(kinds).expect("kinds"), ..own_sockets() }
}

/// The datagrams from or to this port: kind, ports, call and data.
fn datagrams(records: &[Recorded], port: u16) -> Vec<(Kind, [u16; 2], Call, Vec<u8>)> {
    let of_port = |ends: &Ends| ends.local_port == port || ends.remote_port == port;
    let datagram = |record: &Recorded| match &record.body {
        Body::Datagram { call, ends, head } if of_port(ends) => {
            let kind = record.kind().expect("a known kind");
            Some((kind, [ends.local_port, ends.remote_port], *call, head.clone()))
        }
        _ => None,
    };
    records.iter().filter_map(datagram).collect()
}

fn bound() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

#[test]
fn every_datagram_names_both_ends() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options("udp")) else { return };
    let (server, port) = bound();
    let clients = [bound(), bound()];
    clients[0].0.connect(("127.0.0.1", port)).expect("connect");
    clients[0].0.send(b"first").expect("send");
    clients[1].0.send_to(b"second", ("127.0.0.1", port)).expect("send");
    let mut buffer = [0; 100];
    for _ in 0..2 {
        let (bytes, from) = server.recv_from(&mut buffer).expect("receive");
        server.send_to(&buffer[..bytes], from).expect("send");
    }
    for (client, _) in &clients {
        client.recv(&mut buffer).expect("receive");
    }
    let (records, ..) = recording.finish();
    let found = datagrams(&records, port);
    for (index, (_, client)) in clients.iter().enumerate() {
        let text = [&b"first"[..], b"second"][index];
        let both = [[*client, port], [port, *client]];
        let of_client: Vec<_> = found.iter().filter(|(_, ports, ..)| ports.contains(client)).collect();
        let told: Vec<_> = of_client.iter().map(|(kind, ports, ..)| (*kind, *ports)).collect();
        let expected = [
            (Kind::Send, both[0]),
            (Kind::Receive, both[1]),
            (Kind::Send, both[1]),
            (Kind::Receive, both[0]),
        ];
        if index == 0 {
            assert_eq!(told, expected);
        } else {
            // Who does not ask where a datagram is from is not told, unless it is connected: its port is not known.
            assert_eq!(told, expected[..3]);
        }
        for (_, _, call, data) in of_client {
            assert_eq!((data.as_slice(), call.done_bytes), (text, text.len() as u64));
            assert!(call.flags & flags::NO_SEQ != 0);
        }
    }
    assert_eq!(found.len(), 7);
}

#[test]
fn only_datagrams_of_dns_are_recorded_unless_more_is_asked_for() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options("tcp,dns")) else { return };
    let (one, _) = bound();
    let (other, port) = bound();
    one.send_to(b"no question", ("127.0.0.1", port)).expect("send");
    other.recv_from(&mut [0; 100]).expect("receive");
    // Whether anybody is there does not matter.
    let asking = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let asking_port = asking.local_addr().expect("an address").port();
    asking.send_to(b"a question", ("127.0.0.1", 53)).expect("send");
    let (records, ..) = recording.finish();
    assert!(datagrams(&records, port).is_empty());
    let asked = datagrams(&records, asking_port);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        (asked[0].0, asked[0].1, asked[0].3.as_slice()),
        (Kind::Send, [asking_port, 53], &b"a question"[..])
    );
}

#[test]
fn several_messages_of_one_call_are_several_datagrams() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options("udp")) else { return };
    let (server, port) = bound();
    let client = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bind");
    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().expect("an address");
    client.connect(mapped).expect("connect");
    let texts = [&b"one"[..], b"and", b"another"];
    let mut pieces = texts.map(|text| libc::iovec { iov_base: text.as_ptr() as *mut _, iov_len: text.len() });
    // SAFETY: zeroes are valid.
    let mut messages: [libc::mmsghdr; 3] = unsafe { std::mem::zeroed() };
    for (message, piece) in messages.iter_mut().zip(&mut pieces) {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (piece, 1);
    }
    // SAFETY: every buffer lives as long as the call.
    let sent = unsafe { libc::sendmmsg(client.as_raw_fd(), messages.as_mut_ptr(), 3, 0) };
    assert_eq!(sent, 3);
    let mut buffer = [0; 100];
    for text in texts {
        // Cut, and told so.
        assert_eq!(server.peek(&mut buffer).expect("peek"), text.len());
        assert_eq!(server.recv(&mut buffer[..2]).expect("receive"), 2);
    }
    let (records, ..) = recording.finish();
    let found = datagrams(&records, port);
    let told = |wanted: Kind| -> Vec<Vec<u8>> {
        found.iter().filter(|(kind, ..)| *kind == wanted).map(|(.., head)| head.clone()).collect()
    };
    assert_eq!(told(Kind::Send), texts);
    assert_eq!(told(Kind::Receive), texts.map(|text| &text[..2]));
}
