//! Data that travels with the handshake (TCP Fast Open): positions count from the connection's first byte all the same.

use crate::kernel_support::{self, Ends, Recording, calls_of, only, own_sockets, skipped, turn};
use retrospan_formats::event::{Kind, flags, role};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

const TCP_FASTOPEN: i32 = 23;
const TCP_FASTOPEN_CONNECT: i32 = 30;
const KNOB: &str = "/proc/sys/net/ipv4/tcp_fastopen";

fn set(socket: i32, option: i32, value: i32) {
    // SAFETY: the option is a number, given with its size.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// Opens a connection with its first data.
fn connect_with(port: u16, data: &[u8], by_connect: bool) -> TcpStream {
    let to = address(port);
    let length = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: plain socket calls on a descriptor of our own, with an address that outlives them.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let mut stream = TcpStream::from_raw_fd(socket);
        if by_connect {
            set(socket, TCP_FASTOPEN_CONNECT, 1);
            assert_eq!(libc::connect(socket, (&raw const to).cast(), length), 0);
            assert_eq!(stream.write(data).expect("send"), data.len());
        } else {
            let sent = libc::sendto(
                socket,
                data.as_ptr().cast(),
                data.len(),
                libc::MSG_FASTOPEN,
                (&raw const to).cast(),
                length,
            );
            assert_eq!(sent, data.len() as isize, "{}", std::io::Error::last_os_error());
        }
        stream
    }
}

#[test]
fn data_of_the_handshake_counts_from_the_first_byte() {
    let _turn = turn();
    let knob = std::fs::read_to_string(KNOB).unwrap_or_default();
    let enabled = std::fs::write(KNOB, "1027").is_ok();
    if !enabled {
        return skipped("TCP Fast Open cannot be switched on");
    }
    // 1027: client, server, without a cookie; so data really travels with the SYN.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    set(listener.as_raw_fd(), TCP_FASTOPEN, 16);
    let server = listener.local_addr().expect("address").port();
    let recording = Recording::start(&own_sockets());
    let mut cases = Vec::new();
    for by_connect in [false, true] {
        for bytes in [1, 31, 1400, 3000, 40_000] {
            let data = vec![b'x'; bytes];
            let mut client = connect_with(server, &data, by_connect);
            let (mut accepted, _) = listener.accept().expect("accept");
            accepted.read_exact(&mut vec![0; bytes]).expect("receive");
            accepted.write_all(b"answer").expect("send");
            client.read_exact(&mut [0; 6]).expect("receive");
            client.write_all(b"more").expect("send");
            accepted.read_exact(&mut [0; 4]).expect("receive");
            cases.push((bytes, Ends { client: client.local_addr().expect("address").port(), server }));
        }
    }
    std::fs::write(KNOB, knob).expect("as before");
    let Some(recording) = recording else { return };
    let (records, ..) = recording.finish();
    for (bytes, ends) in cases {
        let client = ends.client_in(&records).expect("client");
        let server = ends.server_in(&records).expect("server");
        assert_eq!((client.role, server.role), (role::CLIENT, role::SERVER));
        assert_eq!((client.seq_from_start, server.seq_from_start, server.discovered), (1, 1, 0));
        assert_eq!(client.first_send_seq, server.first_receive_seq, "{bytes}");
        assert_eq!(client.first_receive_seq, server.first_send_seq, "{bytes}");
        for (socket, kind, first) in [
            (client, Kind::Send, client.first_send_seq),
            (server, Kind::Receive, server.first_receive_seq),
            (server, Kind::Send, server.first_send_seq),
            (client, Kind::Receive, client.first_receive_seq),
        ] {
            let mut next = first;
            for event in only(&calls_of(&records, socket.socket_id), kind) {
                assert_eq!(
                    (event.call.tcp_seq, event.has(flags::OFFSET_UNCERTAIN)),
                    (next, false),
                    "{bytes} {kind:?}"
                );
                next = next.wrapping_add(event.call.done_bytes as u32);
            }
        }
        let ids = |local: u16, remote: u16| {
            let mut ids: Vec<_> = records
                .iter()
                .filter_map(|record| match &record.body {
                    kernel_support::Body::Socket(socket)
                        if (socket.local_port, socket.remote_port) == (local, remote) =>
                    {
                        Some(socket.socket_id)
                    }
                    _ => None,
                })
                .collect();
            ids.dedup();
            ids.len()
        };
        assert_eq!(
            (ids(ends.client, ends.server), ids(ends.server, ends.client)),
            (1, 1),
            "one socket, one id"
        );
    }
}
