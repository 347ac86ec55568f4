//! Room in this CPU's ring: numbered before it is asked for, counted where there is none.
//!
//! Records are written in place. There is no per-CPU scratch memory, since a soft interrupt may run
//! these programs on top of themselves.

use crate::{
    atomics::fetch_increment,
    maps::{LOSSES, RINGS, SEQUENCE},
    task_id::TaskId,
};
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_query, bpf_ringbuf_reserve,
    bpf_ringbuf_submit,
};
use core::{arch::asm, ffi::c_void, mem::size_of, ptr};
use retrospan_formats::event::{Call, Header, Record};

/// Flag of a record that wakes nobody: the reader drains by the clock.
const NO_WAKEUP: u64 = 1;
/// Flag of a record that wakes the reader: its ring fills before the clock says so.
const FORCE_WAKEUP: u64 = 2;
/// How full a ring is, is looked at once in so many records of a CPU: waking costs the caller more than recording does.
const LOOK_AFTER: u64 = 64;
/// What `bpf_ringbuf_query` tells: bytes that were not read yet, and the size of the ring.
const AVAILABLE: u64 = 0;
const RING_SIZE: u64 = 1;

pub const HEADER: usize = size_of::<Header>();

/// Where the bytes of a call's record begin.
pub const BODY: usize = HEADER + size_of::<Call>();

#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Makes `value` one that the verifier, too, knows to be at most `most`.
#[inline(always)]
pub fn bounded(value: u64, most: u64) -> u64 {
    let mut value = value;
    // SAFETY: a comparison and a move between registers.
    unsafe {
        asm!("if {value} <= {most} goto +1", "{value} = {most}", value = inout(reg) value, most = in(reg) most);
    }
    value
}

/// Counts one loss.
#[inline(always)]
pub fn count_loss(counter: u32) {
    if let Some(value) = LOSSES.get_ptr_mut(counter) {
        // SAFETY: a map value that only atomic additions write.
        unsafe { fetch_increment(value) };
    }
}

/// A record being written.
pub struct Reservation {
    pub at: *mut u8,
    /// Its time of emission.
    pub boot_ns: u64,
    /// Its number.
    pub seq: u64,
    /// Whether it wakes the reader.
    wakeup: u64,
}

/// Takes the next sequence number and reserves `BYTES` in this CPU's ring; the header is complete but
/// for its length. None (and counted) where the ring is full.
///
/// The time is taken after the number: so who knows that the numbers given out up to some moment have all arrived knows
/// that no earlier record is under way.
#[inline(always)]
pub fn reserve<const BYTES: u64>(
    record: Record,
    kind: u8,
    counter: u32,
    task_id: TaskId,
) -> Option<Reservation> {
    reserve_at::<BYTES>(record, kind, counter, task_id, None)
}

/// The same for a record that belongs to an earlier one and has its time.
#[inline(always)]
pub fn reserve_at<const BYTES: u64>(
    record: Record,
    kind: u8,
    counter: u32,
    task_id: TaskId,
    boot_ns: Option<u64>,
) -> Option<Reservation> {
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let next = SEQUENCE.get_ptr_mut(0)?;
    // SAFETY: a map value that only atomic additions write.
    let seq = unsafe { fetch_increment(next) };
    let Some(ring) = RINGS.get(cpu) else {
        count_loss(counter);
        return None;
    };
    let ring = ptr::from_ref(ring).cast_mut().cast();
    let wakeup = if seq % LOOK_AFTER == 0 && fills(ring) { FORCE_WAKEUP } else { NO_WAKEUP };
    // Numbers do not get that far, which the verifier does not know: so it looks at what follows once, whatever the flag.
    let wakeup = wakeup ^ seq >> 62;
    // SAFETY: a ring from the map of rings.
    let reservation = unsafe { bpf_ringbuf_reserve(ring, BYTES, 0) }.cast::<u8>();
    if reservation.is_null() {
        count_loss(counter);
        return None;
    }
    let boot_ns = match boot_ns {
        Some(boot_ns) => boot_ns,
        None => now_ns(),
    };
    let header = Header {
        boot_ns,
        seq,
        pid: task_id.pid,
        tid: task_id.tid,
        cpu: cpu as u16,
        record: record as u8,
        kind,
        record_bytes: BYTES as u32,
    };
    // SAFETY: the room is at least a header long, and 8-byte aligned.
    unsafe { ptr::write(reservation.cast(), header) };
    Some(Reservation { at: reservation, boot_ns, seq, wakeup })
}

/// A quarter of the ring waits to be read.
#[inline(always)]
fn fills(ring: *mut c_void) -> bool {
    // SAFETY: a ring from the map of rings.
    unsafe { bpf_ringbuf_query(ring, AVAILABLE) > bpf_ringbuf_query(ring, RING_SIZE) / 4 }
}

impl Reservation {
    /// Writes a body at a constant place.
    ///
    /// # Safety
    /// `at + size_of::<T>()` must lie within the reservation; the verifier refuses it otherwise.
    #[inline(always)]
    pub unsafe fn put<T>(&self, at: usize, value: T) {
        // SAFETY: promised by the caller; records are 8-byte aligned.
        unsafe { ptr::write(self.at.add(at).cast(), value) };
    }

    /// Hands the record over, `bytes` of it valid.
    #[inline(always)]
    pub fn submit(self, bytes: u32) {
        // SAFETY: the room is at least a header long and not used after this.
        unsafe {
            (*self.at.cast::<Header>()).record_bytes = bytes;
            bpf_ringbuf_submit(self.at.cast(), self.wakeup);
        }
    }
}
