//! Calls that were entered before the recording.

use crate::kernel_support::{self, Event, Pair, Recorded, Recording, calls_of, only, own_sockets, turn};
use retrospan_formats::event::{Kind, flags, loss};
use std::io::{IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A thread that is told to go into a call has come there after that long.
const SETTLED: Duration = Duration::from_millis(200);

/// One test at a time: each sees the calls under way of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive_message(socket: &TcpStream, room: &mut [u8]) -> isize {
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: all zeroes is a message without name, buffers and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    // SAFETY: the message names one buffer, which outlives the call.
    unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) }
}

/// Starts a recording that knows what is open and under way.
fn start() -> Option<Recording> {
    let mut recording = Recording::start(&own_sockets())?;
    recording.probes.snapshot_sockets().expect("the walk");
    Some(recording)
}

/// The first event of a socket, whose call was entered before the recording.
fn first(events: &[Event], kind: Kind) -> &Event {
    let first = events.iter().find(|event| event.kind == kind).expect("the call is recorded");
    assert!(first.has(flags::ENTERED_BEFORE), "{first:?}");
    assert!(first.call.duration_ns < 60_000_000_000);
    first
}

#[test]
fn receives_that_wait_when_a_recording_begins_are_recorded() {
    let _turn = turn();
    let _alone = alone();
    const REQUEST: &[u8] = b"GET /first HTTP/1.1\r\n\r\n";
    type Receive = fn(&mut TcpStream) -> usize;
    let ways: [Receive; 3] = [
        |socket| socket.read(&mut [0; 4096]).expect("receive"),
        |socket| {
            let (mut one, mut other) = ([0; 5], [0; 4096]);
            let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            socket.read_vectored(&mut parts).expect("receive")
        },
        |socket| receive_message(socket, &mut [0; 4096]) as usize,
    ];
    let mut clients = Vec::new();
    let mut waiting = Vec::new();
    let mut ends = Vec::new();
    for way in ways {
        let Pair { mut client, mut server, listener } = Pair::open();
        client.write_all(b"before").expect("send");
        server.read_exact(&mut [0; 6]).expect("receive");
        ends.push(
            Pair {
                client: client.try_clone().expect("a copy"),
                server: server.try_clone().expect("a copy"),
                listener,
            }
            .sockets(),
        );
        clients.push(client);
        waiting.push(thread::spawn(move || {
            let sizes = [way(&mut server), way(&mut server)];
            (sizes, server)
        }));
    }
    thread::sleep(SETTLED);
    let Some(recording) = start() else {
        clients.clear();
        return waiting.into_iter().for_each(|thread| drop(thread.join().expect("it ends")));
    };
    for client in &mut clients {
        client.write_all(REQUEST).expect("send");
        thread::sleep(SETTLED);
        client.write_all(REQUEST).expect("send");
    }
    for thread in waiting {
        assert_eq!(thread.join().expect("it ends").0, [REQUEST.len(); 2]);
    }
    let (records, losses, _) = recording.finish();
    for ends in ends {
        let server = ends.server_in(&records).expect("known");
        let received = only(&calls_of(&records, server.socket_id), Kind::Receive);
        let early = first(&received, Kind::Receive);
        assert_eq!((early.call.tcp_seq, early.head.as_slice()), (server.first_receive_seq, REQUEST));
        assert!(!early.has(flags::OFFSET_UNCERTAIN));
        assert_eq!(received.len(), 2);
        assert!(!received[1].has(flags::ENTERED_BEFORE));
    }
    assert!(losses.iter().all(|counters| counters[loss::EARLY_CALL as usize] == 0));
}

#[test]
fn an_accept_that_waits_when_a_recording_begins_is_recorded() {
    let _turn = turn();
    let _alone = alone();
    let Pair { client, server, listener } = Pair::open();
    let address = listener.local_addr().expect("address");
    let accepting = thread::spawn(move || listener.accept().expect("accept").0);
    thread::sleep(SETTLED);
    let recording = start();
    let other = TcpStream::connect(address).expect("connect");
    let accepted = accepting.join().expect("it ends");
    let Some(recording) = recording else { return };
    let port = other.local_addr().expect("address").port();
    let (records, ..) = recording.finish();
    let socket = kernel_support::Ends { client: port, server: address.port() };
    first(&socket.server_calls(&records), Kind::Accept);
    drop((client, server, accepted));
}

#[test]
fn a_send_that_waits_when_a_recording_begins_is_recorded() {
    let _turn = turn();
    let _alone = alone();
    let Pair { mut client, mut server, listener } = Pair::open();
    let ends = Pair {
        client: client.try_clone().expect("a copy"),
        server: server.try_clone().expect("a copy"),
        listener,
    }
    .sockets();
    const BYTES: usize = 40 << 20;
    let sending = thread::spawn(move || {
        let data = vec![b'x'; BYTES];
        // One call: a write of that size blocks until nearly all of it was taken.
        let sent = client.write(&data).expect("send");
        (sent, client)
    });
    thread::sleep(SETTLED);
    let recording = start();
    let mut room = vec![0; 1 << 20];
    let mut left = BYTES;
    while left > 0 {
        left -= server.read(&mut room[..left.min(1 << 20)]).expect("receive");
    }
    let (sent, client) = sending.join().expect("it ends");
    let Some(recording) = recording else { return };
    drop(client);
    let (records, ..) = recording.finish();
    let calls = ends.client_calls(&records);
    let early = first(&calls, Kind::Send);
    assert_eq!((sent, early.call.done_bytes), (BYTES, BYTES as u64));
    let after = early.call.tcp_seq.wrapping_add(BYTES as u32);
    let received = only(&ends.server_calls(&records), Kind::Receive);
    let last = received.iter().rfind(|event| event.call.done_bytes > 0).expect("received");
    assert_eq!(after, last.call.tcp_seq.wrapping_add(last.call.done_bytes as u32));
}

/// Events of this process that say they were entered before.
fn entered_before(records: &[Recorded]) -> usize {
    let is_early = |record: &&Recorded| match &record.body {
        kernel_support::Body::Call { call, .. } => call.flags & flags::ENTERED_BEFORE != 0,
        _ => false,
    };
    records.iter().filter(is_early).count()
}

#[test]
fn a_descriptor_replaced_meanwhile_makes_a_loss_and_no_event() {
    let _turn = turn();
    let _alone = alone();
    let (mut right, wrong) = (Pair::open(), Pair::open());
    let fd = right.server.as_raw_fd();
    // SAFETY: duplicates of descriptors of our own.
    let keep = unsafe { libc::dup(fd) };
    let waiting = thread::spawn(move || {
        let mut room = [0_u8; 64];
        // SAFETY: the room outlives the call.
        unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) }
    });
    thread::sleep(SETTLED);
    // The call goes on with the socket that it was entered with; the descriptor is another's.
    // SAFETY: both are descriptors of our own.
    assert_eq!(unsafe { libc::dup2(wrong.server.as_raw_fd(), fd) }, fd);
    let recording = start();
    right.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    assert_eq!(waiting.join().expect("it ends"), 18);
    // SAFETY: a descriptor of our own.
    unsafe { libc::close(keep) };
    let Some(recording) = recording else { return };
    let (records, losses, _) = recording.finish();
    assert_eq!(entered_before(&records), 0);
    assert_eq!(losses.iter().map(|counters| counters[loss::EARLY_CALL as usize]).sum::<u64>(), 1);
}

#[test]
fn peeking_and_files_are_no_calls_under_way() {
    let _turn = turn();
    let _alone = alone();
    let Pair { mut client, server, listener } = Pair::open();
    let peeking = thread::spawn(move || {
        let mut room = [0; 64];
        let seen = server.peek(&mut room).expect("peek");
        (seen, server)
    });
    thread::sleep(SETTLED);
    let recording = start();
    client.write_all(b"x").expect("send");
    assert_eq!(peeking.join().expect("it ends").0, 1);
    let Some(recording) = recording else { return };
    let (records, losses, _) = recording.finish();
    assert_eq!(entered_before(&records), 0);
    assert!(losses.iter().all(|counters| counters[loss::EARLY_CALL as usize] == 0));
    drop(listener);
}
