//! What this host can record, feature by feature (`retrospan-record check`): tried for a moment, not guessed.

use crate::host;
use crate::kernel::{self, Evidence, Options, ProbeSet, Probes};
use crate::text::one_line;
use crate::tls::Tls;

/// One thing that a recording may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called.
    pub name: String,
    /// Whether this host has it.
    pub is_there: bool,
    /// Why not and what to do, or what it is.
    pub note: String,
}

/// Size of a ring that is not used.
const RING_BYTES: u32 = 64 << 10;

/// Tries everything. Nothing is recorded: no process passes the filter.
pub fn features() -> Vec<Feature> {
    let privileges = kernel::missing_privileges();
    let mut features = vec![Feature::of("privileges", privileges.as_deref(), "")];
    let started = start(ProbeSet::Syscalls);
    let refusal = started.as_ref().err().map(String::as_str);
    features.push(Feature::of("recording", refusal, "probe set syscalls: every system call"));
    let Ok(probes) = started else { return features };
    let given = given_evidence(&probes);
    drop(probes);
    let refusal = start(ProbeSet::Sockets).err();
    features.push(Feature::of("probe set sockets", refusal.as_deref(), "other system calls cost nothing"));
    let without = refusal.as_ref().map(|_| "only with the probe set sockets: else gaps, which are told");
    features.push(Feature::of("io_uring, 32-bit programs", without, ""));
    features.extend(given);
    let tls = try_tls();
    features.push(Feature::of("--tls", tls.as_ref().err().map(String::as_str), "OpenSSL, GnuTLS, Go"));
    features
}

/// Attaches to every TLS library that is there, for a moment.
fn try_tls() -> Result<(), String> {
    let mut probes = start_with(ProbeSet::Syscalls, true)?;
    let tls = Tls::start(&mut probes, None).map_err(|error| one_line(&error.to_string()))?;
    let refused = tls.files().iter().filter(|file| file.functions == 0).find_map(|file| file.problem.clone());
    let works = tls.files().is_empty() || tls.files().iter().any(|file| file.functions > 0);
    probes.detach();
    if works { Ok(()) } else { Err(refused.unwrap_or_default()) }
}

fn start(set: ProbeSet) -> Result<Probes, String> {
    start_with(set, false)
}

fn start_with(set: ProbeSet, tls: bool) -> Result<Probes, String> {
    let options = Options {
        ring_bytes: RING_BYTES,
        pids: Some(Vec::new()),
        own_pid: std::process::id(),
        evidence: Evidence::ALL,
        probe_set: Some(set),
        tls,
        ..Options::default()
    };
    kernel::start(&options).map_err(|error| one_line(&error.to_string()))
}

/// What each kind of evidence is, and what the kernel programs say where it is not to be had.
fn given_evidence(probes: &Probes) -> Vec<Feature> {
    let given = probes.evidence().names();
    let feature = |name: &&'static str| {
        let about = probes.warnings().iter().find(|line| names(line).any(|named| named == *name));
        let missing = || about.map_or("the kernel does not take its programs", |line| reason(line));
        let refusal = (!given.contains(name)).then(missing);
        Feature::of(&format!("--evidence {name}"), refusal, "")
    };
    Evidence::ALL.names().iter().map(feature).collect()
}

/// The kinds of evidence that a warning is about: `recording goes on without --evidence sched,usage: why`.
fn names(warning: &str) -> impl Iterator<Item = &str> {
    let list = warning.split_once("--evidence ").and_then(|(_, rest)| rest.split_once(':'));
    list.map_or("", |(list, _)| list).split(',')
}

fn reason(warning: &str) -> &str {
    warning
        .split_once("--evidence ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(warning, |(_, why)| why)
}

impl Feature {
    fn of(name: &str, refusal: Option<&str>, note: &str) -> Feature {
        let (name, note) = (name.to_owned(), refusal.unwrap_or(note).to_owned());
        Feature { name, is_there: refusal.is_none(), note }
    }
}

/// Whether anything can be recorded.
pub fn can_record(features: &[Feature]) -> bool {
    features.iter().any(|feature| feature.name == "recording" && feature.is_there)
}

/// As a person reads it.
pub fn text(features: &[Feature]) -> String {
    let (_, wall_ns) = host::clock_sample();
    let about = host::describe(wall_ns, 0);
    let width = features.iter().map(|feature| feature.name.len()).max().unwrap_or_default();
    let mut lines = vec![format!("{}, Linux {} {}", about.name, about.kernel, about.machine)];
    for Feature { name, is_there, note } in features {
        let word = if *is_there { "yes" } else { "no" };
        lines.push(format!("{name:width$}  {word:3}  {note}").trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_about_what_it_names() {
        let warning = "recording goes on without --evidence sched,usage: sched_switch: no such tracepoint";
        assert_eq!(names(warning).collect::<Vec<_>>(), ["sched", "usage"]);
        assert_eq!(reason(warning), "sched_switch: no such tracepoint");
        assert!(names("kernel memory is read by helpers").all(str::is_empty));
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let features =
            [Feature::of("recording", None, "probe set"), Feature::of("a", Some("no fexit"), "fine")];
        let text = text(&features);
        assert!(text.contains("\nrecording  yes  probe set\na          no   no fexit"), "{text}");
        assert!(can_record(&features) && !can_record(&features[1..]));
    }
}
