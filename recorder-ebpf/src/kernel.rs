//! Reading kernel structs: at offsets that user space took from the running kernel's BTF.
//!
//! [`field`] is for pointers whose type the verifier knows (the current task and what hangs off it),
//! a plain load; [`probe`] is for every other address: a load that yields zero where nothing can be read, or
//! before Linux 6.2 a helper call that does.

use crate::rules::nets::MAPPED;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel};
use core::{
    arch::asm,
    mem::{MaybeUninit, size_of},
    ptr,
};
use retrospan_formats::{
    config::{CAST_CALL, Config},
    event::Kind,
};

/// Filled in by user space before loading; the verifier knows every value.
#[unsafe(no_mangle)]
static CONFIG: MaybeUninit<Config> = MaybeUninit::zeroed();

/// A field of the configuration. A macro, because only the place (not its value) may be named before
/// the read: the compiler must not know what it holds.
macro_rules! config {
    ($($path:tt)+) => {
        $crate::kernel::configured(&raw const $crate::kernel::config_place().$($path)+)
    };
}
pub(crate) use config;

#[inline(always)]
pub fn config_place() -> &'static Config {
    // SAFETY: all zeroes is a valid configuration.
    unsafe { CONFIG.assume_init_ref() }
}

/// Reads what user space has put there. `place` must come from `config_place`.
#[inline(always)]
pub fn configured<T: Copy>(place: *const T) -> T {
    // SAFETY: a place in a static.
    unsafe { ptr::read_volatile(place) }
}

/// Loads a field through a pointer that the verifier can follow.
///
/// # Safety
/// `base` must be such a pointer, and the offset that of a field of type `T`: else the program is refused.
#[inline(always)]
pub unsafe fn field<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: promised by the caller, checked by the verifier.
    unsafe { ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// What [`probe`] reads without a helper: the two words of the struct that the address is taken for.
const WORDS_BYTES: usize = 16;

/// Reads a field at any kernel address; zero where that fails.
#[inline(always)]
pub fn probe<T: Copy>(base: u64, offset: u32) -> T {
    let words_type = config!(words_type);
    if words_type != 0 && size_of::<T>() <= WORDS_BYTES {
        // SAFETY: the verifier makes it a load that a fault only turns into zero.
        return unsafe { ptr::read_volatile(words(base + u64::from(offset), words_type).cast::<T>()) };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes `size_of::<T>()` bytes or zeroes them, whatever the address.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + u64::from(offset)) as *const _,
        );
        value.assume_init()
    }
}

/// The address as a pointer that the verifier lets a program read through: `bpf_rdonly_cast`, which takes no time, for it
/// only changes what the verifier knows.
#[inline(always)]
fn words(address: u64, words_type: u32) -> *const u8 {
    let pointer: *const u8;
    // SAFETY: a call by the kernel's convention; user space has put its number in place.
    unsafe {
        asm!(
            "call {cast}",
            cast = const CAST_CALL,
            inlateout("r1") address => _,
            inlateout("r2") u64::from(words_type) => _,
            lateout("r0") pointer,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nomem, nostack),
        );
    }
    pointer
}

/// A pointer as a number that can be calculated with, which the verifier does not allow with the pointer: negated twice it is
/// one that nothing is known of.
#[inline(always)]
pub fn number(pointer: *const u8) -> u64 {
    let mut number = pointer as u64;
    // SAFETY: arithmetic in a register.
    unsafe {
        asm!("{number} = -{number}", "{number} = -{number}", number = inout(reg) number, options(pure, nomem, nostack));
    }
    number
}

/// The current task: a pointer that [`field`] can follow.
#[inline(always)]
pub fn current_task() -> *const u8 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_task_btf() as *const u8 }
}

/// `thread_info.status`: the current system call came in through a 32-bit entry (x86-64).
const COMPAT_STATUS: u32 = 2;

/// Whether the thread is in a 32-bit system call.
#[inline(always)]
pub fn is_compat(task: *const u8) -> bool {
    // SAFETY: `task` comes from `current_task`.
    let status: u32 = unsafe { field(task, config!(offsets.task_thread_info_status)) };
    status & COMPAT_STATUS != 0
}

/// An open socket of the current process.
#[derive(Clone, Copy)]
pub struct OpenSocket {
    /// `struct sock`.
    pub sk: u64,
    /// `struct file`.
    pub file: u64,
}

/// How many descriptors this task may have, and where they are.
#[inline(always)]
pub fn descriptors(task: *const u8) -> (u32, u64) {
    // SAFETY: each pointer is one the verifier got from the task and checks itself.
    unsafe {
        let files: *const u8 = field(task, config!(offsets.task_files));
        if files.is_null() {
            return (0, 0);
        }
        let table: *const u8 = field(files, config!(offsets.files_fdt));
        if table.is_null() {
            return (0, 0);
        }
        (field(table, config!(offsets.fdtable_max_fds)), field(table, config!(offsets.fdtable_fd)))
    }
}

/// What a descriptor of this task leads to, if that is a socket: `sk` is 0 otherwise.
#[inline(always)]
pub fn open_socket(task: *const u8, fd: u32) -> OpenSocket {
    const NONE: OpenSocket = OpenSocket { sk: 0, file: 0 };
    let (most, slots) = descriptors(task);
    if fd >= most {
        return NONE;
    }
    let file: u64 = probe(slots + u64::from(fd) * 8, 0);
    if file == 0 {
        return NONE;
    }
    let sk = socket_of_file(file);
    OpenSocket { sk, file }
}

/// The `struct sock` behind a file, 0 where it is no socket: a socket is known by pointing back at its file.
#[inline(always)]
pub fn socket_of_file(file: u64) -> u64 {
    let socket: u64 = probe(file, config!(offsets.file_private_data));
    if socket == 0 {
        return 0;
    }
    // Both in one read where they are neighbours, as they have always been: every socket call pays for it.
    let [back, sk] = if config!(offsets.socket_sk) == config!(offsets.socket_file) + 8 {
        probe::<[u64; 2]>(socket, config!(offsets.socket_file))
    } else {
        [probe(socket, config!(offsets.socket_file)), probe(socket, config!(offsets.socket_sk))]
    };
    if back == file { sk } else { 0 }
}

/// The `struct file` that leads to a socket, 0 where there is none.
#[inline(always)]
pub fn file_of(sk: Sk) -> u64 {
    let socket: u64 = probe(sk.0, config!(offsets.sk_socket));
    if socket == 0 { 0 } else { probe(socket, config!(offsets.socket_file)) }
}

/// Whether the descriptor that is being closed is all that leads to the file. In a socket's own function nothing does any more.
#[inline(always)]
pub fn is_last_file(file: u64) -> bool {
    config!(sockets) != 0 || probe::<u64>(file, config!(offsets.file_count)) == u64::from(config!(one_file))
}

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The inode number of a socket's file, 0 where the file is none.
#[inline(always)]
pub fn socket_inode(file: u64) -> u64 {
    let inode: u64 = probe(file, config!(offsets.file_f_inode));
    let mode: u16 = probe(inode, config!(offsets.inode_i_mode));
    if mode & S_IFMT != S_IFSOCK {
        return 0;
    }
    probe(inode, config!(offsets.inode_i_ino))
}

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const IPPROTO_TCP: u16 = 6;
pub const IPPROTO_UDP: u16 = 17;
pub const IPPROTO_MPTCP: u16 = 262;

pub const SOCK_STREAM: u16 = 1;
pub const SOCK_DGRAM: u16 = 2;

pub const TCP_ESTABLISHED: u8 = 1;
pub const TCP_SYN_SENT: u8 = 2;
pub const TCP_SYN_RECV: u8 = 3;
pub const TCP_FIN_WAIT1: u8 = 4;
pub const TCP_FIN_WAIT2: u8 = 5;
pub const TCP_CLOSE: u8 = 7;
pub const TCP_CLOSE_WAIT: u8 = 8;
pub const TCP_LAST_ACK: u8 = 9;
pub const TCP_LISTEN: u8 = 10;

/// Accessors of `struct sock` at any address.
#[derive(Clone, Copy)]
pub struct Sk(pub u64);

impl Sk {
    #[inline(always)]
    pub fn family(self) -> u16 {
        probe(self.0, config!(offsets.sk_family))
    }
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        probe(self.0, config!(offsets.sk_protocol))
    }
    /// `SOCK_STREAM`, `SOCK_DGRAM` ...
    #[inline(always)]
    pub fn kind(self) -> u16 {
        probe(self.0, config!(offsets.sk_type))
    }
    #[inline(always)]
    pub fn state(self) -> u8 {
        probe(self.0, config!(offsets.sk_state))
    }
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        probe(self.0, config!(offsets.sk_num))
    }
    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(probe(self.0, config!(offsets.sk_dport)))
    }
    /// Its own address, as words in network byte order; IPv4 is mapped into IPv6.
    #[inline(always)]
    pub fn local_address(self) -> [u32; 4] {
        self.address(config!(offsets.sk_rcv_saddr), config!(offsets.sk_v6_rcv_saddr))
    }
    /// The same of the other end.
    #[inline(always)]
    pub fn remote_address(self) -> [u32; 4] {
        self.address(config!(offsets.sk_daddr), config!(offsets.sk_v6_daddr))
    }
    #[inline(always)]
    fn address(self, v4: u32, v6: u32) -> [u32; 4] {
        if self.family() == AF_INET { [0, 0, MAPPED, probe(self.0, v4)] } else { probe(self.0, v6) }
    }
    #[inline(always)]
    pub fn has_file(self) -> bool {
        probe::<u64>(self.0, config!(offsets.sk_socket)) != 0
    }
    #[inline(always)]
    pub fn netns(self) -> u32 {
        let net: u64 = probe(self.0, config!(offsets.sk_net));
        probe(net, config!(offsets.net_ns_inum))
    }
    #[inline(always)]
    pub fn error(self) -> u32 {
        probe(self.0, config!(offsets.sk_err))
    }
    /// End of what was written. Only for `IPPROTO_TCP`, as are the next three.
    #[inline(always)]
    pub fn write_seq(self) -> u32 {
        probe(self.0, config!(offsets.tcp_write_seq))
    }
    #[inline(always)]
    pub fn unacknowledged_seq(self) -> u32 {
        probe(self.0, config!(offsets.tcp_snd_una))
    }
    #[inline(always)]
    pub fn copied_seq(self) -> u32 {
        probe(self.0, config!(offsets.tcp_copied_seq))
    }
    /// How far data of this kind has come.
    #[inline(always)]
    pub fn position(self, kind: Kind) -> u32 {
        match kind {
            Kind::Send => self.write_seq(),
            Kind::Receive => self.copied_seq(),
            _ => 0,
        }
    }
    /// Sequence number of the first byte sent or to be sent; `opened`: by a connect, whose SYN the counter counts as well.
    #[inline(always)]
    pub fn first_sent_seq(self, opened: bool) -> u32 {
        let acknowledged: u64 = probe(self.0, config!(offsets.tcp_bytes_acked));
        self.unacknowledged_seq().wrapping_sub(acknowledged as u32).wrapping_add(opened as u32)
    }
    /// Sequence number of the first byte received or to be received, until a FIN arrives.
    #[inline(always)]
    pub fn first_received_seq(self) -> u32 {
        let received: u64 = probe(self.0, config!(offsets.tcp_bytes_received));
        self.received_seq().wrapping_sub(received as u32)
    }
    #[inline(always)]
    pub fn received_seq(self) -> u32 {
        probe(self.0, config!(offsets.tcp_rcv_nxt))
    }
}
