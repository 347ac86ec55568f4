//! Unix stream sockets: their bytes are counted, and their ends told.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use retrospan_formats::event::{Kind, Socket, State, flags, role};
use retrospan_recorder::kernel::{Options, SocketKinds};

use crate::kernel_support::{Body, Recorded, Recording, calls_of, own_sockets, states_of, turn};

fn options() -> Options {
    Options { kinds: SocketKinds::parse("unix,pairs").expect("kinds"), ..own_sockets() }
}

fn inode(socket: impl AsFd) -> u64 {
    // SAFETY: zeroes are valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor, and room for the answer.
    assert_eq!(unsafe { libc::fstat(socket.as_fd().as_raw_fd(), &mut status) }, 0);
    status.st_ino
}

/// The last that is told of the socket with this inode.
fn socket_of(records: &[Recorded], inode: u64) -> Socket {
    let of_inode = |record: &Recorded| match record.body {
        Body::Socket(socket) if socket.inode == inode && socket.family == 1 => Some(socket),
        _ => None,
    };
    records.iter().rev().find_map(of_inode).expect("the socket is told of")
}

fn last_state(records: &[Recorded], socket_id: u64) -> State {
    let state = |record: &Recorded| match record.body {
        Body::State(state) if state.socket_id == socket_id => Some(state),
        _ => None,
    };
    records.iter().rev().find_map(state).expect("a state")
}

#[test]
fn both_ends_count_the_same_bytes_and_the_end_is_told_to_the_other() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options()) else { return };
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bind");
    let mut client = UnixStream::connect(&path).expect("connect");
    client.write_all(b"before it is accepted").expect("send");
    let (mut server, _) = listener.accept().expect("accept");
    let inodes = [inode(&client), inode(&server), inode(&listener)];
    let mut buffer = [0; 100];
    assert_eq!(server.read(&mut buffer).expect("receive"), 21);
    server.write_all(b"an answer").expect("send");
    client.read_exact(&mut buffer[..4]).expect("receive");
    client.read_exact(&mut buffer[..5]).expect("receive");
    drop(client);
    assert_eq!(server.read(&mut buffer).expect("the end"), 0);
    assert!(server.write(b"too late").is_err());
    drop(server);
    let (records, ..) = recording.finish();
    let [client, server, listener] = inodes.map(|inode| socket_of(&records, inode));
    assert_eq!([client.role, server.role, listener.role], [role::CLIENT, role::SERVER, role::LISTENER]);
    assert_eq!((client.discovered, client.first_send_seq, server.first_receive_seq), (0, 1, 1));
    let moved = |socket: Socket, kind: Kind| -> Vec<(u32, u64)> {
        let calls = calls_of(&records, socket.socket_id).into_iter();
        let of_kind = calls.filter(|call| call.kind == kind && call.call.errno == 0);
        of_kind.map(|call| (call.call.tcp_seq, call.call.done_bytes)).collect()
    };
    assert_eq!(moved(client, Kind::Send), [(1, 21)]);
    assert_eq!(moved(server, Kind::Receive), [(1, 21), (22, 0)]);
    assert_eq!(moved(server, Kind::Send), [(1, 9)]);
    assert_eq!(moved(client, Kind::Receive), [(1, 4), (5, 5)]);
    assert_eq!(states_of(&records, client.socket_id), [(1, 4), (4, 7)]);
    assert_eq!(states_of(&records, server.socket_id), [(1, 8), (8, 9), (9, 7)]);
    let end = last_state(&records, server.socket_id);
    assert_eq!([end.write_seq, end.copied_seq, end.rcv_nxt], [11, 22, 23], "with a place for each FIN");
}

#[test]
fn threads_that_share_a_pair_lose_no_byte_and_no_position_is_wrong() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options()) else { return };
    const THREADS: usize = 8;
    const SENDS: usize = 200;
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let inodes = [inode(&near), inode(&far)];
    let total: usize = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let near = &near;
            scope.spawn(move || {
                let text = vec![b'a' + thread as u8; 10 + thread];
                (0..SENDS).for_each(|_| (&*near).write_all(&text).expect("send"));
            });
        }
        let all = (0..THREADS).map(|thread| (10 + thread) * SENDS).sum();
        let mut buffer = vec![0; all];
        far.read_exact(&mut buffer).expect("receive");
        all
    });
    drop((near, far));
    let (records, ..) = recording.finish();
    let [near, far] = inodes.map(|inode| socket_of(&records, inode));
    for (socket, kind) in [(near, Kind::Send), (far, Kind::Receive)] {
        let calls: Vec<_> =
            calls_of(&records, socket.socket_id).into_iter().filter(|call| call.kind == kind).collect();
        assert_eq!(calls.iter().map(|call| call.call.done_bytes).sum::<u64>(), total as u64);
        let certain = calls.iter().filter(|call| !call.has(flags::OFFSET_UNCERTAIN));
        let mut places: Vec<_> = certain
            .map(|call| (call.call.tcp_seq, call.call.tcp_seq + call.call.done_bytes as u32))
            .collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "certain positions do not overlap");
    }
    assert_eq!(last_state(&records, near.socket_id).write_seq, total as u32 + 2);
}

#[test]
fn what_a_killed_process_leaves_open_ends_with_it() {
    let _turn = turn();
    let Some(recording) = Recording::start(&options()) else { return };
    let (near, far) = UnixStream::pair().expect("a pair");
    let far_inode = inode(&far);
    let far_copy = far.try_clone().expect("a copy");
    let mut child = Command::new("sh")
        .args(["-c", "printf 'a word'; exec sleep 1000"])
        .stdin(Stdio::null())
        .stdout(std::os::fd::OwnedFd::from(far))
        .spawn()
        .expect("a shell");
    drop(far_copy);
    let mut near = near;
    let mut word = [0; 6];
    near.read_exact(&mut word).expect("a word");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(near.read(&mut word).expect("the end"), 0);
    let near_inode = inode(&near);
    drop(near);
    let (records, ..) = recording.finish();
    let [near, far] = [near_inode, far_inode].map(|inode| socket_of(&records, inode));
    assert_eq!(states_of(&records, far.socket_id), [(1, 4), (4, 7)]);
    assert_eq!(states_of(&records, near.socket_id), [(1, 8), (8, 9), (9, 7)]);
}
