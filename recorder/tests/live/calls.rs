//! System calls that are not what they seem, and those that take a detour.

use crate::kernel_support::{
    self, Body, Pair, Recorded, Recording, calls_of, only, own_sockets, skipped, turn,
};
use retrospan_formats::event::{Kind, Socket, flags, loss, role};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

fn receive(stream: &TcpStream, bytes: usize, options: i32) -> isize {
    let mut buffer = vec![0_u8; bytes];
    // SAFETY: the buffer is as long as said.
    unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), bytes, options) }
}

#[test]
fn what_takes_no_data_is_no_receive() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let ends = pair.sockets();
    assert_eq!(receive(&pair.server, 10, libc::MSG_DONTWAIT), -1);
    assert_eq!(receive(&pair.server, 10, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT), -1);
    pair.client.write_all(b"0123456789abcdef").expect("send");
    assert_eq!(receive(&pair.server, 10, libc::MSG_PEEK), 10);
    assert_eq!(receive(&pair.server, 4, libc::MSG_TRUNC), 4);
    assert_eq!(receive(&pair.server, 12, 0), 12);
    drop(pair);
    let (records, ..) = recording.finish();
    let first = ends.client_in(&records).expect("client").first_send_seq;
    let received = only(&ends.server_calls(&records), Kind::Receive);
    assert_eq!(received.len(), 2, "{received:#?}");
    assert_eq!((received[0].call.tcp_seq, received[0].call.done_bytes), (first, 4));
    assert!(received[0].has(flags::LENGTH_ONLY) && received[0].head.is_empty());
    assert_eq!((received[1].call.tcp_seq, received[1].head.as_slice()), (first + 4, &b"456789abcdef"[..]));
}

#[test]
fn the_socket_of_a_receive_is_the_one_it_began_on() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    let (one, mut other) = (Pair::open(), Pair::open());
    let (ends, other_ends) = (one.sockets(), other.sockets());
    let fd = one.server.as_raw_fd();
    let in_call = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            // SAFETY: no arguments.
            in_call.store(unsafe { libc::gettid() } as u32, Ordering::Release);
            receive(&one.server, 100, 0)
        });
        wait_until_blocked(&in_call, libc::SYS_recvfrom);
        // SAFETY: both descriptors are open; the first from here on names the other socket.
        assert_eq!(unsafe { libc::dup2(other.server.as_raw_fd(), fd) }, fd);
        (&one.client).write_all(b"for the first").expect("send");
        assert_eq!(receiver.join().expect("the receiver"), 13);
    });
    other.client.write_all(b"for the other").expect("send");
    assert_eq!(receive(&one.server, 100, 0), 13);
    recording.drain();
    drop((one, other));
    let (records, ..) = recording.finish();
    let first = only(&ends.server_calls(&records), Kind::Receive);
    assert_eq!(first.iter().map(|event| event.head.as_slice()).collect::<Vec<_>>(), [b"for the first"]);
    let second = only(&other_ends.server_calls(&records), Kind::Receive);
    assert_eq!(second.iter().map(|event| event.head.as_slice()).collect::<Vec<_>>(), [b"for the other"]);
}

/// Waits until the thread sleeps in that system call; returns its id.
fn wait_until_blocked(tid: &AtomicU32, number: libc::c_long) -> u32 {
    loop {
        let tid = tid.load(Ordering::Acquire);
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
        if tid != 0 && call.starts_with(&format!("{number} ")) {
            return tid;
        }
        std::thread::yield_now();
    }
}

/// Signals handled.
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Release);
}

/// Interrupts a thread that sleeps in a system call, and waits until it sleeps in it again.
fn interrupt(tid: &AtomicU32, number: libc::c_long) {
    let thread = wait_until_blocked(tid, number);
    let before = HANDLED.load(Ordering::Acquire);
    // SAFETY: the thread is one of this process, which handles the signal.
    assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) }, 0);
    while HANDLED.load(Ordering::Acquire) == before {
        std::thread::yield_now();
    }
    wait_until_blocked(tid, number);
}

#[test]
fn a_call_that_a_signal_interrupts_and_the_kernel_restarts_is_one_event() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    // SAFETY: the handler does nothing but count; all zeroes but for these two is a valid action.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let waits = AtomicU32::new(0);
    let (mut client, server) = std::thread::scope(|scope| {
        let acceptor = scope.spawn(|| {
            // SAFETY: no arguments.
            waits.store(unsafe { libc::gettid() } as u32, Ordering::Release);
            let (stream, _) = listener.accept().expect("accept");
            assert_eq!(receive(&stream, 100, 0), 5);
            stream
        });
        interrupt(&waits, libc::SYS_accept4);
        let mut client = TcpStream::connect(address).expect("connect");
        interrupt(&waits, libc::SYS_recvfrom);
        interrupt(&waits, libc::SYS_recvfrom);
        client.write_all(b"after").expect("send");
        (client, acceptor.join().expect("the acceptor"))
    });
    client.flush().expect("nothing to do");
    let ends =
        kernel_support::Ends { client: client.local_addr().expect("address").port(), server: address.port() };
    drop((client, server));
    let (records, ..) = recording.finish();
    let calls = ends.server_calls(&records);
    let of = |kind: Kind| only(&calls, kind);
    assert_eq!((of(Kind::Accept).len(), of(Kind::Receive).len()), (1, 1), "{calls:#?}");
    assert_eq!((of(Kind::Receive)[0].call.errno, of(Kind::Receive)[0].head.as_slice()), (0, &b"after"[..]));
    let listener = listener_in(&records, address.port()).expect("the listener");
    assert_eq!(only(&calls_of(&records, listener.socket_id), Kind::Accept).len(), 0);
}

fn listener_in(records: &[Recorded], port: u16) -> Option<Socket> {
    records.iter().find_map(|record| match record.body {
        Body::Socket(socket) if socket.role == role::LISTENER && socket.local_port == port => Some(socket),
        _ => None,
    })
}

/// A listener and a client of these protocols, on loopback, and the accepted connection.
fn connected(listens: libc::c_int, connects: libc::c_int) -> Option<Pair> {
    // SAFETY: new descriptors that the returned values own; the address is complete.
    unsafe {
        let listening = libc::socket(libc::AF_INET, libc::SOCK_STREAM, listens);
        let client = libc::socket(libc::AF_INET, libc::SOCK_STREAM, connects);
        if listening < 0 || client < 0 {
            return None;
        }
        let (listener, client) = (TcpListener::from_raw_fd(listening), TcpStream::from_raw_fd(client));
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let length = size_of::<libc::sockaddr_in>() as u32;
        assert_eq!(libc::bind(listening, (&raw const address).cast(), length), 0);
        assert_eq!(libc::listen(listening, 1), 0);
        address.sin_port = listener.local_addr().expect("address").port().to_be();
        assert_eq!(libc::connect(client.as_raw_fd(), (&raw const address).cast(), length), 0);
        let (server, _) = listener.accept().expect("accept");
        Some(Pair { client, server, listener })
    }
}

#[test]
fn a_listener_that_speaks_mptcp_too_accepts_connections_whose_positions_are_known_where_they_are_tcp() {
    let _turn = turn();
    for client_protocol in [libc::IPPROTO_TCP, libc::IPPROTO_MPTCP] {
        let Some(recording) = Recording::start(&own_sockets()) else { return };
        let Some(mut pair) = connected(libc::IPPROTO_MPTCP, client_protocol) else {
            return skipped("this kernel has no MPTCP, or it is switched off");
        };
        let ends = pair.sockets();
        pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
        pair.server.read_exact(&mut [0; 18]).expect("receive");
        drop(pair);
        let (records, ..) = recording.finish();
        let listener = listener_in(&records, ends.server).expect("the listener");
        assert_eq!(i32::from(listener.protocol), libc::IPPROTO_MPTCP);
        let server = ends.server_in(&records).expect("the accepted socket");
        let received = only(&ends.server_calls(&records), Kind::Receive);
        assert_eq!(received.len(), 1, "{received:#?}");
        assert_eq!(received[0].head, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(i32::from(server.protocol), client_protocol, "{server:?}");
        if client_protocol == libc::IPPROTO_TCP {
            let sent = ends.client_in(&records).expect("the client").first_send_seq;
            assert_eq!((received[0].call.tcp_seq, received[0].has(flags::NO_SEQ)), (sent, false));
        } else {
            assert!(received[0].has(flags::NO_SEQ), "{received:#?}");
        }
    }
}

#[test]
fn every_message_of_a_multi_message_call_is_an_event() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let pair = Pair::open();
    let ends = pair.sockets();
    let mut texts = [b"first".to_vec(), b"second one".to_vec(), b"3".to_vec()];
    let mut buffers: Vec<libc::iovec> = texts
        .iter_mut()
        .map(|text| libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() })
        .collect();
    // SAFETY: all zeroes is a valid header; each gets one valid buffer, which outlives the calls.
    unsafe {
        let mut messages: Vec<libc::mmsghdr> = buffers
            .iter_mut()
            .map(|buffer| {
                let mut message: libc::mmsghdr = std::mem::zeroed();
                message.msg_hdr.msg_iov = buffer;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        assert_eq!(libc::sendmmsg(pair.client.as_raw_fd(), messages.as_mut_ptr(), 3, 0), 3);
        assert_eq!(
            libc::recvmmsg(pair.server.as_raw_fd(), messages.as_mut_ptr(), 3, 0, std::ptr::null_mut()),
            3
        );
    }
    drop(pair);
    let (records, ..) = recording.finish();
    let first = ends.client_in(&records).expect("client").first_send_seq;
    for events in
        [only(&ends.client_calls(&records), Kind::Send), only(&ends.server_calls(&records), Kind::Receive)]
    {
        let told: Vec<_> =
            events.iter().map(|event| (event.call.tcp_seq - first, event.head.as_slice())).collect();
        assert_eq!(told, [(0, &b"first"[..]), (5, &b"second one"[..]), (15, &b"3"[..])]);
        assert!(
            events.iter().all(|event| event.has(flags::MULTI_MESSAGE) && !event.has(flags::OFFSET_UNCERTAIN))
        );
    }
}

#[test]
fn bytes_that_the_kernel_moves_itself_are_lengths() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let ends = pair.sockets();
    let file = File::open(std::env::current_exe().expect("this program")).expect("open");
    let mut pipe = [0; 2];
    // SAFETY: plain descriptors and lengths; the offsets are null.
    unsafe {
        assert_eq!(
            libc::sendfile(pair.client.as_raw_fd(), file.as_raw_fd(), std::ptr::null_mut(), 3000),
            3000
        );
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let (from, to) = (OwnedFd::from_raw_fd(pipe[0]), OwnedFd::from_raw_fd(pipe[1]));
        pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
        pair.server.read_exact(&mut [0; 3000]).expect("receive");
        let splice =
            |from: i32, to: i32| libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), 4096, 0);
        assert_eq!(splice(pair.server.as_raw_fd(), to.as_raw_fd()), 18);
        assert_eq!(splice(from.as_raw_fd(), pair.server.as_raw_fd()), 18);
    }
    pair.client.read_exact(&mut [0; 18]).expect("receive");
    drop(pair);
    let (records, ..) = recording.finish();
    let client = ends.client_in(&records).expect("client");
    let sent = only(&ends.client_calls(&records), Kind::Send);
    assert_eq!((sent[0].call.done_bytes, sent[0].call.tcp_seq), (3000, client.first_send_seq));
    assert_eq!((sent[1].call.tcp_seq, sent[1].head.len()), (client.first_send_seq + 3000, 18));
    let server = ends.server_calls(&records);
    let spliced =
        [only(&server, Kind::Receive).pop().expect("in"), only(&server, Kind::Send).pop().expect("out")];
    assert_eq!(spliced[0].call.tcp_seq, client.first_send_seq + 3000);
    assert_eq!(spliced[1].call.tcp_seq, client.first_receive_seq);
    for (event, turns) in [(&sent[0], true), (&spliced[0], false), (&spliced[1], true)] {
        assert!(event.has(flags::LENGTH_ONLY) && event.has(flags::SPLICED));
        assert_eq!(event.has(flags::TURN), turns);
        assert!(event.head.is_empty() && !event.has(flags::OFFSET_UNCERTAIN));
    }
}

#[test]
fn a_connection_in_progress_a_shutdown_and_a_reset_have_their_events() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    // SAFETY: a new descriptor that the stream owns; the address is complete.
    let client = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = listener.local_addr().expect("address").port().to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(libc::connect(fd, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32), -1);
        TcpStream::from_raw_fd(fd)
    };
    client.set_nonblocking(false).expect("blocking");
    let (mut server, _) = listener.accept().expect("accept");
    let ends = kernel_support::Ends {
        client: client.local_addr().expect("address").port(),
        server: listener.local_addr().expect("address").port(),
    };
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(server.read(&mut [0; 9]).expect("end"), 0);
    server.write_all(b"never read").expect("send");
    // Closing with unread data resets the connection.
    drop(client);
    while server.write(b"more").is_ok() {}
    drop(server);
    let (records, ..) = recording.finish();
    let sent = ends.client_calls(&records);
    assert_eq!((sent[0].kind, sent[0].call.errno), (Kind::Connect, libc::EINPROGRESS as u16));
    assert_eq!(sent[1].kind, Kind::Shutdown);
    assert!(sent[1].has(flags::SHUT_WRITE) && !sent[1].has(flags::SHUT_READ));
    let server = ends.server_in(&records).expect("server");
    let calls = calls_of(&records, server.socket_id);
    let failed =
        calls.iter().find(|event| event.call.errno != 0).expect("a failed send keeps the socket's id");
    assert!([libc::ECONNRESET as u16, libc::EPIPE as u16].contains(&failed.call.errno));
    assert_eq!(calls.last().map(|event| event.kind), Some(Kind::Close));
    let last = records.iter().rev().find_map(|record| match record.body {
        Body::State(state) if state.socket_id == server.socket_id => Some(state),
        _ => None,
    });
    let last = last.expect("states");
    assert_eq!(last.new_state, 7);
    assert!([104, 32].contains(&last.sk_err), "{last:?}");
}

#[test]
fn listening_is_an_event_of_a_listener() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let listener = TcpListener::bind("[::1]:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let (records, ..) = recording.finish();
    let socket = records.iter().rev().find_map(|record| match record.body {
        Body::Socket(socket) if socket.local_port == port => Some(socket),
        _ => None,
    });
    let socket = socket.expect("the listener");
    assert_eq!((socket.role, socket.family, socket.remote_port), (3, 10, 0));
    assert_eq!(socket.local_addr, std::net::Ipv6Addr::LOCALHOST.octets());
    let kinds: Vec<_> = calls_of(&records, socket.socket_id).iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Listen, Kind::Close]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_the_32_bit_kind_are_counted() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let pair = Pair::open();
    // i386 write(2) is number 4. Its pointer has 32 bits: 0 is one, and the count may be 0.
    let result: isize;
    // SAFETY: a write of no bytes touches no memory; the kernel keeps all registers but the result's.
    unsafe {
        std::arch::asm!(
            "push rbx", "mov ebx, {fd:e}", "int 0x80", "pop rbx",
            fd = in(reg) pair.client.as_raw_fd(),
            inlateout("rax") 4_isize => result, in("rcx") 0, in("rdx") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    drop(pair);
    let (_, losses, _) = recording.finish();
    if result == -(libc::ENOSYS as isize) {
        skipped("this kernel has no 32-bit calls");
        return;
    }
    let counted: u64 = losses.iter().map(|cpu| cpu[loss::COMPAT_CALL as usize]).sum();
    assert_eq!((result as i32, counted), (0, 1));
}
