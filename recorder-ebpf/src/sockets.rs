//! Sockets from first sight to retirement, and the `Socket` records that describe them.

use crate::{
    atomics::{add_to, exchange, fetch_increment, is_zero},
    filter::{Matches, decide, decide_other, has_socket_filter},
    kernel::{
        AF_INET, AF_INET6, AF_UNIX, IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM, Sk,
        TCP_LISTEN, TCP_SYN_SENT, config, socket_inode,
    },
    maps::{
        ANNOUNCED, DATAGRAMS, DISCOVERED, Entry, FROM_START, IDS, IS_TCP, NO_EXIST, OVERFLOW_SOCKETS,
        OVERFLOW_SOCKETS_COUNT, PERHAPS, Place, SOCKETS, UNDECIDED, UNIX,
    },
    ring::{HEADER, count_loss, now_ns, reserve},
    task_id::TaskId,
    unix_names,
};
use core::mem::{offset_of, size_of};
use retrospan_formats::{
    config::kinds,
    event::{Record, Socket, loss, role},
};

const EEXIST: i32 = -17;
/// Added to [`Place::sk`] while the entry is being written.
const IN_THE_MAKING: u64 = 1;
/// Added instead where it must not be used, since the socket was entered elsewhere meanwhile.
const OVERTAKEN: u64 = 2;

/// Where a socket comes from.
#[derive(Clone, Copy)]
pub struct Origin {
    pub role: u8,
    /// It was open before it was first seen.
    pub discovered: bool,
    /// Its file, 0 where there is none yet.
    pub file: u64,
    /// The process that uses it; 0 in a soft interrupt.
    pub process: u32,
    /// [`Entry::kind`] of what is no TCP socket: the process that uses it decides about it.
    pub kind: u8,
}

/// The socket's place in the array, whoever has it. As for threads (see `threads`), a look-up there is a few instructions,
/// and the hash map is only for sockets whose place is another's.
#[inline(always)]
fn place(sk: u64) -> Option<&'static mut Place> {
    // Fibonacci hashing: addresses differ in their middle bits.
    let hash = sk.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    // SAFETY: values of an array are always there; `Entry` says who writes.
    SOCKETS.get_ptr_mut(hash as u32 & (config!(socket_places) - 1)).map(|place| unsafe { &mut *place })
}

#[inline(always)]
fn overflow(sk: u64) -> Option<&'static mut Entry> {
    if is_zero(&OVERFLOW_SOCKETS_COUNT) {
        return None;
    }
    // SAFETY: values of a preallocated map stay readable and writable memory; `Entry` says who writes.
    OVERFLOW_SOCKETS.get_ptr_mut(sk).map(|entry| unsafe { &mut *entry })
}

/// What is known of a socket, without making anything.
#[inline(always)]
pub fn known(sk: u64) -> Option<&'static mut Entry> {
    let place = place(sk)?;
    if place.sk == sk { Some(&mut place.entry) } else { overflow(sk) }
}

/// The socket is gone, or its address is to be another's.
#[inline(always)]
pub fn forget(sk: u64) {
    if let Some(place) = place(sk)
        && !place.becomes(sk, 0)
    {
        leave_crowd(sk);
    }
}

#[inline(always)]
fn leave_crowd(sk: u64) {
    if !is_zero(&OVERFLOW_SOCKETS_COUNT) && OVERFLOW_SOCKETS.remove(sk).is_ok() {
        add_to(&OVERFLOW_SOCKETS_COUNT, u64::MAX);
    }
}

impl Place {
    /// Changes [`Place::sk`], unless it is another already; whether it did.
    #[inline(always)]
    fn becomes(&mut self, old: u64, new: u64) -> bool {
        // SAFETY: a field of a map's value.
        unsafe { exchange(&raw mut self.sk, old, new) }
    }
}

/// Enters a socket that is not known. It may be first seen on two CPUs at once, or in a soft interrupt on top of this:
/// both get the same entry. Only who made a place its own gives it up, and only before it could be found.
#[inline(always)]
fn enter(sk: u64, entry: &Entry) -> Option<&'static mut Entry> {
    let place = place(sk)?;
    if place.becomes(0, sk | IN_THE_MAKING) {
        if overflow(sk).is_none() {
            place.entry = *entry;
            if place.becomes(sk | IN_THE_MAKING, sk) {
                return Some(&mut place.entry);
            }
        }
        place.sk = 0;
        return overflow(sk);
    }
    // Counted first: where the count is zero nobody looks.
    add_to(&OVERFLOW_SOCKETS_COUNT, 1);
    if let Err(error) = OVERFLOW_SOCKETS.insert(sk, entry, NO_EXIST) {
        add_to(&OVERFLOW_SOCKETS_COUNT, u64::MAX);
        if error != EEXIST {
            count_loss(loss::SOCKET_MAP);
            return None;
        }
    }
    if !place.becomes(sk | IN_THE_MAKING, sk | OVERTAKEN) && place.sk == sk {
        leave_crowd(sk);
        return Some(&mut place.entry);
    }
    overflow(sk)
}

/// Enters what is no socket of the kernel's beyond the array, by a number of which nothing is known yet.
#[inline(always)]
pub fn enter_beyond(key: u64, entry: &Entry) -> Option<&'static mut Entry> {
    add_to(&OVERFLOW_SOCKETS_COUNT, 1);
    if OVERFLOW_SOCKETS.insert(key, entry, NO_EXIST).is_err() {
        add_to(&OVERFLOW_SOCKETS_COUNT, u64::MAX);
        count_loss(loss::SOCKET_MAP);
        return None;
    }
    overflow(key)
}

/// What has this number is gone.
#[inline(always)]
pub fn forget_beyond(key: u64) {
    leave_crowd(key);
}

/// Whether it is a socket of a kind that is recorded.
#[inline(always)]
pub fn is_supported(sk: Sk) -> bool {
    let family = sk.family();
    if family != AF_INET && family != AF_INET6 {
        return false;
    }
    let protocol = sk.protocol();
    config!(kinds) & kinds::TCP != 0 && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)
}

/// What else it is that is recorded: [`DATAGRAMS`], [`UNIX`], or 0.
#[inline(always)]
pub fn other_kind(sk: Sk) -> u8 {
    let family = sk.family();
    if family == AF_UNIX {
        // Without ports and addresses none passes a filter by these.
        let wanted = config!(kinds) & (kinds::UNIX | kinds::PAIRS) != 0 && !has_socket_filter();
        if wanted && sk.kind() == SOCK_STREAM && unix_names::is_wanted(sk) { UNIX } else { 0 }
    } else if config!(kinds) & (kinds::DNS | kinds::UDP) != 0 && is_udp(sk) {
        DATAGRAMS
    } else {
        0
    }
}

/// Whether it is a UDP socket, and no raw one.
#[inline(always)]
pub fn is_udp(sk: Sk) -> bool {
    let family = sk.family();
    (family == AF_INET || family == AF_INET6) && sk.protocol() == IPPROTO_UDP && sk.kind() == SOCK_DGRAM
}

/// Enters a socket into the map and decides about it as far as that can be done; `matches` is what
/// the filters by process say, if it is known.
#[inline(always)]
pub fn first_sight(sk: Sk, origin: Origin, matches: Option<Matches>) -> Option<&'static mut Entry> {
    let id = IDS.get_ptr_mut(0)?;
    // SAFETY: a map value that only atomic additions write.
    let socket_id = unsafe { fetch_increment(id) } + 1;
    let mut entry = Entry {
        socket_id,
        opened_ns: if origin.discovered { 0 } else { now_ns() },
        inode: if origin.file == 0 { 0 } else { socket_inode(origin.file) },
        owner: origin.process,
        first_send_seq: 0,
        first_receive_seq: 0,
        budget: [0; 2],
        verdict: UNDECIDED,
        role: origin.role,
        flags: if origin.discovered { DISCOVERED } else { 0 },
        direction: 0,
        state: 0,
        share: 0,
        uncounted: 0,
        kind: origin.kind,
        head_place: [0; 2],
        head_left: [0; 2],
        sampled: 0,
        written: 0,
        rtt_us: 0,
    };
    if sk.protocol() == IPPROTO_TCP {
        entry.flags |= IS_TCP;
        if origin.discovered {
            entry.first_send_seq = sk.write_seq();
            entry.first_receive_seq = sk.copied_seq();
        }
    }
    if origin.kind != 0 {
        decide_other(&mut entry, sk, matches);
    } else {
        decide(&mut entry, sk, matches);
    }
    enter(sk.0, &entry)
}

/// Takes the sequence numbers of the first bytes, in a step from `old` to ESTABLISHED or where a connection is accepted
/// before that. Data may have travelled with the handshake (TCP Fast Open), so the positions of today tell only together with
/// what was moved.
#[inline(always)]
pub fn note_first_seqs(entry: &mut Entry, sk: Sk, old: u8) {
    let client = entry.role == role::CLIENT;
    if client == (old == TCP_SYN_SENT) {
        entry.first_send_seq = sk.first_sent_seq(client);
        entry.first_receive_seq = sk.first_received_seq();
    } else {
        // Both ends connected at once.
        entry.first_send_seq = sk.write_seq();
        entry.first_receive_seq = sk.copied_seq();
    }
    entry.flags |= FROM_START;
}

/// Writes a `Socket` record for a recorded socket: when there is none yet, or `again` because
/// something about it became known.
#[inline(always)]
pub fn announce(entry: &mut Entry, sk: Sk, again: bool) {
    if entry.is_recorded() && (entry.flags & ANNOUNCED == 0 || again) {
        if entry.kind & UNIX != 0 {
            return unix_names::describe(entry, sk, peer_id(sk));
        }
        describe(entry, sk);
    }
}

/// The same for what is known to be a Unix socket.
#[inline(always)]
pub fn announce_unix(entry: &mut Entry, sk: Sk, again: bool) {
    if entry.is_recorded() && (entry.flags & ANNOUNCED == 0 || again) {
        unix_names::describe(entry, sk, peer_id(sk));
    }
}

/// The same for what is known to be none.
#[inline(always)]
pub fn announce_other(entry: &mut Entry, sk: Sk) {
    if entry.is_recorded() && entry.flags & ANNOUNCED == 0 {
        describe(entry, sk);
    }
}

/// Id of a Unix socket's other end, 0 where that is not known or not recorded.
#[inline(always)]
fn peer_id(sk: Sk) -> u64 {
    match known(unix_names::peer(sk)) {
        Some(other) if other.kind & UNIX != 0 && other.is_recorded() => other.socket_id,
        _ => 0,
    }
}

/// A function of its own: most calls on a socket do not come here.
#[inline(never)]
fn describe(entry: &mut Entry, sk: Sk) {
    const BYTES: u64 = (HEADER + size_of::<Socket>()) as u64;
    let owner = TaskId { pid: entry.owner, tid: 0 };
    let Some(reservation) = reserve::<BYTES>(Record::Socket, 0, loss::SOCKET, owner) else {
        return;
    };
    let family = sk.family();
    let role =
        if entry.role == role::UNKNOWN && sk.state() == TCP_LISTEN { role::LISTENER } else { entry.role };
    // Field by field into the record: a copy on the stack would be more than callers leave.
    macro_rules! put {
        ($($field:ident: $value:expr,)+) => {$(
            // SAFETY: BYTES is the sum of header and struct, and all of its fields are written.
            unsafe { reservation.put(HEADER + offset_of!(Socket, $field), $value) };
        )+};
    }
    put! {
        socket_id: entry.socket_id,
        opened_boot_ns: entry.opened_ns,
        inode: entry.inode,
        netns: sk.netns(),
        family: family,
        protocol: sk.protocol(),
        local_addr: bytes(sk.local_address()),
        remote_addr: bytes(sk.remote_address()),
        local_port: sk.local_port(),
        remote_port: sk.remote_port(),
        role: role,
        discovered: u8::from(entry.flags & DISCOVERED != 0),
        seq_from_start: u8::from(entry.flags & FROM_START != 0),
        perhaps: u8::from(entry.verdict == PERHAPS),
        first_send_seq: entry.first_send_seq,
        first_receive_seq: entry.first_receive_seq,
    }
    reservation.submit(BYTES as u32);
    entry.flags |= ANNOUNCED;
}

/// The words of an address in memory.
#[inline(always)]
pub fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: same size, no invalid values.
    unsafe { core::mem::transmute(words) }
}
