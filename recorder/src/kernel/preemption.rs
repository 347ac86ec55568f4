//! Whether this kernel puts threads off their CPU in the middle of its own work.
//!
//! Programs at functions may be put off then, unlike those at tracepoints. A record that is reserved and not yet handed over holds up
//! all that come after it in its ring, and what comes out of order is stored without its payload.

use std::fs::read_to_string;

/// What the kernel tells of it.
struct Told<'a> {
    /// `/sys/kernel/debug/sched/preempt`, where that can be read: all modes, the one that holds in parentheses.
    modes: Option<&'a str>,
    /// `/proc/sys/kernel/version`, which names what the kernel was built for.
    version: &'a str,
    /// `/proc/cmdline`.
    command_line: &'a str,
}

/// Whether it does, as far as it tells.
pub fn is_full() -> bool {
    let modes = read_to_string("/sys/kernel/debug/sched/preempt").ok();
    let version = read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    let command_line = read_to_string("/proc/cmdline").unwrap_or_default();
    Told { modes: modes.as_deref(), version: &version, command_line: &command_line }.is_full()
}

impl Told<'_> {
    fn is_full(&self) -> bool {
        if let Some(modes) = self.modes {
            return modes.contains("(full)") || modes.contains("(lazy)");
        }
        let words = |text: &str, wanted: &[&str]| text.split_whitespace().any(|word| wanted.contains(&word));
        words(self.version, &["PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"])
            || words(self.command_line, &["preempt=full", "preempt=lazy"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full(modes: Option<&str>, version: &str, command_line: &str) -> bool {
        Told { modes, version, command_line }.is_full()
    }

    #[test]
    fn the_mode_that_holds_counts_or_what_is_known_of_it() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1";
        assert!(is_full(Some("none voluntary (full)\n"), dynamic, ""));
        assert!(is_full(Some("full (lazy)\n"), dynamic, ""));
        assert!(!is_full(Some("none (voluntary) full\n"), dynamic, "preempt=full"));
        assert!(!is_full(None, dynamic, "quiet ro"));
        assert!(is_full(None, dynamic, "quiet preempt=full"));
        assert!(is_full(None, "#1 SMP PREEMPT_RT Debian 6.12.1-1", ""));
        assert!(!is_full(None, "#1 SMP Debian 6.1.1-1", ""));
    }
}
