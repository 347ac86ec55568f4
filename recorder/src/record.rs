//! One recording from start to end. The order of the start is the promise: nothing is written before
//! the probes are attached, and nobody is told `recording` before the snapshot is taken.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Manifest, State};
use retrospan_formats::rows::{Row, batch};
use retrospan_formats::table::FORMAT_VERSION;
use retrospan_formats::tables::{self, ClockRow, LossRow, RecorderRow, UsageRow};
use retrospan_formats::writer::{CaptureWriter, check_unused};
use retrospan_protocols::redact::Hashes;

use crate::host;
use crate::host::cgroups::Cgroups;
use crate::host::command::{self, Gated};
use crate::host::jitter::Jitter;
use crate::host::signals::Signals;
use crate::host::throttles::{self, Throttles};
use crate::kernel::{self, ProbeError, Probes};
use crate::options::{OptionError, Options};
use crate::pipeline::Pipeline;
use crate::pipeline::losses::{Losses, without_room};
use crate::pipeline::processes::Processes;
use crate::pipeline::usage::Usage;
use crate::progress::{Progress, Starting};
use crate::rings::drain::{Drain, DrainPass, IssuedSeqs};
use crate::rings::filling::Filling;
use crate::rings::merge::Merge;
use crate::rings::snapshot;
use crate::rotation::Rotation;
use crate::rows::RowsError;
use crate::rows::compact;
use crate::rows::files::Files;
use crate::rows::self_activity::{SelfActivity, WorkKind};
use crate::silence::{Came, Silence};
use crate::summary::{self, CommandEnd, Recorded};
use crate::text;

/// Length of a sampling interval, about: losses, CPU times, throttled cgroups, the recorder's own work.
const INTERVAL: Duration = Duration::from_secs(1);

/// Why there is no recording, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An option cannot be honoured.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Times could not be told.
    #[error("{0}")]
    Clock(&'static str),
    /// The kernel programs do not run.
    #[error(transparent)]
    Probes(#[from] ProbeError),
    /// The capture cannot be written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Rows do not get to the disk.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// COMMAND cannot be run.
    #[error("{}: cannot be run: {reason}", .command.to_string_lossy())]
    Command {
        /// Its first word.
        command: OsString,
        /// Why.
        reason: String,
    },
    /// The recording ended before its time: most often the disk is full.
    #[error("{source}; {} {whole}", .output.display())]
    CutShort {
        /// Why.
        source: Box<RecordError>,
        /// The capture.
        output: PathBuf,
        /// How much of it there is.
        whole: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its reason.
        source: std::io::Error,
    },
}

/// Records until the duration, a signal or the command's end.
pub fn run(options: &Options) -> Result<Recorded, RecordError> {
    options.check()?;
    host::check_clock().map_err(RecordError::Clock)?;
    check_unused(&options.output)?;
    if let Some(program) = options.command.first()
        && command::find_program(program).is_none()
    {
        return Err(command_error(options, "no such program"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system("event loop"))?.block_on(record(options))
}

async fn record(options: &Options) -> Result<Recorded, RecordError> {
    let mut signals = Signals::listen().map_err(system("signals"))?;
    let starting = Starting::begin();
    starting.step("loading and attaching the kernel programs");
    let mut probes = kernel::start(&options.probes())?;
    starting.step("looking at processes and open sockets");
    let mut recording = Recording::begin(options, &mut probes)?;
    drop(starting);
    let (finished, begun) = (recording.files.finished().clone(), recording.begun);
    text::line(&format!("recording to {}", options.output.display()));
    for warning in probes.warnings() {
        text::line(&format!("retrospan-record: {warning}"));
    }
    let mut command = start_command(options, &mut probes)?;
    let mut progress = Progress::start(options.duration);
    let outcome = recording.run(&mut probes, &mut signals, &mut command, &mut progress).await;
    progress.end();
    let command_end = command.as_mut().map(command_end);
    let ended = outcome.and_then(|()| recording.take_rest(&mut probes));
    let recorded = match ended {
        // The writer knows why it ended.
        Err(RecordError::Rows(RowsError::WriterGone)) => {
            let reason = recording.files.finish().err().map(RecordError::from);
            Err(reason.unwrap_or_else(|| RowsError::WriterGone.into()))
        }
        Err(error) => Err(error),
        Ok(elapsed_s) => recording.finish(&mut probes, elapsed_s, command_end),
    };
    recorded.map_err(|error| RecordError::CutShort {
        source: Box::new(error),
        output: options.output.clone(),
        whole: summary::whole_until(finished.whole_until_boot_ns(), begun),
    })
}

/// A recording under way.
struct Recording {
    started: Instant,
    /// Boot and wall time that the manifest gives as the begin, ns.
    begun: (i64, i64),
    duration: Option<Duration>,
    rotation: Rotation,
    drain: Drain,
    filling: Filling,
    merge: Merge,
    pipeline: Pipeline,
    files: Files,
    jitter: Jitter,
    interval_began: Instant,
    interval: Duration,
    usage: Usage,
    throttles: Throttles,
    self_activity: SelfActivity,
    silence: Silence,
    lost: u64,
    starting_cpu_s: f64,
}

impl Recording {
    fn begin(options: &Options, probes: &mut Probes) -> Result<Recording, RecordError> {
        let (boot_ns, wall_ns) = host::clock_sample();
        let rings = probes.take_rings();
        let manifest = manifest(options, probes, boot_ns, wall_ns, rings.len() as u32)?;
        let mut drain = Drain::new(rings, options.ring_bytes);
        let mut merge = Merge::default();
        let self_activity = SelfActivity::default();
        let writer = CaptureWriter::create(&options.output, manifest)?;
        let files = Files::start(writer, self_activity.clone()).map_err(system("writer"))?;
        let found = snapshot::take(probes, &mut drain, &mut merge)?;
        let mut processes = Processes::new(options.args, Cgroups::of_host());
        processes.snapshot(found.processes);
        let owners = found.socket_owners.into_iter();
        let owners = owners.filter_map(|(inode, pid)| Some((inode, processes.id_of(pid)?))).collect();
        let losses = Losses::new(boot_ns as u64);
        let mut pipeline = Pipeline::new(processes, losses, options.payload, std::process::id());
        if !options.evidence.execs {
            pipeline.leave_out_execs();
        }
        if options.hash_secrets {
            let key = host::random_bytes().map_err(system("random bits"))?;
            pipeline.hash_secrets(Hashes::with_key(key));
        }
        pipeline.sockets.set_owners(owners);
        let clock = batch::<ClockRow>([ClockRow { boot_ns, wall_ns }]).map_err(RowsError::from)?;
        files.rows(&tables::CLOCK, clock)?;
        let now = Instant::now();
        let mut jitter = Jitter::default();
        Ok(Recording {
            started: now,
            begun: (boot_ns, wall_ns),
            duration: options.duration,
            rotation: Rotation::new(options.rotate, now, &mut jitter),
            filling: drain.filling().map_err(system("rings"))?,
            drain,
            merge,
            pipeline,
            files,
            interval: jitter.around(INTERVAL),
            jitter,
            interval_began: now,
            usage: Usage::new(boot_ns as u64),
            throttles: Throttles::of_host(),
            self_activity,
            silence: Silence::new(options),
            lost: 0,
            starting_cpu_s: host::cpu_s(&host::own_cost()),
        })
    }

    /// Until the duration, a signal or the command's end.
    async fn run(
        &mut self,
        probes: &mut Probes,
        signals: &mut Signals,
        command: &mut Option<Child>,
        progress: &mut Progress,
    ) -> Result<(), RecordError> {
        loop {
            let round = self.round(probes)?;
            if self.interval_began.elapsed() >= self.interval {
                self.end_interval(probes)?;
            }
            if self.rotation.is_due(self.pipeline.part_size()) {
                self.poll_losses(probes)?;
                self.end_part(round.watermark_ns)?;
            }
            progress.update(self.pipeline.events(), self.files.finished().bytes(), self.lost);
            let came = Came { sockets: self.pipeline.sockets.seen(), events: self.pipeline.events() };
            if let Some(line) = self.silence.line(self.started.elapsed(), came) {
                progress.say(&text::one_line(&line));
            }
            let ended = command.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            if ended || self.duration.is_some_and(|d| self.started.elapsed() >= d) {
                return Ok(());
            }
            let pause = if round.more { Duration::ZERO } else { self.pause() };
            let filling = &self.filling;
            let paused = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = filling.one() => {}
                }
            };
            if signals.arrived_within(paused).await {
                signals.pass_on(command.as_ref());
                return Ok(());
            }
        }
    }

    /// Until the next round, but not beyond the end, the sampling interval or the part.
    fn pause(&mut self) -> Duration {
        let interval = self.interval.saturating_sub(self.interval_began.elapsed());
        let pause = self.drain.pause().min(interval).min(self.rotation.left());
        let left = self.duration.map(|d| d.saturating_sub(self.started.elapsed()));
        left.map_or(pause, |left| pause.min(left))
    }

    fn round(&mut self, probes: &Probes) -> Result<DrainPass, RecordError> {
        let since = Instant::now();
        // The moment first: numbers given out after it do no harm, for their records are of later times.
        let at_ns = host::boot_ns();
        let issued = IssuedSeqs { at_ns, next_seqs: probes.next_seqs()? };
        let (boot_ns, wall_ns) = host::clock_sample();
        self.pipeline.set_wall_ahead(wall_ns - boot_ns);
        let round = self.drain.round(&issued, &mut self.merge);
        self.release(round.watermark_ns)?;
        self.self_activity.note(WorkKind::Drain, since, round.records, round.bytes);
        let usage = self.usage.take_rows(round.watermark_ns, &mut self.pipeline.processes);
        self.write::<UsageRow>(&usage)?;
        Ok(round)
    }

    fn release(&mut self, watermark_ns: u64) -> Result<(), RowsError> {
        let (pipeline, files) = (&mut self.pipeline, &self.files);
        let mut result = Ok(());
        self.merge.release(watermark_ns, |row| {
            if result.is_ok() {
                result = pipeline.record(row, &mut |table, batch| files.rows(table, batch));
            }
        });
        result
    }

    /// Ends a sampling interval.
    fn end_interval(&mut self, probes: &mut Probes) -> Result<(), RecordError> {
        self.interval_began = Instant::now();
        self.interval = self.jitter.around(INTERVAL);
        self.poll_losses(probes)?;
        self.sample(probes)?;
        probes.let_go_of_early()?;
        self.self_activity.end_interval();
        Ok(())
    }

    /// Takes samples of what the kernel programs and cgroups sum up.
    fn sample(&mut self, probes: &mut Probes) -> Result<(), RecordError> {
        let boot_ns = host::boot_ns();
        if probes.evidence().usage {
            for pid in self.usage.sample(boot_ns, probes.cpu_times()?) {
                if !self.pipeline.processes.lives(pid) {
                    probes.forget_cpu_time(pid)?;
                    self.usage.forget(pid);
                }
            }
        }
        if probes.evidence().sched {
            let throttled = self.throttles.sample(self.pipeline.traffic());
            for (pid, throttled_ns) in throttled {
                self.merge.push(&throttles::record(pid, boot_ns, throttled_ns));
            }
        }
        Ok(())
    }

    fn poll_losses(&mut self, probes: &Probes) -> Result<(), RecordError> {
        let losses = probes.losses()?;
        self.drain.note_lost(losses.iter().map(without_room));
        let rows = self.pipeline.losses.interval(host::boot_ns(), losses);
        self.lost = self.pipeline.losses.total();
        self.write::<LossRow>(&rows)
    }

    fn write<'a, R: Row>(&self, rows: &[R::Of<'a>]) -> Result<(), RecordError>
    where
        R::Of<'a>: Copy,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = batch::<R>(rows.iter().copied()).map_err(RowsError::from)?;
        Ok(self.files.rows(R::TABLE, batch)?)
    }

    /// Finishes the current part: everything emitted up to `whole_until_ns` is in it or in an earlier one.
    fn end_part(&mut self, whole_until_ns: u64) -> Result<(), RecordError> {
        let (boot_ns, wall_ns) = host::clock_sample();
        self.write::<ClockRow>(&[ClockRow { boot_ns, wall_ns }])?;
        self.write::<RecorderRow>(&self.self_activity.take())?;
        let (pipeline, files) = (&mut self.pipeline, &self.files);
        pipeline.end_part(&mut |table, batch| files.rows(table, batch))?;
        files.end_part(whole_until_ns, pipeline.losses.sums())?;
        self.rotation.restart(&mut self.jitter);
        let mut result = Ok(());
        self.merge.next_part(|row| {
            if result.is_ok() {
                result = pipeline.record(row, &mut |table, batch| files.rows(table, batch));
            }
        });
        Ok(result?)
    }

    /// Detaches and hands what is left to the writer. Returns how long the recording was, s.
    fn take_rest(&mut self, probes: &mut Probes) -> Result<f64, RecordError> {
        probes.detach();
        let elapsed_s = self.started.elapsed().as_secs_f64();
        let ended_ns = host::boot_ns();
        while self.round(probes)?.records > 0 {}
        self.sample(probes)?;
        self.release(u64::MAX)?;
        let usage = self.usage.take_rows(u64::MAX, &mut self.pipeline.processes);
        self.write::<UsageRow>(&usage)?;
        self.count_unexplained(probes)?;
        self.poll_losses(probes)?;
        self.self_activity.end_interval();
        self.end_part(ended_ns)?;
        if self.pipeline.part_size().0 > 0 {
            self.end_part(ended_ns)?;
        }
        Ok(elapsed_s)
    }

    /// Waits for the writer and finishes the files.
    fn finish(
        self,
        probes: &mut Probes,
        elapsed_s: f64,
        command: Option<CommandEnd>,
    ) -> Result<Recorded, RecordError> {
        let events = self.pipeline.events();
        let mut writer = self.files.finish()?;
        compact::finish(&mut writer)?;
        let programs_s = probes.run_costs().map(|costs| costs.iter().map(|c| c.run_ns).sum::<u64>())?;
        let mut cost = host::own_cost();
        cost.elapsed_s = elapsed_s;
        cost.events = events;
        cost.programs_s = (programs_s > 0).then_some(programs_s as f64 / 1e9);
        let manifest = writer.complete(cost)?;
        let sockets = manifest.files.iter().filter(|f| f.table == tables::SOCKETS.name).map(|f| f.rows).sum();
        Ok(Recorded { manifest, sockets, starting_cpu_s: self.starting_cpu_s, command })
    }

    /// Every number that the programs gave out is a record that came or a loss that they counted. What is
    /// neither is a defect, ours or the kernel's, and is said so in the capture.
    fn count_unexplained(&mut self, probes: &Probes) -> Result<(), RecordError> {
        let (made, counters) = (probes.next_seqs()?, probes.losses()?);
        let read = self.drain.records();
        for (cpu, made) in made.iter().enumerate() {
            let read = read.get(cpu).copied().unwrap_or_default();
            let lost = counters.get(cpu).map(without_room).unwrap_or_default();
            let unexplained = made.abs_diff(read + lost);
            if unexplained > 0 {
                self.pipeline.losses.count(cpu as u16, "record", "unexplained", unexplained);
            }
        }
        if self.merge.malformed() > 0 {
            self.pipeline.losses.count(0, "record", "malformed", self.merge.malformed());
        }
        Ok(())
    }
}

fn start_command(options: &Options, probes: &mut Probes) -> Result<Option<Child>, RecordError> {
    if options.command.is_empty() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| command_error(options, &e.to_string());
    let gated = Gated::fork(&options.command).map_err(failed)?;
    probes.watch_pid(gated.pid)?;
    Ok(Some(gated.open().map_err(failed)?))
}

fn command_end(child: &mut Child) -> CommandEnd {
    match child.try_wait() {
        Ok(Some(status)) => CommandEnd::Ended(status),
        _ => CommandEnd::Runs(child.id()),
    }
}

fn manifest(
    options: &Options,
    probes: &Probes,
    boot_ns: i64,
    wall_ns: i64,
    cpus: u32,
) -> Result<Manifest, RecordError> {
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        capture_id: host::random_id().map_err(system("random bits"))?,
        state: State::Recording,
        host: host::describe(wall_ns, cpus),
        options: options.manifest(probes.evidence()),
        probe_set: probes.probe_set().name().to_owned(),
        probe_set_reason: probes.refusal().map(str::to_owned),
        recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
        imported: None,
        started_boot_ns: boot_ns,
        started_wall_ns: wall_ns,
        whole_until_boot_ns: boot_ns,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    })
}

fn command_error(options: &Options, reason: &str) -> RecordError {
    RecordError::Command {
        command: options.command.first().cloned().unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RecordError {
    move |source| RecordError::System { what, source }
}
