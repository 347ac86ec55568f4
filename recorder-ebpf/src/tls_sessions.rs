//! Sessions of TLS libraries: entries like those of sockets, known by their process and their address in it.
//!
//! Their streams are counted here, from the session's first byte on. They are never in the array of sockets but among those beyond
//! it: user space takes those of ended processes out of there, since nothing in the kernel tells of a session's end then.

use crate::{
    atomics::{fetch_add, fetch_increment},
    filter::{Matches, process_matches},
    kernel::{config, current_task},
    maps::{
        ANNOUNCED, DISCOVERED, Entry, FROM_START, IDS, IGNORED, PERHAPS, PROCESS_MATCHES, RECORDED, TLS,
        UNDECIDED,
    },
    ring::{HEADER, count_loss, now_ns, reserve},
    sockets::{enter_beyond, forget_beyond, known},
    task_id::TaskId,
};
use core::mem::size_of;
use retrospan_formats::event::{PROTOCOL_TLS, Record, Socket, TlsEnds, loss};

/// Position of the first byte of a stream: not 0, which says that it is not known.
pub const FIRST: u32 = 1;

/// [`Entry::uncounted`]: its calls were on more than one socket.
const SEVERAL: u8 = 1 << 0;
/// [`Entry::uncounted`]: some of its data was not seen, so positions are not known.
pub const HOLE: u8 = 1 << 1;

/// [`Entry::rtt_us`]: it has ended, but calls on it are under way, whose number the other bits are.
const ENDED: u32 = 1 << 31;

/// What a session is known by among sockets: no address of the kernel's, of which the upper 16 bits are the same, and even. Different
/// ones may have the same number, so the entry says whose it is.
#[inline(always)]
pub fn key(session: u64, tgid: u32) -> u64 {
    let mixed = (session ^ u64::from(tgid) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 8 & !3) | 1 << 56
}

/// What is known of a session; whatever else has its key is forgotten.
#[inline(always)]
pub fn find(session: u64, tgid: u32) -> Option<&'static mut Entry> {
    let key = key(session, tgid);
    let entry = known(key)?;
    if entry.inode == session && entry.owner == tgid {
        return Some(entry);
    }
    forget_beyond(key);
    None
}

/// Enters a session of the current process. `discovered`: nobody saw it begin.
#[inline(never)]
pub fn meet(session: u64, task_id: TaskId, role: u8, discovered: bool) -> Option<&'static mut Entry> {
    let id = IDS.get_ptr_mut(0)?;
    // SAFETY: a map value that only atomic additions write.
    let socket_id = unsafe { fetch_increment(id) } + 1;
    let (opened_ns, seen) = if discovered { (0, DISCOVERED) } else { (now_ns(), FROM_START) };
    let (verdict, matches) = match process_matches(current_task(), task_id.pid) {
        Matches::No => (IGNORED, 0),
        // What it is on decides.
        _ if config!(filters.by_socket) != 0 => (UNDECIDED, PROCESS_MATCHES),
        Matches::Yes => (RECORDED, PROCESS_MATCHES),
        Matches::Perhaps => (PERHAPS, PROCESS_MATCHES),
    };
    let entry = Entry {
        socket_id,
        opened_ns,
        inode: session,
        owner: task_id.pid,
        first_send_seq: 0,
        first_receive_seq: 0,
        budget: [0; 2],
        verdict,
        role,
        flags: seen | matches,
        direction: 0,
        state: 0,
        // One in 255, as of connections; its ports would not tell it from others.
        share: (socket_id % 255) as u8 + 1,
        uncounted: 0,
        kind: TLS,
        head_place: [0; 2],
        head_left: [0; 2],
        sampled: FIRST,
        written: FIRST,
        rtt_us: 0,
    };
    enter_beyond(key(session, task_id.pid), &entry)
}

/// A session that may have been met in the middle begins only now.
#[inline(always)]
pub fn begins_now(entry: &mut Entry, role: u8) {
    entry.role = role;
    if entry.flags & (DISCOVERED | ANNOUNCED) == DISCOVERED {
        entry.flags = (entry.flags & !DISCOVERED) | FROM_START;
        entry.opened_ns = now_ns();
    }
}

/// A call on it begins, which may still be under way when it ends.
#[inline(always)]
pub fn call_begins(entry: &mut Entry) {
    // SAFETY (here and below): a field of a map's value that is only changed so.
    unsafe { fetch_add(&raw mut entry.rtt_us, 1) };
}

/// Such a call ends. Whether it was the last one on a session that has ended.
#[inline(always)]
pub fn call_ends(entry: &mut Entry) -> bool {
    let before = unsafe { fetch_add(&raw mut entry.rtt_us, u32::MAX) };
    before == ENDED | 1
}

/// It ends. Whether such calls are under way, the last of which ends it.
#[inline(always)]
pub fn ends_later(entry: &mut Entry) -> bool {
    if entry.rtt_us & ENDED != 0 {
        return true;
    }
    let before = unsafe { fetch_add(&raw mut entry.rtt_us, ENDED) };
    before != 0
}

/// Takes in which socket a call of the session was on: `carrier`, with this verdict, and whether it was on others, too.
#[inline(never)]
pub fn tie(entry: &mut Entry, carrier: u64, verdict: u8, several: bool) {
    if carrier == 0 || entry.uncounted & SEVERAL != 0 {
        return;
    }
    if entry.verdict == UNDECIDED && !several {
        entry.verdict = verdict;
    }
    let before = carrier_of(entry);
    if before == carrier && !several {
        return;
    }
    let told = entry.flags & ANNOUNCED != 0;
    if several || before != 0 {
        entry.uncounted |= SEVERAL;
        (entry.first_send_seq, entry.first_receive_seq) = (0, 0);
        count_loss(loss::TLS_CARRIER);
    } else {
        (entry.first_send_seq, entry.first_receive_seq) = (carrier as u32, (carrier >> 32) as u32);
    }
    if told {
        describe(entry);
    }
}

/// `socket_id` of the socket that its records travel on, 0 where that is not known.
#[inline(always)]
fn carrier_of(entry: &Entry) -> u64 {
    u64::from(entry.first_receive_seq) << 32 | u64::from(entry.first_send_seq)
}

/// Writes the `Socket` record of a session that is recorded, if there is none yet.
#[inline(always)]
pub fn announce(entry: &mut Entry) {
    if entry.flags & ANNOUNCED == 0 {
        describe(entry);
    }
}

#[inline(never)]
fn describe(entry: &mut Entry) {
    const BYTES: u64 = (HEADER + size_of::<Socket>() + size_of::<TlsEnds>()) as u64;
    let owner = TaskId { pid: entry.owner, tid: 0 };
    let Some(reservation) = reserve::<BYTES>(Record::Socket, 0, loss::SOCKET, owner) else { return };
    let socket = Socket {
        socket_id: entry.socket_id,
        opened_boot_ns: entry.opened_ns,
        inode: 0,
        netns: 0,
        family: 0,
        protocol: PROTOCOL_TLS,
        local_addr: [0; 16],
        remote_addr: [0; 16],
        local_port: 0,
        remote_port: 0,
        role: entry.role,
        discovered: u8::from(entry.flags & DISCOVERED != 0),
        seq_from_start: u8::from(entry.flags & FROM_START != 0),
        perhaps: u8::from(entry.verdict == PERHAPS),
        first_send_seq: FIRST,
        first_receive_seq: FIRST,
    };
    let ends = TlsEnds {
        carrier_id: carrier_of(entry),
        key: key(entry.inode, entry.owner),
        several: u32::from(entry.uncounted & SEVERAL),
        reserved: 0,
    };
    // SAFETY: BYTES is the sum of all.
    unsafe {
        reservation.put(HEADER, socket);
        reservation.put(HEADER + size_of::<Socket>(), ends);
    }
    reservation.submit(BYTES as u32);
    entry.flags |= ANNOUNCED;
}
