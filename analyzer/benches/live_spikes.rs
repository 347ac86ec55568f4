//! What `spikes` says about real causes, injected into a real chain under steady load.
//!
//!     cargo bench --profile dev --bench live_spikes -- [--short] [--keep DIR] [CAUSE...]
//!
//! Records client -> edge-envoy -> inner-envoy -> shop once for each cause (default: all of `lab/causes.rs`), shows by
//! the client's own figures that the run is as meant, then compares what `spikes` finds with what was injected.
//! Needs root, eBPF, Envoy, Go, ip, nft and tc; 28 minutes with all causes. Exit code 1 where anything is wrong.

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lab::causes::{self, CAUSES, Cause, LONG, Rhythm, Run, SHORT};
use lab::judge::{self, Contrast};
use lab::process::run_ok;

fn main() -> ExitCode {
    let mut rhythm = LONG;
    let mut keep = None;
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => rhythm = SHORT,
            "--keep" => keep = Some(PathBuf::from(arguments.next().expect("--keep DIR"))),
            name => {
                let cause = CAUSES.into_iter().find(|cause| cause.name() == name);
                chosen.push(cause.unwrap_or_else(|| panic!("no cause `{name}`: {CAUSES:?}")));
            }
        }
    }
    if chosen.is_empty() {
        chosen.extend(CAUSES);
    }
    let right = chosen.into_iter().map(|cause| one(cause, rhythm, keep.as_deref()));
    if right.collect::<Vec<_>>().contains(&false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One run; says whether all is right.
fn one(cause: Cause, rhythm: Rhythm, keep: Option<&Path>) -> bool {
    let run = causes::run(cause, rhythm);
    let contrast = Contrast::of(&run);
    let [median_ms, p99_ms] = contrast.ordinary_ns.map(|ns| ns as f64 / 1e6);
    println!("## {} every {} s, {} times", cause.name(), rhythm.period.as_secs(), run.injected.len());
    println!(
        "client: {} requests, median {median_ms:.1} ms, p99 {p99_ms:.1} ms outside; slow {:?} inside, {} outside{}",
        contrast.requests,
        contrast.inside,
        contrast.outside,
        if contrast.is_clear() { "" } else { ": NOT CLEAR" }
    );
    if let Some(folder) = keep {
        keep_run(&run, folder);
    }
    let output = run.capture.try_retrospan("spikes", &["--format", "json"]);
    let Ok(findings) = serde_json::from_slice(&output.stdout) else {
        println!("spikes: {}{}", output.status, String::from_utf8_lossy(&output.stderr));
        return false;
    };
    let verdict = judge::judge(&run, &findings);
    println!("spikes: {}", if verdict.found.is_empty() { "nothing" } else { &verdict.found });
    for wrong in &verdict.wrong {
        println!("WRONG: {wrong}");
    }
    contrast.is_clear() && verdict.wrong.is_empty()
}

/// Keeps a run as `CAUSE-PERIODs.cap` with the truth beside it.
fn keep_run(run: &Run, folder: &Path) {
    let name = format!("{}-{}s", run.cause.name(), run.rhythm.period.as_secs());
    run_ok(Command::new("cp").arg("-aT").arg(run.capture.dir()).arg(folder.join(format!("{name}.cap"))));
    let truth = format!("{:#}\n", judge::truth(run));
    std::fs::write(folder.join(format!("{name}.truth.json")), truth).expect("the truth");
}
