//! Writes a large capture of made-up traffic, and says what that cost.
//!
//! The records are what the kernel programs would hand over (see [`traffic`]); from there on everything
//! is the recorder itself: merge, redaction, columns, files. So the capture is what a recording of that
//! traffic would be, and the time it takes is the recorder's own cost of an event.
//!
//!     cargo bench --profile dev --bench made_capture -- DIR.cap [EVENTS] [secrets] [hashes]
//!
//! EVENTS: how many at least (default 10,000,000). `secrets`: each request has a cookie, an authorization and two values in its
//! query. `hashes`: as with `--hash-secrets`.

mod script;
mod traffic;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::manifest::{Cost, Host, Manifest, State};
use retrospan_formats::rows::batch;
use retrospan_formats::table::FORMAT_VERSION;
use retrospan_formats::tables::{self, ClockRow};
use retrospan_formats::writer::CaptureWriter;
use retrospan_protocols::redact::Hashes;
use retrospan_recorder::host;
use retrospan_recorder::host::cgroups::Cgroups;
use retrospan_recorder::options::Payload;
use retrospan_recorder::pipeline::Pipeline;
use retrospan_recorder::pipeline::losses::Losses;
use retrospan_recorder::pipeline::processes::Processes;
use retrospan_recorder::rings::merge::Merge;
use retrospan_recorder::rows::RowsError;
use retrospan_recorder::rows::compact;
use retrospan_recorder::rows::files::Files;
use retrospan_recorder::rows::room::Space;
use retrospan_recorder::rows::self_activity::SelfActivity;

use traffic::{START_NS, Traffic};

/// Records made before each merge: what one drain finds.
const DRAIN_RECORDS: usize = 2_000;
/// Time covered by a part, ns.
const PART_NS: u64 = 10_000_000_000;
/// Wall clock at the start, ns: 2026-01-05T12:00:00Z.
const WALL_NS: i64 = 1_767_614_400_000_000_000;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(directory) = args.next().map(PathBuf::from) else {
        // Run by a test runner, or by hand without arguments: nothing to do.
        eprintln!("made_capture: DIR.cap [EVENTS] [secrets] [hashes]");
        return ExitCode::SUCCESS;
    };
    let events = match args.next().map_or(Ok(10_000_000), |text| text.parse()) {
        Ok(events) => events,
        Err(error) => {
            eprintln!("made_capture: EVENTS: {error}");
            return ExitCode::from(2);
        }
    };
    let words: Vec<String> = args.collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    match make(&directory, events, has("secrets"), has("hashes")) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("made_capture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(
    directory: &Path,
    events: u64,
    secrets: bool,
    hashes: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let writer = CaptureWriter::create(directory, manifest())?;
    let files = Files::start(writer, Space::default(), SelfActivity::default())?;
    let mut processes = Processes::new(false, Cgroups::below(None));
    processes.snapshot(traffic::processes());
    let own_pid = std::process::id();
    let mut pipeline = Pipeline::new(processes, Losses::new(START_NS), Payload::Heads, own_pid);
    if hashes {
        // Everywhere the same, as the traffic is.
        pipeline.hash_secrets(Hashes::with_key(*b"made-up key 1234"));
    }
    files.rows(&tables::CLOCK, clock(START_NS, WALL_NS)?)?;

    let mut traffic = Traffic::new(secrets);
    let mut merge = Merge::default();
    let mut record = Vec::new();
    let mut making = Duration::ZERO;
    let mut part_end_ns = START_NS + PART_NS;
    let mut now_ns = START_NS;
    let started = Instant::now();
    while pipeline.events() < events {
        let making_from = Instant::now();
        merge.begin_drain();
        for _ in 0..DRAIN_RECORDS {
            now_ns = traffic.next(&mut record);
            merge.push(&record);
        }
        making += making_from.elapsed();
        release(&mut merge, now_ns - 1, &mut pipeline, &files)?;
        if now_ns >= part_end_ns {
            end_part(&mut pipeline, &files, now_ns)?;
            merge.next_part(|_| {});
            part_end_ns += PART_NS;
            eprint!("\r{} events", pipeline.events());
            std::io::stderr().flush()?;
        }
    }
    release(&mut merge, u64::MAX, &mut pipeline, &files)?;
    end_part(&mut pipeline, &files, now_ns)?;
    let made = pipeline.events();
    let mut writer = files.finish()?;
    compact::finish(&mut writer)?;
    let bytes = writer.finished_bytes();
    let wall = started.elapsed();
    let cost = Cost { events: made, elapsed_s: wall.as_secs_f64(), ..host::own_cost() };
    let (cpu_s, memory_bytes) = (cost.user_cpu_s + cost.system_cpu_s, cost.peak_rss_bytes);
    writer.complete(cost)?;
    let own_s = cpu_s - making.as_secs_f64();
    eprintln!();
    Ok(format!(
        "{made} events, {} requests, {bytes} bytes ({:.1} an event), {:.0} ns of CPU an event ({cpu_s:.1} s less {:.1} s of making records), \
         {} MiB peak",
        traffic.requests(),
        bytes as f64 / made as f64,
        own_s * 1e9 / made as f64,
        making.as_secs_f64(),
        memory_bytes >> 20
    ))
}

/// A row of `clock`.
fn clock(boot_ns: u64, wall_ns: i64) -> Result<RecordBatch, ArrowError> {
    batch::<ClockRow>([ClockRow { boot_ns: boot_ns as i64, wall_ns }])
}

fn release(
    merge: &mut Merge,
    watermark_ns: u64,
    pipeline: &mut Pipeline,
    files: &Files,
) -> Result<(), RowsError> {
    let mut result = Ok(());
    merge.release(watermark_ns, |row| {
        if result.is_ok() {
            result = pipeline.record(row, &mut |table, batch| files.rows(table, batch));
        }
    });
    result
}

fn end_part(pipeline: &mut Pipeline, files: &Files, now_ns: u64) -> Result<(), Box<dyn std::error::Error>> {
    let wall_ns = WALL_NS + (now_ns - START_NS) as i64;
    files.rows(&tables::CLOCK, clock(now_ns, wall_ns)?)?;
    pipeline.end_part(&mut |table, batch| files.rows(table, batch))?;
    files.end_part((now_ns as i64, now_ns as i64), Vec::new())?;
    Ok(())
}

/// Nothing of the host that this runs on: the same traffic gives the same capture everywhere.
fn manifest() -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id: "5f0e1d2c3b4a59687786958473625140".into(),
        state: State::Recording,
        host: Host { name: "made-up".into(), machine: "x86_64".into(), cpus: 2, ..Host::default() },
        options: serde_json::Map::new(),
        probe_set: "syscalls".into(),
        probe_set_reason: None,
        recorder_version: env!("CARGO_PKG_VERSION").into(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: START_NS as i64,
        started_wall_ns: WALL_NS,
        whole_until_boot_ns: START_NS as i64,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}
