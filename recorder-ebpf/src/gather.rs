//! Copies of data that lies in several buffers: where they are, and the steps in which they are read.
//!
//! A step is small enough for the verifier to see that it stays within the record.

use crate::{
    kernel::config,
    maps::{Data, source},
    ring::bounded,
};
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use core::mem::{MaybeUninit, size_of};
use retrospan_formats::event::{MAX_SNAP_BYTES, TAIL_BYTES};

pub const TAIL: u64 = TAIL_BYTES as u64;
pub const SNAP: u64 = MAX_SNAP_BYTES as u64;

/// Most bytes of a head copied in one step from several buffers, for a head of at most `cap`: few steps for what most
/// heads need, and yet not twice the room for the largest.
pub const fn step_bytes(cap: u64) -> u64 {
    if cap < 512 { cap } else { 512 }
}
/// Most steps (buffers, or parts of them) that a head is gathered in.
const HEAD_STEPS: u32 = 96;

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    pub address: u64,
    pub bytes: u64,
}

/// `N` buffers of an array at this address: of the caller's memory, or the kernel's where `data` says so.
#[inline(always)]
pub fn read_buffers<const N: usize>(data: &Data, address: u64) -> Option<[Buffer; N]> {
    let mut buffers = MaybeUninit::<[Buffer; N]>::uninit();
    let (to, bytes) = (buffers.as_mut_ptr().cast(), size_of::<[Buffer; N]>() as u32);
    // SAFETY: the helpers write all of them, zeroes where they fail.
    unsafe {
        let result = if config!(sockets) != 0 && data.source.get() == source::KERNEL {
            bpf_probe_read_kernel(to, bytes, address as *const _)
        } else {
            bpf_probe_read_user(to, bytes, address as *const _)
        };
        if result == 0 { Some(buffers.assume_init()) } else { None }
    }
}

/// One buffer of a vector or message. The first two were read already: most heads are in one, their bodies in the other,
/// and each reading of the caller's memory costs much.
#[inline(always)]
pub fn buffer(data: &Data, index: u64) -> Option<Buffer> {
    if index < u64::from(data.known.get()) {
        let place = if index == 0 { &data.pair[0] } else { &data.pair[1] };
        return Some(Buffer { address: place.address.get(), bytes: place.bytes.get() });
    }
    let [buffer] = read_buffers(data, data.buffers.get() + index * 16)?;
    Some(buffer)
}

/// Reads the first two buffers, if there are two, all but the first bytes that are left out.
#[inline(always)]
pub fn read_pair(data: &Data, vector: Buffer, skipped: u64) {
    data.known.set(0);
    if vector.bytes < 2 {
        return;
    }
    if let Some([first, second]) = read_buffers(data, vector.address) {
        data.pair[0].address.set(first.address + skipped);
        data.pair[0].bytes.set(first.bytes.saturating_sub(skipped));
        data.pair[1].address.set(second.address);
        data.pair[1].bytes.set(second.bytes);
        data.known.set(2);
    }
}

/// Room for a head and a step behind it.
pub type Area<const BYTES: usize> = [u8; BYTES];

// Functions of their own for the verifier, as `message` is: each loop is looked at once.

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_128(
    target: *mut Area<{ 128 + step_bytes(128) as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, 128)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_256(
    target: *mut Area<{ 256 + step_bytes(256) as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, 256)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_512(
    target: *mut Area<{ 512 + step_bytes(512) as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, 512)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_1024(
    target: *mut Area<{ 1024 + step_bytes(1024) as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, 1024)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_4096(
    target: *mut Area<{ MAX_SNAP_BYTES + step_bytes(SNAP) as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, SNAP)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_tail(target: *mut Area<{ 2 * TAIL_BYTES }>, data: *const Data) -> i32 {
    gather_steps(target.cast(), data, TAIL, TAIL, TAIL as u32 + 4)
}

/// [`gather_steps`] for a head.
#[inline(always)]
pub fn gather(target: *mut u8, data: *const Data, wanted: u64, cap: u64) -> i32 {
    gather_steps(target, data, wanted, cap, HEAD_STEPS)
}

/// Copies `wanted` bytes (at most `cap`) from several buffers, from the place that `data` names on;
/// `data.copied` says how many it got. One step never copies more than
/// [`step_bytes`].
#[inline(always)]
fn gather_steps(target: *mut u8, data: *const Data, wanted: u64, cap: u64, steps: u32) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let Some(data) = (unsafe { data.as_ref() }) else { return 0 };
    if target.is_null() {
        return 0;
    }
    let most = step_bytes(cap);
    data.copied.set(0);
    let mut step = 0;
    while step < steps {
        step += 1;
        let copied = data.copied.get();
        let index = data.buffer.get();
        if copied >= wanted || index >= data.count.get() {
            break;
        }
        let Some(buffer) = buffer(data, index) else { break };
        let offset = data.offset.get();
        if offset < buffer.bytes {
            let left = buffer.bytes - offset;
            let missing = wanted - copied;
            let bytes = bounded(if left < missing { left } else { missing }, most);
            // SAFETY: at most `cap` bytes behind the start there is room for a step.
            let result = unsafe {
                let to = target.add(bounded(copied, cap) as usize);
                bpf_probe_read_user(to.cast(), bytes as u32, (buffer.address + offset) as *const _)
            };
            if result != 0 {
                break;
            }
            data.copied.set(copied + bytes);
            if bytes < left {
                data.offset.set(offset + bytes);
                continue;
            }
        }
        data.buffer.set(index + 1);
        data.offset.set(0);
    }
    0
}
