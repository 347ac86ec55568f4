//! How Unix sockets end. No hook tells of their states, so those are told where a call changes them, in the words of TCP: a close or a
//! shutdown is a FIN that the other end has got at once.

use crate::{
    kernel::{
        Sk, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LAST_ACK, config,
        descriptors, file_of, is_last_file, probe, socket_of_file,
    },
    maps::{Entry, InCall},
    sockets::{forget, known},
    state,
    unix_names::{is_stream, peer},
};
use retrospan_formats::{
    config::kinds,
    event::{Kind, flags},
};

/// Descriptors of a process that ends that are looked at.
const MOST_DESCRIPTORS: u32 = 1024;

/// What a call of close or shutdown that was noted means for the socket: told before it is done, since afterwards the other end
/// is no more known.
#[inline(always)]
pub fn leaves(call: &InCall) {
    if call.kind == Kind::Close as u8 {
        if is_last_file(file_of(Sk(call.sk))) {
            unix_over(call.sk);
        }
    } else if call.flags & flags::SHUT_WRITE != 0 && call.kind == Kind::Shutdown as u8 {
        unix_shut(call.sk);
    }
}

/// The sending half is shut: the other end is told.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_shut(sk: u64) -> i32 {
    let Some(entry) = known(sk) else { return 0 };
    let sk = Sk(sk);
    match entry.state {
        TCP_ESTABLISHED => {
            step(entry, sk, TCP_FIN_WAIT1);
            step(entry, sk, TCP_FIN_WAIT2);
        }
        TCP_CLOSE_WAIT => step(entry, sk, TCP_LAST_ACK),
        _ => return 0,
    }
    tell_other(sk);
    0
}

/// The socket ends: its last file is gone, be it that its process has ended.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unix_over(sk: u64) -> i32 {
    let Some(entry) = known(sk) else { return 0 };
    let state = match entry.state {
        TCP_ESTABLISHED => TCP_FIN_WAIT1,
        TCP_CLOSE_WAIT => TCP_LAST_ACK,
        _ => 0,
    };
    if state != 0 {
        step(entry, Sk(sk), state);
        tell_other(Sk(sk));
    }
    if entry.state != TCP_CLOSE {
        step(entry, Sk(sk), TCP_CLOSE);
    }
    forget(sk);
    0
}

/// The process ends: whatever only it has open is closed without any call.
#[inline(always)]
pub fn process_ends(task: *const u8) {
    if config!(kinds) & (kinds::UNIX | kinds::PAIRS) == 0 || config!(sockets) != 0 {
        return;
    }
    let (most, slots) = descriptors(task);
    let mut fd = 0;
    while fd < MOST_DESCRIPTORS {
        if fd >= most {
            return;
        }
        let file: u64 = probe(slots + u64::from(fd) * 8, 0);
        if file != 0 {
            release_file(file);
        }
        fd += 1;
    }
}

/// A file of a process that ends. A function of its own for the verifier, which so looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn release_file(file: u64) -> i32 {
    let sk = Sk(socket_of_file(file));
    if sk.0 != 0 && is_stream(sk) && is_last_file(file) {
        unix_over(sk.0);
    }
    0
}

/// The other end gets a FIN.
#[inline(always)]
fn tell_other(sk: Sk) {
    let other = Sk(peer(sk));
    if other.0 == 0 {
        return;
    }
    let Some(entry) = known(other.0) else { return };
    match entry.state {
        TCP_ESTABLISHED => step(entry, other, TCP_CLOSE_WAIT),
        TCP_FIN_WAIT2 => step(entry, other, TCP_CLOSE),
        _ => {}
    }
}

/// The socket changes its state. A function of its own, for one end may make several steps.
#[inline(never)]
fn step(entry: &mut Entry, sk: Sk, new: u8) {
    let old = entry.state;
    entry.state = new;
    if !entry.is_recorded() {
        return;
    }
    // As TCP has it: the FIN has a place of its own, which is given to it after the step that it comes with.
    let fin_out = matches!(old, TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_LAST_ACK);
    let fin_in = matches!(new, TCP_CLOSE_WAIT | TCP_LAST_ACK)
        || matches!(old, TCP_CLOSE_WAIT | TCP_LAST_ACK)
        || (old == TCP_FIN_WAIT2 && new == TCP_CLOSE);
    let sent = entry.sampled.wrapping_add(u32::from(fin_out));
    let taken = entry.written;
    // What the other end has sent, where both count from the first byte.
    let arrived = match known(peer(sk)) {
        Some(other) if other.uncounted | entry.uncounted == 0 => other.sampled,
        _ => taken,
    };
    let arrived = arrived.wrapping_add(u32::from(fin_in));
    state::emit_counted(entry.socket_id, sk, [old, new], &[sent, taken, arrived]);
}
