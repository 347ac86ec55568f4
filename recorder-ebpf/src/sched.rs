//! What keeps threads from running, and who runs instead. Every switch of every CPU comes through here, so
//! what concerns nobody watched must leave after a few look-ups.
//!
//! The scheduler calls with interrupts off: nothing here runs on top of itself on one CPU, and the steps of one
//! thread (woken, put on a CPU, taken off it) come one after the other.

use crate::{
    atomics::{add, add_to, is_zero, read},
    kernel::config,
    maps::{NO_EXIST, ON_CPU, STOPPED, STOPS, Thread, USAGE},
    ring::{HEADER, count_loss, now_ns, reserve},
    task_id::TaskId,
    threads,
};
use core::mem::size_of;
use retrospan_formats::event::{Record, Sched, SchedKind, loss};

/// `TASK_UNINTERRUPTIBLE`, and what marks those that only wait for work.
const UNINTERRUPTIBLE: u32 = 0x2;
const NO_LOAD: u32 = 0x400;
/// `__TASK_STOPPED`.
const IS_STOPPED: u32 = 0x4;

/// Whoever ran this much longer than all others needs as long to lose the majority: less than waits that are recorded.
const LEAD_NS: u64 = 4_000_000;

#[inline(always)]
fn is_long(since_ns: u64, now_ns: u64) -> bool {
    since_ns != 0 && now_ns - since_ns >= u64::from(config!(sched_threshold_us)) * 1_000
}

/// `sched_switch(preempted, before, after, state)`: `state` is that of the task that leaves.
#[inline(always)]
pub fn switched(preempted: bool, before: *const u8, after: *const u8, state: u32) {
    let now = now_ns();
    let (before, after) = (TaskId::of(before), TaskId::of(after));
    let most_pid = charge(before, after, now);
    if config!(sched) == 0 {
        return;
    }
    if before.tid != 0 {
        left(before, if preempted { 0 } else { state }, now);
    }
    if after.tid != 0
        && let Some(Thread { wait, .. }) = threads::known(after.tid)
    {
        let since = wait.runnable_since_ns;
        wait.runnable_since_ns = 0;
        if is_long(since, now) {
            emit(SchedKind::RunQueue, after, since, most_pid);
        }
    }
}

/// A task leaves its CPU: in state 0 it would rather stay.
#[inline(always)]
fn left(task: TaskId, state: u32, now: u64) {
    if state & IS_STOPPED != 0 && task.tid == task.pid {
        stopped(task, now);
    }
    if let Some(Thread { wait, .. }) = threads::known(task.tid) {
        wait.runnable_since_ns = if state == 0 { now } else { 0 };
        wait.blocked_since_ns = if state & (UNINTERRUPTIBLE | NO_LOAD) == UNINTERRUPTIBLE { now } else { 0 };
    }
}

/// Charges the time since the CPU's last switch to who had it. Returns who had most of the CPU lately.
#[inline(always)]
fn charge(before: TaskId, after: TaskId, now: u64) -> u32 {
    let Some(on_cpu) = ON_CPU.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's value, which nothing else writes and nothing on top of this reads.
    let on_cpu = unsafe { &mut *on_cpu };
    let since = on_cpu.since_ns;
    let slice = if since == 0 { 0 } else { now - since };
    if config!(usage) != 0 && slice != 0 && before.pid != 0 {
        sum_up(before.pid, slice);
    }
    on_cpu.since_ns = now;
    on_cpu.pid = after.pid;
    // A vote by time, which the present majority may win by LEAD_NS at most: older times count for nothing.
    if before.pid == on_cpu.most_pid {
        let lead = on_cpu.lead_ns + slice;
        on_cpu.lead_ns = if lead < LEAD_NS { lead } else { LEAD_NS };
    } else if on_cpu.lead_ns >= slice {
        on_cpu.lead_ns -= slice;
    } else {
        let lead = slice - on_cpu.lead_ns;
        on_cpu.lead_ns = if lead < LEAD_NS { lead } else { LEAD_NS };
        on_cpu.most_pid = before.pid;
    }
    on_cpu.most_pid
}

#[inline(always)]
fn sum_up(pid: u32, slice: u64) {
    match USAGE.get_ptr_mut(pid) {
        // SAFETY: a map value that only atomic additions write.
        Some(sum) => unsafe { add(sum, slice) },
        None => {
            if USAGE.insert(pid, slice, 0).is_err() {
                count_loss(loss::USAGE_MAP);
            }
        }
    }
}

/// `sched_wakeup(task)`.
#[inline(always)]
pub fn woken(task: *const u8) {
    let task = TaskId::of(task);
    if task.tid == task.pid && !is_zero(&STOPS) {
        continued(task);
    }
    let Some(Thread { wait, .. }) = threads::known(task.tid) else { return };
    let now = now_ns();
    let since = wait.blocked_since_ns;
    wait.blocked_since_ns = 0;
    wait.runnable_since_ns = now;
    if is_long(since, now) {
        emit(SchedKind::OffCpu, task, since, 0);
    }
}

/// The leader stops, and with it the process: since the time of that row, or since now where it found no room.
#[inline(always)]
fn stopped(task: TaskId, now: u64) {
    let said = emit(SchedKind::Stopped, task, 0, 0);
    let since = if said != 0 { said } else { now };
    match STOPPED.insert(task.pid, since, NO_EXIST) {
        Ok(()) => add_to(&STOPS, 1),
        Err(_) => count_loss(loss::STOP_MAP),
    }
}

/// A leader is woken while some process is stopped: perhaps this one.
#[inline(always)]
fn continued(task: TaskId) {
    let Some(since) = STOPPED.get_ptr(task.pid) else { return };
    // SAFETY: values of a preallocated map stay readable memory.
    let since = unsafe { read(since) };
    let _ = STOPPED.remove(task.pid);
    add_to(&STOPS, u64::MAX);
    emit(SchedKind::Continued, task, since, 0);
}

/// Writes a row that says `since` when, 0 where it is of a moment. Returns its time, 0 where there was no room.
#[inline(never)]
fn emit(kind: SchedKind, task: TaskId, since_ns: u64, other_pid: u32) -> u64 {
    const BYTES: u64 = (HEADER + size_of::<Sched>()) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Sched, kind as u8, kind as u32, task) else { return 0 };
    let boot_ns = reservation.boot_ns;
    let duration_ns = if since_ns == 0 { 0 } else { boot_ns - since_ns };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, Sched { duration_ns, other_pid, reserved: 0 }) };
    reservation.submit(BYTES as u32);
    boot_ns
}
