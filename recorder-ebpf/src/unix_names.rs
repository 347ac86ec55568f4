//! What the kernel says of Unix sockets beyond their state: the other end, and the path; and the record that tells of it.

use crate::{
    kernel::{AF_UNIX, SOCK_STREAM, Sk, TCP_ESTABLISHED, config, probe},
    maps::{ANNOUNCED, DISCOVERED, Entry, FROM_START, PERHAPS},
    ring::{HEADER, bounded, reserve},
    task_id::TaskId,
};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::mem::size_of;
use retrospan_formats::{
    config::kinds,
    event::{PATH_BYTES, Record, Socket, UnixEnds, loss, role},
};

/// Whether it is a Unix stream socket.
#[inline(always)]
pub fn is_stream(sk: Sk) -> bool {
    sk.family() == AF_UNIX && sk.kind() == SOCK_STREAM
}

/// The other end, 0 where there is none.
#[inline(always)]
pub fn peer(sk: Sk) -> u64 {
    probe(sk.0, config!(offsets.unix_peer))
}

/// Whether it has a name: the path that it was bound to, or of a socket that was accepted its listener's.
#[inline(always)]
pub fn has_name(sk: u64) -> bool {
    sk != 0 && probe::<u64>(sk, config!(offsets.unix_addr)) != 0
}

/// Whether it is one of those with a path, or without one, that are recorded. One that is not connected may yet be.
#[inline(always)]
pub fn is_wanted(sk: Sk) -> bool {
    const BOTH: u32 = kinds::UNIX | kinds::PAIRS;
    let wanted = config!(kinds) & BOTH;
    wanted == BOTH
        || (has_name(sk.0) || sk.state() != TCP_ESTABLISHED || has_name(peer(sk))) == (wanted == kinds::UNIX)
}

/// Writes the `Socket` record of a Unix socket, with its path and the id of its other end, 0 where that is not known.
#[inline(never)]
pub fn describe(entry: &mut Entry, sk: Sk, peer_id: u64) {
    const FIXED: usize = HEADER + size_of::<Socket>() + size_of::<UnixEnds>();
    const BYTES: u64 = (FIXED + PATH_BYTES) as u64;
    let owner = TaskId { pid: entry.owner, tid: 0 };
    let Some(reservation) = reserve::<BYTES>(Record::Socket, 0, loss::SOCKET, owner) else { return };
    let other = peer(sk);
    // Of the two the one with a path is the one that listens, or was accepted.
    let named = if entry.role == role::CLIENT && has_name(other) { other } else { sk.0 };
    let named = if has_name(named) { named } else { other };
    let address: u64 = if named == 0 { 0 } else { probe(named, config!(offsets.unix_addr)) };
    let mut path = 0;
    if address != 0 {
        let length: u32 = probe(address, config!(offsets.unix_address_len));
        // Behind the family.
        let bytes = bounded(u64::from(length).saturating_sub(2), PATH_BYTES as u64);
        let from = address + u64::from(config!(offsets.unix_address_name)) + 2;
        // SAFETY: at most PATH_BYTES behind what is fixed.
        let result = unsafe {
            bpf_probe_read_kernel(reservation.at.add(FIXED).cast(), bytes as u32, from as *const _)
        };
        path = if result == 0 { bytes } else { 0 };
    }
    let socket = Socket {
        socket_id: entry.socket_id,
        opened_boot_ns: entry.opened_ns,
        inode: entry.inode,
        netns: sk.netns(),
        family: AF_UNIX,
        protocol: 0,
        local_addr: [0; 16],
        remote_addr: [0; 16],
        local_port: 0,
        remote_port: 0,
        role: entry.role,
        discovered: u8::from(entry.flags & DISCOVERED != 0),
        seq_from_start: u8::from(entry.flags & FROM_START != 0),
        perhaps: u8::from(entry.verdict == PERHAPS),
        first_send_seq: entry.first_send_seq,
        first_receive_seq: entry.first_receive_seq,
    };
    let ends = UnixEnds { peer_id, path_bytes: path as u32, reserved: 0 };
    // SAFETY: BYTES is the sum of all.
    unsafe {
        reservation.put(HEADER, socket);
        reservation.put(HEADER + size_of::<Socket>(), ends);
    }
    reservation.submit((FIXED as u64 + path) as u32);
    entry.flags |= ANNOUNCED;
}
