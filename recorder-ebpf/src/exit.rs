//! The exit of a system call that was noted at its entry.

use crate::{
    early, end,
    kernel::{current_task, open_socket},
    maps::{InCall, Thread},
    regs::{self, Regs},
    task_id::TaskId,
    threads, unix,
};
use retrospan_formats::event::Kind;

/// `sys_exit(regs, result)`.
#[inline(always)]
pub fn call(regs: Regs, result: i64) {
    let number = regs.number();
    if !regs::is_wanted(number) {
        return;
    }
    let task_id = TaskId::current();
    let Some(Thread { call, .. }) = threads::known(task_id.tid) else { return };
    let seen = call.seen != 0;
    call.seen = 0;
    if seen {
        // It may have been found after its end was seen.
        threads::forget_early(call, task_id.tid);
    } else if call.early != 0 {
        early::recall(call, task_id, regs, number);
    }
    if call.active == 0 || u64::from(call.number) != number {
        return;
    }
    call.active = 0;
    unix::ends(call);
    if end::is_restart(result) {
        return;
    }
    if call.kind == Kind::Send as u8 || call.kind == Kind::Receive as u8 {
        let after = end::position(call, result);
        end::data(call, result, after);
    } else if call.kind == Kind::Accept as u8 {
        accepted(call, task_id, result);
    } else {
        end::plain(call, task_id, result);
    }
}

/// A function of its own, so that what it keeps on the stack is not there for every other call, too.
#[inline(never)]
fn accepted(call: &InCall, task_id: TaskId, result: i64) {
    if end::was_accepted(call, task_id, result) {
        end::accepted(call, task_id, open_socket(current_task(), result as u32));
    }
}
