//! The line that a terminal shows while the recorder starts and records.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::{self, clock, grouped};

/// Time between two turns of the spinner while the recorder starts.
const STARTING_TICK: Duration = Duration::from_millis(200);
/// Time between two updates of the progress line.
const UPDATE: Duration = Duration::from_millis(500);

/// A line that can be redrawn, where stderr is a terminal.
fn redrawn() -> Option<ProgressBar> {
    stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.with_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        )
    })
}

/// What is being done before the recording begins, which takes a few seconds. Nothing at all where stderr is no terminal:
/// scripts wait for the line `recording to`.
pub struct Starting(Option<ProgressBar>);

impl Starting {
    /// Nothing is shown yet.
    pub fn begin() -> Starting {
        Starting(redrawn())
    }

    /// Shows what is done now.
    pub fn step(&self, what: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("starting: {what}"));
            bar.enable_steady_tick(STARTING_TICK);
        }
    }
}

impl Drop for Starting {
    /// An error is printed below nothing.
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

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
        let now = Instant::now();
        Progress { bar: redrawn(), started: now, duration, updated: now, events: 0 }
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

    /// Prints a line for good.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| text::line(line)),
            None => text::line(line),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_losses_only_where_there_are_any() {
        let minute = Duration::from_secs(60);
        let text = progress_text(minute, Some(minute * 60), 1234.4, 2_500_000, 0);
        assert_eq!(text, "1:00, 59:00 left  1,234 events/s  2.5 MB");
        assert_eq!(progress_text(minute, None, 0.0, 0, 7), "1:00  0 events/s  0.0 MB  7 lost");
    }
}
