//! Unix stream sockets. They have no sequence numbers, so bytes are counted here in both directions.

use crate::{
    atomics::{fetch_add, is_zero},
    emit::{self, bytes_of_messages},
    filter::{is_recorded, process_matches},
    kernel::{
        OpenSocket, Sk, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, config, current_task, file_of, is_last_file,
        probe, socket_inode,
    },
    maps::{DISCOVERED, Entry, FROM_START, InCall, SNAPSHOT, Thread, UNIX, form, nature},
    request::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, Request},
    ring::{count_loss, now_ns},
    sockets::{Origin, announce_unix, first_sight, forget, known},
    task_id::TaskId,
    threads,
    unix_names::{has_name, is_stream, peer},
    within::{is_within, may_move_between_files},
};
use retrospan_formats::event::{Kind, flags, loss, role};

const ENOENT: i64 = -2;
/// Position of the first byte of a stream that was seen from there: not 0, which says that it is not known.
const FIRST: u32 = 1;

/// What is known of a socket at this address, unless it was another's.
#[inline(always)]
fn known_with(sk: u64, inode: u64) -> Option<&'static mut Entry> {
    match known(sk) {
        Some(entry) if entry.inode == inode || entry.inode == 0 => Some(entry),
        Some(_) => {
            forget(sk);
            None
        }
        None => None,
    }
}

/// The entry of a socket that is not known. A function of its own for what it keeps on the stack.
#[inline(never)]
fn met(sk: Sk, file: u64, process: u32, role: u8, discovered: bool) -> Option<&'static mut Entry> {
    let matches = process_matches(current_task(), process);
    let origin = Origin { role, discovered, file, process, kind: UNIX };
    let entry = first_sight(sk, origin, Some(matches))?;
    entry.state = sk.state();
    if !discovered {
        begin_streams(entry);
    }
    Some(entry)
}

/// Bytes wait to be taken.
#[inline(always)]
fn has_waiting(sk: u64) -> bool {
    probe::<u32>(sk, config!(offsets.sk_receive_queue_qlen)) != 0
}

/// Where the streams of a socket stand whose first bytes nobody saw: anywhere, or where its other end says if that is known. What is
/// under way between them is not counted.
#[inline(never)]
fn place(entry: &mut Entry, sk: Sk) {
    let other = peer(sk);
    let (sent, taken, uncounted) = match known(other) {
        Some(other) if other.kind & UNIX != 0 => (other.written, other.sampled, other.uncounted),
        _ => (FIRST, FIRST, 0),
    };
    (entry.sampled, entry.written) = (sent, taken);
    (entry.first_send_seq, entry.first_receive_seq) = (sent, taken);
    entry.uncounted = if has_waiting(sk.0) || (other != 0 && has_waiting(other)) { 1 } else { uncounted };
}

/// Whether a socket that is not known yet has been there since before the recording.
#[inline(always)]
fn may_be_old(state: u8) -> bool {
    state != TCP_CLOSE && is_zero(&SNAPSHOT)
}

#[inline(always)]
fn begin_streams(entry: &mut Entry) {
    entry.flags |= FROM_START;
    (entry.first_send_seq, entry.first_receive_seq) = (FIRST, FIRST);
    (entry.sampled, entry.written) = (FIRST, FIRST);
}

/// Who listens has a name, and so has who was accepted there.
#[inline(always)]
fn role_of(sk: Sk) -> u8 {
    if sk.state() == TCP_LISTEN {
        role::LISTENER
    } else if has_name(sk.0) {
        role::SERVER
    } else if has_name(peer(sk)) {
        role::CLIENT
    } else {
        role::UNKNOWN
    }
}

/// Notes a call on a Unix stream socket, if it is to be recorded.
#[inline(never)]
pub fn begin(socket: &OpenSocket, number: u32, request: &Request) -> Option<&'static mut InCall> {
    let sk = Sk(socket.sk);
    let task_id = TaskId::current();
    let file = if socket.file == 0 { file_of(sk) } else { socket.file };
    let inode = socket_inode(file);
    let receives = matches!(request.kind, Kind::Receive);
    if inode == 0 || (receives && request.options & (MSG_PEEK | MSG_ERRQUEUE) != 0) {
        return None;
    }
    let closes = matches!(request.kind, Kind::Close);
    let entry = match known_with(socket.sk, inode) {
        Some(entry) => entry,
        None if closes => return None,
        None if !is_stream(sk) => return None,
        None => {
            let state = sk.state();
            let connects = matches!(request.kind, Kind::Connect);
            if state == TCP_CLOSE && !connects && !matches!(request.kind, Kind::Listen) {
                return None;
            }
            let role = match request.kind {
                Kind::Connect => role::CLIENT,
                Kind::Listen => role::LISTENER,
                _ => role_of(sk),
            };
            let is_old = may_be_old(state);
            let entry = met(sk, file, task_id.pid, role, is_old)?;
            if is_old {
                place(entry, sk);
            }
            entry
        }
    };
    if !is_recorded(entry) && !matches!(request.kind, Kind::Accept) {
        if closes && is_last_file(file) {
            forget(socket.sk);
        }
        return None;
    }
    if !matches!(request.kind, Kind::Connect | Kind::Listen) {
        announce_unix(entry, sk, false);
    }
    let Some(Thread { call, .. }) = threads::met(task_id.tid) else {
        count_loss(loss::CALL_MAP);
        return None;
    };
    if config!(sockets) != 0
        && call.active != 0
        && call.sk == socket.sk
        && is_within(number, call.number)
        && may_move_between_files(current_task())
    {
        return None;
    }
    leave(call);
    call.enter_ns = now_ns();
    call.data.done.set(0);
    call.sk = socket.sk;
    call.socket_id = entry.socket_id;
    call.address = request.address;
    call.length = request.length;
    call.number = number;
    call.kind = request.kind as u8;
    call.form = request.form;
    call.length_only = u8::from(receives && request.options & MSG_TRUNC != 0);
    call.recorded = u8::from(entry.is_recorded());
    call.nature = nature::UNIX;
    call.task_id = task_id;
    call.seq = if receives { entry.written } else { entry.sampled };
    call.flags = request.flags;
    if entry.uncounted != 0 {
        call.flags |= flags::NO_SEQ;
    }
    if receives || matches!(request.kind, Kind::Send) {
        let under_way = change_under_way(entry, receives, true);
        if under_way != 0 {
            call.flags |= flags::OFFSET_UNCERTAIN;
        }
    }
    call.active = 1;
    Some(call)
}

/// The snapshot, or a call that was under way then, has found a socket of this state.
#[inline(always)]
pub fn found(entry: &mut Entry, sk: Sk, state: u8) {
    entry.state = state;
    if entry.first_send_seq == 0 && state == TCP_ESTABLISHED {
        place(entry, sk);
    }
    if entry.role == role::UNKNOWN {
        entry.role = role_of(sk);
    }
}

/// A send or receive that was under way when the recording began is one of those that are, now at its end: nothing of it is counted
/// yet.
#[inline(always)]
pub fn rejoin(call: &mut InCall, entry: &mut Entry) {
    let receives = call.kind == Kind::Receive as u8;
    change_under_way(entry, receives, true);
    if entry.uncounted == 0 {
        call.seq = if receives { entry.written } else { entry.sampled };
        call.flags &= !flags::NO_SEQ;
    }
}

/// Counts a send or receive that begins or ends; how many of that direction were under way before.
#[inline(always)]
fn change_under_way(entry: &mut Entry, receives: bool, begins: bool) -> u32 {
    let one = if receives { 1 << 16 } else { 1_u32 };
    let change = if begins { one } else { one.wrapping_neg() };
    // SAFETY: a field of a map's value that is only changed so.
    let before = unsafe { fetch_add(&raw mut entry.rtt_us, change) };
    if receives { before >> 16 } else { before & 0xffff }
}

/// A call whose end was not seen is under way no more.
#[inline(always)]
fn leave(call: &mut InCall) {
    if call.active != 0 {
        ends(call);
    }
}

/// A call is over, whatever came of it. A function of its own for the verifier, as are those below.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_ends(call: *mut InCall) -> i32 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_mut() }) else { return 0 };
    if call.form == form::NONE {
        return 0;
    }
    if let Some(entry) = known(call.sk).filter(|entry| entry.socket_id == call.socket_id)
        && change_under_way(entry, call.kind == Kind::Receive as u8, false) > 1
    {
        call.flags |= flags::OFFSET_UNCERTAIN;
    }
    0
}

/// The same where the call may be on another socket.
#[inline(always)]
pub fn ends(call: &mut InCall) {
    if call.nature == nature::UNIX {
        unix_ends(call);
    }
}

/// How far the socket has come with what the call moved.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_position(call: *const InCall, result: i64) -> u64 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    let done = if result <= 0 {
        0
    } else if call.form == form::MESSAGES {
        bytes_of_messages(call.address, result as u64) as u32
    } else {
        result as u32
    };
    let Some(entry) = known(call.sk).filter(|entry| entry.socket_id == call.socket_id) else {
        return call.seq.into();
    };
    let count =
        if call.kind == Kind::Receive as u8 { &raw mut entry.written } else { &raw mut entry.sampled };
    // SAFETY: a field of a map's value that is only changed so.
    unsafe { fetch_add(count, done) }.wrapping_add(done).into()
}

/// connect, listen, close and shutdown, at their end.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_plain(call: *const InCall, result: i64) -> i32 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    let sk = Sk(call.sk);
    if let Some(entry) = known(call.sk).filter(|entry| entry.socket_id == call.socket_id) {
        if !is_recorded(entry) {
            return 0;
        }
        // Every program that looks up a name or a user asks for a cache that mostly is not there.
        if call.kind == Kind::Connect as u8 && result == ENOENT {
            forget(call.sk);
            return 0;
        }
        let connects = call.kind == Kind::Connect as u8 && result == 0;
        if connects {
            entry.state = TCP_ESTABLISHED;
            begin_streams(entry);
        }
        announce_unix(entry, sk, connects || call.kind == Kind::Listen as u8);
    }
    emit::plain(call, call.task_id, result);
    0
}

/// The connection that accept returned.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_accepted(call: *const InCall, sk: u64, file: u64) -> i32 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    let sk = Sk(sk);
    if known_with(sk.0, socket_inode(file)).is_some() {
        forget(sk.0);
    }
    let task_id = call.task_id;
    let Some(entry) = met(sk, file, task_id.pid, role::SERVER, false) else { return 0 };
    // One whose other end was there before the recording has waited for this: what that has sent was not counted.
    if known(peer(sk)).is_some_and(|other| other.flags & DISCOVERED != 0) {
        entry.flags &= !FROM_START;
        entry.flags |= DISCOVERED;
        place(entry, sk);
    }
    if entry.is_recorded() {
        announce_unix(entry, sk, true);
        emit::emit(call, task_id, entry.socket_id, call.flags, 0);
    }
    0
}
