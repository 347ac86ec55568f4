//! What the recorder tells the kernel programs before they are loaded: one read-only global.
//!
//! The verifier knows the values of read-only globals, so a switched-off feature costs nothing.

mod filters;

use bytemuck::{Pod, Zeroable};

pub use filters::{
    Filters, MAX_NETNS, MAX_NETS, Namespaces, Net, Nets, PortRange, Ranges, SocketRules, side, watched,
};

/// Most ranges of ports of one filter.
pub const MAX_PORT_RANGES: usize = 16;
/// Sockets that have a place of their own in the kernel programs, at most; a power of two.
pub const SOCKET_PLACES: u32 = 65_536;
/// Most `--comm` names.
pub const MAX_COMMS: usize = 8;

/// Most beginnings of data that the kernel programs are told of.
pub const MAX_SIGNATURES: usize = 16;

/// Helper number that stands in the object for a call of the kernel's `bpf_rdonly_cast`: the recorder writes the running
/// kernel's own number over it. Where that kernel has none the call is unreachable.
pub const CAST_CALL: i32 = 0x0ca5_7ca5;

/// Byte offsets of kernel struct fields, from the running kernel's BTF. A nested field's offset is
/// the sum along its path. u32 so that the struct has no padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
#[expect(missing_docs, reason = "each name is the kernel's struct and field")]
pub struct Offsets {
    pub task_files: u32,
    pub task_group_leader: u32,
    pub task_real_parent: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_comm: u32,
    pub task_start_boottime: u32,
    pub task_exit_code: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub task_mm: u32,
    pub task_thread_info_status: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_f_inode: u32,
    pub file_private_data: u32,
    pub inode_i_mode: u32,
    pub inode_i_ino: u32,
    pub socket_file: u32,
    pub socket_sk: u32,
    pub sk_family: u32,
    pub sk_state: u32,
    pub sk_num: u32,
    pub sk_dport: u32,
    pub sk_daddr: u32,
    pub sk_rcv_saddr: u32,
    pub sk_v6_daddr: u32,
    pub sk_v6_rcv_saddr: u32,
    pub sk_net: u32,
    pub net_ns_inum: u32,
    pub sk_protocol: u32,
    pub sk_err: u32,
    pub sk_socket: u32,
    pub tcp_write_seq: u32,
    pub tcp_snd_una: u32,
    pub tcp_copied_seq: u32,
    pub tcp_rcv_nxt: u32,
    pub bprm_filename: u32,
    pub task_state: u32,
    pub tcp_srtt_us: u32,
    pub tcp_mdev_us: u32,
    pub tcp_bytes_sent: u32,
    pub tcp_bytes_retrans: u32,
    pub tcp_segs_out: u32,
    pub tcp_segs_in: u32,
    pub tcp_total_retrans: u32,
    /// `rtt_min.s[0].v`.
    pub tcp_rtt_min: u32,
    pub tcp_chrono_stat: u32,
    pub tcp_chrono_start: u32,
    /// The byte of `chrono_type`, a field of two bits ...
    pub tcp_chrono_type: u32,
    /// ... and its lowest bit there.
    pub tcp_chrono_type_bit: u32,
    pub skb_seq: u32,
    pub skb_end_seq: u32,
    pub skb_tstamp: u32,
    pub tcp_bytes_acked: u32,
    pub tcp_bytes_received: u32,
    pub sk_drops: u32,
    pub task_flags: u32,
    pub msg_flags: u32,
    /// Of `msghdr.msg_iter`, as the next four: what it goes over ...
    pub iter_type: u32,
    /// ... how far it is in the first piece ...
    pub iter_offset: u32,
    /// ... where the pieces are, or the only one ...
    pub iter_pieces: u32,
    /// ... and how many there are.
    pub iter_count: u32,
    pub reserved: u32,
    pub sk_type: u32,
    pub msg_name: u32,
    pub unix_peer: u32,
    pub unix_addr: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    /// `f_count`, since Linux 6.13 `f_ref`.
    pub file_count: u32,
    pub sk_receive_queue_qlen: u32,
    /// `thread.fsbase`.
    pub task_fsbase: u32,
    pub reserved2: u32,
}

/// Kinds of sockets, as bits (`--sockets`).
pub mod kinds {
    /// TCP and MPTCP.
    pub const TCP: u32 = 1 << 0;
    /// UDP from or to one of [`super::DNS_PORTS`].
    pub const DNS: u32 = 1 << 1;
    /// All of UDP.
    pub const UDP: u32 = 1 << 2;
    /// Unix stream sockets with a path.
    pub const UNIX: u32 = 1 << 3;
    /// Those without: pairs.
    pub const PAIRS: u32 = 1 << 4;
}

/// Ports at which questions of DNS are answered: servers, and hosts of a local network (mDNS).
pub const DNS_PORTS: [u16; 2] = [53, 5353];

/// How much is kept of data that begins so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Keep {
    /// As much as after a change of direction (`--snaplen`).
    Turn = 0,
    /// The same, and a head of lines that ends with an empty one is read to that end.
    Head = 1,
    /// The same, where the head comes behind this line.
    HeadBehindLine = 2,
}

/// How data begins that the kernel programs look at: at most 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable, Pod)]
pub struct Signature {
    /// The bytes, little-endian.
    pub word: u64,
    /// Those bits of them that count.
    pub mask: u64,
    /// How many bytes.
    pub bytes: u32,
    /// A [`Keep`].
    pub keep: u32,
}

impl Signature {
    /// Data that begins with these bytes, at most 8.
    pub const fn of(bytes: &[u8], keep: Keep) -> Signature {
        Signature::masked(bytes, &[0xff; 8], keep)
    }

    /// Data that begins with these bytes, at most 8, as far as the bits of `mask` go.
    pub const fn masked(bytes: &[u8], mask: &[u8], keep: Keep) -> Signature {
        let mut signature = Signature { word: 0, mask: 0, bytes: bytes.len() as u32, keep: keep as u32 };
        let mut at = 0;
        while at < bytes.len() {
            signature.word |= ((bytes[at] & mask[at]) as u64) << (8 * at);
            signature.mask |= (mask[at] as u64) << (8 * at);
            at += 1;
        }
        signature
    }
}

/// The whole configuration.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct Config {
    /// Struct offsets.
    pub offsets: Offsets,
    /// Most payload bytes of one event (`--snaplen`), at most [`crate::event::MAX_SNAP_BYTES`].
    pub snap_bytes: u32,
    /// Bytes kept of data that begins neither a message nor a turn.
    pub short_head_bytes: u32,
    /// Names of `comms` that are used; 0: no filter by name.
    pub comm_count: u32,
    /// 1: only processes in the map of watched processes.
    pub filter_pids: u32,
    /// Thread group id of the recorder itself, never recorded.
    pub own_pid: u32,
    /// Number of ring buffers (possible CPUs).
    pub rings: u32,
    /// 1: argument vectors of execs are read at all (`--args`; else only argv[0] is kept, in user space).
    pub read_argv: u32,
    /// 1: round-trip times are sampled.
    pub tcp: u32,
    /// 1: `tcp_retransmit_skb` has a third argument, 0 where the segment was really sent (Linux 6.16).
    pub retransmit_result: u32,
    /// 1: what keeps threads and processes from running is recorded.
    pub sched: u32,
    /// Shorter waits are not recorded, us.
    pub sched_threshold_us: u32,
    /// 1: `sched_switch` has a fourth argument, the state of the task that leaves (Linux 5.18).
    pub switch_state: u32,
    /// 1: CPU time is summed up by process.
    pub usage: u32,
    /// BTF id of a struct of two 64-bit numbers, which kernel memory is read as; 0: `bpf_rdonly_cast`
    /// (Linux 6.2) cannot be had, so a helper reads it.
    pub words_type: u32,
    /// Places for sockets, a power of two.
    pub socket_places: u32,
    /// 1: who wakes the threads that send is recorded.
    pub wakes: u32,
    /// 1: the probe set `sockets`, else `syscalls`.
    pub sockets: u32,
    /// `enum iter_type` of this kernel: one piece of a process's memory ...
    pub iter_ubuf: u32,
    /// ... and several.
    pub iter_iovec: u32,
    /// How many arguments `inet_accept` has: 4, since Linux 6.10 3.
    pub accept_arguments: u32,
    /// 1: the map `SHED` may say that something is left out.
    pub sheds: u32,
    /// How many of `signatures` are used.
    pub used_signatures: u64,
    /// How messages of the protocols begin that are read.
    pub signatures: [Signature; MAX_SIGNATURES],
    /// `--comm`, NUL-padded.
    pub comms: [[u8; 16]; MAX_COMMS],
    /// Which sockets are recorded: bits of [`kinds`].
    pub kinds: u32,
    /// What stands at `file_count` where one thing leads to the file.
    pub one_file: u32,
    /// 1: what TLS libraries encrypt and decrypt is recorded.
    pub tls: u32,
    /// Always 0.
    pub reserved: u32,
    /// What else is asked of sockets and processes.
    pub filters: Filters,
}
