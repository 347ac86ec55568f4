//! How long the cgroups of processes were throttled, from `cpu.stat` of the v1 cpu controller and of v2.
//!
//! A limit may stand at any level above a process, so every level is looked at; of several that were throttled
//! in one interval the longest counts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytemuck::{Zeroable, bytes_of};
use retrospan_formats::event::{Header, Record, Sched, SchedKind};

use crate::fast_map::FastMap;
use crate::host::hierarchies::Hierarchies;

/// Samples after which a process's cgroup is looked up again.
const LOOK_AGAIN: u32 = 10;

/// Throttled times so far.
#[derive(Debug)]
pub struct Throttles {
    hierarchies: Hierarchies,
    /// `cpu.stat` files that concern a process, and when they were found.
    files: FastMap<u32, (u32, Vec<PathBuf>)>,
    /// Throttled time of each file at the last sample, ns.
    totals: HashMap<PathBuf, u64>,
    samples: u32,
}

impl Throttles {
    /// Of the hierarchies mounted on this host.
    pub fn of_host() -> Throttles {
        Throttles::below(Hierarchies::of_host("cpu"))
    }

    fn below(hierarchies: Hierarchies) -> Throttles {
        Throttles { hierarchies, files: FastMap::default(), totals: HashMap::new(), samples: 0 }
    }

    /// Which of the processes were throttled since the sample before, and for how long, ns. A cgroup seen for the first
    /// time is only taken note of.
    pub fn sample(&mut self, pids: impl Iterator<Item = u32>) -> Vec<(u32, u64)> {
        self.sample_with(pids, |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok())
    }

    fn sample_with(
        &mut self,
        pids: impl Iterator<Item = u32>,
        cgroups_of: impl Fn(u32) -> Option<String>,
    ) -> Vec<(u32, u64)> {
        self.samples += 1;
        let mut grown: HashMap<PathBuf, u64> = HashMap::new();
        let mut throttled = Vec::new();
        let mut seen = FastMap::default();
        for pid in pids {
            let found = match self.files.remove(&pid) {
                Some(found) if self.samples - found.0 < LOOK_AGAIN => found,
                _ => {
                    let text = cgroups_of(pid).unwrap_or_default();
                    let groups = self.hierarchies.groups(&text).into_iter();
                    (self.samples, groups.map(|group| group.folder.join("cpu.stat")).collect())
                }
            };
            let mut longest = 0;
            for file in &found.1 {
                let growth = match grown.get(file) {
                    Some(&growth) => growth,
                    None => {
                        let growth = grow(&mut self.totals, file);
                        grown.insert(file.clone(), growth);
                        growth
                    }
                };
                longest = longest.max(growth);
            }
            if longest > 0 {
                throttled.push((pid, longest));
            }
            seen.insert(pid, found);
        }
        self.files = seen;
        self.totals.retain(|file, _| grown.contains_key(file));
        throttled
    }
}

/// A record as the kernel programs would make it, so that it finds its place in time among theirs.
pub fn record(pid: u32, boot_ns: u64, throttled_ns: u64) -> Vec<u8> {
    let header = Header {
        boot_ns,
        seq: u64::MAX,
        pid,
        tid: pid,
        record: Record::Sched as u8,
        kind: SchedKind::Throttled as u8,
        record_bytes: (size_of::<Header>() + size_of::<Sched>()) as u32,
        ..Header::zeroed()
    };
    let sched = Sched { duration_ns: throttled_ns, ..Sched::zeroed() };
    [bytes_of(&header), bytes_of(&sched)].concat()
}

/// Reads a file's throttled time and returns by how much it has grown; 0 at first sight.
fn grow(totals: &mut HashMap<PathBuf, u64>, file: &Path) -> u64 {
    let Some(now) = fs::read_to_string(file).ok().as_deref().and_then(throttled_ns) else { return 0 };
    let before = totals.insert(file.to_owned(), now);
    before.map_or(0, |before| now.saturating_sub(before))
}

/// `throttled_time` (v1, ns) or `throttled_usec` (v2).
fn throttled_ns(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_time", ns) => ns.parse().ok(),
        ("throttled_usec", us) => us.parse::<u64>().ok().map(|us| us * 1_000),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_from_the_second_sample_on() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pod/box")).unwrap();
        let put =
            |below: &str, text: &str| fs::write(root.path().join(below).join("cpu.stat"), text).unwrap();
        put("pod", "nr_periods 1\nthrottled_usec 5\n");
        put("pod/box", "nr_throttled 2\nthrottled_time 1000\n");
        let mut throttles = Throttles::below(Hierarchies::below("cpu", root.path()));
        let mut sample = || {
            throttles.sample_with([1, 2, 3].into_iter(), |pid| (pid != 3).then(|| "0::/pod/box\n".to_owned()))
        };
        assert_eq!(sample(), []);
        assert_eq!(sample(), []);
        put("pod", "throttled_usec 12\n");
        put("pod/box", "throttled_time 1500\n");
        assert_eq!(sample(), [(1, 7_000), (2, 7_000)]);
        fs::remove_dir_all(root.path().join("pod")).unwrap();
        assert_eq!(sample(), []);
    }
}
