//! What is being done, on one line of standard error, as long as somebody watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

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
        let is_wanted = terminal::stderr().can_redraw && terminal::stdout().window.is_some();
        let is_shown = is_wanted && !IS_SHOWN.swap(true, Ordering::Relaxed);
        let bar = if is_shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            let unicode = terminal::stderr().unicode;
            bar.set_style(if unicode { style } else { style.tick_chars(r"|/-\ ") });
        }
        bar.set_message(what.to_owned());
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress { bar, is_shown }
    }

    /// Shows something else.
    pub fn say(&self, what: String) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.is_shown {
            IS_SHOWN.store(false, Ordering::Relaxed);
        }
    }
}
