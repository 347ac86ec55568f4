//! One recording from start to end. The order of the start is the promise: nothing is written before
//! the probes are attached, and nobody is told `recording` before the snapshot is taken.

mod begin;
mod error;

use std::process::Child;
use std::time::{Duration, Instant};

use retrospan_formats::manifest;
use retrospan_formats::rows::{Row, batch};
use retrospan_formats::tables::{self, ClockRow, LossRow, RecorderRow, UsageRow};
use retrospan_formats::writer::{CaptureWriter, check_unused};
use retrospan_protocols::redact::Hashes;

use crate::dumps::{self, Dumps};
use crate::host;
use crate::host::cgroups::Cgroups;
use crate::host::command;
use crate::host::counters::Counters;
use crate::host::jitter::Jitter;
use crate::host::listeners;
use crate::host::signals::Signals;
use crate::host::throttles::{self, Throttles};
use crate::kernel::{self, Judgements, Probes};
use crate::options::Options;
use crate::pipeline::Pipeline;
use crate::pipeline::losses::{Losses, without_room};
use crate::pipeline::processes::Processes;
use crate::pipeline::usage::Usage;
use crate::pipeline::watch::Watch;
use crate::progress::{Progress, Starting};
use crate::record::begin::{begin_judging, begin_tls, manifest, start_command};
use crate::record::error::{command_error, system};
use crate::rings::drain::{Drain, DrainPass, IssuedSeqs};
use crate::rings::filling::Filling;
use crate::rings::merge::Merge;
use crate::rings::snapshot;
use crate::rotation::Rotation;
use crate::rows::RowsError;
use crate::rows::compact;
use crate::rows::files::Files;
use crate::rows::self_activity::{SelfActivity, WorkKind};
use crate::shed::{Shedding, Taken};
use crate::silence::{Came, Silence};
use crate::summary::{self, CommandEnd, Recorded};
use crate::text;
use crate::tls::Tls;
use crate::triggers::DumpOn;

pub use crate::record::error::RecordError;

/// Length of a sampling interval, about: losses, CPU times, throttled cgroups, the recorder's own work.
const INTERVAL: Duration = Duration::from_secs(1);

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
    let asked = options.dump_on.contains(&DumpOn::Signal);
    let mut signals = Signals::listen(asked).map_err(system("signals"))?;
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
    for warning in recording.tls.iter().flat_map(Tls::warnings) {
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
    counters: Option<Counters>,
    judgements: Option<Judgements>,
    tls: Option<Tls>,
    self_activity: SelfActivity,
    silence: Silence,
    dumps: Dumps,
    shedding: Shedding,
    /// Records made and CPU time taken until the last sampling interval ended, s.
    taken: (u64, f64),
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
        let files = Files::start(writer, options.space, self_activity.clone()).map_err(system("writer"))?;
        let mut processes = Processes::new(options.args, Cgroups::of_host());
        if options.filters.side.is_some() {
            probes.note_listening(&listeners::ports())?;
        }
        let judging = begin_judging(options, probes, &mut processes)?;
        let tls = begin_tls(options, probes)?;
        let found = snapshot::take(probes, &mut drain, &mut merge)?;
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
        pipeline.follow(options.rules()?);
        pipeline.watch = Watch::of(&options.dump_on);
        if options.tls {
            pipeline.note_programs();
        }
        let (judge, judgements) = judging.unzip();
        pipeline.judge = judge;
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
            counters: probes
                .evidence()
                .counters
                .then(|| Counters::start(host::boot_ns(), options.counter_interval)),
            judgements,
            tls,
            self_activity,
            silence: Silence::new(options),
            dumps: Dumps::new(&options.output, options.space.keep),
            shedding: Shedding::new(options.limits),
            taken: (probes.next_seqs()?.iter().sum(), host::cpu_s(&host::own_cost())),
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
                self.end_interval(probes, progress)?;
            }
            if self.counters.as_ref().is_some_and(|counters| counters.left().is_zero()) {
                self.sample_counters()?;
            }
            if signals.was_asked() {
                self.dumps.ask(DumpOn::Signal.to_string(), host::boot_ns());
            }
            self.end_part_or_copy(probes, round.watermark_ns)?;
            self.files.frozen().for_each(|frozen| progress.say(&text::one_line(&dumps::line(&frozen))));
            if let Some(limit) = self.files.finished().limit() {
                progress.say(&format!("retrospan-record: {limit} is reached: the recording ends"));
                return Ok(());
            }
            progress.update(self.pipeline.events(), self.files.finished().bytes(), self.lost);
            let came = Came { sockets: self.pipeline.sockets_seen(), events: self.pipeline.events() };
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

    /// Ends the part where that is due, or where a copy is, which is made of finished parts.
    fn end_part_or_copy(&mut self, probes: &Probes, watermark_ns: u64) -> Result<(), RecordError> {
        let copy = self.dumps.due(watermark_ns);
        if copy.is_some() || self.rotation.is_due(self.pipeline.part_size()) {
            self.poll_losses(probes)?;
            self.end_part(watermark_ns)?;
        }
        match copy {
            Some((directory, reason)) => Ok(self.files.freeze(directory, reason)?),
            None => Ok(()),
        }
    }

    /// Until the next round, but not beyond the end, the sampling intervals or the part.
    fn pause(&mut self) -> Duration {
        let interval = self.interval.saturating_sub(self.interval_began.elapsed());
        let counters = self.counters.as_ref().map_or(Duration::MAX, Counters::left);
        let pause = self.drain.pause().min(interval).min(counters).min(self.rotation.left());
        let left = self.duration.map(|d| d.saturating_sub(self.started.elapsed()));
        left.map_or(pause, |left| pause.min(left))
    }

    fn round(&mut self, probes: &mut Probes) -> Result<DrainPass, RecordError> {
        let since = Instant::now();
        // The moment first: numbers given out after it do no harm, for their records are of later times.
        let at_ns = host::boot_ns();
        let issued = IssuedSeqs { at_ns, next_seqs: probes.next_seqs()? };
        let (boot_ns, wall_ns) = host::clock_sample();
        self.pipeline.set_wall_ahead(wall_ns - boot_ns);
        let round = self.drain.round(&issued, &mut self.merge);
        self.release(round.watermark_ns)?;
        self.tell_judgements();
        self.follow_tls(probes)?;
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

    /// Attaches to what was found of TLS libraries, and forgets sessions that are gone.
    fn follow_tls(&mut self, probes: &mut Probes) -> Result<(), RecordError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        self.pipeline.take_begun().into_iter().for_each(|pid| tls.began(pid));
        tls.attach_found(probes);
        let (gone, pids) = self.pipeline.sockets.take_gone_tls();
        if !gone.is_empty() {
            probes.forget_tls(&gone)?;
            probes.forget_go(&pids)?;
        }
        Ok(())
    }

    /// Tells the kernel programs whose sockets are not to be recorded.
    fn tell_judgements(&mut self) {
        if let (Some(judge), Some(judgements)) = (&mut self.pipeline.judge, &mut self.judgements) {
            judge.take_news().into_iter().for_each(|news| judgements.tell(news));
        }
    }

    /// Ends a sampling interval.
    fn end_interval(&mut self, probes: &mut Probes, progress: &mut Progress) -> Result<(), RecordError> {
        let elapsed = self.interval_began.elapsed();
        self.interval_began = Instant::now();
        self.interval = self.jitter.around(INTERVAL);
        self.poll_losses(probes)?;
        self.shed(probes, elapsed, progress)?;
        self.sample(probes)?;
        let noticed = self.pipeline.watch.as_mut().map(Watch::second).unwrap_or_default();
        noticed.into_iter().for_each(|reason| self.dumps.notice(reason, host::boot_ns()));
        probes.let_go_of_early()?;
        self.self_activity.end_interval();
        Ok(())
    }

    /// Leaves out more or less, where an interval's cost says so.
    fn shed(
        &mut self,
        probes: &mut Probes,
        elapsed: Duration,
        progress: &mut Progress,
    ) -> Result<(), RecordError> {
        let taken = (probes.next_seqs()?.iter().sum(), host::cpu_s(&host::own_cost()));
        let before = std::mem::replace(&mut self.taken, taken);
        let step = self.shedding.interval(Taken {
            elapsed,
            records: taken.0 - before.0,
            cpu_s: taken.1 - before.1,
            room: self.files.finished().used(),
        });
        if let Some(step) = step {
            self.pipeline.losses.shed_by(step.cause);
            probes.shed(step.level)?;
            progress.say(&format!("retrospan-record: {}", step.line));
        }
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

    /// Reads what the kernel counts, and hands on what has risen.
    fn sample_counters(&mut self) -> Result<(), RecordError> {
        let Some(counters) = &mut self.counters else { return Ok(()) };
        let pids: Vec<u32> = self.pipeline.traffic().collect();
        let boot_ns = host::boot_ns();
        let changes = counters.sample(boot_ns, &pids);
        let files = &self.files;
        Ok(self.pipeline.counters(boot_ns, &changes, &mut |table, batch| files.rows(table, batch))?)
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
        if let Some(tls) = &self.tls {
            let (sessions, untied) = pipeline.sockets.tls_sessions();
            files.tls(manifest::Tls { files: tls.files().to_vec(), sessions, untied })?;
        }
        let whole_until = (whole_until_ns as i64, whole_until_ns as i64 + (wall_ns - boot_ns));
        files.end_part(whole_until, pipeline.losses.sums())?;
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
        self.sample_counters()?;
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
        let limit = self.files.finished().limit().map(str::to_owned);
        let mut writer = self.files.finish()?;
        match limit {
            Some(limit) => writer.ended_by(limit),
            // Which takes room for a while.
            None => compact::finish(&mut writer)?,
        }
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

fn command_end(child: &mut Child) -> CommandEnd {
    match child.try_wait() {
        Ok(Some(status)) => CommandEnd::Ended(status),
        _ => CommandEnd::Runs(child.id()),
    }
}
