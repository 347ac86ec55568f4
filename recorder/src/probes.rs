//! The kernel side as the recorder sees it: what to record goes in, ring buffers and counters come out.
//!
//! [`start`] picks a probe set the kernel allows, loads the embedded object with the offsets and options
//! it needs, and attaches it. Nothing is recorded on disk before that has worked.

use aya::maps::{MapData, RingBuf};
use retrospan_formats::event::loss;

/// What to record. Different filters are joined by AND, the entries of one filter by OR.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Most payload bytes of one event, at most [`retrospan_formats::event::MAX_SNAP_BYTES`]; 0: no payload.
    pub snap_bytes: u32,
    /// Size of each CPU's ring, rounded up to a power of two and to a page; 0: 8 MiB.
    pub ring_bytes: u32,
    /// Closed port ranges that match either end; empty: every port.
    pub ports: Vec<(u16, u16)>,
    /// Names of thread-group leaders; empty: every name. At most 15 bytes of each count.
    pub comms: Vec<String>,
    /// Only these processes, their present and future descendants, and what [`Probes::watch_pid`] adds;
    /// `None`: every process.
    pub pids: Option<Vec<u32>>,
    /// The recorder's own process, which is never recorded.
    pub own_pid: u32,
    /// Whether argument vectors are read at all.
    pub read_argv: bool,
    /// Most sockets open at one time; 0: 262,144.
    pub most_sockets: u32,
}

/// Why the kernel programs are not running, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A capability is missing.
    #[error("{0}")]
    Privilege(String),
    /// The kernel lacks something.
    #[error("{0}")]
    Kernel(String),
    /// An option cannot be honoured.
    #[error("{0}")]
    Option(String),
    /// The object is damaged or refused.
    #[error("{what}: {reason}")]
    Object {
        /// The program, map or file.
        what: String,
        /// The kernel's or the loader's reason.
        reason: String,
    },
}

/// Losses of one CPU since the start: index is a [`retrospan_formats::event::Kind`] number or a constant of [`loss`].
pub type LossCounters = [u64; loss::COUNTERS as usize];

/// What one kernel program cost since the start (`kernel.bpf_stats_enabled`).
#[derive(Clone, Debug)]
pub struct RunCost {
    /// Name of the program.
    pub program: String,
    /// Times it ran.
    pub runs: u64,
    /// Time it took altogether, in ns.
    pub run_ns: u64,
}

/// The attached programs. Dropping it detaches them.
pub struct Probes {
    rings: Vec<RingBuf<MapData>>,
}

/// Loads and attaches the kernel programs.
///
/// # Errors
/// Says which privilege or kernel feature is missing and what to do about it.
pub fn start(_options: &Options) -> Result<Probes, ProbeError> {
    Err(ProbeError::Kernel("the kernel programs are not built yet".into()))
}

impl Probes {
    /// Name of the probe set in use, for the manifest.
    pub fn probe_set(&self) -> &'static str {
        "syscalls"
    }

    /// Hands out the ring buffers, once: index = CPU. A record is what
    /// [`retrospan_formats::event`] describes; it may be followed by unused bytes (`Header::record_bytes` counts).
    pub fn take_rings(&mut self) -> Vec<RingBuf<MapData>> {
        std::mem::take(&mut self.rings)
    }

    /// Losses so far, one entry per CPU.
    ///
    /// # Errors
    /// The kernel refused to read the counters.
    pub fn losses(&self) -> Result<Vec<LossCounters>, ProbeError> {
        Ok(Vec::new())
    }

    /// The next sequence number of each CPU: records made so far, kept or lost.
    ///
    /// # Errors
    /// The kernel refused to read the counters.
    pub fn next_seqs(&self) -> Result<Vec<u64>, ProbeError> {
        Ok(Vec::new())
    }

    /// What the programs cost so far; zeros unless `bpf_stats` are enabled.
    ///
    /// # Errors
    /// The kernel refused to describe a program.
    pub fn run_costs(&self) -> Result<Vec<RunCost>, ProbeError> {
        Ok(Vec::new())
    }

    /// Records this process and everything it starts from now on (needs `Options::pids` to be `Some`).
    ///
    /// # Errors
    /// The map of watched processes is full.
    pub fn watch_pid(&mut self, _tgid: u32) -> Result<(), ProbeError> {
        Ok(())
    }

    /// Puts a `Socket` record into the rings for every socket that is open now and passes the filters.
    /// Drain the rings while it runs: it waits for nothing.
    ///
    /// # Errors
    /// The kernel refused to run the iterator.
    pub fn snapshot_sockets(&mut self) -> Result<(), ProbeError> {
        Ok(())
    }

    /// Stops recording; what the rings hold can still be drained, the counters stand still.
    pub fn detach(&mut self) {}
}
