//! What the ends of calls have in common: the event of a call that moves no data, and the messages of `sendmmsg` and `recvmmsg`.

use crate::{
    maps::InCall,
    ring::{HEADER, reserve},
    task_id::TaskId,
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::mem::size_of;
use retrospan_formats::event::{Call, Record};

/// The positive number of an error, 0 for success.
#[inline(always)]
pub fn errno(result: i64) -> u32 {
    if result < 0 { (-result) as u32 } else { 0 }
}

/// The event of a call without data.
#[inline(always)]
pub fn plain(call: &InCall, task_id: TaskId, result: i64) {
    emit(call, task_id, call.socket_id, call.flags, errno(result));
}

/// An event without data.
#[inline(always)]
pub fn emit(call: &InCall, task_id: TaskId, socket_id: u64, flags: u32, errno: u32) {
    write(call.kind, task_id, socket_id, flags, errno, Some(call.enter_ns));
}

/// An event without data or duration.
#[inline(always)]
pub fn bare(kind: u8, task_id: TaskId, socket_id: u64, flags: u32, errno: u32) {
    write(kind, task_id, socket_id, flags, errno, None);
}

#[inline(always)]
fn write(kind: u8, task_id: TaskId, socket_id: u64, flags: u32, errno: u32, enter_ns: Option<u64>) {
    const BYTES: u64 = (HEADER + size_of::<Call>()) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Call, kind, u32::from(kind), task_id) else {
        return;
    };
    let body = Call {
        socket_id,
        duration_ns: enter_ns.map_or(0, |enter_ns| reservation.boot_ns - enter_ns),
        asked_bytes: 0,
        done_bytes: 0,
        arrived_wall_ns: 0,
        tcp_seq: 0,
        flags,
        errno: errno as u16,
        more_records: 0,
        head_bytes: 0,
        tail_bytes: 0,
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, body) };
    reservation.submit(BYTES as u32);
}

/// `struct mmsghdr`: a `struct msghdr` of 56 bytes, then the bytes moved.
pub const MMSGHDR_BYTES: u64 = 64;
pub const MSGHDR_BYTES: u64 = 56;
/// The kernel takes no more messages in one call.
pub const MOST_MESSAGES: u64 = 1024;

/// Sum of the bytes moved by `count` messages. A function of its own for the verifier, which would else walk
/// the loop after it once for each of this one's ends.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn bytes_of_messages(first: u64, count: u64) -> u64 {
    let mut total = 0;
    let mut index = 0;
    while index < MOST_MESSAGES && index < count {
        total += u64::from(user_u32(first + index * MMSGHDR_BYTES + MSGHDR_BYTES));
        index += 1;
    }
    total
}

/// A number in the caller's memory; 0 where it cannot be read.
#[inline(always)]
pub fn user_u32(address: u64) -> u32 {
    let mut value = 0_u32;
    // SAFETY: the helper writes four bytes or zeroes them, whatever the address.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 4, address as *const _) };
    value
}
