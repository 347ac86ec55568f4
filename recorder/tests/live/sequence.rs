//! Sequence numbers: exact, or flagged. Each test is a way in which one reading of a counter goes wrong.

use crate::kernel_support::{self, Event, Pair, Recording, only, own_sockets, turn};
use retrospan_formats::event::{Kind, flags};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Exact events must tile the stream without overlap; flagged ones may lie anywhere.
fn assert_exact_ones_do_not_overlap(events: &[Event], first: u32) {
    let mut exact: Vec<(u32, u64)> = events
        .iter()
        .filter(|event| !event.has(flags::OFFSET_UNCERTAIN))
        .map(|event| (event.call.tcp_seq.wrapping_sub(first), event.call.done_bytes))
        .collect();
    exact.sort_unstable();
    for two in exact.windows(2) {
        assert!(u64::from(two[0].0) + two[0].1 <= u64::from(two[1].0), "{two:?} overlap");
    }
}

#[test]
fn a_fin_is_no_byte_although_copied_seq_counts_it() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    let mut all = Vec::new();
    for _ in 0..50 {
        let mut pair = Pair::open();
        pair.client.write_all(b"last words").expect("send");
        pair.client.shutdown(Shutdown::Write).expect("shutdown");
        // MSG_WAITALL makes one call take the data and the FIN.
        let mut buffer = [0_u8; 64];
        // SAFETY: the buffer is as long as said.
        let taken = unsafe {
            libc::recv(pair.server.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL)
        };
        assert_eq!(taken, 10);
        all.push(pair.sockets());
        recording.drain();
    }
    let (records, ..) = recording.finish();
    for ends in all {
        let client = ends.client_in(&records).expect("client");
        let received = only(&ends.server_calls(&records), Kind::Receive);
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].call.tcp_seq, client.first_send_seq);
        assert!(!received[0].has(flags::OFFSET_UNCERTAIN));
    }
}

#[test]
fn concurrent_senders_are_exact_or_flagged() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    let pair = Pair::open();
    let ends = pair.sockets();
    const EACH: usize = 2000;
    std::thread::scope(|scope| {
        for size in [10_usize, 100, 700] {
            let mut client = &pair.client;
            scope.spawn(move || (0..EACH).for_each(|_| client.write_all(&vec![b'x'; size]).expect("send")));
        }
        let mut server = &pair.server;
        let mut left = EACH * (10 + 100 + 700);
        let mut buffer = vec![0; 65_536];
        while left > 0 {
            left -= server.read(&mut buffer).expect("receive");
            recording.drain();
        }
    });
    drop(pair);
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");
    let client = ends.client_in(&records).expect("client");
    let sent = only(&ends.client_calls(&records), Kind::Send);
    assert_eq!(sent.len(), 3 * EACH);
    assert_exact_ones_do_not_overlap(&sent, client.first_send_seq);
    let received = only(&ends.server_calls(&records), Kind::Receive);
    assert!(received.iter().all(|event| !event.has(flags::OFFSET_UNCERTAIN)), "one receiver is always exact");
}

#[test]
fn concurrent_receivers_are_exact_or_flagged() {
    let _turn = turn();
    let Some(mut recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let ends = pair.sockets();
    std::thread::scope(|scope| {
        for size in [10_usize, 100, 700] {
            let mut server = &pair.server;
            scope.spawn(move || {
                let mut buffer = vec![0; size];
                while server.read(&mut buffer).expect("receive") > 0 {}
            });
        }
        for _ in 0..3000 {
            pair.client.write_all(&[b'y'; 300]).expect("send");
            recording.drain();
        }
        pair.client.shutdown(Shutdown::Write).expect("shutdown");
    });
    drop(pair);
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().flatten().all(|&lost| lost == 0), "{losses:?}");
    let server = ends.server_in(&records).expect("server");
    let received = only(&ends.server_calls(&records), Kind::Receive);
    assert_eq!(received.iter().map(|event| event.call.done_bytes).sum::<u64>(), 900_000);
    assert_exact_ones_do_not_overlap(&received, server.first_receive_seq);
}

#[test]
fn numbers_go_on_past_the_end_of_32_bits() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = near_the_wrap(&listener);
    let (mut server, _) = listener.accept().expect("accept");
    let ends = kernel_support::Ends {
        client: client.local_addr().expect("address").port(),
        server: listener.local_addr().expect("address").port(),
    };
    for _ in 0..3 {
        (&client).write_all(&[b'z'; 600]).expect("send");
        server.read_exact(&mut [0; 600]).expect("receive");
    }
    drop((client, server));
    let (records, ..) = recording.finish();
    let first = ends.client_in(&records).expect("client").first_send_seq;
    assert_eq!(first, (NEAR_WRAP as u32).wrapping_add(1));
    for events in
        [only(&ends.client_calls(&records), Kind::Send), only(&ends.server_calls(&records), Kind::Receive)]
    {
        let seqs: Vec<u32> = events.iter().map(|event| event.call.tcp_seq).collect();
        assert_eq!(seqs, [first, first.wrapping_add(600), first.wrapping_add(1200)]);
        assert!(seqs[2] < seqs[0], "it wraps");
        assert!(events.iter().all(|event| !event.has(flags::OFFSET_UNCERTAIN)));
    }
}

const NEAR_WRAP: i64 = u32::MAX as i64 - 1000;

/// A connection whose first number is near the end of the range: set while the socket is in repair
/// mode, which leaves the handshake to happen as usual once it is left.
fn near_the_wrap(listener: &TcpListener) -> TcpStream {
    use std::os::fd::FromRawFd;
    const TCP_REPAIR: i32 = 19;
    const TCP_REPAIR_QUEUE: i32 = 20;
    const TCP_QUEUE_SEQ: i32 = 21;
    const SEND_QUEUE: i32 = 2;
    // SAFETY: a new descriptor that the stream owns from here on; options and address as documented in tcp(7).
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(fd >= 0);
        let stream = TcpStream::from_raw_fd(fd);
        let set = |option: i32, value: i32| {
            let result = libc::setsockopt(fd, libc::IPPROTO_TCP, option, (&raw const value).cast(), 4);
            assert_eq!(result, 0, "TCP option {option}: {}", std::io::Error::last_os_error());
        };
        set(TCP_REPAIR, 1);
        set(TCP_REPAIR_QUEUE, SEND_QUEUE);
        set(TCP_QUEUE_SEQ, NEAR_WRAP as i32);
        set(TCP_REPAIR, 0);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = listener.local_addr().expect("address").port().to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let result = libc::connect(fd, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        stream
    }
}
