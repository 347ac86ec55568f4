//! Whose sockets are recorded, where the kernel programs have to be told: the filters by program, cgroup, container, unit and pod.
//!
//! A process is judged when its record comes. Until the kernel programs know of it they record its sockets, and say so; those of a
//! process that does not match are left out here, so that nothing of them reaches the disk.

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{Header, Process, Record, SchedKind, Socket, life};

use crate::fast_map::FastMap;
use crate::filters::judge::{Facts, Rules};
use crate::kernel::Judgement;
use crate::pipeline::containers::KnownCgroup;
use crate::pipeline::processes::Processes;
use crate::pipeline::sockets::Sockets;

/// What was said of every process, and of which sockets nothing is stored.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    said: FastMap<u32, Judgement>,
    /// To be told to the kernel programs.
    news: Vec<Judgement>,
    /// Sockets that are left out, and the number of the part in which something of them came last.
    left_out: FastMap<u64, u32>,
    part: u32,
}

/// Parts after which nothing comes any more of a socket that is left out.
const PARTS_KEPT: u32 = 6;

impl Judge {
    /// Nobody is judged yet.
    pub fn new(rules: Rules) -> Judge {
        Judge { rules, said: FastMap::default(), news: Vec::new(), left_out: FastMap::default(), part: 0 }
    }

    /// Judges everybody who was there before the recording.
    pub fn begin(&mut self, processes: &Processes) {
        processes.pids().for_each(|pid| self.judge(pid, 0, processes));
    }

    /// What the kernel programs do not know yet.
    pub fn take_news(&mut self) -> Vec<Judgement> {
        std::mem::take(&mut self.news)
    }

    /// A process's record came, and `processes` knows of it.
    pub fn process(&mut self, header: &Header, body: &[u8], processes: &Processes) {
        let Some(fixed) = body.get(..size_of::<Process>()) else { return };
        let process: Process = pod_read_unaligned(fixed);
        match process.what {
            life::FORK => self.judge(header.pid, process.start_boot_ns, processes),
            life::EXEC | life::MOVED => self.judge(header.pid, header.boot_ns, processes),
            _ => {}
        }
    }

    fn judge(&mut self, pid: u32, began_ns: u64, processes: &Processes) {
        let judgement = Judgement { pid, began_ns, matches: self.is_match(pid, processes) };
        self.said.insert(pid, judgement);
        self.news.push(judgement);
    }

    fn is_match(&self, pid: u32, processes: &Processes) -> bool {
        let Some(known) = processes.known(pid) else { return self.rules.match_process(&Facts::default()) };
        let found = if self.rules.ask_exe() { program(pid) } else { None };
        let cgroup = known.cgroup.as_deref().and_then(|path| processes.containers.known(path));
        self.rules.match_process(&Facts {
            exes: [known.exe.as_deref(), found.as_deref()],
            cgroup: known.cgroup.as_deref(),
            place: cgroup.map(KnownCgroup::place),
            container: cgroup.and_then(KnownCgroup::container),
            pod: cgroup.and_then(KnownCgroup::pod),
        })
    }

    /// Whether a record is about a socket or a thread that is left out. Those of processes always stay.
    pub fn leaves_out(&mut self, header: &Header, body: &[u8], sockets: &Sockets) -> bool {
        let is = |record: Record| header.record == record as u8;
        if is(Record::Socket) {
            return self.leaves_out_socket(header, body, sockets);
        }
        if is(Record::Wake) || (is(Record::Sched) && is_wait(header.kind)) {
            return self.said.get(&header.pid).is_some_and(|said| !said.matches);
        }
        let of_socket = [Record::Call, Record::Datagram, Record::State, Record::Tcp, Record::Flow];
        if !of_socket.into_iter().any(is) {
            return false;
        }
        let Some(socket_id) = socket_id(body) else { return false };
        if let Some(part) = self.left_out.get_mut(&socket_id) {
            *part = self.part;
            return true;
        }
        // Its own record was lost.
        !sockets.is_known(socket_id) && !self.said.get(&header.pid).is_some_and(|said| said.matches)
    }

    fn leaves_out_socket(&mut self, header: &Header, body: &[u8], sockets: &Sockets) -> bool {
        let Some(fixed) = body.get(..size_of::<Socket>()) else { return false };
        let Socket { socket_id, perhaps, .. } = pod_read_unaligned(fixed);
        if perhaps == 0 {
            self.left_out.remove(&socket_id);
            return false;
        }
        if !self.left_out.contains_key(&socket_id) {
            let matches = self.said.get(&header.pid).is_some_and(|said| said.matches);
            if matches || sockets.is_known(socket_id) {
                return false;
            }
        }
        self.left_out.insert(socket_id, self.part);
        true
    }

    /// A part ends: names that have come to be known meanwhile may say otherwise of a process, and of old sockets nothing comes any more.
    pub fn end_part(&mut self, processes: &Processes) {
        self.part += 1;
        self.said.retain(|&pid, _| processes.known(pid).is_some());
        let part = self.part;
        self.left_out.retain(|_, last| part - *last <= PARTS_KEPT);
        if !self.rules.ask_names() {
            return;
        }
        let said: Vec<Judgement> = self.said.values().copied().collect();
        for Judgement { pid, began_ns, matches } in said {
            if self.is_match(pid, processes) != matches {
                self.judge(pid, began_ns, processes);
            }
        }
    }
}

/// The program that a process runs now.
fn program(pid: u32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned();
    Some(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
}

fn is_wait(kind: u8) -> bool {
    [SchedKind::RunQueue, SchedKind::OffCpu].into_iter().any(|wait| wait as u8 == kind)
}

/// What a record about a socket begins with.
fn socket_id(body: &[u8]) -> Option<u64> {
    body.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;
