//! Tests that cannot run here.
//!
//! They pass, and say so in a line `SKIPPED NAME: REASON`, which `.ci/test` counts.

use std::env;
use std::io::{self, Write};

/// Says that a test cannot run here.
///
/// # Panics
/// Where standard error cannot be written to.
pub fn say(test: &str, reason: &str) {
    // Not eprintln!, which the test runner swallows when a test passes.
    let line = format!("SKIPPED {test}: {reason}\n");
    io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// Says that a test lacks something that `.ci/setup` and root would give it.
///
/// # Panics
/// Where nothing may be skipped: `RETROSPAN_REQUIRE_EBPF=1` is set, as the gate does.
pub fn lacks(test: &str, reason: &str) {
    let is_required = env::var("RETROSPAN_REQUIRE_EBPF").as_deref() == Ok("1");
    assert!(!is_required, "{test} may not be skipped: {reason}");
    say(test, reason);
}

/// The first of these programs that is not in a folder of `PATH`.
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    programs.iter().copied().find(|program| !is_there(program))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        assert_eq!(missing(&["sh", "no-such-program-here"]), Some("no-such-program-here"));
        assert_eq!(missing(&["sh"]), None);
    }
}
