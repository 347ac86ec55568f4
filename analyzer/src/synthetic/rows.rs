//! Rows to a capture directory, as a recorder writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, Host, Manifest, State};
use retrospan_formats::table::Table;
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;

use super::chain::{Chain, Change, Event, Socket, pid};
use super::evidence::{Evidence, Started, Wait, Who};
use super::{PROCESSES, Plan, STARTED_BOOT_NS, STARTED_WALL_NS, ns};

/// CPUs that the chain's threads run on; evidence comes from the one after them.
const CPUS: usize = 4;
const NETNS: i64 = 4_026_531_840;

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
            recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
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
        let columns = self.event_columns(&events, &chain.sockets);
        self.append(&tables::EVENTS, columns)
    }

    /// Writes everything else and completes the capture.
    pub fn complete(mut self, chain: &Chain<'_>, evidence: &Evidence) -> Result<(), CaptureError> {
        self.append(&tables::PROCESSES, processes(evidence))?;
        self.append(&tables::SOCKETS, sockets(&chain.sockets, self.end_ns))?;
        let times = [0, self.end_ns];
        let clock = vec![
            required::<Int64Type, _>(&times, |at| STARTED_BOOT_NS + at),
            required::<Int64Type, _>(&times, |at| STARTED_WALL_NS + at),
        ];
        self.append(&tables::CLOCK, clock)?;
        self.append(&tables::TCP, again(chain, evidence))?;
        self.append(&tables::SCHED, waits(evidence))?;
        self.append(&tables::EXECS, execs(evidence))?;
        self.writer.rotate(STARTED_BOOT_NS + self.end_ns, Vec::new())?;
        let cost = Cost { elapsed_s: self.end_ns as f64 * 1e-9, events: self.rows, ..Cost::default() };
        self.writer.complete(cost)?;
        Ok(())
    }

    fn append(&mut self, table: &'static Table, columns: Vec<ArrayRef>) -> Result<(), CaptureError> {
        let batch = RecordBatch::try_new(table.schema(), columns).map_err(|error| CaptureError::Table {
            path: self.directory.join(table.name),
            reason: error.to_string(),
        })?;
        self.writer.append(table, &batch)
    }

    fn event_columns(&mut self, events: &[Event], sockets: &[Socket]) -> Vec<ArrayRef> {
        let cpu = |event: &Event| (event.tid as usize) % CPUS;
        let mut seqs = Vec::with_capacity(events.len());
        for event in events {
            let seq = &mut self.seqs[cpu(event)];
            seqs.push(*seq);
            *seq += 1;
        }
        let of = |event: &Event| &sockets[event.socket];
        let called = |event: &Event, value: i32| (event.tid != 0).then_some(value);
        let state = |value: fn(&Change) -> u32| {
            optional::<UInt32Type, _>(events, move |event| event.state.as_ref().map(value))
        };
        let done = |event: &Event| event.payload.as_ref().map_or(0, |bytes| bytes.len() as i64);
        vec![
            required::<Int64Type, _>(events, |event| STARTED_BOOT_NS + event.at_ns),
            required::<Int64Type, _>(events, |event| event.duration_ns),
            required::<UInt16Type, _>(events, |event| cpu(event) as u16),
            required::<Int64Type, _>(&seqs, |seq| *seq),
            optional::<Int32Type, _>(events, |event| called(event, pid(of(event).process))),
            optional::<Int32Type, _>(events, |event| called(event, event.tid)),
            required::<Int64Type, _>(events, |event| chain_process_id(of(event).process)),
            required::<Int64Type, _>(events, |event| socket_id(event.socket)),
            names(events, |event| event.kind.name()),
            required::<Int64Type, _>(events, |event| event.asked as i64),
            required::<Int64Type, _>(events, done),
            optional::<UInt32Type, _>(events, |event| event.tcp_seq),
            required::<Int32Type, _>(events, |event| event.errno),
            required::<Int32Type, _>(events, |event| event.flags as i32),
            optional::<Int32Type, _>(events, |event| event.state.map(|state| state.sk_err)),
            state(|state| state.sent),
            state(|state| state.acknowledged),
            state(|state| state.copied),
            state(|state| state.arrived),
            optional::<UInt8Type, _>(events, |event| event.state.map(|state| state.old)),
            optional::<UInt8Type, _>(events, |event| event.state.map(|state| state.new)),
            Arc::new(BinaryArray::from_iter(events.iter().map(|event| event.payload.as_deref()))),
            Arc::new(BinaryArray::new_null(events.len())),
        ]
    }
}

fn processes(evidence: &Evidence) -> Vec<ArrayRef> {
    struct Row<'a> {
        pid: i32,
        parent: Option<i64>,
        exe: String,
        comm: &'a str,
        started_ns: i64,
        ended_ns: Option<i64>,
    }
    let of_chain = PROCESSES.iter().enumerate().map(|(process, comm)| Row {
        pid: pid(process),
        parent: None,
        exe: format!("/usr/bin/{comm}"),
        comm,
        started_ns: CHAIN_STARTED_NS,
        ended_ns: None,
    });
    let strangers = evidence.strangers.iter().enumerate().map(|(number, stranger)| Row {
        pid: stranger.pid,
        parent: Evidence::parent(number).map(|parent| process_id(Who::Stranger(parent), evidence)),
        exe: stranger.exe.clone(),
        comm: &stranger.comm,
        started_ns: stranger.started_ns,
        ended_ns: stranger.ended_ns,
    });
    let rows: Vec<Row<'_>> = of_chain.chain(strangers).collect();
    vec![
        required::<Int64Type, _>(&rows, |row| id_of(row.pid, row.started_ns)),
        required::<Int32Type, _>(&rows, |row| row.pid),
        optional::<Int64Type, _>(&rows, |row| row.parent),
        texts(&rows, |row| Some(row.exe.as_str())),
        texts(&rows, |row| Some(row.comm)),
        texts(&rows, |row| Some(row.comm)),
        texts(&rows, |_| None),
        required::<Int64Type, _>(&rows, |row| STARTED_BOOT_NS + row.started_ns),
        optional::<Int64Type, _>(&rows, |row| row.ended_ns.map(|at| STARTED_BOOT_NS + at)),
        optional::<Int32Type, _>(&rows, |row| row.ended_ns.map(|_| 0)),
    ]
}

fn sockets(sockets: &[Socket], end_ns: i64) -> Vec<ArrayRef> {
    let numbered: Vec<(usize, &Socket)> =
        sockets.iter().enumerate().filter(|(_, s)| !s.missing && s.opened_ns < end_ns).collect();
    let rows = &numbered[..];
    let closed = |socket: &Socket| socket.closed_ns.filter(|at| *at < end_ns).map(|at| STARTED_BOOT_NS + at);
    vec![
        required::<Int64Type, _>(rows, |(number, _)| socket_id(*number)),
        required::<Int64Type, _>(rows, |(_, socket)| chain_process_id(socket.process)),
        required::<Int64Type, _>(rows, |_| NETNS),
        names(rows, |_| "inet"),
        names(rows, |_| "tcp"),
        names(rows, |(_, socket)| if socket.client { "client" } else { "server" }),
        texts(rows, |_| Some("127.0.0.1")),
        required::<Int32Type, _>(rows, |(_, socket)| socket.local_port.into()),
        texts(rows, |_| Some("127.0.0.1")),
        required::<Int32Type, _>(rows, |(_, socket)| socket.remote_port.into()),
        required::<Int64Type, _>(rows, |(number, _)| 100_000 + *number as i64),
        Arc::new(BooleanArray::from(vec![false; rows.len()])),
        required::<Int64Type, _>(rows, |(_, socket)| STARTED_BOOT_NS + socket.opened_ns),
        optional::<Int64Type, _>(rows, |(_, socket)| closed(socket)),
        required::<UInt32Type, _>(rows, |(_, socket)| socket.first_send),
        required::<UInt32Type, _>(rows, |(_, socket)| socket.first_receive),
    ]
}

fn again(chain: &Chain<'_>, evidence: &Evidence) -> Vec<ArrayRef> {
    let rows: Vec<(usize, _)> = evidence.again.iter().enumerate().collect();
    let of = |socket: usize| &chain.sockets[socket];
    vec![
        required::<Int64Type, _>(&rows, |(_, row)| STARTED_BOOT_NS + row.at_ns),
        required::<UInt16Type, _>(&rows, |_| CPUS as u16),
        required::<Int64Type, _>(&rows, |(number, _)| *number as i64),
        names(&rows, |_| "retransmit"),
        required::<Int64Type, _>(&rows, |(_, row)| socket_id(row.socket)),
        required::<Int64Type, _>(&rows, |(_, row)| chain_process_id(of(row.socket).process)),
        required::<UInt32Type, _>(&rows, |(_, row)| of(row.socket).first_send),
        required::<Int32Type, _>(&rows, |(_, row)| if row.syn { 1 } else { 90 }),
        optional::<Int32Type, _>(&rows, |_| None),
        optional::<Int32Type, _>(&rows, |_| None),
        required::<UInt8Type, _>(&rows, |(_, row)| if row.syn { 2 } else { 1 }),
    ]
}

fn waits(evidence: &Evidence) -> Vec<ArrayRef> {
    let rows: Vec<(usize, &Wait)> = evidence.waits.iter().enumerate().collect();
    let pid_of = |who: Who| match who {
        Who::Chain(process) => pid(process),
        Who::Stranger(number) => evidence.strangers[number].pid,
    };
    // Rows of several tables share the CPU's numbers.
    let before = evidence.again.len();
    vec![
        required::<Int64Type, _>(&rows, |(_, row)| STARTED_BOOT_NS + row.at_ns),
        required::<Int64Type, _>(&rows, |(_, row)| row.duration_ns),
        required::<UInt16Type, _>(&rows, |_| CPUS as u16),
        required::<Int64Type, _>(&rows, |(number, _)| (before + number) as i64),
        names(&rows, |(_, row)| row.kind),
        required::<Int32Type, _>(&rows, |(_, row)| pid_of(row.who)),
        required::<Int32Type, _>(&rows, |(_, row)| pid_of(row.who)),
        required::<Int64Type, _>(&rows, |(_, row)| process_id(row.who, evidence)),
        optional::<Int32Type, _>(&rows, |(_, row)| row.other.map(pid_of)),
        optional::<Int64Type, _>(&rows, |(_, row)| row.other.map(|other| process_id(other, evidence))),
    ]
}

fn execs(evidence: &Evidence) -> Vec<ArrayRef> {
    let rows: Vec<(usize, &Started)> = evidence.execs.iter().enumerate().collect();
    let of = |row: &Started| &evidence.strangers[row.stranger];
    let parent = |row: &Started| Evidence::parent(row.stranger).map(Who::Stranger);
    let before = evidence.again.len() + evidence.waits.len();
    vec![
        required::<Int64Type, _>(&rows, |(_, row)| STARTED_BOOT_NS + row.at_ns),
        required::<UInt16Type, _>(&rows, |_| CPUS as u16),
        required::<Int64Type, _>(&rows, |(number, _)| (before + number) as i64),
        required::<Int32Type, _>(&rows, |(_, row)| of(row).pid),
        required::<Int64Type, _>(&rows, |(_, row)| process_id(Who::Stranger(row.stranger), evidence)),
        optional::<Int64Type, _>(&rows, |(_, row)| parent(row).map(|parent| process_id(parent, evidence))),
        texts(&rows, |(_, row)| Some(of(row).exe.as_str())),
        texts(&rows, |(_, row)| Some(of(row).exe.as_str())),
        names(&rows, |(_, row)| of(row).comm.as_str()),
    ]
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

fn required<T: ArrowPrimitiveType, R>(rows: &[R], value: impl Fn(&R) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(rows.iter().map(value)))
}

fn optional<T: ArrowPrimitiveType, R>(rows: &[R], value: impl Fn(&R) -> Option<T::Native>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<PrimitiveArray<T>>())
}

fn names<'a, R>(rows: &'a [R], value: impl Fn(&'a R) -> &'a str) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<DictionaryArray<Int32Type>>())
}

fn texts<'a, R>(rows: &'a [R], value: impl Fn(&'a R) -> Option<&'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter(rows.iter().map(value)))
}
