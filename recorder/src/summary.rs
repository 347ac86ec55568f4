//! What the user is told at the end.

use std::fmt::Write as _;
use std::process::ExitStatus;

use retrospan_formats::manifest::Manifest;

use crate::host::{self, cpu_s};
use crate::silence::Came;
use crate::text::{counted, time_of_day};

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

impl Recorded {
    /// Whether anything did.
    pub fn came(&self) -> Came {
        let events = self.manifest.cost.as_ref().map_or(0, |cost| cost.events);
        Came { sockets: self.sockets, events }
    }
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
    text.extend(kept(manifest));
    let (left_out, lost): (Vec<_>, Vec<_>) = manifest.losses.iter().partition(|loss| loss.is_left_out());
    if lost.is_empty() {
        text.push_str("lost nothing\n");
    }
    for loss in lost {
        let _ = writeln!(text, "lost {} ({})", counted(loss.count, &lost_thing(&loss.kind)), loss.cause);
    }
    for loss in left_out {
        let calls = counted(loss.count, "call");
        let _ =
            writeln!(text, "left out {} of {calls} (--{})", loss.left_out(), loss.cause.replace('_', "-"));
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

/// What is left of a recording that kept the latest only.
fn kept(manifest: &Manifest) -> Option<String> {
    let rolled = manifest.rolled.as_ref()?;
    let held_ns = manifest.whole_until_boot_ns.saturating_sub(manifest.started_boot_ns);
    let gone = counted(rolled.events, "event");
    Some(format!("kept the last {:.1} s, let go of {gone} before\n", held_ns as f64 / 1e9))
}

/// How much there is of a capture that was cut short. `begun`: boot and wall time of the begin, ns.
pub fn whole_until(whole_until_boot_ns: Option<i64>, begun: (i64, i64)) -> String {
    let Some(until) = whole_until_boot_ns else {
        return "is empty: its first part was not finished".to_owned();
    };
    let after_ns = until.saturating_sub(begun.0);
    let wall_ns = begun.1.saturating_add(after_ns);
    let at = time_of_day(wall_ns, host::utc_offset_s(wall_ns));
    format!("is whole until {at}, {:.1} s after its begin, and can be opened", after_ns as f64 / 1e9)
}

/// What one loss of a kind is called; kinds are words of tables, some of which have no plural.
fn lost_thing(kind: &str) -> String {
    if kind == "record" { kind.to_owned() } else { format!("{kind} record") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_that_was_cut_short_says_how_much_there_is() {
        let second: i64 = 1_000_000_000;
        let text = whole_until(Some(38 * second), (10 * second, 1_700_000_000 * second));
        assert!(text.starts_with("is whole until ") && text.contains(", 28.0 s after its begin"), "{text}");
        assert!(whole_until(None, (0, 0)).starts_with("is empty"));
    }

    #[test]
    fn every_loss_has_a_plural() {
        let text = |count, kind: &str| counted(count, &lost_thing(kind));
        assert_eq!(text(72, "process"), "72 process records");
        assert_eq!(text(1, "send"), "1 send record");
        assert_eq!(text(2, "record"), "2 records");
    }
}
