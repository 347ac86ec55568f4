//! What the kernel counts by itself, read about once a second: rows of `counters`.
//!
//! Files of a network namespace are read through /proc/PID/net of a process that lives in it, so that the recorder never
//! enters a namespace. A file that this kernel does not have, or that cannot be read, has no rows.

mod groups;
mod kept;
mod parse;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use self::groups::Groups;
use crate::fast_map::FastMap;
use crate::host::jitter::Jitter;

/// Most that is read of one file.
const MOST_BYTES: u64 = 1 << 20;
/// Most network namespaces that are read in one sample.
const MOST_NAMESPACES: usize = 64;
/// Most counters of one file that are remembered.
const MOST_COUNTERS: usize = 8192;
/// Samples after which a process's namespace is looked up again.
const LOOK_AGAIN: u32 = 10;
/// Waiting time in an interval that is worth a row, us.
const LEAST_PRESSURE_US: u64 = 1_000;
/// Share of an interval from which on the time of a single CPU is worth a row.
const LEAST_SHARE_OF_CPU: f64 = 0.05;

/// A counter that rose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Network namespace, where it is of one.
    pub netns: Option<u64>,
    /// A process of the cgroup, where it is of one.
    pub pid: Option<u32>,
    /// Column `source`.
    pub source: &'static str,
    /// Column `name`.
    pub name: String,
    /// Column `instance`.
    pub instance: Option<String>,
    /// By how much.
    pub delta: u64,
    /// What it is now.
    pub value: u64,
    /// Since the reading before, ns.
    pub interval_ns: u64,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Snmp,
    Netstat,
    Conntrack,
    Softnet,
    ArpCache,
    NdiscCache,
    Vmstat,
    Pressure(&'static str),
    Diskstats,
    Stat,
}

/// Those of a network namespace, below /proc/PID/net.
const OF_NAMESPACE: [(Source, &str); 3] =
    [(Source::Snmp, "snmp"), (Source::Netstat, "netstat"), (Source::Conntrack, "stat/nf_conntrack")];

/// Those of the host. Neighbours are counted for all namespaces together, and shown in the first one.
const OF_HOST: [(Source, &str); 9] = [
    (Source::Softnet, "/proc/net/softnet_stat"),
    (Source::ArpCache, "/proc/1/net/stat/arp_cache"),
    (Source::NdiscCache, "/proc/1/net/stat/ndisc_cache"),
    (Source::Vmstat, "/proc/vmstat"),
    (Source::Pressure("cpu"), "/proc/pressure/cpu"),
    (Source::Pressure("io"), "/proc/pressure/io"),
    (Source::Pressure("memory"), "/proc/pressure/memory"),
    (Source::Diskstats, "/proc/diskstats"),
    (Source::Stat, "/proc/stat"),
];

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Snmp => "snmp",
            Source::Netstat => "netstat",
            Source::Conntrack => "conntrack",
            Source::Softnet => "softnet",
            Source::ArpCache => "arp_cache",
            Source::NdiscCache => "ndisc_cache",
            Source::Vmstat => "vmstat",
            Source::Pressure(_) => "pressure",
            Source::Diskstats => "diskstats",
            Source::Stat => "stat",
        }
    }

    fn keeps(self, name: &str) -> bool {
        match self {
            Source::Snmp => kept::snmp(name),
            Source::Netstat => kept::netstat(name),
            Source::Conntrack => kept::conntrack(name),
            Source::ArpCache | Source::NdiscCache => kept::neighbours(name),
            Source::Vmstat => kept::memory(name),
            Source::Softnet | Source::Pressure(_) | Source::Diskstats | Source::Stat => true,
        }
    }

    /// The least change that is worth a row.
    fn least(self, instance: Option<&str>, interval_ns: u64) -> u64 {
        match (self, instance) {
            (Source::Pressure(_), _) => LEAST_PRESSURE_US,
            // A row for each CPU of a large machine in each interval would be most of the table.
            (Source::Stat, Some(_)) => (interval_ns as f64 / 1e6 * LEAST_SHARE_OF_CPU) as u64,
            _ => 1,
        }
    }

    fn parse(self, text: &str, is_disk: &mut dyn FnMut(&str) -> bool, sink: &mut parse::Sink<'_>) {
        match self {
            Source::Snmp | Source::Netstat => parse::protocols(text, sink),
            Source::Conntrack | Source::ArpCache | Source::NdiscCache => parse::per_cpu(text, sink),
            Source::Softnet => parse::softnet(text, sink),
            Source::Vmstat => parse::lines(text, sink),
            Source::Pressure(of) => parse::pressure(text, &mut |name, _, value| sink(name, Some(of), value)),
            Source::Diskstats => parse::disks(text, is_disk, sink),
            Source::Stat => parse::cpus(text, sink),
        }
    }
}

/// The counters of one file as they were read last.
#[derive(Debug, Default)]
struct Before {
    read_ns: u64,
    /// By name and instance, see [`key`].
    values: HashMap<Box<str>, u64>,
}

/// The key of a counter within its file.
fn key(into: &mut String, name: &str, instance: Option<&str>) {
    into.clear();
    into.push_str(name);
    if let Some(instance) = instance {
        into.push('\n');
        into.push_str(instance);
    }
}

impl Before {
    /// Notes a value, and tells by how much it has grown; None at first sight and where it has fallen.
    fn grow(&mut self, key: &str, value: u64) -> Option<u64> {
        if let Some(before) = self.values.get_mut(key) {
            return value.checked_sub(std::mem::replace(before, value));
        }
        if self.values.len() < MOST_COUNTERS {
            self.values.insert(key.into(), value);
        }
        None
    }
}

/// Which names of /proc/diskstats are disks of their own, and no partitions; asked once.
#[derive(Debug, Default)]
struct Disks(HashMap<Box<str>, bool>);

impl Disks {
    fn has(&mut self, name: &str) -> bool {
        if let Some(&known) = self.0.get(name) {
            return known;
        }
        let in_memory = ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind));
        let is_disk = !in_memory && !name.contains('/') && Path::new("/sys/block").join(name).exists();
        if self.0.len() < MOST_COUNTERS {
            self.0.insert(name.into(), is_disk);
        }
        is_disk
    }
}

/// Counters so far.
#[derive(Debug)]
pub struct Counters {
    files: HashMap<(Option<u64>, Source), Before>,
    /// Network namespace of a process, and when it was looked up.
    namespaces: FastMap<u32, (u32, u64)>,
    groups: Groups,
    disks: Disks,
    samples: u32,
    text: Vec<u8>,
    /// Pause between two samples, about, and when the next one is due.
    every: Duration,
    due: Instant,
    jitter: Jitter,
}

impl Counters {
    /// Of this host: takes note of what its counters are.
    pub fn start(boot_ns: u64, every: Duration) -> Counters {
        let mut counters = Counters {
            files: HashMap::new(),
            namespaces: FastMap::default(),
            groups: Groups::of_host(),
            disks: Disks::default(),
            samples: 0,
            text: Vec::new(),
            every,
            due: Instant::now(),
            jitter: Jitter::default(),
        };
        counters.sample(boot_ns, &[]);
        counters
    }

    /// How long until the next sample is due.
    pub fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// What has risen since the sample before: of the host, and of the network namespaces and cgroups of these processes.
    pub fn sample(&mut self, boot_ns: u64, pids: &[u32]) -> Vec<Change> {
        self.samples += 1;
        self.due = Instant::now() + self.jitter.around(self.every);
        let mut changes = Vec::new();
        for (source, path) in OF_HOST {
            self.read(boot_ns, None, source, path, &mut changes);
        }
        for (netns, pid) in self.namespaces_of(pids) {
            // The process may have ended, and another have its number.
            if netns_of(pid) != Some(netns) {
                continue;
            }
            for (source, file) in OF_NAMESPACE {
                self.read(boot_ns, Some(netns), source, &format!("/proc/{pid}/net/{file}"), &mut changes);
            }
        }
        self.groups.sample(boot_ns, pids, &mut changes);
        changes
    }

    /// The namespaces of these processes, each with one of them.
    fn namespaces_of(&mut self, pids: &[u32]) -> Vec<(u64, u32)> {
        let mut seen = FastMap::default();
        let mut found: Vec<(u64, u32)> = Vec::new();
        for &pid in pids {
            let known = match self.namespaces.remove(&pid) {
                Some(known) if self.samples - known.0 < LOOK_AGAIN => Some(known),
                _ => netns_of(pid).map(|netns| (self.samples, netns)),
            };
            let Some(known) = known else { continue };
            seen.insert(pid, known);
            if !found.iter().any(|&(netns, _)| netns == known.1) && found.len() < MOST_NAMESPACES {
                found.push((known.1, pid));
            }
        }
        self.namespaces = seen;
        // A namespace of which no process is left is forgotten.
        self.files.retain(|(netns, _), _| netns.is_none_or(|netns| found.iter().any(|f| f.0 == netns)));
        found
    }

    fn read(
        &mut self,
        boot_ns: u64,
        netns: Option<u64>,
        source: Source,
        path: &str,
        changes: &mut Vec<Change>,
    ) {
        self.text.clear();
        if read_into(Path::new(path), &mut self.text).is_none() {
            return;
        }
        let text = String::from_utf8_lossy(&self.text);
        let before = self.files.entry((netns, source)).or_default();
        let interval_ns = boot_ns.saturating_sub(before.read_ns);
        before.read_ns = boot_ns;
        let mut full = String::new();
        let disks = &mut self.disks;
        source.parse(&text, &mut |disk| disks.has(disk), &mut |name, instance, value| {
            if !source.keeps(name) {
                return;
            }
            key(&mut full, name, instance);
            let Some(delta) = before.grow(&full, value) else { return };
            if delta >= source.least(instance, interval_ns).max(1) {
                changes.push(Change {
                    netns,
                    pid: None,
                    source: source.name(),
                    name: name.to_owned(),
                    instance: instance.map(str::to_owned),
                    delta,
                    value,
                    interval_ns,
                });
            }
        });
    }
}

/// Inode number of the network namespace of a process, as `sockets.netns` has it.
fn netns_of(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|metadata| metadata.ino())
}

/// Reads the beginning of a file.
fn read_into(path: &Path, text: &mut Vec<u8>) -> Option<()> {
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(text).ok().map(drop)
}

#[cfg(test)]
mod tests;
