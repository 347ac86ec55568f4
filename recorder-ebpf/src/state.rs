//! TCP state changes: where connections begin, become known and end. Mostly soft interrupts.

use crate::{
    filter::decide,
    kernel::{
        IPPROTO_TCP, Sk, TCP_CLOSE, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_LAST_ACK, TCP_LISTEN, TCP_SYN_RECV,
        TCP_SYN_SENT, config,
    },
    maps::{CLOSED, Entry, IS_TCP, Thread},
    ring::{HEADER, reserve},
    sockets::{Origin, announce, first_sight, forget, is_supported, known, note_first_seqs},
    task_id::TaskId,
    tcp, threads,
};
use core::mem::size_of;
use retrospan_formats::event::{Kind, Record, State, role};

/// `inet_sock_set_state(sk, old, new)`.
///
/// The kernel skips a program that is running already on this CPU, so a change made in a soft interrupt on top of
/// this program would not be seen. Hence two programs: `AGAIN` is the second, which does what the first had to miss.
#[inline(always)]
pub fn changed<const AGAIN: bool>(sk: Sk, old: u8, new: u8) {
    if AGAIN && known(sk.0).is_some_and(|entry| entry.state == new) {
        return;
    }
    if old == TCP_SYN_RECV && new == TCP_ESTABLISHED {
        forget_predecessor(sk);
        if known(sk.0).is_none() && is_supported(sk) {
            first_sight(
                sk,
                Origin { role: role::SERVER, discovered: false, file: 0, process: 0, kind: 0 },
                None,
            );
        }
    }
    let Some(entry) = known(sk.0) else { return };
    if entry.flags & CLOSED != 0 {
        return;
    }
    if new == TCP_ESTABLISHED && sk.protocol() == IPPROTO_TCP {
        note_first_seqs(entry, sk, old);
    }
    if old != new {
        decide(entry, sk, None);
        announce(entry, sk, new == TCP_ESTABLISHED);
        if entry.is_recorded() {
            emit(entry, sk, old, new);
            if new == TCP_CLOSE && old != TCP_LISTEN && entry.flags & IS_TCP != 0 && config!(tcp) != 0 {
                tcp::flow(entry.socket_id, sk, true);
            }
        }
    }
    entry.state = new;
    if new == TCP_CLOSE {
        retire(entry, sk);
    }
}

/// The entry of an earlier socket at the same address, whose last file nobody saw closed. A client that is not
/// closed may be here for itself: both ends connected at once; and so may a server that was accepted before this step.
#[inline(always)]
fn forget_predecessor(sk: Sk) {
    if let Some(entry) = known(sk.0)
        && ((entry.role != role::CLIENT && entry.state != TCP_SYN_RECV) || entry.flags & CLOSED != 0)
    {
        forget(sk.0);
    }
}

/// After CLOSE the id is used up. While a file (or the accept queue) still leads to the socket its
/// last calls keep the id; the next connection at this address gets a new one.
#[inline(always)]
fn retire(entry: &mut Entry, sk: Sk) {
    let to_be_accepted = entry.role == role::SERVER && entry.owner == 0;
    if to_be_accepted || sk.has_file() {
        entry.flags |= CLOSED;
    } else {
        forget(sk.0);
    }
}

/// The thread that makes the change, where it is one of its system calls that does: a call on this
/// very socket is in progress, or the change is one that only closing, shutting and connecting make.
#[inline(always)]
fn task_id(sk: Sk, new: u8) -> TaskId {
    let current = TaskId::current();
    if new == TCP_SYN_SENT || new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK {
        return current;
    }
    match threads::known(current.tid) {
        Some(Thread { call, .. }) if call.active != 0 && call.sk == sk.0 => current,
        _ => TaskId::UNKNOWN,
    }
}

#[inline(always)]
fn emit(entry: &Entry, sk: Sk, old: u8, new: u8) {
    const BYTES: u64 = (HEADER + size_of::<State>()) as u64;
    let Some(reservation) =
        reserve::<BYTES>(Record::State, Kind::State as u8, Kind::State as u32, task_id(sk, new))
    else {
        return;
    };
    let is_tcp = sk.protocol() == IPPROTO_TCP;
    let state = State {
        socket_id: entry.socket_id,
        sk_err: sk.error(),
        write_seq: if is_tcp { sk.write_seq() } else { 0 },
        snd_una: if is_tcp { sk.unacknowledged_seq() } else { 0 },
        copied_seq: if is_tcp { sk.copied_seq() } else { 0 },
        rcv_nxt: if is_tcp { sk.received_seq() } else { 0 },
        old_state: old,
        new_state: new,
        reserved: 0,
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, state) };
    reservation.submit(BYTES as u32);
}

/// A change of a socket that TCP knows nothing of; `counts`: the position after what was sent, which is all the other end's, what
/// was taken, and what has arrived.
#[inline(always)]
pub fn emit_counted(socket_id: u64, sk: Sk, states: [u8; 2], counts: &[u32; 3]) {
    const BYTES: u64 = (HEADER + size_of::<State>()) as u64;
    let Some(reservation) =
        reserve::<BYTES>(Record::State, Kind::State as u8, Kind::State as u32, task_id(sk, states[1]))
    else {
        return;
    };
    let state = State {
        socket_id,
        sk_err: sk.error(),
        write_seq: counts[0],
        snd_una: counts[0],
        copied_seq: counts[1],
        rcv_nxt: counts[2],
        old_state: states[0],
        new_state: states[1],
        reserved: 0,
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, state) };
    reservation.submit(BYTES as u32);
}
