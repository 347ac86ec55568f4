//! Calls of TLS libraries: what is encrypted and decrypted, and the socket that it travels on.
//!
//! A thread's call is noted at its entry. System calls on sockets within it say which socket the session is on (`tls_within`): what
//! the call really did, and nothing else, ties them. A return belongs to the entry at the same place of the stack, so calls that a
//! library makes of itself are part of the outer one.

use crate::{
    atomics::{fetch_add, is_zero},
    data, emit,
    filter::is_recorded,
    kernel::config,
    maps::{
        ANNOUNCED, Entry, IGNORED, NEW_TLS_THREAD, NO_EXIST, TLS_ON, TLS_THREADS, TlsThread, form, nature,
    },
    regs::UserRegs,
    ring::{count_loss, now_ns},
    sockets::{forget_beyond, known},
    task_id::TaskId,
    tls_sessions::{HOLE, announce, find, key, meet, tie},
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use retrospan_formats::event::{Kind, flags, loss, role};

/// A function's return address, which its return takes from the stack, bytes.
const RETURN_ADDRESS: u64 = 8;

/// What a function of a library is asked to do.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The session; 0: one that it is to make.
    pub session: u64,
    /// [`Kind::Send`], [`Kind::Receive`], or nothing that is data.
    pub kind: u8,
    /// [`form`].
    pub form: u8,
    pub address: u64,
    pub length: u64,
    /// How it tells what it did: [`result`].
    pub result: u8,
    /// Where it writes how much, or which session.
    pub moved_at: u64,
    pub role: u8,
}

impl Asked {
    /// A call that may use the session's socket, but moves no data.
    pub const fn plain(session: u64) -> Asked {
        Asked {
            session,
            kind: 0,
            form: form::NONE,
            address: 0,
            length: 0,
            result: result::NONE,
            moved_at: 0,
            role: role::UNKNOWN,
        }
    }
}

/// How a function tells what it did.
pub mod result {
    /// It moves no data.
    pub const NONE: u8 = 0;
    /// Bytes as an `int`, negative where it failed.
    pub const INT: u8 = 1;
    /// Bytes as a `long`.
    pub const LONG: u8 = 2;
    /// 1, and bytes where an argument says.
    pub const BESIDE: u8 = 3;
    /// The new session.
    pub const SESSION: u8 = 4;
    /// 0, and the new session where an argument says.
    pub const SESSION_BESIDE: u8 = 5;
}

/// What is remembered of the thread, made where there is nothing yet.
#[inline(always)]
fn met(tid: u32) -> Option<&'static mut TlsThread> {
    // SAFETY (both): values of a preallocated map stay readable and writable memory, which only the thread itself uses.
    if let Some(thread) = TLS_THREADS.get_ptr_mut(tid) {
        return Some(unsafe { &mut *thread });
    }
    if TLS_THREADS.insert(tid, &NEW_TLS_THREAD, NO_EXIST).is_err() {
        count_loss(loss::TLS_MAP);
        return None;
    }
    // SAFETY: as above.
    TLS_THREADS.get_ptr_mut(tid).map(|thread| unsafe { &mut *thread })
}

/// The thread ends.
#[inline(always)]
pub fn forget_thread(tid: u32) {
    if config!(tls) != 0 {
        let _ = TLS_THREADS.remove(tid);
    }
}

/// Whether nothing is noted of the process: it is the recorder, or nothing is recorded any more.
#[inline(always)]
pub fn is_left_alone(task_id: TaskId) -> bool {
    is_zero(&TLS_ON) || task_id.pid == config!(own_pid)
}

/// The entry of a function.
#[inline(always)]
pub fn begins(regs: UserRegs, asked: Asked) {
    let task_id = TaskId::current();
    if is_left_alone(task_id) {
        return;
    }
    let stack = regs.stack();
    if let Some(thread) = TLS_THREADS.get_ptr_mut(task_id.tid) {
        // SAFETY: as in `met`.
        let thread = unsafe { &mut *thread };
        // The stack grows downwards. Of an entry further down the return was not seen.
        if thread.stack > stack {
            return is_within(thread, task_id, &asked);
        }
        thread.stack = 0;
    }
    let (mut sk, mut socket_id) = (0, 0);
    if asked.session != 0 {
        let found = match find(asked.session, task_id.pid) {
            Some(entry) => Some(entry),
            None => meet(asked.session, task_id, asked.role, true),
        };
        let Some(entry) = found else { return };
        if entry.verdict == IGNORED {
            return;
        }
        if asked.role != role::UNKNOWN {
            entry.role = asked.role;
        }
        (sk, socket_id) = (key(asked.session, task_id.pid), entry.socket_id);
    }
    let Some(thread) = met(task_id.tid) else { return };
    note(thread, (sk, socket_id), task_id, &asked);
    thread.stack = stack;
}

/// Notes a call on the session with this key and id.
#[inline(always)]
pub fn note(thread: &mut TlsThread, (sk, socket_id): (u64, u64), task_id: TaskId, asked: &Asked) {
    thread.moved_at = asked.moved_at;
    (thread.carrier, thread.carrier_verdict, thread.several) = (0, 0, 0);
    let call = &mut thread.call;
    call.enter_ns = now_ns();
    call.data.done.set(0);
    (call.sk, call.socket_id) = (sk, socket_id);
    (call.address, call.length) = (asked.address, asked.length);
    call.number = u32::from(asked.result);
    call.kind = asked.kind;
    call.form = asked.form;
    call.flags = 0;
    call.length_only = 0;
    call.recorded = 0;
    call.nature = nature::TLS;
    call.fd = u32::from(asked.role);
    call.task_id = task_id;
}

/// A call within another. On the same session it is part of it; on another (TLS in TLS) its data is not recorded, and where that
/// session stands is not known any more.
#[inline(always)]
fn is_within(thread: &TlsThread, task_id: TaskId, asked: &Asked) {
    if asked.session == 0 || asked.kind == 0 || thread.call.sk == key(asked.session, task_id.pid) {
        return;
    }
    if let Some(entry) = find(asked.session, task_id.pid)
        && entry.verdict != IGNORED
    {
        entry.uncounted |= HOLE;
        count_loss(loss::TLS_WITHIN);
    }
}

/// The return of a function.
#[inline(always)]
pub fn returns(regs: UserRegs) {
    let task_id = TaskId::current();
    let Some(thread) = TLS_THREADS.get_ptr_mut(task_id.tid) else { return };
    // SAFETY: as in `met`.
    let thread = unsafe { &mut *thread };
    if thread.stack == 0 || thread.stack + RETURN_ADDRESS != regs.stack() {
        return;
    }
    thread.stack = 0;
    if is_left_alone(task_id) {
        return;
    }
    let result = regs.result();
    match thread.call.number as u8 {
        result::SESSION => return is_made(result, task_id, thread),
        result::SESSION_BESIDE => {
            if result as i32 == 0 {
                is_made(user_u64(thread.moved_at), task_id, thread);
            }
            return;
        }
        _ => {}
    }
    let Some(entry) = known(thread.call.sk).filter(|entry| entry.socket_id == thread.call.socket_id) else {
        return;
    };
    tie(entry, thread.carrier, thread.carrier_verdict as u8, thread.several != 0);
    if thread.call.kind == 0 || !is_recorded(entry) {
        return;
    }
    let moved = match thread.call.number as u8 {
        result::INT => i64::from(result as i32),
        result::LONG => result as i64,
        _ if result as i32 == 1 => user_u64(thread.moved_at) as i64,
        _ => -1,
    };
    // Not a failure: the other end says that nothing follows.
    let is_end = moved == 0 && thread.call.kind == Kind::Receive as u8 && thread.call.length != 0;
    if moved > 0 || is_end {
        announce(entry);
        has_moved(entry, thread, moved as u64);
    }
}

/// Data of a session that is recorded, of which there is a `Socket` record.
#[inline(always)]
pub fn has_moved(entry: &mut Entry, thread: &mut TlsThread, done: u64) {
    let call = &mut thread.call;
    let receives = call.kind == Kind::Receive as u8;
    let count = if receives { &raw mut entry.written } else { &raw mut entry.sampled };
    // SAFETY: a field of a map's value that is only changed so.
    let seq = unsafe { fetch_add(count, done as u32) };
    let flags = if entry.uncounted & HOLE != 0 { flags::NO_SEQ } else { 0 };
    call.recorded = 1;
    let address = call.address;
    data::emit_data(call, address, done, u64::from(seq) << 32 | u64::from(flags), 0);
}

/// A session begins: whatever had its address is over.
#[inline(always)]
fn is_made(session: u64, task_id: TaskId, thread: &TlsThread) {
    if session == 0 {
        return;
    }
    let number = key(session, task_id.pid);
    if known(number).is_some() {
        forget_beyond(number);
    }
    meet(session, task_id, thread.call.fd as u8, false);
}

/// The role of a session is told.
#[inline(always)]
pub fn is_to_be(session: u64, role: u8) {
    if let Some(entry) = find(session, TaskId::current().pid) {
        entry.role = role;
    }
}

/// A session ends, and another begins in its place. The library does so by itself, too, where a handshake begins.
#[inline(always)]
pub fn begins_anew(regs: UserRegs) {
    let task_id = TaskId::current();
    let session = regs.arg0();
    if let Some(thread) = TLS_THREADS.get_ptr(task_id.tid) {
        // SAFETY: as in `met`.
        let thread = unsafe { &*thread };
        if thread.stack > regs.stack() && thread.call.sk == key(session, task_id.pid) {
            return;
        }
    }
    ends(session, true);
}

/// A session ends; `again`: and another begins in its place.
#[inline(always)]
pub fn ends(session: u64, again: bool) {
    let task_id = TaskId::current();
    if is_left_alone(task_id) {
        return;
    }
    let Some(entry) = find(session, task_id.pid) else { return };
    let role = entry.role;
    if entry.flags & ANNOUNCED != 0 && is_recorded(entry) {
        emit::bare(Kind::Close as u8, task_id, entry.socket_id, flags::NO_SEQ, 0);
    }
    forget_beyond(key(session, task_id.pid));
    if again {
        meet(session, task_id, role, false);
    }
}

/// A number in the caller's memory; 0 where it cannot be read.
#[inline(always)]
fn user_u64(address: u64) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the helper writes eight bytes or zeroes them, whatever the address.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _) };
    value
}
