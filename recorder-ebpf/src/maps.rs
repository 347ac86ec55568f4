//! Every map of the kernel programs, and what its values look like.
//!
//! Hash maps are preallocated: programs run where memory cannot be allocated. What does not fit is
//! counted, never silently dropped.

use crate::task_id::TaskId;
use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use core::{cell::UnsafeCell, mem::size_of};
use retrospan_formats::{
    config::SOCKET_PLACES,
    event::{OnCpu, loss},
};

/// Most CPUs; user space gives a smaller number.
const MOST_CPUS: usize = 4096;
/// Most sockets beyond those that are open at one time, unless user space says otherwise.
const MOST_OVERFLOW_SOCKETS: usize = 262_144;
/// Threads that have a place of their own, a power of two; see `threads`.
pub const THREAD_PLACES: usize = 16_384;
/// Most threads beyond those that use watched sockets at one time.
const MOST_OVERFLOW_THREADS: usize = 32_768;
/// Most calls under way when the recording begins.
const MOST_EARLY: usize = 16_384;
/// Most threads that have called a TLS library.
const MOST_TLS_THREADS: usize = 32_768;
/// Most goroutines in calls of Go's TLS at one time.
const MOST_ROUTINES: usize = 32_768;
/// Most processes that call Go's TLS.
const MOST_GO_PROCESSES: usize = 4_096;
/// Most processes that a filter by process can name and follow.
const MOST_PROCESSES: usize = 32_768;
/// Most ports that something listens on.
const MOST_LISTENING: usize = 16_384;
/// Most processes that are stopped at one time.
const MOST_STOPPED: usize = 4_096;

/// `BPF_NOEXIST`: an insertion fails where there is something.
pub const NO_EXIST: u64 = 1;

/// One ring a CPU. The size written here only stands for the type: user space makes the rings.
#[btf_map]
pub static RINGS: ArrayOfMaps<RingBuf<u8, 4096>, MOST_CPUS> = ArrayOfMaps::new();

/// Each CPU's next sequence number.
#[btf_map]
pub static SEQUENCE: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Each CPU's losses, by [`loss`] and by kind of event.
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { loss::COUNTERS as usize }> = PerCpuArray::new();

/// The last socket id given.
#[btf_map]
pub static IDS: Array<u64, 1> = Array::new();

/// 1 as soon as the sockets that are open when the recording begins are known.
#[btf_map]
pub static SNAPSHOT: Array<u64, 1> = Array::new();

/// Sockets, by a hash of the address of their `struct sock`.
#[btf_map]
pub static SOCKETS: Array<Place, { SOCKET_PLACES as usize }> = Array::new();

/// Those whose place is another's, by the address itself.
#[btf_map]
pub static OVERFLOW_SOCKETS: HashMap<u64, Entry, MOST_OVERFLOW_SOCKETS> = HashMap::new();

/// How many those are.
#[btf_map]
pub static OVERFLOW_SOCKETS_COUNT: Array<u64, 1> = Array::new();

/// Threads that have made a socket call, by thread id modulo the places. An entry stays until its thread ends: looking
/// one up is cheaper than making and deleting one every call.
#[btf_map]
pub static THREADS: Array<Thread, THREAD_PLACES> = Array::new();

/// Those whose place is another's, by thread id.
#[btf_map]
pub static OVERFLOW_THREADS: HashMap<u32, Thread, MOST_OVERFLOW_THREADS> = HashMap::new();

/// How many those are.
#[btf_map]
pub static OVERFLOW_THREADS_COUNT: Array<u64, 1> = Array::new();

/// What threads follow from, by thread id modulo the places. Of two threads with one place the later one has it.
#[btf_map]
pub static CAUSES: Array<Causes, THREAD_PLACES> = Array::new();

/// Calls that were under way when the recording began, by thread id.
#[btf_map]
pub static EARLY: HashMap<u32, Early, MOST_EARLY> = HashMap::new();

/// The program for the end of every `inet_sendmsg` and `inet6_sendmsg`, and that for the end of every `inet_recvmsg` and
/// `inet6_recvmsg`: long programs, which the verifier so looks at once. A map each, as newer kernels want the functions'
/// prototypes alike.
#[btf_map]
pub static SEND_END: ProgramArray<1> = ProgramArray::new();
#[btf_map]
pub static RECEIVE_END: ProgramArray<1> = ProgramArray::new();

/// 1 while what TLS libraries do is recorded: taking programs off them takes long.
#[btf_map]
pub static TLS_ON: Array<u64, 1> = Array::new();

/// Goroutines in a call of Go's TLS, until it returns.
#[btf_map]
pub static GO_ROUTINES: HashMap<Routine, TlsThread, MOST_ROUTINES> = HashMap::new();

/// Processes that have called Go's TLS: 1.
#[btf_map]
pub static GO_PROCESSES: HashMap<u32, u32, MOST_GO_PROCESSES> = HashMap::new();

/// Threads that have called a TLS library, by thread id, until they end.
#[btf_map]
pub static TLS_THREADS: HashMap<u32, TlsThread, MOST_TLS_THREADS> = HashMap::new();

/// Processes that a filter by process names, and those that descend from them: bits of `watched`.
#[btf_map]
pub static WATCHED: HashMap<u32, u8, MOST_PROCESSES> = HashMap::new();

/// When each process began the program that it runs, or was moved to another cgroup, where user space judges processes. Of one that was there before there is none.
#[btf_map]
pub static PROGRAMS: HashMap<u32, u64, MOST_PROCESSES> = HashMap::new();

/// What user space says of processes.
#[btf_map]
pub static JUDGEMENTS: HashMap<u32, Judgement, MOST_PROCESSES> = HashMap::new();

/// Ports that something listened on when the recording began, with the network namespace (inode number) above their 16 bits.
#[btf_map]
pub static LISTENING: HashMap<u64, u8, MOST_LISTENING> = HashMap::new();

/// Stopped processes, and since when.
#[btf_map]
pub static STOPPED: HashMap<u32, u64, MOST_STOPPED> = HashMap::new();

/// How many there are, so that a wake-up need not look where there is none.
#[btf_map]
pub static STOPS: Array<u64, 1> = Array::new();

/// CPU time by process, ns. User space removes those that have ended.
#[btf_map]
pub static USAGE: HashMap<u32, u64, MOST_PROCESSES> = HashMap::new();

/// How much is left out, a level of [`retrospan_formats::event::shed`].
#[btf_map]
pub static SHED: Array<u32, 1> = Array::new();

/// What each CPU runs, and since when.
#[btf_map]
pub static ON_CPU: PerCpuArray<OnCpu, 1> = PerCpuArray::new();

/// What is remembered of a thread that carries traffic; so long that neighbours do not write to each other's cache lines.
#[repr(C)]
pub struct Thread {
    /// Whose it is, as `threads` writes it; 0: nobody's.
    pub owner: u64,
    pub wait: Wait,
    pub call: InCall,
}
const _: () = assert!(size_of::<Thread>() == 256);

/// What a new thread's entry is made from.
pub static NEW_THREAD: Thread = Thread { owner: 0, wait: Wait::NONE, call: NO_CALL };

/// A goroutine: the address of its `g`, and its process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Routine {
    pub g: u64,
    pub tgid: u64,
}

/// A thread's call into a TLS library, or a goroutine's.
#[repr(C)]
pub struct TlsThread {
    /// The stack pointer at its entry, behind which that at its return is known; 0: the thread is in none. Of a goroutine how deep
    /// its stack is: it may be moved.
    pub stack: u64,
    /// Where the library writes how many bytes it moved, or the session that it made; 0: nowhere. Of a goroutine the upper end of its
    /// stack at the entry.
    pub moved_at: u64,
    /// `socket_id` of the socket that a system call within it was on; 0: none.
    pub carrier: u64,
    /// Verdict of that socket.
    pub carrier_verdict: u32,
    /// 1: there were several.
    pub several: u32,
    /// The session is in [`InCall::sk`].
    pub call: InCall,
}

/// What a new thread's entry is made from.
pub static NEW_TLS_THREAD: TlsThread =
    TlsThread { stack: 0, moved_at: 0, carrier: 0, carrier_verdict: 0, several: 0, call: NO_CALL };

/// Since when a thread waits; 0: it does not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Wait {
    /// Could run, and has no CPU.
    pub runnable_since_ns: u64,
    /// Blocked uninterruptibly.
    pub blocked_since_ns: u64,
}

impl Wait {
    pub const NONE: Wait = Wait { runnable_since_ns: 0, blocked_since_ns: 0 };
}

/// What a thread follows from; so long that neighbours do not write to each other's cache lines.
#[repr(C)]
pub struct Causes {
    /// Thread id; 0: nobody's.
    pub tid: u32,
    /// Who woke it last, where that is not told yet.
    pub by_tid: u32,
    /// When, CLOCK_BOOTTIME ns; 0: it is told, or nobody did.
    pub woken_ns: u64,
    /// What the waker followed from.
    pub waker: Source,
    /// What the thread follows from now: what it received last, or what woke it later.
    pub own: Source,
}
const _: () = assert!(size_of::<Causes>() <= 64);

/// Received data that something follows from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Source {
    /// Time of the receive's record; 0: nothing was received.
    pub received_ns: u64,
    /// Who received it.
    pub tid: u32,
    /// Wake-ups since.
    pub wake_ups: u32,
}

/// [`Entry::verdict`]: a fact that the filters need is not known yet.
pub const UNDECIDED: u8 = 0;
/// [`Entry::verdict`]: not recorded.
pub const IGNORED: u8 = 1;
/// [`Entry::verdict`]: recorded until user space tells whether its process matches.
pub const PERHAPS: u8 = 2;
/// [`Entry::verdict`]: recorded.
pub const RECORDED: u8 = 3;
/// A bit of every verdict that stays.
const DECIDED: u8 = 1;

/// [`Entry::flags`]: the filters by process said yes.
pub const PROCESS_MATCHES: u8 = 1 << 0;
/// [`Entry::flags`]: a `Socket` record is in a ring.
pub const ANNOUNCED: u8 = 1 << 1;
/// [`Entry::flags`]: reached TCP_CLOSE; the address may be another socket's when it is next seen.
pub const CLOSED: u8 = 1 << 2;
/// [`Entry::flags`]: user space had not told yet whether the process that said yes matches.
pub const MAYBE: u8 = 1 << 3;
/// [`Entry::flags`]: existed before the recording.
pub const DISCOVERED: u8 = 1 << 4;
/// [`Entry::flags`]: the sequence numbers are those of the connection's first bytes.
pub const FROM_START: u8 = 1 << 5;
/// [`Entry::flags`]: its `struct sock` is a `struct tcp_sock`, which has sequence numbers.
pub const IS_TCP: u8 = 1 << 6;

/// [`Entry::kind`]: a Unix stream socket.
pub const UNIX: u8 = 1 << 0;
/// [`Entry::kind`]: it moves datagrams (UDP).
pub const DATAGRAMS: u8 = 1 << 1;
/// [`Entry::kind`]: a session of a TLS library, see `tls_sessions`.
pub const TLS: u8 = 1 << 2;

/// What is remembered about a socket. Written without locks: two threads that use one socket at the
/// same moment may at worst keep some payload bytes too many or too few.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    pub socket_id: u64,
    pub opened_ns: u64,
    /// Of a TLS session its address in its process.
    pub inode: u64,
    /// Thread group id of the process that opened or first used it; 0: not known.
    pub owner: u32,
    /// Of a TLS session the lower half of its carrier's `socket_id` ...
    pub first_send_seq: u32,
    /// ... and the upper one.
    pub first_receive_seq: u32,
    /// Payload bytes still to be kept of the data sent (0) and received (1) since the last turn.
    pub budget: [u32; 2],
    pub verdict: u8,
    pub role: u8,
    pub flags: u8,
    /// Direction of the last data: a `Kind` number, 0 before any.
    pub direction: u8,
    /// TCP state after the last change that was handled, 0 before any.
    pub state: u8,
    /// The connection's number as `rules::share` says it; 0: not asked for yet.
    pub share: u8,
    /// 1: of a Unix socket it is not known how its positions and those of its other end go together. Of a TLS session bits of
    /// `tls_sessions`.
    pub uncounted: u8,
    /// What it is: [`UNIX`], [`DATAGRAMS`], [`TLS`], or 0 of TCP.
    pub kind: u8,
    /// Of the message head that is being sent (0) or received (1): where its next byte stands (`head_end::place`) ...
    pub head_place: [u16; 2],
    /// ... and how many of its bytes may still be read.
    pub head_left: [u16; 2],
    /// When the round-trip time, or of a listener what it dropped, was looked at last, in units of 2^20 ns; 0: never.
    /// Of a Unix socket or TLS session the position of the next byte sent.
    pub sampled: u32,
    /// When the former was written down last, in the same units. Of a listener, what it had dropped. Of a Unix socket or TLS
    /// session the position of the next byte received.
    pub written: u32,
    /// The round-trip time then, us. Of a Unix socket how many sends and, in the upper half, receives are under way; of a TLS
    /// session the calls that are, as `tls_sessions` has it.
    pub rtt_us: u32,
}

impl Entry {
    /// Whether nothing changes the verdict any more.
    #[inline(always)]
    pub fn is_decided(&self) -> bool {
        self.verdict & DECIDED != 0
    }

    /// Whether what happens on the socket is recorded.
    #[inline(always)]
    pub fn is_recorded(&self) -> bool {
        self.verdict >= PERHAPS
    }
}

/// What user space says of a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Judgement {
    /// Of the program that began then ([`PROGRAMS`]).
    pub began_ns: u64,
    /// 1: it is recorded.
    pub matches: u64,
}

/// A socket's place; so long that neighbours do not write to each other's cache lines.
#[repr(C)]
pub struct Place {
    /// Address of the `struct sock`; 0: nobody's. While the entry is being written, what `sockets` adds to it.
    pub sk: u64,
    pub entry: Entry,
    pub spare: [u64; 6],
}
const _: () = assert!(size_of::<Place>() == 128);

/// How the arguments of a call name its data.
pub mod form {
    /// No data.
    pub const NONE: u8 = 0;
    /// Address and length.
    pub const BUFFER: u8 = 1;
    /// Address and number of `struct iovec`.
    pub const VECTOR: u8 = 2;
    /// Address of a `struct msghdr`.
    pub const MESSAGE: u8 = 3;
    /// Address and number of `struct mmsghdr`.
    pub const MESSAGES: u8 = 4;
    /// A length: the kernel moves the bytes itself.
    pub const SPLICE: u8 = 5;
    /// A kernel's iterator over several pieces of the caller's memory, see [`Data::note_iterator`](super::Data::note_iterator).
    pub const ITERATOR: u8 = 6;
}

/// What the socket of a call is.
pub mod nature {
    pub const OTHER: u8 = 0;
    /// TCP, known to be established at entry.
    pub const ESTABLISHED: u8 = 1;
    /// UDP. Of its data, `left` is where the address of the other end stands.
    pub const DATAGRAMS: u8 = 2;
    /// A Unix stream socket.
    pub const UNIX: u8 = 3;
    /// A session of a TLS library.
    pub const TLS: u8 = 4;
}

/// Whose memory the array lies in that says where the buffers are.
pub mod source {
    pub const PROCESS: u32 = 0;
    pub const KERNEL: u32 = 1;
}

/// A call that was entered before the recording: what its thread's registers said, and its socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Early {
    pub since_ns: u64,
    pub sk: u64,
    pub socket_id: u64,
    pub address: u64,
    /// write_seq or copied_seq when it was found.
    pub seq: u32,
    pub number: u32,
    pub fd: u32,
    pub reserved: u32,
}

/// [`InCall::recorded`]: a call of a TLS library makes it, which tells by itself who woke its thread.
pub const WITHIN_TLS: u8 = 1 << 1;

/// A socket call in progress, from its entry to its exit.
#[repr(C)]
pub struct InCall {
    pub enter_ns: u64,
    pub sk: u64,
    pub socket_id: u64,
    pub address: u64,
    pub length: u64,
    /// System call number, or which function of [`within`](crate::within).
    pub number: u32,
    /// write_seq or copied_seq at entry.
    pub seq: u32,
    /// `Call` flags known at entry.
    pub flags: u32,
    /// `Kind` number.
    pub kind: u8,
    /// [`form`].
    pub form: u8,
    /// 1 from entry to exit.
    pub active: u8,
    /// 1: the bytes received are not copied to the caller (MSG_TRUNC).
    pub length_only: u8,
    /// 1: the socket was recorded at entry; and [`WITHIN_TLS`].
    pub recorded: u8,
    /// [`nature`].
    pub nature: u8,
    /// 1: the next exit may be that of a call in [`EARLY`].
    pub early: u8,
    /// 1: the system call that the thread is in was seen to end in a socket's function, as long as calls are in [`EARLY`].
    pub seen: u8,
    /// The descriptor.
    pub fd: u32,
    /// Who makes the call.
    pub task_id: TaskId,
    pub data: Data,
}

const NO_CALL: InCall = InCall {
    enter_ns: 0,
    sk: 0,
    socket_id: 0,
    address: 0,
    length: 0,
    number: 0,
    seq: 0,
    flags: 0,
    kind: 0,
    form: 0,
    active: 0,
    length_only: 0,
    recorded: 0,
    nature: nature::OTHER,
    early: 0,
    seen: 0,
    fd: 0,
    task_id: TaskId::UNKNOWN,
    data: Data::NONE,
};

/// Where the bytes of a call are in the caller's memory, and how far their copying has come.
#[repr(C)]
pub struct Data {
    /// The first buffer that is not empty.
    pub first_address: Untracked,
    pub first_bytes: Untracked,
    /// The array of buffers and its length; 0 where there is only the first.
    pub buffers: Untracked,
    pub count: Untracked,
    /// How many of `pair`, the first of the buffers, were read.
    pub known: Untracked<u32>,
    /// [`source`] of the array.
    pub source: Untracked<u32>,
    pub pair: [Piece; 2],
    /// Bytes offered, or room for them.
    pub asked: Untracked,
    /// The buffer that the tail begins in, and where.
    pub tail_buffer: Untracked,
    pub tail_offset: Untracked,
    /// The next buffer to copy from, where in it, and what was copied.
    pub buffer: Untracked,
    pub offset: Untracked,
    pub copied: Untracked,
    /// Of the message head that the data goes on with: `head_end::place`, bytes that may still be read, and how many of the
    /// data were.
    pub place: Untracked,
    pub left: Untracked,
    pub read: Untracked,
    /// All of the data, bytes. While a receive is in progress: when the first data that it took had arrived, CLOCK_REALTIME ns, 0
    /// where that is not known.
    pub done: Untracked,
    /// First bytes of it in the call's own record.
    pub head: Untracked,
}

/// A buffer that was read.
#[repr(C)]
pub struct Piece {
    pub address: Untracked,
    pub bytes: Untracked,
}

impl Piece {
    const NONE: Piece = Piece { address: Untracked::ZERO, bytes: Untracked::ZERO };
}

impl Data {
    /// Notes where an iterator begins that the call moves on: how many pieces there are, and how much of the first is left
    /// out.
    #[inline(always)]
    pub fn note_iterator(&self, pieces: u64, skipped: u64) {
        self.copied.set(pieces);
        self.offset.set(skipped);
    }
    /// How many pieces were noted.
    #[inline(always)]
    pub fn pieces(&self) -> u64 {
        self.copied.get()
    }
    /// How much of the first is left out.
    #[inline(always)]
    pub fn skipped(&self) -> u64 {
        self.offset.get()
    }

    const NONE: Data = Data {
        first_address: Untracked::ZERO,
        first_bytes: Untracked::ZERO,
        buffers: Untracked::ZERO,
        count: Untracked::ZERO,
        known: Untracked::NONE,
        source: Untracked::NONE,
        pair: [Piece::NONE, Piece::NONE],
        asked: Untracked::ZERO,
        tail_buffer: Untracked::ZERO,
        tail_offset: Untracked::ZERO,
        buffer: Untracked::ZERO,
        offset: Untracked::ZERO,
        copied: Untracked::ZERO,
        place: Untracked::ZERO,
        left: Untracked::ZERO,
        read: Untracked::ZERO,
        done: Untracked::ZERO,
        head: Untracked::ZERO,
    };
}

/// A number that is read from and written to a map's memory every time. The verifier does not follow
/// what such memory holds, so the turns of a loop that keeps its state there all look the same to it:
/// kernels before 6.2 would otherwise tell every path through every turn from every other.
#[repr(transparent)]
pub struct Untracked<T = u64>(UnsafeCell<T>);

// SAFETY: only the thread that a `Thread` is about touches its call.
unsafe impl<T> Sync for Untracked<T> {}

impl Untracked {
    const ZERO: Untracked = Untracked(UnsafeCell::new(0));
}

impl Untracked<u32> {
    const NONE: Untracked<u32> = Untracked(UnsafeCell::new(0));
}

impl<T: Copy> Untracked<T> {
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: see the impl of `Sync`.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub fn set(&self, value: T) {
        // SAFETY: see the impl of `Sync`.
        unsafe { self.0.get().write_volatile(value) }
    }
}
