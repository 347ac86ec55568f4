//! x86-64 in one place: system call numbers, and where their arguments are. Another architecture
//! needs a sibling of this file and nothing else.

use crate::kernel::field;

/// Offsets in `struct pt_regs`, part of the kernel's binary interface to debuggers.
const RBX: u32 = 40;
const RDI: u32 = 112;
const RSI: u32 = 104;
const RDX: u32 = 96;
const R10: u32 = 56;
const R8: u32 = 72;
const ORIG_RAX: u32 = 120;

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
