//! x86-64 in one place: system call numbers, and where their arguments are. Another architecture
//! needs a sibling of this file and nothing else.

use crate::kernel::{current_task, field};
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use core::{arch::asm, ffi::c_void};

/// Offsets in `struct pt_regs`, part of the kernel's binary interface to debuggers.
const RBX: u32 = 40;
const RDI: u32 = 112;
const RSI: u32 = 104;
const RDX: u32 = 96;
const R10: u32 = 56;
const R8: u32 = 72;
const R14: usize = 8;
const RAX: usize = 80;
const RCX: usize = 88;
const RSP: usize = 152;
const ORIG_RAX: u32 = 120;

/// `THREAD_SIZE`: a thread's stack in the kernel, bytes.
const STACK_BYTES: u64 = 16 << 10;

/// Whether the current thread itself called what runs now, in a system call of its own, and no interrupt did. `context` is that
/// of the program, which lies on the stack of whoever called it.
///
/// Interrupts have a stack of their own, but for those that come in user mode: they begin at the thread's empty stack, as a
/// system call does, and have no system call's number. A thread's registers are at the upper end of its stack.
#[inline(always)]
pub fn in_own_call(context: *mut c_void) -> bool {
    // SAFETY: the current task.
    let regs = unsafe { bpf_task_pt_regs(current_task().cast_mut().cast()) } as *const u8;
    let mut depth = regs as u64;
    // SAFETY: a subtraction between registers; in assembler, since the verifier takes nothing else to be the number that it is.
    unsafe { asm!("{depth} -= {context}", depth = inout(reg) depth, context = in(reg) context) };
    depth < STACK_BYTES && Regs(regs).number() as i64 >= 0
}

/// Registers of a thread at the entry or exit of a system call: a typed kernel pointer.
#[derive(Clone, Copy)]
pub struct Regs(pub *const u8);

impl Regs {
    /// The system call's number, also at its exit.
    #[inline(always)]
    pub fn number(self) -> u64 {
        // SAFETY: the verifier knows the register file's type and checks the offset.
        unsafe { field(self.0, ORIG_RAX) }
    }
    /// First argument of a 32-bit call.
    #[inline(always)]
    pub fn compat_arg0(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, RBX) }
    }
    /// First argument.
    #[inline(always)]
    pub fn arg0(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, RDI) }
    }
    /// Second argument.
    #[inline(always)]
    pub fn arg1(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, RSI) }
    }
    /// Third argument.
    #[inline(always)]
    pub fn arg2(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, RDX) }
    }
    /// Fourth argument.
    #[inline(always)]
    pub fn arg3(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, R10) }
    }
    /// Fifth argument.
    #[inline(always)]
    pub fn arg4(self) -> u64 {
        // SAFETY: as in `number`.
        unsafe { field(self.0, R8) }
    }
}

/// Registers of a thread at a probe in its own code: what such a program gets.
#[derive(Clone, Copy)]
pub struct UserRegs(pub *const u8);

impl UserRegs {
    #[inline(always)]
    fn register(self, offset: usize) -> u64 {
        // SAFETY: the verifier knows the register file and checks the offset.
        unsafe { self.0.add(offset).cast::<u64>().read_volatile() }
    }
    /// First argument of a function, by the System V ABI.
    #[inline(always)]
    pub fn arg0(self) -> u64 {
        self.register(RDI as usize)
    }
    /// Second argument.
    #[inline(always)]
    pub fn arg1(self) -> u64 {
        self.register(RSI as usize)
    }
    /// Third argument.
    #[inline(always)]
    pub fn arg2(self) -> u64 {
        self.register(RDX as usize)
    }
    /// Fourth argument.
    #[inline(always)]
    pub fn arg3(self) -> u64 {
        self.register(RCX)
    }
    /// What the function results in.
    #[inline(always)]
    pub fn result(self) -> u64 {
        self.register(RAX)
    }
    /// The first argument of a function of Go, and its first result.
    #[inline(always)]
    pub fn go0(self) -> u64 {
        self.register(RAX)
    }
    /// The second one.
    #[inline(always)]
    pub fn go1(self) -> u64 {
        self.register(RBX as usize)
    }
    /// The third one.
    #[inline(always)]
    pub fn go2(self) -> u64 {
        self.register(RCX)
    }
    /// Address of the goroutine's `g`.
    #[inline(always)]
    pub fn g(self) -> u64 {
        self.register(R14)
    }
    /// The stack pointer.
    #[inline(always)]
    pub fn stack(self) -> u64 {
        self.register(RSP)
    }
}

pub const READ: u64 = 0;
pub const WRITE: u64 = 1;
pub const CLOSE: u64 = 3;
pub const READV: u64 = 19;
pub const WRITEV: u64 = 20;
pub const SENDFILE: u64 = 40;
pub const CONNECT: u64 = 42;
pub const ACCEPT: u64 = 43;
pub const SENDTO: u64 = 44;
pub const RECVFROM: u64 = 45;
pub const SENDMSG: u64 = 46;
pub const RECVMSG: u64 = 47;
pub const SHUTDOWN: u64 = 48;
pub const LISTEN: u64 = 50;
pub const SPLICE: u64 = 275;
pub const ACCEPT4: u64 = 288;
pub const RECVMMSG: u64 = 299;
pub const SENDMMSG: u64 = 307;
/// `pwritev` and `pwritev2`, which may write to a socket.
const PWRITEV: u64 = 296;
const PWRITEV2: u64 = 328;

/// The wanted numbers below 64, one bit each.
const LOW: u64 = 1 << READ
    | 1 << WRITE
    | 1 << CLOSE
    | 1 << READV
    | 1 << WRITEV
    | 1 << SENDFILE
    | 1 << CONNECT
    | 1 << ACCEPT
    | 1 << SENDTO
    | 1 << RECVFROM
    | 1 << SENDMSG
    | 1 << RECVMSG
    | 1 << SHUTDOWN
    | 1 << LISTEN;

/// Whether the 64-bit call of this number can concern a socket: what every system call pays.
#[inline(always)]
pub fn is_wanted(number: u64) -> bool {
    if number < 64 {
        return LOW >> number & 1 != 0;
    }
    number == SPLICE || number == ACCEPT4 || number == RECVMMSG || number == SENDMMSG
}

/// Whether the 64-bit call of this number can send.
#[inline(always)]
pub fn can_send(number: u64) -> bool {
    const LOW_SENDS: u64 = 1 << WRITE | 1 << WRITEV | 1 << SENDFILE | 1 << SENDTO | 1 << SENDMSG;
    if number < 64 {
        return LOW_SENDS >> number & 1 != 0;
    }
    number == SPLICE || number == SENDMMSG || number == PWRITEV || number == PWRITEV2
}

/// `copy_file_range` and `io_uring_enter`.
const COPY_FILE_RANGE: u64 = 326;
const IO_URING_ENTER: u64 = 426;

/// Whether the 64-bit call of this number can move data from file to file.
#[inline(always)]
pub fn moves_between_files(number: u64) -> bool {
    number == SENDFILE || number == SPLICE || number == COPY_FILE_RANGE || number == IO_URING_ENTER
}

/// 32-bit numbers (i386) of calls that move data through any descriptor.
const COMPAT_LOW: u64 = 1 << 3 | 1 << 4 | 1 << 6;

/// Whether the 32-bit call of this number can concern a socket.
#[inline(always)]
pub fn is_wanted_compat(number: u64) -> bool {
    if number < 64 {
        return COMPAT_LOW >> number & 1 != 0;
    }
    is_socket_call_compat(number) || number == 145 || number == 146
}

/// Whether the 32-bit call of this number is only for sockets (socketcall, connect, listen, accept4,
/// sendto .. shutdown, recvmmsg, sendmmsg).
#[inline(always)]
pub fn is_socket_call_compat(number: u64) -> bool {
    number == 102
        || (number >= 362 && number <= 364)
        || (number >= 369 && number <= 373)
        || number == 337
        || number == 345
}
