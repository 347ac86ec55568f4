//! `retrospan import`: packet captures or traces become a capture directory.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ImportArgs;
use crate::error::{Error, Result};
use crate::import::{self, Options, Watch};
use crate::print;
use crate::progress::Progress;
use crate::text::count;

/// Imports, and says what was read.
pub fn run(args: ImportArgs) -> Result<ExitCode> {
    let ImportArgs { files, output, payload } = args;
    let options = Options { files, output, payload: payload.into() };
    let stopped = listen()?;
    let progress = Progress::begin("reading");
    let watch = Watch {
        progress: &|what, so_far| progress.say(format!("reading {what}: {}", count(so_far))),
        interrupted: &|| stopped.load(Ordering::Relaxed),
    };
    let imported = import::import(&options, &watch);
    drop(progress);
    let said = imported?;
    for file in &said.cut {
        print::note(&format!("retrospan: {}: ends within {}; read up to there", file.display(), said.within));
    }
    print::note(&said.text);
    Ok(ExitCode::SUCCESS)
}

/// Notes Ctrl-C and its like from now on: what was written is removed first. A second one ends the program at
/// once, for the first may wait for standard input.
fn listen() -> Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Usage(format!("cannot start threads: {e}")))?;
    let stopped = Arc::new(AtomicBool::new(false));
    let noted = stopped.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if noted.swap(true, Ordering::Relaxed) {
                    std::process::exit(2);
                }
            }
        });
    });
    Ok(stopped)
}
