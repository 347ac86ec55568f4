//! Records as the kernel programs make them, and a recording of them without a kernel.

use std::path::Path;

use arrow::array::RecordBatch;
use bytemuck::{Zeroable, bytes_of};
use retrospan_formats::event::{self, Header, Kind, Record};
use retrospan_formats::manifest::{Cost, Host, Manifest, State};
use retrospan_formats::rows::batch;
use retrospan_formats::table::{FORMAT_VERSION, Table};
use retrospan_formats::tables::{self, ClockRow, LossRow};
use retrospan_formats::writer::CaptureWriter;
use retrospan_recorder::host::cgroups::Cgroups;
use retrospan_recorder::options::Payload;
use retrospan_recorder::pipeline::Pipeline;
use retrospan_recorder::pipeline::losses::Losses;
use retrospan_recorder::pipeline::processes::Processes;
use retrospan_recorder::rings::merge::Merge;
use retrospan_recorder::rows::RowsError;
use retrospan_recorder::rows::compact;

/// A process that the records tell of: pid, process id.
pub const SERVER: (u32, u64) = (4_300_100, 100_000_000);
/// Another.
pub const CLIENT: (u32, u64) = (4_300_200, 200_000_000);

/// Makes records with consecutive numbers on one CPU.
pub struct Maker {
    pub cpu: u16,
    pub seq: u64,
}

impl Maker {
    fn record(&mut self, boot_ns: u64, pid: u32, record: Record, kind: u8, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let header = Header {
            boot_ns,
            seq: self.seq,
            pid,
            tid: pid,
            cpu: self.cpu,
            record: record as u8,
            kind,
            record_bytes: (size_of::<Header>() + body.len()) as u32,
        };
        self.seq += 1;
        [bytes_of(&header), &body].concat()
    }

    pub fn socket(&mut self, boot_ns: u64, pid: u32, socket: event::Socket) -> Vec<u8> {
        self.record(boot_ns, pid, Record::Socket, 0, &[bytes_of(&socket)])
    }

    pub fn exec(&mut self, boot_ns: u64, process: (u32, u64), exe: &str, argv: &str) -> Vec<u8> {
        let mut comm = [0; 16];
        let name = exe.rsplit('/').next().unwrap().as_bytes();
        comm[..name.len()].copy_from_slice(name);
        let fixed = event::Process {
            start_boot_ns: process.1,
            parent_pid: 1,
            comm,
            what: event::life::EXEC,
            exe_bytes: exe.len() as u16,
            argv_bytes: argv.len() as u16,
            ..event::Process::zeroed()
        };
        let body = [bytes_of(&fixed), exe.as_bytes(), argv.as_bytes()];
        self.record(boot_ns, process.0, Record::Process, 0, &body)
    }

    pub fn exit(&mut self, boot_ns: u64, process: (u32, u64), exit_code: u32) -> Vec<u8> {
        let fixed = event::Process {
            start_boot_ns: process.1,
            exit_code,
            what: event::life::EXIT,
            ..event::Process::zeroed()
        };
        self.record(boot_ns, process.0, Record::Process, 0, &[bytes_of(&fixed)])
    }

    pub fn call(&mut self, boot_ns: u64, pid: u32, kind: Kind, call: event::Call, data: &[u8]) -> Vec<u8> {
        let call = event::Call { done_bytes: data.len() as u64, head_bytes: data.len() as u16, ..call };
        self.record(boot_ns, pid, Record::Call, kind as u8, &[bytes_of(&call), data])
    }

    pub fn state(&mut self, boot_ns: u64, state: event::State) -> Vec<u8> {
        self.record(boot_ns, 0, Record::State, Kind::State as u8, &[bytes_of(&state)])
    }
}

/// One end of a loopback connection.
pub fn socket(
    socket_id: u64,
    role: u8,
    local_port: u16,
    remote_port: u16,
    seqs: (u32, u32),
) -> event::Socket {
    let loopback = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    event::Socket {
        socket_id,
        opened_boot_ns: 1_000_000_000,
        inode: 7_000 + socket_id,
        netns: 4_026_531_840,
        family: 2,
        protocol: 6,
        local_addr: loopback,
        remote_addr: loopback,
        local_port,
        remote_port,
        role,
        seq_from_start: 1,
        first_send_seq: seqs.0,
        first_receive_seq: seqs.1,
        ..event::Socket::zeroed()
    }
}

/// A manifest that is the same everywhere.
pub fn manifest() -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id: "000102030405060708090a0b0c0d0e0f".to_owned(),
        state: State::Recording,
        host: Host {
            name: "golden".to_owned(),
            boot_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            kernel: "6.1.0".to_owned(),
            machine: "x86_64".to_owned(),
            cpus: 2,
            utc_offset_s: 7200,
        },
        options: serde_json::Map::new(),
        probe_set: "syscalls".to_owned(),
        probe_set_reason: None,
        recorder_version: "0.1.0".to_owned(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: 900_000_000,
        started_wall_ns: 1_767_225_600_900_000_000,
        whole_until_boot_ns: 900_000_000,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}

/// Writes parts of records as a capture; each part ends at the time given with it. `complete`: with a clean end.
pub fn write(directory: &Path, parts: &[(u64, Vec<Vec<u8>>)], complete: bool) -> CaptureWriter {
    write_with(directory, parts, complete, |_| {})
}

/// The same by a pipeline that is told something before.
pub fn write_with(
    directory: &Path,
    parts: &[(u64, Vec<Vec<u8>>)],
    complete: bool,
    tell: impl FnOnce(&mut Pipeline),
) -> CaptureWriter {
    let mut writer = CaptureWriter::create(directory, manifest()).unwrap();
    let processes = Processes::new(false, Cgroups::below(None));
    let mut pipeline = Pipeline::new(processes, Losses::new(900_000_000), Payload::Heads, 1);
    tell(&mut pipeline);
    let mut merge = Merge::default();
    let wall = |boot_ns: u64| 1_767_225_600_000_000_000 + boot_ns as i64;
    for (end_ns, records) in parts {
        merge.begin_drain();
        for record in records {
            merge.push(record).unwrap();
        }
        merge.release(*end_ns, |row| {
            pipeline.record(row, &mut sink(&mut writer)).unwrap();
        });
        pipeline.end_part(&mut sink(&mut writer)).unwrap();
        let clock = ClockRow { boot_ns: *end_ns as i64, wall_ns: wall(*end_ns) };
        writer.append(&tables::CLOCK, &batch::<ClockRow>([clock]).unwrap()).unwrap();
        let losses = pipeline.losses.interval(*end_ns, Vec::new());
        writer.append(&tables::LOSS, &batch::<LossRow>(losses).unwrap()).unwrap();
        writer.rotate(*end_ns as i64, pipeline.losses.sums()).unwrap();
        merge.next_part(|row| {
            pipeline.record(row, &mut sink(&mut writer)).unwrap();
        });
    }
    if complete {
        compact::finish(&mut writer).unwrap();
    }
    writer
}

fn sink(writer: &mut CaptureWriter) -> impl FnMut(&'static Table, RecordBatch) -> Result<(), RowsError> + '_ {
    |table, batch| {
        writer.append(table, &batch).unwrap();
        Ok(())
    }
}

/// Marks a capture complete with made-up cost.
pub fn complete(writer: CaptureWriter, events: u64) -> Manifest {
    writer.complete(Cost { elapsed_s: 3.0, user_cpu_s: 0.01, events, ..Cost::default() }).unwrap()
}
