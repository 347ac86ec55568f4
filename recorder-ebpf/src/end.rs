//! The end of a call that was noted at its beginning: what came of it becomes events.

use crate::{
    data, datagrams, early,
    emit::{MMSGHDR_BYTES, MOST_MESSAGES, MSGHDR_BYTES, bytes_of_messages, emit, errno, user_u32},
    filter::{decide_in, process_matches},
    kernel::{IPPROTO_TCP, OpenSocket, Sk, TCP_SYN_RECV, current_task, socket_inode},
    maps::{Entry, FROM_START, InCall, form, nature},
    rules::sequence::is_exact,
    sockets::{Origin, announce, first_sight, forget, is_supported, known, note_first_seqs},
    task_id::TaskId,
    tcp, unix,
};
use retrospan_formats::event::{Kind, flags, role};

pub const EAGAIN: i64 = -11;
/// First and last of the results that say "will be restarted".
const RESTARTS: (i64, i64) = (-516, -512);

/// Whether no call has ended with this result.
#[inline(always)]
pub fn is_restart(result: i64) -> bool {
    result >= RESTARTS.0 && result <= RESTARTS.1
}

/// connect, listen, close, shutdown.
#[inline(always)]
pub fn plain(call: &InCall, task_id: TaskId, result: i64) {
    if call.nature == nature::UNIX {
        unix::unix_plain(call, result);
        return;
    }
    let sk = Sk(call.sk);
    // A close may have ended the socket, and a refused connection retired it: then what was known at
    // entry holds. It was recorded at entry, or it is undecided and will be now or never.
    let recorded = match entry_of(call) {
        Some(entry) => {
            if call.kind != Kind::Close as u8 {
                decide_in(entry, sk, task_id.pid);
                let is_listener = call.kind == Kind::Listen as u8;
                // A connect that was refused has taken the addresses away again.
                let connects = call.kind == Kind::Connect as u8 && sk.remote_port() != 0;
                announce(entry, sk, is_listener || (connects && entry.flags & FROM_START == 0));
            }
            entry.is_recorded()
        }
        None => call.recorded != 0,
    };
    if recorded {
        emit(call, task_id, call.socket_id, call.flags, errno(result));
    }
}

/// The entry that the call's socket had at entry, if it still has it.
#[inline(always)]
fn entry_of(call: &InCall) -> Option<&'static mut Entry> {
    known(call.sk).filter(|entry| entry.socket_id == call.socket_id)
}

/// accept, of which `result` came: a listener is asked what it dropped meanwhile. Whether there is a connection.
#[inline(always)]
pub fn was_accepted(call: &InCall, task_id: TaskId, result: i64) -> bool {
    if let Some(listener) = entry_of(call)
        && listener.is_recorded()
    {
        tcp::listens(listener, call.sk);
    }
    if result < 0 && result != EAGAIN && call.recorded != 0 {
        emit(call, task_id, call.socket_id, call.flags, errno(result));
    }
    result >= 0
}

/// The connection that accept returned: looked at for itself, the listener may be of another protocol.
#[inline(always)]
pub fn accepted(call: &InCall, task_id: TaskId, socket: OpenSocket) {
    let sk = Sk(socket.sk);
    if call.nature == nature::UNIX && socket.sk != 0 {
        unix::unix_accepted(call, socket.sk, socket.file);
        return;
    }
    if socket.sk == 0 || sk.protocol() != IPPROTO_TCP {
        return;
    }
    // Accepted with the data of its SYN, before the handshake is over: nobody has seen it.
    let opening = sk.state() == TCP_SYN_RECV;
    if opening && known(socket.sk).is_some_and(|entry| entry.state != TCP_SYN_RECV) {
        forget(socket.sk);
    }
    let origin =
        Origin { role: role::SERVER, discovered: !opening, file: socket.file, process: task_id.pid, kind: 0 };
    let found = match known(socket.sk) {
        Some(entry) => Some(entry),
        None if is_supported(sk) => {
            let matches = process_matches(current_task(), task_id.pid);
            first_sight(sk, origin, Some(matches))
        }
        None => None,
    };
    let Some(entry) = found else { return };
    entry.owner = task_id.pid;
    entry.inode = socket_inode(socket.file);
    entry.role = role::SERVER;
    if opening {
        note_first_seqs(entry, sk, TCP_SYN_RECV);
        entry.state = TCP_SYN_RECV;
    }
    decide_in(entry, sk, task_id.pid);
    announce(entry, sk, true);
    if entry.is_recorded() {
        emit(call, task_id, entry.socket_id, call.flags, 0);
    }
}

/// How far the call's socket has come now, with what the call moved if that was `result`.
#[inline(always)]
pub fn position(call: &InCall, result: i64) -> u32 {
    if call.nature == nature::UNIX {
        unix::unix_position(call, result) as u32
    } else if call.flags & flags::NO_SEQ != 0 {
        call.seq
    } else if call.kind == Kind::Receive as u8 {
        Sk(call.sk).copied_seq()
    } else {
        Sk(call.sk).write_seq()
    }
}

/// send and receive in all their forms; `after` is how far the socket has come.
#[inline(always)]
pub fn data(call: &mut InCall, result: i64, after: u32) {
    let receives = call.kind == Kind::Receive as u8;
    if receives && result == EAGAIN {
        return;
    }
    if call.form == form::MESSAGES {
        messages(call, result, after, receives);
        return;
    }
    let done = if result > 0 { result as u64 } else { 0 };
    if call.flags & flags::ENTERED_BEFORE != 0 && !early::is_certain(call, after, done, receives) {
        return;
    }
    moved(call, result, after);
}

/// A send or receive of which only the length is known.
#[inline(always)]
pub fn moved_length(call: &InCall, result: i64, after: u32) {
    let done = if result > 0 { result as u64 } else { 0 };
    let (seq, flags) = first_position(call, after, done, call.kind == Kind::Receive as u8);
    data::emit_length(call, done, u64::from(seq) << 32 | u64::from(flags), u64::from(errno(result)));
}

/// A send or receive of one message.
#[inline(always)]
pub fn moved(call: &mut InCall, result: i64, after: u32) {
    let done = if result > 0 { result as u64 } else { 0 };
    let (seq, flags) = first_position(call, after, done, call.kind == Kind::Receive as u8);
    let address = call.address;
    emit_moved(call, address, done, u64::from(seq) << 32 | u64::from(flags), u64::from(errno(result)));
}

/// Writes the event of data, or of a datagram.
#[inline(always)]
fn emit_moved(call: &mut InCall, address: u64, done: u64, seq_and_flags: u64, errno: u64) {
    if call.nature == nature::DATAGRAMS {
        datagrams::emit_datagram(call, address, done, errno);
    } else {
        data::emit_data(call, address, done, seq_and_flags, errno);
    }
}

/// Where the data of the whole call begins, and whether that is certain.
#[inline(always)]
fn first_position(call: &InCall, after: u32, done: u64, receives: bool) -> (u32, u32) {
    if call.flags & flags::NO_SEQ != 0 || is_exact(call.seq, after, done, receives) {
        (call.seq, call.flags)
    } else if !receives && call.nature == nature::OTHER && is_first(call, after, done) {
        (after.wrapping_sub(done as u32), call.flags)
    } else {
        (after.wrapping_sub(done as u32), call.flags | flags::OFFSET_UNCERTAIN)
    }
}

/// Whether what was sent is all that the connection has sent, for the call opened it (TCP Fast Open): before there was a
/// connection there were no sequence numbers.
#[inline(always)]
fn is_first(call: &InCall, after: u32, done: u64) -> bool {
    let client = entry_of(call).is_some_and(|entry| entry.role == role::CLIENT);
    client && done != 0 && Sk(call.sk).first_sent_seq(true).wrapping_add(done as u32) == after
}

/// One event for each message of sendmmsg or recvmmsg.
#[inline(always)]
fn messages(call: &mut InCall, result: i64, after: u32, receives: bool) {
    call.flags |= flags::MULTI_MESSAGE;
    let first = call.address;
    if call.nature == nature::DATAGRAMS && result > 0 {
        datagrams::emit_datagrams(call, first, result as u64);
        return;
    }
    if result <= 0 {
        let (seq, flags) = first_position(call, after, 0, receives);
        emit_moved(call, first, 0, u64::from(seq) << 32 | u64::from(flags), u64::from(errno(result)));
        return;
    }
    let count = result as u64;
    let total = bytes_of_messages(first, count);
    if call.flags & flags::ENTERED_BEFORE != 0 && !early::is_certain(call, after, total, receives) {
        return;
    }
    let (mut seq, flags) = first_position(call, after, total, receives);
    let mut index = 0;
    while index < MOST_MESSAGES && index < count {
        let address = first + index * MMSGHDR_BYTES;
        let done = user_u32(address + MSGHDR_BYTES);
        data::emit_data(call, address, u64::from(done), u64::from(seq) << 32 | u64::from(flags), 0);
        seq = seq.wrapping_add(done);
        index += 1;
    }
}
