//! The records that the kernel programs put into the ring buffers.
//!
//! Every record is a [`Header`], then one body chosen by [`Header::record`], then bytes whose number
//! the body gives. All integers are in host byte order except addresses and ports, which are as
//! documented on the field. Records are read in place, so every struct is plain old data without
//! padding; the assertions below each struct keep the layout from moving unnoticed.

mod kinds;

use bytemuck::{Pod, Zeroable};

pub use kinds::{Kind, SchedKind, TcpKind};

/// Largest payload head of one event, in bytes: the upper bound of `--snaplen`.
pub const MAX_SNAP_BYTES: usize = 4096;
/// Bytes of one message head that are read at most, whatever the snap length: over all calls that it is split over.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most bytes of a [`More`] record.
pub const MORE_BYTES: usize = 1024;
/// Data that begins neither a message nor a change of direction keeps this many first bytes.
pub const SHORT_HEAD_BYTES: usize = 64;
/// Last bytes kept of data longer than its kept head: enough for the end of a chunked body.
pub const TAIL_BYTES: usize = 8;
/// Room for the file name of an exec.
pub const EXE_BYTES: usize = 256;
/// Room for the argument vector of an exec, NUL-separated.
pub const ARGV_BYTES: usize = 1024;

/// What follows the [`Header`]. Numbers are never reused.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// [`Call`], then `head_bytes` and `tail_bytes` of payload.
    Call = 1,
    /// [`State`].
    State = 2,
    /// [`Socket`]; of a Unix socket then [`UnixEnds`] and `path_bytes` of its path, of a TLS session [`TlsEnds`].
    Socket = 3,
    /// [`Process`], then `exe_bytes` and `argv_bytes`.
    Process = 4,
    /// [`Tcp`].
    Tcp = 5,
    /// [`Sched`].
    Sched = 6,
    /// [`More`], then its bytes.
    More = 7,
    /// [`Flow`].
    Flow = 8,
    /// [`Wake`].
    Wake = 9,
    /// [`Call`] that moved a datagram, then [`Ends`], then `head_bytes` of payload.
    Datagram = 11,
}

impl Record {
    /// The highest number given out.
    pub const LAST: u8 = Record::Datagram as u8;
}

/// Bits of [`Call::flags`] and column `events.flags`.
pub mod flags {
    /// `tcp_seq` may not be the sequence number of the first byte (see the contract of `tcp_seq`).
    pub const OFFSET_UNCERTAIN: u32 = 1 << 0;
    /// More bytes were moved than the payload shows.
    pub const PAYLOAD_CUT: u32 = 1 << 1;
    /// The last [`super::TAIL_BYTES`] bytes of the payload are the last bytes of the data.
    pub const PAYLOAD_TAIL: u32 = 1 << 2;
    /// The bytes could not be read (sendfile, splice, a page not present): the event is a length.
    pub const LENGTH_ONLY: u32 = 1 << 3;
    /// Redaction blanked at least one byte of the payload (each with `*`).
    pub const REDACTED: u32 = 1 << 4;
    /// One message of a sendmmsg or recvmmsg call.
    pub const MULTI_MESSAGE: u32 = 1 << 5;
    /// The bytes were moved by sendfile or splice.
    pub const SPLICED: u32 = 1 << 6;
    /// The call's first data after a change of direction on this socket.
    pub const TURN: u32 = 1 << 7;
    /// `tcp_seq` is not known at all (not TCP, or a length without position); the column is null.
    pub const NO_SEQ: u32 = 1 << 8;
    /// shutdown: the receiving half was shut (SHUT_RD or SHUT_RDWR).
    pub const SHUT_READ: u32 = 1 << 9;
    /// shutdown: the sending half was shut (SHUT_WR or SHUT_RDWR).
    pub const SHUT_WRITE: u32 = 1 << 10;
    /// The call was entered before the recording began: its duration counts from there.
    pub const ENTERED_BEFORE: u32 = 1 << 11;
    /// First bytes of the data, all of them where there is no payload, are not repeated: they stand with the call that moved
    /// them at the other end (`sockets.peer_socket_id`), an earlier row. Of payload, as many are blank.
    pub const PAYLOAD_AT_PEER: u32 = 1 << 12;
}

/// First bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Header {
    /// CLOCK_BOOTTIME when the record was emitted, in ns.
    pub boot_ns: u64,
    /// Per-CPU number, taken atomically before the ring is asked for room: gaps are losses.
    pub seq: u64,
    /// Thread group id ("pid" of user space) the event belongs to; 0 where it is not known (soft interrupts).
    pub pid: u32,
    /// Thread id; 0 where it is not known.
    pub tid: u32,
    /// CPU that emitted the record, and whose ring holds it.
    pub cpu: u16,
    /// A [`Record`] number.
    pub record: u8,
    /// A [`Kind`] number for `Call` and `State`, a [`TcpKind`] for `Tcp`, a [`SchedKind`] for `Sched`; 0 otherwise.
    pub kind: u8,
    /// Bytes of the whole record that are valid, this header included.
    pub record_bytes: u32,
}
const _: () = assert!(size_of::<Header>() == 32);

/// A system call on a watched socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Call {
    /// The socket; for accept the new one.
    pub socket_id: u64,
    /// From the entry of the call to its emission, in ns.
    pub duration_ns: u64,
    /// Bytes the caller offered or had room for.
    pub asked_bytes: u64,
    /// Bytes moved; 0 on error.
    pub done_bytes: u64,
    /// Of received data: when the segment with the first byte arrived, CLOCK_REALTIME ns; 0 where not known.
    pub arrived_wall_ns: u64,
    /// Raw sequence number of the first byte moved (see [`flags`]).
    pub tcp_seq: u32,
    /// [`flags`].
    pub flags: u32,
    /// Positive errno; 0 for success.
    pub errno: u16,
    /// [`More`] records of this call, which follow it.
    pub more_records: u16,
    /// Payload bytes after this struct: first bytes of the data ...
    pub head_bytes: u16,
    /// ... and then this many last bytes of it (0 or [`TAIL_BYTES`]).
    pub tail_bytes: u16,
}
const _: () = assert!(size_of::<Call>() == 56);

/// Who a datagram went from and to, as its socket sees it. Addresses that the socket was not bound to are unspecified.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Zeroable, Pod)]
pub struct Ends {
    /// Local address; IPv4 as v4-mapped IPv6.
    pub local_addr: [u8; 16],
    /// Remote address; IPv4 as v4-mapped IPv6. All zero where it is not known: a receive that did not ask for it.
    pub remote_addr: [u8; 16],
    /// Host byte order.
    pub local_port: u16,
    /// Host byte order; 0 where it is not known.
    pub remote_port: u16,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Ends>() == 40);

/// What follows [`Call::head_bytes`] of a message head that is longer: up to its end, as far as that was found. Emitted
/// after the call's own record and with the same time, CPU and thread, but handed over before it: who has the call
/// has these, too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct More {
    /// The socket.
    pub socket_id: u64,
    /// [`Header::seq`] of the call's record.
    pub call_seq: u64,
    /// Bytes after this struct.
    pub bytes: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<More>() == 24);

/// A TCP state change of a watched socket (`inet_sock_set_state`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct State {
    /// The socket.
    pub socket_id: u64,
    /// `sk_err`: the socket's pending error, positive errno.
    pub sk_err: u32,
    /// `tcp_sock.write_seq`: end of what was written.
    pub write_seq: u32,
    /// `tcp_sock.snd_una`: first byte not acknowledged.
    pub snd_una: u32,
    /// `tcp_sock.copied_seq`: first byte not taken by the application.
    pub copied_seq: u32,
    /// `tcp_sock.rcv_nxt`: first byte not received.
    pub rcv_nxt: u32,
    /// State before (TCP_ESTABLISHED = 1 ... as in include/net/tcp_states.h).
    pub old_state: u8,
    /// State after.
    pub new_state: u8,
    /// Always 0.
    pub reserved: u16,
}
const _: () = assert!(size_of::<State>() == 32);

/// [`Socket::role`]: which end of the connection this socket is.
pub mod role {
    /// Not known (a discovered socket that no listener explains).
    pub const UNKNOWN: u8 = 0;
    /// It connected.
    pub const CLIENT: u8 = 1;
    /// It was accepted.
    pub const SERVER: u8 = 2;
    /// It listens.
    pub const LISTENER: u8 = 3;
}

/// A socket at first sight, or again when something about it became known (owner, addresses,
/// inode); the last record of a `socket_id` holds. Emitted before the first event of the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Socket {
    /// Never repeats within a recording.
    pub socket_id: u64,
    /// CLOCK_BOOTTIME of the opening in ns, 0 where it was before the recording.
    pub opened_boot_ns: u64,
    /// Inode of the socket's file; 0 before accept.
    pub inode: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `sk_family`: 1, 2 or 10; 0 of a TLS session.
    pub family: u16,
    /// `sk_protocol`: 6 for TCP, 17 for UDP, 262 for MPTCP; 0 for Unix sockets; [`PROTOCOL_TLS`].
    pub protocol: u16,
    /// Local address; IPv4 as v4-mapped IPv6.
    pub local_addr: [u8; 16],
    /// Remote address; IPv4 as v4-mapped IPv6.
    pub remote_addr: [u8; 16],
    /// Host byte order.
    pub local_port: u16,
    /// Host byte order.
    pub remote_port: u16,
    /// [`role`].
    pub role: u8,
    /// 1: existed before the recording began.
    pub discovered: u8,
    /// 1: `first_send_seq` and `first_receive_seq` are the connection's first bytes (not merely the first seen).
    pub seq_from_start: u8,
    /// 1: user space had not told yet whether the process in the header matches: it is to decide about the socket. 0: it is recorded.
    pub perhaps: u8,
    /// Sequence number of the first byte sent (discovered: the next to be sent at first sight).
    pub first_send_seq: u32,
    /// Sequence number of the first byte received (discovered: the next to be received at first sight).
    pub first_receive_seq: u32,
}
const _: () = assert!(size_of::<Socket>() == 80);

/// Most bytes of the path of a Unix socket.
pub const PATH_BYTES: usize = 108;

/// Of a Unix socket: follows its [`Socket`] record, and is followed by `path_bytes` of the path that it, or its other end, was
/// bound to. A first byte of 0 is that of a name that is no path.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct UnixEnds {
    /// `socket_id` of the other end; 0 where that is not known yet.
    pub peer_id: u64,
    /// Bytes after this struct.
    pub path_bytes: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<UnixEnds>() == 16);

/// [`Socket::protocol`] of a session of a TLS library, which is no socket of the kernel's.
pub const PROTOCOL_TLS: u16 = u16::MAX;

/// Of a TLS session: follows its [`Socket`] record, whose addresses are empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct TlsEnds {
    /// `socket_id` of the socket that its records travel on, as far as its calls have shown; 0: none, or several.
    pub carrier_id: u64,
    /// What the kernel programs know the session by, to be told to them when its process is gone.
    pub key: u64,
    /// 1: its calls have moved data on more than one socket, so none is named.
    pub several: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<TlsEnds>() == 24);

/// [`Process::what`].
pub mod life {
    /// sched_process_fork of a thread-group leader: `pid` is the child, `parent_pid` its parent.
    pub const FORK: u8 = 1;
    /// sched_process_exec.
    pub const EXEC: u8 = 2;
    /// sched_process_exit of a thread-group leader.
    pub const EXIT: u8 = 3;
    /// task_rename of a thread-group leader: only `start_boot_ns` and `comm` are told.
    pub const RENAME: u8 = 4;
    /// cgroup_attach_task of a process: `start_boot_ns` and `comm` are told, and instead of the executable the path of the cgroup. Where
    /// filters ask for it.
    pub const MOVED: u8 = 5;
}

/// A process was born, changed its program or name, or ended. `Header::pid` is the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Process {
    /// `task_struct.start_boottime` of the thread-group leader, in ns.
    pub start_boot_ns: u64,
    /// cgroup v2 id (inode of the cgroup's directory), 0 where there is none.
    pub cgroup_id: u64,
    /// Parent's thread group id.
    pub parent_pid: u32,
    /// Wait status as in `task_struct.exit_code`; 0 unless [`life::EXIT`].
    pub exit_code: u32,
    /// Name of the thread-group leader, NUL-padded.
    pub comm: [u8; 16],
    /// [`life`].
    pub what: u8,
    /// Always 0.
    pub reserved: [u8; 3],
    /// Bytes of the executable's file name after this struct ...
    pub exe_bytes: u16,
    /// ... and then of the arguments, NUL-separated.
    pub argv_bytes: u16,
}
const _: () = assert!(size_of::<Process>() == 48);

/// Something that TCP did on a watched socket outside of system calls.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Tcp {
    /// The socket.
    pub socket_id: u64,
    /// [`TcpKind::Retransmit`]: sequence number of the first byte sent again. [`TcpKind::ListenDrop`]: segments dropped since
    /// the socket began to listen (`sk_drops`).
    pub tcp_seq: u32,
    /// [`TcpKind::Retransmit`]: sequence numbers covered (a SYN or FIN takes one). [`TcpKind::ListenDrop`]: segments dropped
    /// since the last look.
    pub bytes: u32,
    /// [`TcpKind::Rtt`]: smoothed round-trip time, us. [`TcpKind::ListenDrop`]: time since the last look, ms.
    pub rtt_us: u32,
    /// [`TcpKind::Rtt`]: its mean deviation, us.
    pub rttvar_us: u32,
    /// TCP state at that moment.
    pub state: u8,
    /// Always 0.
    pub reserved: [u8; 7],
}
const _: () = assert!(size_of::<Tcp>() == 32);

/// What the kernel counted on a TCP socket since its connection began (`struct tcp_sock`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Flow {
    /// The socket.
    pub socket_id: u64,
    /// Bytes of data sent, those sent again counted again (`bytes_sent`).
    pub sent_bytes: u64,
    /// Bytes of data sent again (`bytes_retrans`).
    pub again_bytes: u64,
    /// Bytes received in order; a FIN counts as one (`bytes_received`).
    pub received_bytes: u64,
    /// The kernel's ticks since 2^32 of them less five minutes before boot (`jiffies_64`).
    pub ticks: u64,
    /// Segments sent (`segs_out`).
    pub sent_segments: u32,
    /// Segments received (`segs_in`).
    pub received_segments: u32,
    /// Segments sent again (`total_retrans`).
    pub again_segments: u32,
    /// Smoothed round-trip time, us; 0: none yet.
    pub rtt_us: u32,
    /// Least round-trip time of the last minutes, us; all bits set: none yet.
    pub min_rtt_us: u32,
    /// Ticks that data was under way (`chrono_stat`): while nothing kept it waiting, while the receiver's window was full, while the
    /// send buffer was. Each tick is in one of the three at most.
    pub busy_ticks: [u32; 3],
    /// Tick at which the stretch under way began, as 32 bits (`chrono_start`) ...
    pub busy_since: u32,
    /// ... and what it is: 0 none, 1 to 3 as in `busy_ticks` (`chrono_type`).
    pub busy_with: u8,
    /// TCP state.
    pub state: u8,
    /// 1: the connection ends here.
    pub end: u8,
    /// Always 0.
    pub reserved: u8,
}
const _: () = assert!(size_of::<Flow>() == 80);

/// Something that kept a thread, or a whole process, from running. `Header::pid` and `tid` are its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Sched {
    /// How long it did, up to `Header::boot_ns`; 0 for [`SchedKind::Stopped`].
    pub duration_ns: u64,
    /// [`SchedKind::RunQueue`]: thread group that had most of the CPU until then; 0: none, it was idle.
    pub other_pid: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Sched>() == 16);

/// Who woke the thread that sends. Emitted after the send's own record and with the same time, CPU and thread, but handed over before
/// it, as [`More`] is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
pub struct Wake {
    /// CLOCK_BOOTTIME of the wake-up, ns.
    pub woken_ns: u64,
    /// [`Header::boot_ns`] of the receive that it follows from ...
    pub received_ns: u64,
    /// Thread of the same process that woke it.
    pub by_tid: u32,
    /// ... and the thread that received.
    pub received_tid: u32,
    /// Wake-ups from there to here, 1 at least.
    pub wake_ups: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Wake>() == 32);

/// A CPU's present: what it runs and since when. Written only where the scheduler switches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable, Pod)]
pub struct OnCpu {
    /// CLOCK_BOOTTIME of the last switch, ns; 0 before the first.
    pub since_ns: u64,
    /// Thread group that runs; 0: idle.
    pub pid: u32,
    /// Thread group that had most of the CPU in the last milliseconds ...
    pub most_pid: u32,
    /// ... and by how much, ns.
    pub lead_ns: u64,
}
const _: () = assert!(size_of::<OnCpu>() == 24);

/// How much is left out where the recorder is over a limit: levels, each with what those below it leave out.
pub mod shed {
    /// Nothing.
    pub const NOTHING: u32 = 0;
    /// Bytes of data that begins neither a message nor a turn.
    pub const CONTINUATIONS: u32 = 1;
    /// All bytes: data is a length.
    pub const HEADS: u32 = 2;
    /// The data of half of the connections, at each level above of half of the rest.
    pub const CONNECTIONS: u32 = 3;
    /// No more than that: the data of one connection in 255 is left.
    pub const MOST: u32 = 9;
}

/// Index into the per-CPU loss counters of the kernel programs: one per kind of event, then these.
pub mod loss {
    /// A [`super::Socket`] record found no room in the ring.
    pub const SOCKET: u32 = 9;
    /// A [`super::Process`] record found no room in the ring.
    pub const PROCESS: u32 = 10;
    /// The map of open sockets was full: the socket is not recorded.
    pub const SOCKET_MAP: u32 = 11;
    /// The maps of threads were full: the call is not recorded, nor what keeps the thread from running.
    pub const CALL_MAP: u32 = 12;
    /// A 32-bit system call on a watched process: not supported.
    pub const COMPAT_CALL: u32 = 13;
    /// The map of stopped processes was full: the end of the stop is not recorded.
    pub const STOP_MAP: u32 = 22;
    /// The map of CPU times was full: a slice of CPU time is not counted.
    pub const USAGE_MAP: u32 = 23;
    /// A [`super::More`] record found no room in the ring: a long head is cut there.
    pub const MORE: u32 = 24;
    /// A call that was entered before the recording and cannot be told for certain what it did: it is not recorded.
    pub const EARLY_CALL: u32 = 26;
    /// A [`super::Flow`] record found no room in the ring.
    pub const FLOW: u32 = 27;
    /// A [`super::Wake`] record found no room in the ring.
    pub const WAKE: u32 = 29;
    /// The kernel did not run a program at the entry or exit of a socket function, for it was running on that CPU already: a
    /// call may not be recorded. The recorder asks the kernel for it.
    pub const MISSED_CALL: u32 = 30;
    /// The bytes of data that begins nothing were left out, see [`super::shed`].
    pub const SHED_CONTINUATION: u32 = 48;
    /// All bytes of data were left out.
    pub const SHED_HEAD: u32 = 49;
    /// Data was left out altogether.
    pub const SHED_DATA: u32 = 50;
    /// The calls of a TLS session moved data on another socket than those before: it is tied to none from then on.
    pub const TLS_CARRIER: u32 = 52;
    /// A call of a TLS library within another, on another session (TLS in TLS): not recorded.
    pub const TLS_WITHIN: u32 = 53;
    /// The map of threads in TLS libraries was full: the call is not recorded.
    pub const TLS_MAP: u32 = 54;
    /// Number of counters. Index 0 is unused; 1..=8 are [`super::Kind`] numbers, 14..=17 and 28 [`super::TcpKind`] and 18..=21
    /// [`super::SchedKind`]: no room in the ring.
    pub const COUNTERS: u32 = 56;
}
