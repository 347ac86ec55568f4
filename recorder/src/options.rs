//! What a recording is asked to do, as plain data: the command line converted and checked.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use retrospan_formats::event::MAX_SNAP_BYTES;
pub use retrospan_protocols::redact::Payload;
use retrospan_protocols::redact::Rules;
use retrospan_protocols::redact::rules::Rule;
use serde_json::{Map, Value, json};

use crate::filters::{FilterError, Filters};
use crate::kernel::{self, Evidence, ProbeSet, SocketKinds};
use crate::rows::room::Space;
use crate::shed::Limits;
use crate::text::size;
use crate::triggers::DumpOn;

/// One recording.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the capture goes.
    pub output: PathBuf,
    /// Ends after this long; `None`: until a signal or the command's end.
    pub duration: Option<Duration>,
    /// What is recorded and what is not.
    pub filters: Filters,
    /// Most payload bytes of one event.
    pub snap_bytes: u32,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u32,
    /// Keep whole argument vectors instead of argv[0] alone.
    pub args: bool,
    /// What is kept of the data.
    pub payload: Payload,
    /// What is blanked beside the default.
    pub redact: Vec<Rule>,
    /// What is kept beside the default.
    pub reveal: Vec<Rule>,
    /// Keyed hashes of what is blanked.
    pub hash_secrets: bool,
    /// Evidence for causes.
    pub evidence: Evidence,
    /// Shorter waits of threads are no evidence.
    pub sched_threshold: Duration,
    /// Pause between two readings of the kernel's counters, about.
    pub counter_interval: Duration,
    /// How calls are seen; `None`: the better way that the kernel takes.
    pub probe_set: Option<ProbeSet>,
    /// How much room it may take.
    pub space: Space,
    /// What it may take before something is left out.
    pub limits: Limits,
    /// What a copy is made on, of what is held then.
    pub dump_on: Vec<DumpOn>,
    /// At most this long between two parts, so at most this much is lost by a kill.
    pub rotate: Duration,
    /// Run and recorded with its descendants; empty: none.
    pub command: Vec<OsString>,
    /// Kinds of sockets.
    pub kinds: SocketKinds,
    /// What TLS libraries encrypt and decrypt is recorded, too.
    pub tls: bool,
}

/// An option that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// A filter cannot be.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A snap length beyond what one record holds.
    #[error("--snaplen: {0} bytes are too many, the most are {MAX_SNAP_BYTES}")]
    Snap(u32),
    /// A recording of no length.
    #[error("--duration: must be longer than 0")]
    Duration,
    /// Hashes of what is not blanked.
    #[error("--hash-secrets: only with --payload heads")]
    Hashes,
    /// Keeps nothing.
    #[error("--keep: must hold a part at least: {0:?}, or 1mb")]
    Keep(Duration),
    /// No room at all.
    #[error("--max-disk: must be at least 1m")]
    MaxDisk,
    /// A rule that cannot be followed.
    #[error("--redact: {0}")]
    Rules(String),
    /// Rules for what is not recorded.
    #[error("--redact, --reveal: not with --payload none, which records no content")]
    NoContent,
    /// A limit that nothing keeps.
    #[error("{0}: must be more than 0")]
    Limit(&'static str),
    /// Parts of no length.
    #[error("--rotate: must be at least 100ms")]
    Rotate,
    /// A threshold beyond what the kernel programs hold.
    #[error("--sched-threshold: at most 1h")]
    Threshold,
    /// Counters read all the time, or never.
    #[error("--counter-interval: from 50ms to 1h")]
    CounterInterval,
}

impl Options {
    /// Checks what can be checked before anything is started.
    pub fn check(&self) -> Result<(), OptionError> {
        if self.snap_bytes as usize > MAX_SNAP_BYTES {
            return Err(OptionError::Snap(self.snap_bytes));
        }
        if self.duration.is_some_and(|d| d.is_zero()) {
            return Err(OptionError::Duration);
        }
        if self.hash_secrets && self.payload != Payload::Heads {
            return Err(OptionError::Hashes);
        }
        let rules = self.rules()?;
        if self.payload == Payload::None && !rules.is_empty() {
            return Err(OptionError::NoContent);
        }
        if self.rotate < Duration::from_millis(100) {
            return Err(OptionError::Rotate);
        }
        let part = (self.rotate.as_nanos() as u64, 1 << 20);
        let keep = self.space.keep;
        if keep.time_ns.is_some_and(|ns| ns < part.0) || keep.bytes.is_some_and(|bytes| bytes < part.1) {
            return Err(OptionError::Keep(self.rotate));
        }
        if self.space.max_bytes.is_some_and(|bytes| bytes < part.1) {
            return Err(OptionError::MaxDisk);
        }
        for (option, limit) in [("--max-rate", self.limits.rate), ("--max-cpu", self.limits.cpus)] {
            if limit.is_some_and(|limit| limit <= 0.0) {
                return Err(OptionError::Limit(option));
            }
        }
        if self.sched_threshold > Duration::from_secs(3600) {
            return Err(OptionError::Threshold);
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&self.counter_interval) {
            return Err(OptionError::CounterInterval);
        }
        Ok(self.filters.check()?)
    }

    /// What is blanked, and what is not, beside the default.
    pub fn rules(&self) -> Result<Rules, OptionError> {
        Rules::new(self.redact.clone(), self.reveal.clone()).map_err(OptionError::Rules)
    }

    /// Whether something may be left out on purpose.
    fn sheds(&self) -> bool {
        let room = !self.space.keep.rolls()
            && (self.space.max_bytes.is_some() || self.space.min_free_bytes.is_some());
        room || self.limits != Limits::default()
    }

    /// Whether the user chose sockets; those of COMMAND are no choice.
    pub fn has_filter(&self) -> bool {
        !self.filters.is_empty()
    }

    /// What the user chose, as it stands on the command line; of COMMAND its first word.
    pub fn filters(&self) -> String {
        let mut words = self.filters.words();
        words.extend(self.command.first().map(|word| format!("-- {}", word.to_string_lossy())));
        words.join(" ")
    }

    /// What the kernel programs are told.
    pub fn probes(&self) -> kernel::Options {
        let Filters { include, exclude, .. } = &self.filters;
        let filter = !include.pids.is_empty() || !self.command.is_empty();
        kernel::Options {
            snap_bytes: if self.payload == Payload::None { 0 } else { self.snap_bytes },
            ring_bytes: self.ring_bytes,
            comms: include.comms.clone(),
            pids: filter.then(|| include.pids.clone()),
            only_pids: (!include.only_pids.is_empty()).then(|| include.only_pids.clone()),
            excluded_pids: exclude.pids.clone(),
            excluded_comms: exclude.comms.clone(),
            filters: self.filters.rules(),
            own_pid: std::process::id(),
            read_argv: true,
            most_sockets: 0,
            evidence: self.evidence,
            sched_threshold_us: self.sched_threshold.as_micros() as u32,
            sheds: self.sheds(),
            probe_set: self.probe_set,
            kinds: self.kinds,
            tls: self.tls,
        }
    }

    /// The manifest's `options`: COMMAND is its argv[0] alone unless arguments were asked for, and `evidence` what the
    /// kernel gives of it.
    pub fn manifest(&self, evidence: Evidence) -> Map<String, Value> {
        let kept = if self.args { self.command.len() } else { 1 };
        let command: Vec<_> = self.command.iter().take(kept).map(|a| a.to_string_lossy()).collect();
        let mut map = Map::new();
        self.filters.put(&mut map);
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("duration_s", json!(self.duration.map(|d| d.as_secs_f64())));
        put("snaplen", json!(self.snap_bytes));
        put("ring_size", json!(self.ring_bytes));
        put("args", json!(self.args));
        put("payload", json!(self.payload.name()));
        put("hash_secrets", json!(self.hash_secrets));
        for (name, rules) in [("redact", &self.redact), ("reveal", &self.reveal)] {
            if !rules.is_empty() {
                put(name, json!(rules.iter().map(Rule::to_string).collect::<Vec<_>>()));
            }
        }
        put("evidence", json!(evidence.names()));
        put("sched_threshold_ms", json!(self.sched_threshold.as_secs_f64() * 1e3));
        put("counter_interval_s", json!(self.counter_interval.as_secs_f64()));
        put("probes", json!(self.probe_set.map_or("auto", ProbeSet::name)));
        put("sockets", json!(self.kinds.names()));
        if self.tls {
            put("tls", json!(true));
        }
        let Space { keep, max_bytes, min_free_bytes } = self.space;
        if keep.rolls() {
            let time = keep.time_ns.map(|ns| format!("{:?}", Duration::from_nanos(ns)));
            put("keep", json!([time, keep.bytes.map(size)].into_iter().flatten().collect::<Vec<_>>()));
        }
        if !self.dump_on.is_empty() {
            put("dump_on", json!(self.dump_on.iter().map(DumpOn::to_string).collect::<Vec<_>>()));
        }
        for (name, limit) in [("max_disk", max_bytes), ("min_free_disk", min_free_bytes)] {
            if let Some(limit) = limit {
                put(name, json!(size(limit)));
            }
        }
        if let Some(rate) = self.limits.rate {
            put("max_rate", json!(rate));
        }
        if let Some(cpus) = self.limits.cpus {
            put("max_cpu", json!(cpus));
        }
        put("command", json!(command));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::selection::Selection;
    use crate::filters::values::Ports;
    use crate::rows::rolling::Keep;

    fn options() -> Options {
        Options {
            output: PathBuf::new(),
            duration: None,
            filters: Filters::default(),
            snap_bytes: 1024,
            ring_bytes: 1 << 20,
            args: false,
            payload: Payload::Heads,
            redact: Vec::new(),
            reveal: Vec::new(),
            hash_secrets: false,
            evidence: Evidence::ALL,
            sched_threshold: Duration::from_millis(5),
            counter_interval: Duration::from_secs(1),
            probe_set: None,
            limits: Limits::default(),
            space: Space::default(),
            dump_on: Vec::new(),
            rotate: Duration::from_secs(10),
            command: Vec::new(),
            kinds: SocketKinds::default(),
            tls: false,
        }
    }

    #[test]
    fn a_command_alone_is_a_filter() {
        assert_eq!(options().probes().pids, None);
        let command = Options { command: vec!["true".into()], ..options() };
        assert_eq!(command.probes().pids, Some(Vec::new()));
        let include = Selection { pids: vec![7], ..Selection::default() };
        let filters = Filters { include, ..Filters::default() };
        assert_eq!(Options { filters, ..options() }.probes().pids, Some(vec![7]));
    }

    #[test]
    fn no_payload_is_asked_for_that_is_not_kept() {
        assert_eq!(options().probes().snap_bytes, 1024);
        assert_eq!(Options { payload: Payload::None, ..options() }.probes().snap_bytes, 0);
    }

    #[test]
    fn the_manifest_holds_no_argument_unless_asked() {
        let command = vec!["curl".into(), "hunter2".into()];
        let ports = vec![Ports { first: 80, last: 80 }, Ports { first: 8000, last: 9000 }];
        let include = Selection { ports, ..Selection::default() };
        let filters = Filters { include, ..Filters::default() };
        let short = Options { command, filters, ..options() };
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
        let include = Selection { comms: vec!["a".into(); 9], ..Selection::default() };
        let filters = Filters { include, ..Filters::default() };
        assert!(refused(Options { filters, ..options() }).contains("--comm"));
        assert!(refused(Options { snap_bytes: 4097, ..options() }).contains("--snaplen"));
        assert!(refused(Options { duration: Some(Duration::ZERO), ..options() }).contains("--duration"));
        let hours = Duration::from_secs(7200);
        assert!(refused(Options { sched_threshold: hours, ..options() }).contains("--sched-threshold"));
        assert!(refused(Options { rotate: Duration::ZERO, ..options() }).contains("--rotate"));
        let keeping =
            |keep: Keep| refused(Options { space: Space { keep, ..Space::default() }, ..options() });
        assert!(keeping(Keep { time_ns: Some(9_999_999_999), bytes: None }).contains("--keep"));
        assert!(keeping(Keep { time_ns: None, bytes: Some(1000) }).contains("--keep"));
        let small = Space { max_bytes: Some(1), ..Space::default() };
        assert!(refused(Options { space: small, ..options() }).contains("--max-disk"));
        let limits = Limits { rate: None, cpus: Some(0.0) };
        assert!(refused(Options { limits, ..options() }).contains("--max-cpu"));
        let rule = |text: &str| vec![text.parse().unwrap()];
        assert!(refused(Options { redact: rule("header=Host"), ..options() }).contains("--redact"));
        let none = Options { payload: Payload::None, reveal: rule("query=page"), ..options() };
        assert!(refused(none).contains("--payload none"));
        let full = Options { payload: Payload::Full, hash_secrets: true, ..options() };
        assert!(refused(full).contains("--hash-secrets"));
    }
}
