//! Functions of the probe set `sockets`, and which of them are steps of another.

use crate::{
    kernel::{config, field, is_compat},
    regs::{self, Regs},
};
use aya_ebpf::helpers::generated::bpf_task_pt_regs;

/// Which function a call is in: beyond every system call number.
pub mod function {
    pub const SEND: u32 = 0x1_0000;
    pub const RECEIVE: u32 = 0x1_0001;
    pub const ACCEPT: u32 = 0x1_0002;
    pub const CONNECT: u32 = 0x1_0003;
    pub const LISTEN: u32 = 0x1_0004;
    pub const SHUTDOWN: u32 = 0x1_0005;
    pub const CLOSE: u32 = 0x1_0006;
    /// Out of a socket into a pipe.
    pub const SPLICE_FROM: u32 = 0x1_0007;
    /// Out of a pipe into a socket.
    pub const SPLICE_TO: u32 = 0x1_0008;
    /// A page of memory that the kernel has.
    pub const SEND_PAGE: u32 = 0x1_0009;
    /// sendfile.
    pub const SEND_FILE: u32 = 0x1_000a;
}

/// `PF_IO_WORKER` of include/linux/sched.h.
const PF_IO_WORKER: u32 = 0x10;

/// Whether a function is part of what another does: its bytes are those of the outer call.
#[inline(always)]
pub const fn is_within(inner: u32, outer: u32) -> bool {
    match inner {
        function::SEND | function::SEND_PAGE => outer == function::SPLICE_TO || outer == function::SEND_FILE,
        function::SPLICE_TO => outer == function::SEND_FILE,
        _ => false,
    }
}

/// Whether the thread may be in a function that moves data from file to file. Where the kernel has skipped the program at the end of
/// one, what the thread sends later is no part of it.
#[inline(always)]
pub fn may_move_between_files(task: *const u8) -> bool {
    match system_call(task) {
        Some(number) => regs::moves_between_files(number),
        None => true,
    }
}

/// Whether a send is one that io_uring tries before it waits for room: none of this thread's system calls sends.
#[inline(always)]
pub fn is_tried(task: *const u8) -> bool {
    match system_call(task) {
        Some(number) => !regs::can_send(number),
        None => !is_compat(task),
    }
}

/// The 64-bit system call that the thread is in. None of a worker of io_uring, which is in none, and of a 32-bit call.
#[inline(always)]
fn system_call(task: *const u8) -> Option<u64> {
    // SAFETY: a pointer that the verifier can follow.
    let task_flags: u32 = unsafe { field(task, config!(offsets.task_flags)) };
    if task_flags & PF_IO_WORKER != 0 || is_compat(task) {
        return None;
    }
    // SAFETY: as above.
    Some(Regs(unsafe { bpf_task_pt_regs(task.cast_mut().cast()) } as *const u8).number())
}
