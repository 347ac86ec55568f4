//! What a recording is asked to do, as plain data: the command line converted and checked.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use retrospan_formats::config::{MAX_COMMS, MAX_PORT_RANGES};
use retrospan_formats::event::MAX_SNAP_BYTES;
pub use retrospan_protocols::redact::Payload;
use serde_json::{Map, Value, json};

use crate::kernel::{self, Evidence, ProbeSet};

/// One recording.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the capture goes.
    pub output: PathBuf,
    /// Ends after this long; `None`: until a signal or the command's end.
    pub duration: Option<Duration>,
    /// These processes and their descendants; empty: no filter.
    pub pids: Vec<u32>,
    /// Names of thread-group leaders; empty: no filter.
    pub comms: Vec<String>,
    /// Closed ranges of ports at either end; empty: no filter.
    pub ports: Vec<(u16, u16)>,
    /// Most payload bytes of one event.
    pub snap_bytes: u32,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u32,
    /// Keep whole argument vectors instead of argv[0] alone.
    pub args: bool,
    /// What is kept of the data.
    pub payload: Payload,
    /// Keyed hashes of what is blanked.
    pub hash_secrets: bool,
    /// Evidence for causes.
    pub evidence: Evidence,
    /// Shorter waits of threads are no evidence.
    pub sched_threshold: Duration,
    /// How calls are seen; `None`: the better way that the kernel takes.
    pub probe_set: Option<ProbeSet>,
    /// At most this long between two parts, so at most this much is lost by a kill.
    pub rotate: Duration,
    /// Run and recorded with its descendants; empty: none.
    pub command: Vec<OsString>,
}

/// An option that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// More names than the kernel programs hold.
    #[error("--comm: at most {MAX_COMMS} names")]
    Comms,
    /// An empty name.
    #[error("--comm: the name is empty")]
    EmptyComm,
    /// More ranges than the kernel programs hold.
    #[error("--port: at most {MAX_PORT_RANGES} ranges")]
    Ports,
    /// A snap length beyond what one record holds.
    #[error("--snaplen: {0} bytes are too many, the most are {MAX_SNAP_BYTES}")]
    Snap(u32),
    /// A process that is not there.
    #[error("--pid {0}: no such process")]
    NoProcess(u32),
    /// A recording of no length.
    #[error("--duration: must be longer than 0")]
    Duration,
    /// Hashes of what is not blanked.
    #[error("--hash-secrets: only with --payload heads")]
    Hashes,
    /// Parts of no length.
    #[error("--rotate: must be at least 100ms")]
    Rotate,
    /// A threshold beyond what the kernel programs hold.
    #[error("--sched-threshold: at most 1h")]
    Threshold,
}

impl Options {
    /// Checks what can be checked before anything is started.
    pub fn check(&self) -> Result<(), OptionError> {
        if self.comms.len() > MAX_COMMS {
            return Err(OptionError::Comms);
        }
        if self.comms.iter().any(String::is_empty) {
            return Err(OptionError::EmptyComm);
        }
        if self.ports.len() > MAX_PORT_RANGES {
            return Err(OptionError::Ports);
        }
        if self.snap_bytes as usize > MAX_SNAP_BYTES {
            return Err(OptionError::Snap(self.snap_bytes));
        }
        if self.duration.is_some_and(|d| d.is_zero()) {
            return Err(OptionError::Duration);
        }
        if self.hash_secrets && self.payload != Payload::Heads {
            return Err(OptionError::Hashes);
        }
        if self.rotate < Duration::from_millis(100) {
            return Err(OptionError::Rotate);
        }
        if self.sched_threshold > Duration::from_secs(3600) {
            return Err(OptionError::Threshold);
        }
        match self.pids.iter().find(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            Some(&pid) => Err(OptionError::NoProcess(pid)),
            None => Ok(()),
        }
    }

    /// Whether the user chose sockets; those of COMMAND are no choice.
    pub fn has_filter(&self) -> bool {
        !(self.pids.is_empty() && self.comms.is_empty() && self.ports.is_empty())
    }

    /// What the user chose, as it stands on the command line; of COMMAND its first word.
    pub fn filters(&self) -> String {
        let ports = self.ports.iter().map(|&(a, b)| format!("--port {}", port_range(a, b)));
        let comms = self.comms.iter().map(|name| format!("--comm {name}"));
        let pids = self.pids.iter().map(|pid| format!("--pid {pid}"));
        let command = self.command.first().map(|word| format!("-- {}", word.to_string_lossy()));
        ports.chain(comms).chain(pids).chain(command).collect::<Vec<_>>().join(" ")
    }

    /// What the kernel programs are told.
    pub fn probes(&self) -> kernel::Options {
        let filter = !self.pids.is_empty() || !self.command.is_empty();
        kernel::Options {
            snap_bytes: if self.payload == Payload::None { 0 } else { self.snap_bytes },
            ring_bytes: self.ring_bytes,
            ports: self.ports.clone(),
            comms: self.comms.clone(),
            pids: filter.then(|| self.pids.clone()),
            own_pid: std::process::id(),
            read_argv: true,
            most_sockets: 0,
            evidence: self.evidence,
            sched_threshold_us: self.sched_threshold.as_micros() as u32,
            probe_set: self.probe_set,
        }
    }

    /// The manifest's `options`: COMMAND is its argv[0] alone unless arguments were asked for, and `evidence` what the
    /// kernel gives of it.
    pub fn manifest(&self, evidence: Evidence) -> Map<String, Value> {
        let ports: Vec<String> = self.ports.iter().map(|&(a, b)| port_range(a, b)).collect();
        let kept = if self.args { self.command.len() } else { 1 };
        let command: Vec<_> = self.command.iter().take(kept).map(|a| a.to_string_lossy()).collect();
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("duration_s", json!(self.duration.map(|d| d.as_secs_f64())));
        put("pid", json!(self.pids));
        put("comm", json!(self.comms));
        put("port", json!(ports));
        put("snaplen", json!(self.snap_bytes));
        put("ring_size", json!(self.ring_bytes));
        put("args", json!(self.args));
        put("payload", json!(self.payload.name()));
        put("hash_secrets", json!(self.hash_secrets));
        put("evidence", json!(evidence.names()));
        put("sched_threshold_ms", json!(self.sched_threshold.as_secs_f64() * 1e3));
        put("probes", json!(self.probe_set.map_or("auto", ProbeSet::name)));
        put("command", json!(command));
        map
    }
}

fn port_range(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            output: PathBuf::new(),
            duration: None,
            pids: Vec::new(),
            comms: Vec::new(),
            ports: Vec::new(),
            snap_bytes: 1024,
            ring_bytes: 1 << 20,
            args: false,
            payload: Payload::Heads,
            hash_secrets: false,
            evidence: Evidence::ALL,
            sched_threshold: Duration::from_millis(5),
            probe_set: None,
            rotate: Duration::from_secs(10),
            command: Vec::new(),
        }
    }

    #[test]
    fn a_command_alone_is_a_filter() {
        assert_eq!(options().probes().pids, None);
        let command = Options { command: vec!["true".into()], ..options() };
        assert_eq!(command.probes().pids, Some(Vec::new()));
        assert_eq!(Options { pids: vec![7], ..options() }.probes().pids, Some(vec![7]));
    }

    #[test]
    fn no_payload_is_asked_for_that_is_not_kept() {
        assert_eq!(options().probes().snap_bytes, 1024);
        assert_eq!(Options { payload: Payload::None, ..options() }.probes().snap_bytes, 0);
    }

    #[test]
    fn the_manifest_holds_no_argument_unless_asked() {
        let command = vec!["curl".into(), "hunter2".into()];
        let short = Options { command, ports: vec![(80, 80), (8000, 9000)], ..options() };
        let text = Value::from(short.manifest(Evidence::NONE)).to_string();
        assert!(text.contains(r#""command":["curl"]"#) && !text.contains("hunter2"), "{text}");
        assert!(text.contains(r#""port":["80","8000-9000"]"#), "{text}");
        let long = Options { args: true, ..short };
        assert!(Value::from(long.manifest(Evidence::ALL)).to_string().contains("hunter2"));
    }

    #[test]
    fn what_the_kernel_programs_cannot_hold_is_refused() {
        options().check().unwrap();
        let refused = |options: Options| options.check().unwrap_err().to_string();
        assert!(refused(Options { comms: vec!["a".into(); 9], ..options() }).contains("--comm"));
        assert!(refused(Options { comms: vec![String::new()], ..options() }).contains("--comm"));
        assert!(refused(Options { ports: vec![(1, 1); 17], ..options() }).contains("--port"));
        assert!(refused(Options { snap_bytes: 4097, ..options() }).contains("--snaplen"));
        assert!(refused(Options { duration: Some(Duration::ZERO), ..options() }).contains("--duration"));
        let hours = Duration::from_secs(7200);
        assert!(refused(Options { sched_threshold: hours, ..options() }).contains("--sched-threshold"));
        assert!(refused(Options { rotate: Duration::ZERO, ..options() }).contains("--rotate"));
        let full = Options { payload: Payload::Full, hash_secrets: true, ..options() };
        assert!(refused(full).contains("--hash-secrets"));
    }
}
