//! Rows to a capture directory, as a recorder writes them.

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, Host, Manifest, State};
use retrospan_formats::rows::{Row, batch};
use retrospan_formats::tables::{ClockRow, EventRow, ExecRow, ProcessRow, SchedRow, SocketRow, TcpRow};
use retrospan_formats::tcp::state::{ESTABLISHED, SYN_SENT};
use retrospan_formats::writer::CaptureWriter;
use std::path::{Path, PathBuf};

use super::chain::{Chain, Event, Socket, pid};
use super::evidence::{Evidence, Who};
use super::{PROCESSES, Plan, STARTED_BOOT_NS, STARTED_WALL_NS, ns};

/// CPUs that the chain's threads run on; evidence comes from the one after them.
const CPUS: usize = 4;
const NETNS: i64 = 4_026_531_840;
/// Paths of [`PROCESSES`].
const EXECUTABLES: [&str; 4] =
    ["/usr/bin/client", "/usr/bin/edge-envoy", "/usr/bin/inner-envoy", "/usr/bin/shop"];

/// A capture that is being written.
pub struct Sink {
    directory: PathBuf,
    writer: CaptureWriter,
    /// Records so far, by CPU.
    seqs: [i64; CPUS],
    rows: u64,
    end_ns: i64,
}

impl Sink {
    pub fn create(directory: &Path, plan: &Plan) -> Result<Sink, CaptureError> {
        let manifest = Manifest {
            format_version: 1,
            capture_id: format!("{:016x}{:016x}", plan.seed, plan.length_s.to_bits()),
            state: State::Recording,
            host: Host { name: "made".to_owned(), cpus: CPUS as u32 + 1, ..Host::default() },
            options: serde_json::Map::new(),
            probe_set: "syscalls".to_owned(),
            probe_set_reason: None,
            recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
            imported: None,
            rolled: None,
            frozen: None,
            ended_by: None,
            tls: None,
            started_boot_ns: STARTED_BOOT_NS,
            started_wall_ns: STARTED_WALL_NS,
            whole_until_boot_ns: STARTED_BOOT_NS,
            files: Vec::new(),
            losses: Vec::new(),
            cost: None,
        };
        Ok(Sink {
            directory: directory.to_owned(),
            writer: CaptureWriter::create(directory, manifest)?,
            seqs: [0; CPUS],
            rows: 0,
            end_ns: ns(plan.length_s),
        })
    }

    /// Writes the events before `until_ns`, after which none will come that is earlier.
    pub fn events(&mut self, chain: &mut Chain<'_>, until_ns: i64) -> Result<(), CaptureError> {
        chain.events.sort_by_key(|event| event.at_ns);
        let ready = chain.events.partition_point(|event| event.at_ns < until_ns);
        let events: Vec<Event> = chain.events.drain(..ready).collect();
        self.rows += events.len() as u64;
        let rows = events.iter().map(|event| self.event_row(event, &chain.sockets)).collect::<Vec<_>>();
        self.append::<EventRow>(rows)
    }

    /// Writes everything else and completes the capture.
    pub fn complete(mut self, chain: &Chain<'_>, evidence: &Evidence) -> Result<(), CaptureError> {
        self.append::<ProcessRow>(processes(evidence))?;
        self.append::<SocketRow>(sockets(&chain.sockets, self.end_ns))?;
        let clock = [0, self.end_ns]
            .map(|at| ClockRow { boot_ns: STARTED_BOOT_NS + at, wall_ns: STARTED_WALL_NS + at });
        self.append::<ClockRow>(clock)?;
        self.append::<TcpRow>(again(chain, evidence))?;
        self.append::<SchedRow>(waits(evidence))?;
        self.append::<ExecRow>(execs(evidence))?;
        self.writer.rotate(STARTED_BOOT_NS + self.end_ns, Vec::new())?;
        let cost = Cost { elapsed_s: self.end_ns as f64 * 1e-9, events: self.rows, ..Cost::default() };
        self.writer.complete(cost)?;
        Ok(())
    }

    fn append<'a, R: Row>(&mut self, rows: impl IntoIterator<Item = R::Of<'a>>) -> Result<(), CaptureError> {
        let rows = batch::<R>(rows).map_err(|error| CaptureError::Table {
            path: self.directory.join(R::TABLE.name),
            reason: error.to_string(),
        })?;
        self.writer.append(R::TABLE, &rows)
    }

    fn event_row<'a>(&mut self, event: &'a Event, sockets: &[Socket]) -> EventRow<'a> {
        let cpu = event.tid as usize % CPUS;
        let seq = self.seqs[cpu];
        self.seqs[cpu] += 1;
        let process = sockets[event.socket].process;
        let called = event.tid != 0;
        let state = event.state.as_ref();
        EventRow {
            boot_ns: STARTED_BOOT_NS + event.at_ns,
            duration_ns: event.duration_ns,
            cpu: cpu as u16,
            seq,
            pid: called.then_some(pid(process)),
            tid: called.then_some(event.tid),
            process_id: Some(chain_process_id(process)),
            socket_id: socket_id(event.socket),
            kind: event.kind.name(),
            asked_bytes: event.asked as i64,
            done_bytes: event.payload.as_ref().map_or(0, |bytes| bytes.len() as i64),
            tcp_seq: event.tcp_seq,
            errno: event.errno,
            flags: event.flags as i32,
            sk_err: state.map(|state| state.sk_err),
            write_seq: state.map(|state| state.sent),
            snd_una: state.map(|state| state.acknowledged),
            copied_seq: state.map(|state| state.copied),
            rcv_nxt: state.map(|state| state.arrived),
            old_state: state.map(|state| state.old),
            new_state: state.map(|state| state.new),
            payload: event.payload.as_deref(),
            framing: None,
            queued_us: event.queued_us,
            secret_hashes: None,
        }
    }
}

fn processes(evidence: &Evidence) -> impl Iterator<Item = ProcessRow<'_>> {
    let of_chain = PROCESSES.iter().enumerate().map(|(process, comm)| ProcessRow {
        process_id: chain_process_id(process),
        pid: pid(process),
        exe: Some(EXECUTABLES[process]),
        comm,
        argv: Some(comm),
        start_boot_ns: STARTED_BOOT_NS + CHAIN_STARTED_NS,
        ..ProcessRow::default()
    });
    let strangers = evidence.strangers.iter().enumerate().map(|(number, stranger)| ProcessRow {
        process_id: id_of(stranger.pid, stranger.started_ns),
        pid: stranger.pid,
        parent_process_id: Evidence::parent(number).map(|parent| process_id(Who::Stranger(parent), evidence)),
        exe: Some(&stranger.exe),
        comm: &stranger.comm,
        argv: Some(&stranger.comm),
        cgroup: None,
        start_boot_ns: STARTED_BOOT_NS + stranger.started_ns,
        end_boot_ns: stranger.ended_ns.map(|at| STARTED_BOOT_NS + at),
        exit_code: stranger.ended_ns.map(|_| 0),
        ..ProcessRow::default()
    });
    of_chain.chain(strangers)
}

fn sockets(sockets: &[Socket], end_ns: i64) -> impl Iterator<Item = SocketRow<'_>> {
    let made = sockets.iter().enumerate();
    let made = made.filter(move |(_, socket)| !socket.missing && socket.opened_ns < end_ns);
    made.map(move |(number, socket)| SocketRow {
        socket_id: socket_id(number),
        process_id: Some(chain_process_id(socket.process)),
        netns: NETNS,
        family: "inet",
        protocol: "tcp",
        role: if socket.client { "client" } else { "server" },
        local_addr: "127.0.0.1",
        local_port: socket.local_port.into(),
        remote_addr: Some("127.0.0.1"),
        remote_port: Some(socket.remote_port.into()),
        inode: Some(100_000 + number as i64),
        discovered: false,
        opened_boot_ns: Some(STARTED_BOOT_NS + socket.opened_ns),
        closed_boot_ns: socket.closed_ns.filter(|at| *at < end_ns).map(|at| STARTED_BOOT_NS + at),
        first_send_seq: Some(socket.first_send),
        first_receive_seq: Some(socket.first_receive),
        peer_socket_id: None,
        carrier_socket_id: None,
    })
}

fn again<'a>(chain: &'a Chain<'_>, evidence: &'a Evidence) -> impl Iterator<Item = TcpRow<'a>> {
    evidence.again.iter().enumerate().map(|(number, again)| {
        let socket = &chain.sockets[again.socket];
        TcpRow {
            boot_ns: STARTED_BOOT_NS + again.at_ns,
            cpu: CPUS as u16,
            seq: number as i64,
            kind: "retransmit",
            socket_id: Some(socket_id(again.socket)),
            process_id: Some(chain_process_id(socket.process)),
            tcp_seq: Some(socket.first_send),
            bytes: Some(if again.syn { 1 } else { 90 }),
            tcp_state: Some(if again.syn { SYN_SENT } else { ESTABLISHED }),
            ..TcpRow::default()
        }
    })
}

fn waits(evidence: &Evidence) -> impl Iterator<Item = SchedRow<'_>> {
    let pid_of = |who: Who| match who {
        Who::Chain(process) => pid(process),
        Who::Stranger(number) => evidence.strangers[number].pid,
    };
    // Rows of several tables share the CPU's numbers.
    let before = evidence.again.len();
    evidence.waits.iter().enumerate().map(move |(number, wait)| SchedRow {
        boot_ns: STARTED_BOOT_NS + wait.at_ns,
        duration_ns: wait.duration_ns,
        cpu: CPUS as u16,
        seq: (before + number) as i64,
        kind: wait.kind,
        pid: pid_of(wait.who),
        tid: pid_of(wait.who),
        process_id: Some(process_id(wait.who, evidence)),
        other_pid: wait.other.map(pid_of),
        other_process_id: wait.other.map(|other| process_id(other, evidence)),
    })
}

fn execs(evidence: &Evidence) -> impl Iterator<Item = ExecRow<'_>> {
    let before = evidence.again.len() + evidence.waits.len();
    evidence.execs.iter().enumerate().map(move |(number, started)| {
        let stranger = &evidence.strangers[started.stranger];
        let parent = Evidence::parent(started.stranger).map(Who::Stranger);
        ExecRow {
            boot_ns: STARTED_BOOT_NS + started.at_ns,
            cpu: CPUS as u16,
            seq: (before + number) as i64,
            pid: stranger.pid,
            process_id: Some(process_id(Who::Stranger(started.stranger), evidence)),
            parent_process_id: parent.map(|parent| process_id(parent, evidence)),
            exe: Some(&stranger.exe),
            argv: Some(&stranger.exe),
            comm: &stranger.comm,
        }
    })
}

/// Start of the chain's processes, ns from the begin of the recording.
const CHAIN_STARTED_NS: i64 = -600_000_000_000;

fn id_of(pid: i32, started_ns: i64) -> i64 {
    (((STARTED_BOOT_NS + started_ns) / 1_000_000) << 22) + i64::from(pid)
}

fn chain_process_id(process: usize) -> i64 {
    id_of(pid(process), CHAIN_STARTED_NS)
}

fn process_id(who: Who, evidence: &Evidence) -> i64 {
    match who {
        Who::Chain(process) => chain_process_id(process),
        Who::Stranger(number) => {
            let stranger = &evidence.strangers[number];
            id_of(stranger.pid, stranger.started_ns)
        }
    }
}

fn socket_id(number: usize) -> i64 {
    number as i64 + 1
}
