use bytemuck::{Zeroable, bytes_of};

use super::*;
use crate::filters::Filters;
use crate::filters::selection::Selection;
use crate::host::cgroups::Cgroups;

/// A judge of programs, and the records that it is shown.
struct Bench {
    judge: Judge,
    processes: Processes,
    sockets: Sockets,
    boot_ns: u64,
}

impl Bench {
    fn new(include: &str) -> Bench {
        let filters = Filters { include: Selection::parse(include).unwrap(), ..Filters::default() };
        Bench {
            judge: Judge::new(Rules::of(&filters).unwrap()),
            processes: Processes::new(false, Cgroups::below(None)),
            sockets: Sockets::new(false),
            boot_ns: 1_000_000_000,
        }
    }

    fn header(&mut self, pid: u32, record: Record) -> Header {
        self.boot_ns += 1_000_000;
        Header { boot_ns: self.boot_ns, pid, record: record as u8, ..Header::zeroed() }
    }

    /// The process `pid` is born, or runs a program.
    fn process(&mut self, pid: u32, what: u8, parent_pid: u32, exe: &str) {
        let header = self.header(pid, Record::Process);
        let exe = if exe.is_empty() { Vec::new() } else { [exe.as_bytes(), &[0]].concat() };
        let process = Process {
            what,
            parent_pid,
            start_boot_ns: u64::from(pid),
            exe_bytes: exe.len() as u16,
            ..Process::zeroed()
        };
        let body = [bytes_of(&process), &exe].concat();
        self.processes.record(&header, &body);
        self.judge.process(&header, &body, &self.processes);
    }

    /// Whether a socket of that process is left out.
    fn socket(&mut self, pid: u32, socket_id: u64, perhaps: u8) -> bool {
        let header = self.header(pid, Record::Socket);
        let socket = Socket { socket_id, perhaps, ..Socket::zeroed() };
        let leaves_out = self.judge.leaves_out(&header, bytes_of(&socket), &self.sockets);
        if !leaves_out {
            self.sockets.record(socket, None);
        }
        leaves_out
    }

    /// Whether something else about the socket is.
    fn record(&mut self, pid: u32, socket_id: u64, record: Record) -> bool {
        let header = self.header(pid, record);
        self.judge.leaves_out(&header, &socket_id.to_ne_bytes(), &self.sockets)
    }

    fn news(&mut self) -> Vec<(u32, bool)> {
        self.judge.take_news().into_iter().map(|news| (news.pid, news.matches)).collect()
    }
}

// Numbers that no process has.
const SHELL: u32 = 5_000_001;
const CHILD: u32 = 5_000_002;

#[test]
fn a_process_is_judged_by_each_program_that_it_runs() {
    let mut bench = Bench::new("exe=curl");
    bench.process(SHELL, life::EXEC, 1, "/bin/sh");
    bench.process(CHILD, life::FORK, SHELL, "");
    assert!(bench.socket(CHILD, 1, 1));
    bench.process(CHILD, life::EXEC, SHELL, "/usr/bin/curl");
    assert!(!bench.socket(CHILD, 2, 1));
    assert_eq!(bench.news(), [(SHELL, false), (CHILD, false), (CHILD, true)]);
    assert!(bench.news().is_empty());
    for record in [Record::Call, Record::State, Record::Tcp, Record::Flow] {
        assert!(bench.record(CHILD, 1, record), "the socket of the shell's child");
        assert!(!bench.record(0, 2, record), "whoever is interrupted");
    }
}

#[test]
fn the_judgement_tells_of_which_program_it_is() {
    let mut bench = Bench::new("exe=curl");
    bench.process(CHILD, life::FORK, SHELL, "");
    bench.process(CHILD, life::EXEC, SHELL, "curl");
    let began: Vec<u64> = bench.judge.take_news().into_iter().map(|news| news.began_ns).collect();
    assert_eq!(began, [u64::from(CHILD), bench.boot_ns]);
}

#[test]
fn a_child_is_as_its_parent() {
    let mut bench = Bench::new("exe=sh");
    bench.process(SHELL, life::EXEC, 1, "/bin/sh");
    bench.process(CHILD, life::FORK, SHELL, "");
    assert!(!bench.socket(CHILD, 1, 1));
    assert_eq!(bench.news(), [(SHELL, true), (CHILD, true)]);
}

#[test]
fn what_the_kernel_programs_are_sure_of_stays() {
    let mut bench = Bench::new("exe=curl");
    bench.process(CHILD, life::FORK, 1, "");
    assert!(bench.socket(CHILD, 1, 1) && bench.record(CHILD, 1, Record::Call));
    assert!(!bench.socket(CHILD, 1, 0) && !bench.record(CHILD, 1, Record::Call));
}

#[test]
fn a_socket_without_its_record_needs_a_process_that_matches() {
    let mut bench = Bench::new("exe=curl");
    bench.process(SHELL, life::EXEC, 1, "sh");
    bench.process(CHILD, life::EXEC, SHELL, "curl");
    assert!(bench.record(SHELL, 7, Record::Call) && bench.record(0, 7, Record::State));
    assert!(!bench.record(CHILD, 7, Record::Call));
}

#[test]
fn waits_of_threads_that_are_left_out_are_not_kept() {
    let mut bench = Bench::new("exe=curl");
    bench.process(SHELL, life::EXEC, 1, "sh");
    let mut leaves_out = |kind: SchedKind| {
        let header = Header { kind: kind as u8, ..bench.header(SHELL, Record::Sched) };
        bench.judge.leaves_out(&header, &[0; 16], &bench.sockets)
    };
    assert!(leaves_out(SchedKind::RunQueue) && leaves_out(SchedKind::OffCpu));
    assert!(!leaves_out(SchedKind::Stopped), "which is of every process");
}

#[test]
fn sockets_that_are_left_out_are_forgotten_some_time_after_the_last_of_them_came() {
    let mut bench = Bench::new("exe=curl");
    bench.process(SHELL, life::EXEC, 1, "sh");
    assert!(bench.socket(SHELL, 1, 1));
    for _ in 0..PARTS_KEPT {
        bench.judge.end_part(&bench.processes);
    }
    assert!(bench.record(0, 1, Record::State));
    for _ in 0..=PARTS_KEPT {
        assert!(!bench.judge.left_out.is_empty());
        bench.judge.end_part(&bench.processes);
    }
    assert!(bench.judge.left_out.is_empty());
}
