//! Who a record is about.

use crate::kernel::{config, current_task, field};

/// A thread and its process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TaskId {
    pub pid: u32,
    pub tid: u32,
}

impl TaskId {
    /// Soft interrupts run on top of whoever happens to be there.
    pub const UNKNOWN: TaskId = TaskId { pid: 0, tid: 0 };

    #[inline(always)]
    pub fn current() -> TaskId {
        TaskId::of(current_task())
    }

    /// `task`: the current one, or an argument of the hook.
    #[inline(always)]
    pub fn of(task: *const u8) -> TaskId {
        // SAFETY: a pointer that the verifier can follow.
        unsafe {
            TaskId {
                pid: field(task, config!(offsets.task_tgid)),
                tid: field(task, config!(offsets.task_pid)),
            }
        }
    }
}
