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
use lab::judge::{self, Contrast, Verdict};
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
    let rows: Vec<_> = chosen.into_iter().map(|cause| one(cause, rhythm, keep.as_deref())).collect();
    println!("\n| injected | found: period, hop, cause, false-alarm probability, hits, metric, stream | |");
    println!("|---|---|---|");
    for row in &rows {
        let verdict = if row.wrong.is_empty() { "right".to_owned() } else { row.wrong.join("; ") };
        println!("| {} | {} | {verdict} |", row.injected, row.found.replace(" | ", ", "));
    }
    if rows.iter().all(|row| row.wrong.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A row of the table.
struct Row {
    injected: String,
    found: String,
    wrong: Vec<String>,
}

/// One run.
fn one(cause: Cause, rhythm: Rhythm, keep: Option<&Path>) -> Row {
    let run = causes::run(cause, rhythm);
    let contrast = Contrast::of(&run.injected, &run.answers);
    let [median_ms, p99_ms] = contrast.ordinary_ns.map(|ns| ns as f64 / 1e6);
    println!(
        "{}, {} times: {} requests, median {median_ms:.1} ms and p99 {p99_ms:.1} ms outside; \
         slow: {:?} inside, {} outside",
        cause.name(),
        run.injected.len(),
        contrast.requests,
        contrast.inside,
        contrast.outside,
    );
    if let Some(folder) = keep {
        std::fs::create_dir_all(folder).expect("the folder to keep runs in");
        keep_run(&run, folder);
    }
    let Verdict { found, mut wrong } = Verdict::of(&run);
    if !contrast.is_clear() {
        wrong.push("the run itself is not clear".to_owned());
    }
    if cause == Cause::Quit {
        wrong.extend(judge::given_up(&run));
    }
    let hop = judge::expected(cause).map_or("", |expected| expected.hop);
    let injected = format!("{} every {} s, {hop}", cause.name(), rhythm.period.as_secs());
    println!("    {}", if found.is_empty() { "nothing found" } else { &found });
    wrong.iter().for_each(|wrong| println!("    WRONG: {wrong}"));
    Row { injected, found, wrong }
}

/// Keeps a run as `CAUSE-PERIODs.cap` with the truth beside it.
fn keep_run(run: &Run, folder: &Path) {
    let name = format!("{}-{}s", run.cause.name(), run.rhythm.period.as_secs());
    let kept = folder.join(format!("{name}.cap"));
    if kept.exists() {
        std::fs::remove_dir_all(&kept).expect("the folder of an older capture");
    }
    run_ok(Command::new("cp").arg("-aT").arg(run.capture.dir()).arg(&kept));
    let truth = format!("{:#}\n", judge::truth(run));
    std::fs::write(folder.join(format!("{name}.truth.json")), truth).expect("the truth");
}
