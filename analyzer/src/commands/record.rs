//! `retrospan record`: becomes `retrospan-record`, as git does with its commands.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cli::RecordArgs;
use crate::error::{Error, Result};

/// The recorder's program.
pub const PROGRAM: &str = "retrospan-record";

/// Looks beside this program, then in PATH. Returns only where that failed.
pub fn run(args: RecordArgs) -> Result<ExitCode> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for program in candidates() {
        failure = Command::new(&program).args(&args.arguments).exec();
        if failure.kind() != io::ErrorKind::NotFound {
            return Err(Error::Io { path: program, source: failure });
        }
    }
    Err(Error::Usage(format!("{PROGRAM} is neither beside this program nor in PATH: {failure}")))
}

/// Where the recorder may be, in the order of looking; the last one stands for PATH.
pub fn candidates() -> Vec<PathBuf> {
    beside().into_iter().chain([PathBuf::from(PROGRAM)]).collect()
}

fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join(PROGRAM))
}
