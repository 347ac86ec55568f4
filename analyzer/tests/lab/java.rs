//! Servers in Java.
//!
//! In: their name, and the jars that `.ci/setup` put into a folder of that name. Out: a command that runs them.

use std::path::PathBuf;
use std::process::Command;

use super::{cache, tool, workspace};

/// `java` with the jars of a server, without a memory of its own beyond `megabytes`.
pub fn java(jars: &str, megabytes: u32) -> Command {
    let folder: PathBuf = cache().join("java").join(jars);
    assert!(folder.is_dir(), "no jars of {jars}: run .ci/setup");
    let mut command = Command::new(tool("java"));
    // Quick to start, and no files of its own in the folder for all.
    command.args(["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp"]).arg(folder.join("*"));
    command.arg(format!("-Xmx{megabytes}m"));
    command
}

/// The program of the folder `java` that has this name, run from its source.
pub fn program(jars: &str, name: &str) -> Command {
    let mut command = java(jars, 256);
    // Hessian looks into these.
    for package in ["java.lang", "java.math", "java.util"] {
        command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    command.arg(workspace().join(format!("analyzer/tests/lab/java/{name}.java")));
    command
}

/// Lines that a program has printed as `served WHAT`, by what.
pub fn served(printed: &str) -> super::clients::Counts {
    let mut counts = super::clients::Counts::new();
    for what in printed.lines().filter_map(|line| line.strip_prefix("served ")) {
        super::clients::count(&mut counts, what, 1);
    }
    counts
}
