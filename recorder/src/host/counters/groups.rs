//! Counters of the cgroups in which processes carry traffic: how often memory ran into its limit, and how long tasks waited
//! for memory and disks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Before, Change, LEAST_PRESSURE_US, LOOK_AGAIN, parse, read_into};
use crate::fast_map::FastMap;
use crate::host::hierarchies::{Group, Hierarchies};

/// Most files that are read in one sample.
const MOST_FILES: usize = 512;
/// Most processes of one cgroup that have a row of their own.
const MOST_PROCESSES: usize = 64;

/// Files of a cgroup, and what is kept of each: nothing named is the whole file, one number.
const FILES: [(&str, &[&str]); 5] = [
    // Version 1: how often a charge met the limit.
    ("memory.failcnt", &[]),
    // Version 2.
    ("memory.events", &["high", "max", "oom", "oom_kill"]),
    ("memory.stat", &["pgscan_direct"]),
    ("memory.pressure", &["some_total_us", "full_total_us"]),
    ("io.pressure", &["some_total_us", "full_total_us"]),
];

/// A file of a cgroup.
#[derive(Clone, Debug)]
struct GroupFile {
    path: PathBuf,
    group: String,
    /// Its place in [`FILES`].
    kind: usize,
}

/// What the cgroups of processes have counted so far.
#[derive(Debug)]
pub struct Groups {
    hierarchies: Hierarchies,
    /// Files that concern a process, and when they were found.
    files: FastMap<u32, (u32, Vec<GroupFile>)>,
    before: HashMap<PathBuf, Before>,
    samples: u32,
}

impl Groups {
    /// Of the hierarchies mounted on this host.
    pub fn of_host() -> Groups {
        Groups::below(Hierarchies::of_host("memory"))
    }

    fn below(hierarchies: Hierarchies) -> Groups {
        Groups { hierarchies, files: FastMap::default(), before: HashMap::new(), samples: 0 }
    }

    /// Adds what has risen since the sample before.
    pub fn sample(&mut self, boot_ns: u64, pids: &[u32], changes: &mut Vec<Change>) {
        self.sample_with(boot_ns, pids, changes, |pid| {
            fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
        });
    }

    fn sample_with(
        &mut self,
        boot_ns: u64,
        pids: &[u32],
        changes: &mut Vec<Change>,
        cgroups_of: impl Fn(u32) -> Option<String>,
    ) {
        self.samples += 1;
        let mut seen = FastMap::default();
        let mut by_file: HashMap<PathBuf, (GroupFile, Vec<u32>)> = HashMap::new();
        for &pid in pids {
            let found = match self.files.remove(&pid) {
                Some(found) if self.samples - found.0 < LOOK_AGAIN => found,
                _ => (self.samples, files(&self.hierarchies.groups(&cgroups_of(pid).unwrap_or_default()))),
            };
            for file in &found.1 {
                if by_file.len() < MOST_FILES || by_file.contains_key(&file.path) {
                    let entry = by_file.entry(file.path.clone());
                    let (_, pids) = entry.or_insert_with(|| (file.clone(), Vec::new()));
                    if pids.len() < MOST_PROCESSES {
                        pids.push(pid);
                    }
                }
            }
            seen.insert(pid, found);
        }
        self.files = seen;
        self.before.retain(|path, _| by_file.contains_key(path));
        for (file, pids) in by_file.into_values() {
            self.read(boot_ns, &file, &pids, changes);
        }
    }

    fn read(&mut self, boot_ns: u64, file: &GroupFile, pids: &[u32], changes: &mut Vec<Change>) {
        let mut text = Vec::new();
        if read_into(&file.path, &mut text).is_none() {
            return;
        }
        let before = self.before.entry(file.path.clone()).or_default();
        let interval_ns = boot_ns.saturating_sub(before.read_ns);
        before.read_ns = boot_ns;
        values(file.kind, &String::from_utf8_lossy(&text), &mut |name, least, value| {
            let Some(delta) = before.grow(name, value).filter(|&delta| delta >= least) else { return };
            changes.extend(pids.iter().map(|&pid| Change {
                netns: None,
                pid: Some(pid),
                source: "cgroup",
                name: name.to_owned(),
                instance: Some(file.group.clone()),
                delta,
                value,
                interval_ns,
            }));
        });
    }
}

/// The files that these cgroups have.
fn files(groups: &[Group]) -> Vec<GroupFile> {
    let of_group = |group: &Group| {
        let (folder, path) = (group.folder.clone(), group.path.clone());
        (0..FILES.len()).map(move |kind| GroupFile {
            path: Path::new(&folder).join(FILES[kind].0),
            group: path.clone(),
            kind,
        })
    };
    groups.iter().flat_map(of_group).filter(|file| file.path.exists()).collect()
}

/// What is kept of a file: its name behind the file's, the least change that is worth a row, and its value.
fn values(kind: usize, text: &str, sink: &mut dyn FnMut(&str, u64, u64)) {
    let (file, kept) = FILES[kind];
    let is_pressure = file.ends_with(".pressure");
    let mut of_line = |name: &str, _: Option<&str>, value| {
        if kept.contains(&name) {
            sink(&format!("{file}.{name}"), if is_pressure { LEAST_PRESSURE_US } else { 1 }, value);
        }
    };
    if is_pressure {
        parse::pressure(text, &mut of_line);
    } else if !kept.is_empty() {
        parse::lines(text, &mut of_line);
    } else if let Ok(value) = text.trim().parse() {
        sink(file, 1, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: usize, text: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        values(kind, text, &mut |name, _, value| found.push((name.to_owned(), value)));
        found
    }

    #[test]
    fn the_files_of_both_versions_are_read() {
        assert_eq!(found(0, "41\n"), [("memory.failcnt".to_owned(), 41)]);
        let events = "low 0\nhigh 3\nmax 41\noom 0\noom_kill 1\noom_group_kill 0\n";
        let expected = [("high", 3), ("max", 41), ("oom", 0), ("oom_kill", 1)];
        assert_eq!(found(1, events), expected.map(|(name, n)| (format!("memory.events.{name}"), n)));
        assert_eq!(found(2, "anon 5\npgscan_direct 7\n"), [("memory.stat.pgscan_direct".to_owned(), 7)]);
        let pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        let expected = [("some_total_us", 12), ("full_total_us", 3)];
        assert_eq!(found(3, pressure), expected.map(|(name, n)| (format!("memory.pressure.{name}"), n)));
        for kind in 0..FILES.len() {
            for text in ["", "\n", "max", "-1", "max -1\n", "some total=\n", "18446744073709551616"] {
                assert_eq!(found(kind, text), [], "{text:?}");
            }
        }
    }

    #[test]
    fn each_process_of_a_cgroup_has_the_growth_of_every_level() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pod/box")).unwrap();
        let put = |file: &str, text: &str| fs::write(root.path().join(file), text).unwrap();
        put("pod/memory.events", "max 5\n");
        put("pod/box/memory.failcnt", "1\n");
        let mut groups = Groups::below(Hierarchies::below("memory", root.path()));
        let mut sample = |boot_ns| {
            let mut changes = Vec::new();
            groups.sample_with(boot_ns, &[1, 2, 3], &mut changes, |pid| {
                (pid != 3).then(|| "0::/pod/box\n".to_owned())
            });
            let mut rows: Vec<_> = changes
                .into_iter()
                .map(|c| (c.pid.unwrap(), c.name, c.instance.unwrap(), c.delta, c.value, c.interval_ns))
                .collect();
            rows.sort();
            rows
        };
        assert_eq!(sample(10), []);
        put("pod/memory.events", "max 12\n");
        put("pod/box/memory.failcnt", "3\n");
        let row = |pid, name: &str, group: &str, delta, value| {
            (pid, name.to_owned(), group.to_owned(), delta, value, 20)
        };
        let of = |pid| {
            [row(pid, "memory.events.max", "/pod", 7, 12), row(pid, "memory.failcnt", "/pod/box", 2, 3)]
        };
        assert_eq!(sample(30), [of(1), of(2)].concat());
        fs::remove_dir_all(root.path().join("pod/box")).unwrap();
        assert_eq!(sample(50), []);
    }
}
