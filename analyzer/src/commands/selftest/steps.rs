//! What the user reads: a line a step, and where one failed, what to do.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::print;
use crate::text::escape_controls;

/// Why the steps ended before the last.
pub enum Stop {
    /// One of them failed.
    Failed(Failure),
    /// The command itself cannot go on.
    Error(Error),
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    step: &'static str,
    reason: Reason,
}

/// Why, and what to do about it.
#[derive(Debug)]
pub struct Reason {
    /// What went wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl Reason {
    /// A reason whose own words say what to do.
    pub fn of(what: impl ToString) -> Reason {
        Reason { what: what.to_string(), advice: String::new() }
    }

    /// The same with what to do.
    pub fn advise(what: impl ToString, advice: impl ToString) -> Reason {
        Reason { what: what.to_string(), advice: advice.to_string() }
    }
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Reason {
        Reason::of(error)
    }
}

impl Failure {
    /// Its lines.
    pub fn text(&self) -> String {
        let mut text = line(self.step, "FAILED", &self.reason.what);
        if !self.reason.advice.is_empty() {
            text.push_str(&format!("\n{}\n", escape_controls(&self.reason.advice)));
        }
        text
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// Says in which step it was.
pub fn failed_in<R: Into<Reason>>(step: &'static str) -> impl Fn(R) -> Stop {
    move |reason| Stop::Failed(Failure { step, reason: reason.into() })
}

/// Prints that a step is done.
pub fn done(step: &str, result: &str) -> Result<()> {
    print::text(&line(step, "ok", result))
}

fn line(step: &str, state: &str, result: &str) -> String {
    format!("  {step:<9}  {state:<6}  {}\n", escape_controls(result))
}

/// What is about to happen.
pub fn intro(period: Duration, pause: Duration, length: Duration) -> String {
    format!(
        "Takes about a minute: a server and clients of this program's own, on loopback; the server is stopped for {} ms\n\
         every {} s, and that is recorded for {} s and looked for. Nothing else on this host is touched.\n\n",
        pause.as_millis(),
        period.as_secs_f64(),
        length.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_which_step_and_what_to_do() {
        let Stop::Failed(failure) =
            failed_in("kernel")(Reason::advise("no\u{1b} BTF", "Use another kernel."))
        else {
            panic!("a failure");
        };
        assert_eq!(failure.text(), "  kernel     FAILED  no\\x1b BTF\n\nUse another kernel.\n");
    }
}
