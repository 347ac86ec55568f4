//! What the default `spikes` says about made captures: whether it finds what was put in, where, and why.
//!
//!     cargo bench --profile dev --bench attribution -- [--captures N] [--quiet N] [--seed N] [--keep DIR]
//!
//! Each capture of the first kind holds one periodic trouble with factors drawn by chance (see `draw.rs`); those of the second
//! kind hold bursts and decoys without a period. All metrics and streams are searched. Prints Markdown tables, and every case
//! that went wrong; `--keep` keeps the captures of those.

mod draw;
mod judge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use judge::Case;
use retrospan_analyzer::findings::Findings;
use retrospan_analyzer::findings::find::find;
use retrospan_analyzer::findings::search::Options;
use retrospan_analyzer::session;
use retrospan_formats::reader::Capture;
use retrospan_testkit::capture::{Plan, Truth, write};

fn main() -> ExitCode {
    let (mut captures, mut quiet, mut seed, mut keep) = (240, 100, 1, None);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let Some(value) = arguments.next() else { return usage() };
        let number = value.parse::<u64>();
        match (argument.as_str(), number) {
            ("--captures", Ok(number)) => captures = number,
            ("--quiet", Ok(number)) => quiet = number,
            ("--seed", Ok(number)) => seed = number,
            ("--keep", _) => keep = Some(PathBuf::from(value)),
            _ => return usage(),
        }
    }
    let begun = Instant::now();
    let plans = (0..captures).map(|number| draw::periodic(seed, number));
    let cases: Vec<Case> = plans.map(|plan| case(plan, keep.as_deref())).collect();
    if !cases.is_empty() {
        println!("{}", judge::periodic_table(&cases));
    }
    let plans = (0..quiet).map(|number| draw::quiet(seed, number));
    let cases: Vec<Case> = plans.map(|plan| case(plan, keep.as_deref())).collect();
    if !cases.is_empty() {
        println!("{}", judge::quiet_table(&cases));
    }
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("attribution: [--captures N] [--quiet N] [--seed N] [--keep DIR]");
    ExitCode::from(2)
}

/// Makes a capture and asks about it.
fn case(plan: Plan, keep: Option<&Path>) -> Case {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("made.cap");
    let truth: Truth = write(&directory, &plan).expect("a capture");
    let findings = ask(&directory);
    let case = Case { plan, truth, findings };
    let wrong = case.wrong();
    if !wrong.is_empty() {
        println!("{}", case.describe(&wrong));
        if let Some(keep) = keep {
            let kept = keep.join(format!("{}.cap", case.plan.seed));
            std::fs::create_dir_all(keep).expect("a folder");
            write(&kept, &case.plan).expect("the capture again");
        }
    }
    case
}

/// What the default command finds.
fn ask(directory: &Path) -> Findings {
    let capture = Capture::open(directory).expect("the capture opens");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let findings = runtime.block_on(async {
        let context = session::open(&capture).expect("tables");
        find(&context, &capture, &Options::default(), &|_| ()).await
    });
    findings.expect("findings")
}
