//! Which thread of its process woke a thread, and what received data that follows from. A send tells it.
//!
//! A thread follows from what it received last, or from what its waker followed from, whichever is later: so threads in between that
//! carry no traffic are passed through.

use crate::{
    kernel::{config, current_task, field},
    maps::{CAUSES, Causes, Source, THREAD_PLACES},
    regs::in_own_call,
    ring::{HEADER, now_ns, reserve_at},
    task_id::TaskId,
};
use core::{ffi::c_void, mem::size_of};
use retrospan_formats::event::{Record, Wake, loss};

/// `TASK_INTERRUPTIBLE`: threads wait so for each other and for what is received, but not for locks of the kernel.
const INTERRUPTIBLE: u32 = 0x1;
const NOTHING: Source = Source { received_ns: 0, tid: 0, wake_ups: 0 };

/// The place that the thread has, or may have.
#[inline(always)]
fn place(tid: u32) -> Option<&'static mut Causes> {
    // SAFETY: values of an array are always there. Those of a thread are written by itself, or while it is woken; where two threads
    // that have one place meet, one of them may tell of the other's.
    CAUSES.get_ptr_mut(tid & (THREAD_PLACES as u32 - 1)).map(|place| unsafe { &mut *place })
}

#[inline(always)]
fn known(tid: u32) -> Option<&'static mut Causes> {
    place(tid).filter(|causes| causes.tid == tid)
}

/// The thread's place, made its own.
#[inline(always)]
fn taken(tid: u32) -> Option<&'static mut Causes> {
    let causes = place(tid)?;
    if causes.tid != tid {
        *causes = Causes { tid, by_tid: 0, woken_ns: 0, waker: NOTHING, own: NOTHING };
    }
    Some(causes)
}

/// The thread received data; `boot_ns` is the time of that record.
#[inline(always)]
pub fn received(tid: u32, boot_ns: u64) {
    if let Some(causes) = taken(tid) {
        causes.own = Source { received_ns: boot_ns, tid, wake_ups: 0 };
    }
}

/// `sched_waking(task)`.
#[inline(always)]
pub fn waking(context: *mut c_void, task: *const u8) {
    let (waker, woken) = (TaskId::of(current_task()), TaskId::of(task));
    if waker.pid != woken.pid || waker.tid == woken.tid {
        return;
    }
    // SAFETY: an argument of the hook, which the verifier can follow.
    let state: u32 = unsafe { field(task, config!(offsets.task_state)) };
    if state & INTERRUPTIBLE != 0 && in_own_call(context) {
        follows(woken.tid, waker.tid);
    }
}

/// A task was made. What was known of the one that had its id before is forgotten; not at its end, where it yet wakes who waits for
/// that. A thread follows from what the thread that made it does.
#[inline(always)]
pub fn created(parent: TaskId, child: TaskId) {
    if let Some(causes) = known(child.tid) {
        causes.tid = 0;
    }
    if parent.pid == child.pid {
        follows(child.tid, parent.tid);
    }
}

#[inline(always)]
fn follows(tid: u32, waker: u32) {
    let source = match known(waker) {
        Some(causes) => causes.own,
        None => NOTHING,
    };
    if source.received_ns == 0 {
        if let Some(causes) = known(tid) {
            causes.woken_ns = 0;
        }
        return;
    }
    if let Some(causes) = taken(tid) {
        causes.by_tid = waker;
        causes.woken_ns = now_ns();
        causes.waker = Source { wake_ups: source.wake_ups + 1, ..source };
        causes.own = causes.waker;
    }
}

/// The thread sends, and the record of that has the time `boot_ns`: says who woke it, where that was not said before. Handed over
/// before that record, so that who has that one has this, too.
#[inline(never)]
pub fn tell(task_id: TaskId, boot_ns: u64) {
    const BYTES: u64 = (HEADER + size_of::<Wake>()) as u64;
    let Some(causes) = known(task_id.tid) else { return };
    if causes.woken_ns == 0 {
        return;
    }
    let wake = Wake {
        woken_ns: causes.woken_ns,
        received_ns: causes.waker.received_ns,
        by_tid: causes.by_tid,
        received_tid: causes.waker.tid,
        wake_ups: causes.waker.wake_ups,
        reserved: 0,
    };
    causes.woken_ns = 0;
    let Some(reservation) = reserve_at::<BYTES>(Record::Wake, 0, loss::WAKE, task_id, Some(boot_ns)) else {
        return;
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, wake) };
    reservation.submit(BYTES as u32);
}
