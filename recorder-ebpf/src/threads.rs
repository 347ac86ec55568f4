//! What is remembered of each thread that carries traffic, from its first socket call to its end.
//!
//! A look-up in an array is a few instructions of the program itself, one in a hash map a call of several functions, and
//! system calls and switches look up several times each. So a thread has its place in an array, by its id modulo
//! the places. Where another thread has that place it is in a hash map, which nobody else needs to look into. Which
//! of the two is decided once.

use crate::{
    atomics::{add_to, exchange, is_zero},
    maps::{
        EARLY, InCall, NEW_THREAD, NO_EXIST, OVERFLOW_THREADS, OVERFLOW_THREADS_COUNT, THREAD_PLACES,
        THREADS, Thread, Wait,
    },
};

/// Marks a place as taken, so that none is thread 0's.
const TAKEN: u64 = 1 << 32;

#[inline(always)]
fn owner(tid: u32) -> u64 {
    TAKEN | tid as u64
}

/// The thread's place in the array, whoever has it.
#[inline(always)]
fn place(tid: u32) -> Option<&'static mut Thread> {
    // SAFETY: values of an array are always there. Only the thread that has a place writes to it, or the scheduler in
    // that thread's name.
    THREADS.get_ptr_mut(tid & (THREAD_PLACES as u32 - 1)).map(|place| unsafe { &mut *place })
}

#[inline(always)]
fn overflow(tid: u32) -> Option<&'static mut Thread> {
    if is_zero(&OVERFLOW_THREADS_COUNT) {
        return None;
    }
    // SAFETY: as in `place`; values of a preallocated map stay readable and writable memory.
    OVERFLOW_THREADS.get_ptr_mut(tid).map(|thread| unsafe { &mut *thread })
}

/// What is remembered of a thread; `None` where it never made a socket call.
#[inline(always)]
pub fn known(tid: u32) -> Option<&'static mut Thread> {
    let place = place(tid)?;
    if place.owner == owner(tid) { Some(place) } else { overflow(tid) }
}

/// The same, for a thread that now makes a socket call, or is found in one. `None`: there is no room.
#[inline(always)]
pub fn met(tid: u32) -> Option<&'static mut Thread> {
    let found = place(tid)?;
    if found.owner == owner(tid) {
        return Some(found);
    }
    if let Some(thread) = overflow(tid) {
        return Some(thread);
    }
    // SAFETY: a field of a map's value.
    if unsafe { exchange(&raw mut found.owner, 0, owner(tid)) } {
        return Some(found);
    }
    add_to(&OVERFLOW_THREADS_COUNT, 1);
    if OVERFLOW_THREADS.insert(tid, &NEW_THREAD, NO_EXIST).is_err() {
        add_to(&OVERFLOW_THREADS_COUNT, u64::MAX);
    }
    overflow(tid)
}

/// The thread ends.
#[inline(always)]
pub fn forget(tid: u32) {
    let Some(place) = place(tid) else { return };
    if place.owner == owner(tid) {
        // Whoever has it next finds nothing, even where another makes the entry for it.
        place.wait = Wait::NONE;
        place.call.active = 0;
        forget_early(&mut place.call, tid);
        place.owner = 0;
    } else if let Some(thread) = overflow(tid) {
        forget_early(&mut thread.call, tid);
        if OVERFLOW_THREADS.remove(tid).is_ok() {
            add_to(&OVERFLOW_THREADS_COUNT, u64::MAX);
        }
    }
}

/// Forgets the call that the thread was found in when the recording began: another of its calls is seen from its beginning on, or
/// it ends.
#[inline(always)]
pub fn forget_early(call: &mut InCall, tid: u32) {
    if call.early != 0 {
        call.early = 0;
        let _ = EARLY.remove(tid);
    }
}
