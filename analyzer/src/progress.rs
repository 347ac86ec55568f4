//! What is being done, on one line of standard error, as long as somebody watches.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::terminal;
use crate::text::count;

/// Two lines at once would leave one behind: the outer one is shown.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// A line that is gone when this is dropped, whatever the reason.
pub struct Progress {
    bar: ProgressBar,
    is_shown: bool,
}

impl Progress {
    /// Shows `what`. Nothing is shown where standard error cannot redraw a line, where standard output goes
    /// elsewhere (a pager may share the terminal), and within another progress.
    pub fn begin(what: &str) -> Progress {
        Progress::shown(what, ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})")
    }

    /// The same of work whose size is known: how far it has come, how quickly it goes on, and how long it will take.
    pub fn through(what: &str, unit: &str, total: u64) -> Progress {
        let line =
            format!("{{spinner}} {{msg}} [{{bar:10}}] {{percent}} %, {{per_second}} {unit}/s, {{eta}} left");
        Progress::shown(what, ProgressBar::new(total), &line)
    }

    fn shown(what: &str, bar: ProgressBar, line: &str) -> Progress {
        let is_wanted = terminal::stderr().can_redraw && terminal::stdout().window.is_some();
        let is_shown = is_wanted && !IS_SHOWN.swap(true, Ordering::Relaxed);
        if !is_shown {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(line) {
            let style = style.with_key("per_second", per_second).progress_chars("=> ");
            let unicode = terminal::stderr().unicode;
            bar.set_style(if unicode { style } else { style.tick_chars(r"|/-\ ") });
        }
        bar.set_message(what.to_owned());
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress { bar, is_shown }
    }

    /// So much of it is done.
    pub fn reached(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Shows something else.
    pub fn say(&self, what: String) {
        self.bar.set_message(what);
    }
}

fn per_second(state: &ProgressState, line: &mut dyn fmt::Write) {
    // Whoever reads the line has nothing from an error here.
    let _ = line.write_str(&count(state.per_sec() as u64));
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.is_shown {
            IS_SHOWN.store(false, Ordering::Relaxed);
        }
    }
}
