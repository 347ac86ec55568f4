//! Numbers in maps that several CPUs change at once.

use aya_ebpf::btf_maps::Array;
use core::arch::asm;

/// Adds one atomically and returns what was there before (BPF_FETCH, Linux 5.12). Not from `core`, which
/// has no read-modify-write for a target without compare-and-swap of every width.
///
/// # Safety
/// `value` must point to an aligned u64 that is only ever changed this way.
#[inline(always)]
pub unsafe fn fetch_increment(value: *mut u64) -> u64 {
    let mut one = 1_u64;
    // SAFETY: promised by the caller.
    unsafe {
        asm!("{one} = atomic_fetch_add((u64 *)({value} + 0), {one})", one = inout(reg) one, value = in(reg) value);
    }
    one
}

/// Adds to 32 bits atomically and returns what was there before.
///
/// # Safety
/// As for [`fetch_increment`], of a u32.
#[inline(always)]
pub unsafe fn fetch_add(value: *mut u32, amount: u32) -> u32 {
    let mut before = u64::from(amount);
    // SAFETY: promised by the caller.
    unsafe {
        asm!("w0 = atomic_fetch_add((u32 *)({value} + 0), w0)", inlateout("r0") before, value = in(reg) value);
    }
    before as u32
}

/// Adds atomically.
///
/// # Safety
/// As for [`fetch_increment`].
#[inline(always)]
pub unsafe fn add(value: *mut u64, amount: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("lock *(u64 *)({value} + 0) += {amount}", value = in(reg) value, amount = in(reg) amount);
    }
}

/// Writes `new` where `old` stands, atomically (BPF_CMPXCHG, Linux 5.12); whether it did.
///
/// # Safety
/// `place` must point to an aligned u64 of a map's value.
#[inline(always)]
pub unsafe fn exchange(place: *mut u64, old: u64, new: u64) -> bool {
    let mut found = old;
    // SAFETY: promised by the caller.
    unsafe {
        asm!("r0 = cmpxchg_64({place} + 0, r0, {new})", inlateout("r0") found, place = in(reg) place, new = in(reg) new);
    }
    found == old
}

/// Reads a number that other CPUs change.
///
/// # Safety
/// `value` must point to an aligned u64 of a map's value.
#[inline(always)]
pub unsafe fn read(value: *const u64) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { value.read_volatile() }
}

/// Whether a map that has one number has none but zero.
#[inline(always)]
pub fn is_zero(number: &Array<u64, 1>) -> bool {
    // SAFETY: the value of a map.
    number.get_ptr(0).is_none_or(|number| unsafe { read(number) } == 0)
}

/// Adds to the one number of a map; `u64::MAX` takes one off.
#[inline(always)]
pub fn add_to(number: &Array<u64, 1>, amount: u64) {
    if let Some(number) = number.get_ptr_mut(0) {
        // SAFETY: a map value that only atomic additions write.
        unsafe { add(number, amount) };
    }
}
