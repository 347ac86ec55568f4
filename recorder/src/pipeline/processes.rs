//! The process table: who a pid is at any moment, and the rows of `processes`.
//!
//! In: the snapshot at the start, then fork, exec and exit records in order of emission. A process is told
//! by its pid and start time, so a pid that is used again is another process.

use std::rc::Rc;
use std::sync::Arc;

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{EXE_BYTES, Header, Process, life};
use retrospan_formats::table::MOST_TEXT_BYTES;
use retrospan_formats::tables::ProcessRow;

use crate::fast_map::FastMap;
use crate::host::cgroups::{self, Cgroups};
use crate::host::environment::Service;
use crate::host::pod_logs::PodLogs;
use crate::host::procfs::{self, Found};
use crate::host::shell;
use crate::pipeline::containers::Containers;
use crate::pipeline::script::script;

/// /proc gives start times in ticks of 10 ms, records in ns.
const TICK_NS: u64 = 10_000_000;

/// What is known of a process: a row of `processes` with its own texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProcess {
    /// Start in ms since boot, times 2^22, plus pid.
    pub process_id: i64,
    /// Thread group id.
    pub pid: u32,
    /// The parent when it was born.
    pub parent_process_id: Option<i64>,
    /// Path of the executable.
    pub exe: Option<Rc<str>>,
    /// Name of the thread-group leader.
    pub comm: Rc<str>,
    /// Arguments as they may be kept, shell-quoted.
    pub argv: Option<Rc<str>>,
    /// What it runs, where it is an interpreter.
    pub script: Option<Rc<str>>,
    /// Path of the cgroup.
    pub cgroup: Option<Rc<str>>,
    /// The service that it is: by its environment, and in rows else by its cgroup.
    pub service: Service,
    /// CLOCK_BOOTTIME of the start, ns.
    pub start_boot_ns: u64,
    /// CLOCK_BOOTTIME of the end, ns.
    pub end_boot_ns: Option<u64>,
    /// Wait status.
    pub exit_code: Option<i32>,
}

impl KnownProcess {
    /// Its row.
    pub fn row(&self) -> ProcessRow<'_> {
        ProcessRow {
            process_id: self.process_id,
            pid: self.pid as i32,
            parent_process_id: self.parent_process_id,
            exe: self.exe.as_deref(),
            comm: &self.comm,
            argv: self.argv.as_deref(),
            cgroup: self.cgroup.as_deref(),
            start_boot_ns: self.start_boot_ns as i64,
            end_boot_ns: self.end_boot_ns.map(|ns| ns as i64),
            exit_code: self.exit_code,
            script: self.script.as_deref(),
            service: self.service.name.as_ref().map(|(name, _)| &**name),
            service_from: self.service.name.as_ref().map(|&(_, from)| from),
            service_namespace: self.service.namespace.as_deref(),
            service_version: self.service.version.as_deref(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    known: KnownProcess,
    cgroup_id: u64,
    /// Differs from what was last written.
    changed: bool,
    /// Has a row in the part that ended last.
    just_written: bool,
}

/// All processes that live, and those that ended since the last part.
#[derive(Debug)]
pub struct Processes {
    /// Keep whole argument vectors.
    args: bool,
    live: FastMap<u32, Entry>,
    /// Ended, and their pid is in use again.
    replaced: Vec<Entry>,
    cgroups: Cgroups,
    /// Who runs in the cgroups that processes are in.
    pub containers: Containers,
    /// The pid asked for last and its id: calls come in runs of one process.
    last: Option<(u32, Option<i64>)>,
}

/// The id of a process.
pub fn process_id(pid: u32, start_boot_ns: u64) -> i64 {
    ((start_boot_ns / 1_000_000) << 22) as i64 | i64::from(pid)
}

impl Processes {
    /// An empty table. `args`: keep whole argument vectors.
    pub fn new(args: bool, cgroups: Cgroups) -> Processes {
        let containers = Containers::new(PodLogs::of_host());
        Processes { args, live: FastMap::default(), replaced: Vec::new(), cgroups, containers, last: None }
    }

    /// Takes the names of pods from there.
    pub fn with_pod_logs(self, logs: PodLogs) -> Processes {
        Processes { containers: Containers::new(logs), ..self }
    }

    /// Takes the processes that were found at the start.
    pub fn snapshot(&mut self, mut found: Vec<Found>) {
        found.sort_by_key(|f| (f.start_boot_ns, f.pid));
        for process in found {
            self.found(process);
        }
    }

    /// The id of the process that has this pid now. One that no record told of is looked up in /proc.
    pub fn id_of(&mut self, pid: u32) -> Option<i64> {
        if let Some((last, id)) = self.last
            && last == pid
        {
            return id;
        }
        if pid == 0 {
            return None;
        }
        if !self.live.contains_key(&pid)
            && let Some(found) = procfs::process(pid)
        {
            self.found(found);
        }
        let id = self.live.get(&pid).map(|e| e.known.process_id);
        self.last = Some((pid, id));
        id
    }

    /// Takes a record of a process's life. After an exec: what the process is now.
    pub fn record(&mut self, header: &Header, body: &[u8]) -> Option<&KnownProcess> {
        self.last = None;
        let fixed = body.get(..size_of::<Process>())?;
        let process: Process = pod_read_unaligned(fixed);
        let rest = &body[size_of::<Process>()..];
        let (exe, rest) = rest.split_at(rest.len().min(process.exe_bytes.into()));
        let argv = &rest[..rest.len().min(process.argv_bytes.into())];
        match process.what {
            life::FORK => self.fork(header, &process),
            life::EXEC => self.exec(header.pid, &process, exe, argv),
            life::EXIT => self.exit(header, &process),
            life::RENAME => self.rename(header.pid, &process),
            life::MOVED => self.moved(header.pid, &process, exe),
            _ => {}
        }
        if process.what != life::EXEC {
            return None;
        }
        self.live.get(&header.pid).map(|entry| &entry.known)
    }

    /// Whether a process with this pid is known and has not ended.
    pub fn lives(&self, pid: u32) -> bool {
        self.live.get(&pid).is_some_and(|entry| entry.known.end_boot_ns.is_none())
    }

    /// What is known of the process that has this pid, or had it last.
    pub fn known(&self, pid: u32) -> Option<&KnownProcess> {
        self.live.get(&pid).map(|entry| &entry.known)
    }

    /// Every pid of which something is known.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.live.keys().copied()
    }

    /// The name of the process that has this pid, or had it last.
    pub fn comm(&self, pid: u32) -> Option<&str> {
        self.live.get(&pid).map(|entry| &*entry.known.comm)
    }

    fn fork(&mut self, header: &Header, process: &Process) {
        let parent = self.live.get(&process.parent_pid).map(|e| (e.known.clone(), e.cgroup_id));
        self.update(header.pid, process, |entry, is_new| {
            let Some((parent, cgroup_id)) = parent else { return };
            entry.known.parent_process_id = Some(parent.process_id);
            // A snapshot taken after the fork may know a newer program than the parent's.
            if is_new {
                entry.known.exe = parent.exe;
                entry.known.argv = parent.argv;
                entry.known.script = parent.script;
                entry.known.service = parent.service;
                if entry.cgroup_id == cgroup_id || entry.known.cgroup.is_none() {
                    entry.known.cgroup = parent.cgroup;
                }
            }
        });
    }

    fn exec(&mut self, pid: u32, process: &Process, exe: &[u8], argv: &[u8]) {
        let exe = text(exe);
        let script = script(argv).map(Rc::from);
        let argv = kept_argv(argv, exe.as_deref(), self.args);
        let service = procfs::service(pid, process.start_boot_ns);
        let cgroup = self.cgroups.path_of_program(process.cgroup_id, pid);
        if let Some(path) = &cgroup {
            self.containers.see(path);
        }
        self.update(pid, process, |entry, _| {
            // A program gets the environment of what ran it, unless it is given another.
            if let Some(service) = service {
                entry.known.service = service;
            }
            if cgroup.is_some() {
                entry.known.cgroup = cgroup;
            }
            entry.known.comm = comm(&process.comm);
            entry.known.exe = exe;
            entry.known.argv = argv;
            entry.known.script = script;
        });
    }

    fn rename(&mut self, pid: u32, process: &Process) {
        let Some(entry) = self.live.get_mut(&pid) else { return };
        let name = comm(&process.comm);
        if entry.known.start_boot_ns.abs_diff(process.start_boot_ns) <= TICK_NS && entry.known.comm != name {
            entry.known.comm = name;
            entry.changed = true;
        }
    }

    /// It is in another cgroup: as /proc has it, or where it has ended the one that it was moved to.
    fn moved(&mut self, pid: u32, process: &Process, to: &[u8]) {
        let Some(entry) = self.live.get_mut(&pid) else { return };
        if entry.known.start_boot_ns.abs_diff(process.start_boot_ns) > TICK_NS {
            return;
        }
        let is_whole = to.len() < EXE_BYTES;
        let moved_to = || text(to).filter(|_| is_whole);
        // Of one that has ended and was not waited for yet, /proc has roots alone.
        let found = cgroups::of_process(pid).filter(|path| path != "/").map(Rc::from);
        if let Some(path) = found.or_else(moved_to) {
            self.containers.see(&path);
            entry.known.cgroup = Some(path);
            entry.changed = true;
        }
    }

    fn exit(&mut self, header: &Header, process: &Process) {
        self.update(header.pid, process, |entry, _| {
            entry.known.end_boot_ns = Some(header.boot_ns);
            entry.known.exit_code = Some(process.exit_code as i32);
        });
    }

    /// Changes the entry of the process that a record tells of; it is made where it is new.
    fn update(&mut self, pid: u32, process: &Process, change: impl FnOnce(&mut Entry, bool)) {
        let old = self.live.remove(&pid);
        let (mut entry, is_new) = match old {
            Some(entry) if entry.known.start_boot_ns.abs_diff(process.start_boot_ns) <= TICK_NS => {
                (entry, false)
            }
            other => {
                self.replaced.extend(other);
                (self.born(pid, process), true)
            }
        };
        if entry.cgroup_id != process.cgroup_id {
            entry.cgroup_id = process.cgroup_id;
            // Of v1 an id tells nothing.
            if (entry.known.cgroup.is_none() || !self.cgroups.has_v1())
                && let Some(path) = self.cgroups.path(process.cgroup_id)
            {
                self.containers.see(&path);
                entry.known.cgroup = Some(path);
            }
        }
        change(&mut entry, is_new);
        entry.changed = true;
        self.live.insert(pid, entry);
    }

    fn born(&self, pid: u32, process: &Process) -> Entry {
        let known = KnownProcess {
            process_id: process_id(pid, process.start_boot_ns),
            pid,
            parent_process_id: self.live.get(&process.parent_pid).map(|e| e.known.process_id),
            exe: None,
            comm: comm(&process.comm),
            argv: None,
            script: None,
            cgroup: None,
            service: Service::default(),
            start_boot_ns: process.start_boot_ns,
            end_boot_ns: None,
            exit_code: None,
        };
        Entry { known, cgroup_id: 0, changed: true, just_written: false }
    }

    fn found(&mut self, found: Found) {
        if self.live.contains_key(&found.pid) {
            return;
        }
        let known = KnownProcess {
            process_id: process_id(found.pid, found.start_boot_ns),
            pid: found.pid,
            parent_process_id: self.live.get(&found.parent_pid).map(|e| e.known.process_id),
            argv: kept_argv(&found.argv, found.exe.as_deref(), self.args),
            script: script(&found.argv).map(Rc::from),
            exe: found.exe.map(Rc::from),
            comm: Rc::from(found.comm),
            cgroup: found.cgroup.map(Rc::from),
            service: found.service,
            start_boot_ns: found.start_boot_ns,
            end_boot_ns: None,
            exit_code: None,
        };
        if let Some(path) = &known.cgroup {
            self.containers.see(path);
        }
        let entry = Entry { known, cgroup_id: 0, changed: true, just_written: false };
        self.live.insert(found.pid, entry);
    }

    /// Those that are new or different since the last call, by id. Processes that had ended by the call before
    /// are forgotten: what is told of one may come a little after its end.
    pub fn take_changed(&mut self) -> Vec<KnownProcess> {
        let mut rows = Vec::new();
        self.take_names();
        for entry in self.replaced.iter_mut().chain(self.live.values_mut()).filter(|e| e.changed) {
            entry.changed = false;
            entry.just_written = true;
            let mut known = entry.known.clone();
            let by_cgroup = known.cgroup.as_deref().and_then(|path| self.containers.service(path));
            let by_cgroup = by_cgroup.map(|(name, from)| (Arc::from(name), from));
            known.service.name = known.service.name.or(by_cgroup);
            rows.push(known);
        }
        self.replaced.clear();
        self.live.retain(|_, e| std::mem::take(&mut e.just_written) || e.known.end_boot_ns.is_none());
        self.last = None;
        rows.sort_by_key(|row| row.process_id);
        rows
    }

    /// Where names of containers have come to be known, they name processes that were written already.
    fn take_names(&mut self) {
        if !self.containers.look_again() {
            return;
        }
        for entry in self.live.values_mut().filter(|entry| entry.known.service.name.is_none()) {
            let path = entry.known.cgroup.as_deref();
            entry.changed |= path.is_some_and(|path| self.containers.is_changed(path));
        }
    }
}

/// NUL-padded bytes as text.
fn comm(bytes: &[u8; 16]) -> Rc<str> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    Rc::from(String::from_utf8_lossy(&bytes[..end]))
}

/// Bytes up to a NUL as text; `None` where there are none.
fn text(bytes: &[u8]) -> Option<Rc<str>> {
    let bytes = bytes.split(|&b| b == 0).next().unwrap_or_default();
    (!bytes.is_empty()).then(|| Rc::from(String::from_utf8_lossy(bytes)))
}

/// A NUL-separated argument vector as it may be kept: all of it that a column holds, or the name in argv[0].
fn kept_argv(bytes: &[u8], exe: Option<&str>, all: bool) -> Option<Rc<str>> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    let mut arguments = bytes.split(|&b| b == 0).map(String::from_utf8_lossy);
    let kept = if all {
        arguments.map(|a| shell::quote(&a)).collect::<Vec<_>>().join(" ")
    } else {
        shell::quote(name_in(&arguments.next()?, exe))
    };
    Some(Rc::from(&kept[..kept.floor_char_boundary(MOST_TEXT_BYTES)]))
}

/// The program's name in argv[0]. A process may write all its arguments there, as `nginx: master process nginx -g ...`,
/// so that only the first word is surely a name.
fn name_in<'a>(first: &'a str, exe: Option<&str>) -> &'a str {
    if exe == Some(first) {
        return first;
    }
    first.split(char::is_whitespace).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
