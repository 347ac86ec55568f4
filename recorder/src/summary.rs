//! What the user sees on stderr: progress on a terminal, and a summary at the end.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use retrospan_formats::manifest::Manifest;

use crate::host::cpu_s;
use crate::text::{clock, counted, grouped};

/// Time between two updates of the progress line.
const UPDATE: Duration = Duration::from_millis(500);

/// The progress line; nothing at all where stderr is no terminal.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    duration: Option<Duration>,
    updated: Instant,
    events: u64,
}

impl Progress {
    /// Starts now.
    pub fn start(duration: Option<Duration>) -> Progress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(
                ProgressStyle::with_template("{spinner} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            )
        });
        let now = Instant::now();
        Progress { bar, started: now, duration, updated: now, events: 0 }
    }

    /// Shows where the recording stands, if it is time to.
    pub fn update(&mut self, events: u64, bytes: u64, lost: u64) {
        let Some(bar) = &self.bar else { return };
        let since = self.updated.elapsed();
        if since < UPDATE {
            return;
        }
        let rate = (events - self.events) as f64 / since.as_secs_f64();
        self.updated = Instant::now();
        self.events = events;
        bar.tick();
        bar.set_message(progress_text(self.started.elapsed(), self.duration, rate, bytes, lost));
    }

    /// Takes the line off the terminal.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn progress_text(elapsed: Duration, duration: Option<Duration>, rate: f64, bytes: u64, lost: u64) -> String {
    let mut text = clock(elapsed);
    if let Some(duration) = duration {
        let _ = write!(text, ", {} left", clock(duration.saturating_sub(elapsed)));
    }
    let _ = write!(text, "  {} events/s  {:.1} MB", grouped(rate.round() as u64), bytes as f64 / 1e6);
    if lost > 0 {
        let _ = write!(text, "  {} lost", grouped(lost));
    }
    text
}

/// How COMMAND ended.
#[derive(Clone, Copy, Debug)]
pub enum CommandEnd {
    /// It ended.
    Ended(ExitStatus),
    /// It still runs.
    Runs(u32),
}

/// What a recording came to.
pub struct Recorded {
    /// The finished capture's manifest.
    pub manifest: Manifest,
    /// Sockets recorded.
    pub sockets: u64,
    /// CPU time spent before recording began: loading the kernel programs and the snapshot, s.
    pub starting_cpu_s: f64,
    /// How COMMAND ended, where there is one.
    pub command: Option<CommandEnd>,
}

/// The summary of a finished recording.
pub fn summary(recorded: &Recorded) -> String {
    let manifest = &recorded.manifest;
    let cost = manifest.cost.clone().unwrap_or_default();
    let bytes: u64 = manifest.files.iter().map(|f| f.bytes).sum();
    let mut text = format!(
        "recorded {} in {:.1} s on {}: {:.1} MB in {}\n",
        counted(cost.events, "event"),
        cost.elapsed_s,
        counted(recorded.sockets, "socket"),
        bytes as f64 / 1e6,
        counted(manifest.files.len() as u64, "file"),
    );
    if manifest.losses.is_empty() {
        text.push_str("lost nothing\n");
    }
    for loss in &manifest.losses {
        let _ = writeln!(text, "lost {} ({})", counted(loss.count, &lost_thing(&loss.kind)), loss.cause);
    }
    let (all_s, starting_s) = (cpu_s(&cost), recorded.starting_cpu_s);
    let share = 100.0 * (all_s - starting_s) / cost.elapsed_s.max(1e-3);
    let _ = write!(
        text,
        "cost {all_s:.2} s of CPU ({starting_s:.2} s to start, then {share:.1} % of one), {:.0} MB of memory at most",
        cost.peak_rss_bytes as f64 / 1e6
    );
    if let Some(programs_s) = cost.programs_s {
        let _ = write!(text, ", {programs_s:.2} s in the kernel programs");
    }
    match recorded.command {
        Some(CommandEnd::Ended(status)) => {
            let _ = write!(text, "\nthe command ended with {status}");
        }
        Some(CommandEnd::Runs(pid)) => {
            let _ = write!(text, "\nthe command still runs (pid {pid})");
        }
        None => {}
    }
    text
}

/// What one loss of a kind is called; kinds are words of tables, some of which have no plural.
fn lost_thing(kind: &str) -> String {
    if kind == "record" { kind.to_owned() } else { format!("{kind} record") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_a_plural() {
        let text = |count, kind: &str| counted(count, &lost_thing(kind));
        assert_eq!(text(72, "process"), "72 process records");
        assert_eq!(text(1, "send"), "1 send record");
        assert_eq!(text(2, "record"), "2 records");
    }

    #[test]
    fn progress_names_losses_only_where_there_are_any() {
        let minute = Duration::from_secs(60);
        let text = progress_text(minute, Some(minute * 60), 1234.4, 2_500_000, 0);
        assert_eq!(text, "1:00, 59:00 left  1,234 events/s  2.5 MB");
        assert_eq!(progress_text(minute, None, 0.0, 0, 7), "1:00  0 events/s  0.0 MB  7 lost");
    }
}
