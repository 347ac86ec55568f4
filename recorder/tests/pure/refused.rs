//! What the recorder refuses, and its help: none of it needs a privilege.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::recorder_support::{BINARY, Place, is_root, record, text};

/// What is refused is refused in one line, and nothing is written.
fn refused(path: &Path, output: &Output, word: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(word) && said.trim_end().lines().count() == 1, "{said}");
    assert!(output.stdout.is_empty() && !path.exists());
}

#[test]
fn nothing_is_written_where_it_cannot_record() {
    let place = Place::new();
    let path = place.path("a.cap");
    refused(&path, &record(&path, &["--pid", "4194303"]), "--pid 4194303");
    refused(&path, &record(&path, &["--snaplen", "5000"]), "--snaplen");
    let unknown = record(&path, &["--probes", "kprobes"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("syscalls, sockets") && !path.exists());
    refused(&path, &record(&path, &["--", "no-such-program-here"]), "no-such-program-here");
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "x").unwrap();
    let output = record(&full, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("not an empty directory"));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let place = Place::new();
    let path = place.path("a.cap");
    let mut command = Command::new(BINARY);
    let mut copy = None;
    if is_root() {
        // The folder of the build may be closed to others.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let binary = folder.path().join("retrospan-record");
        fs::copy(BINARY, &binary).unwrap();
        for open in [folder.path(), place.0.path()] {
            fs::set_permissions(open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        }
        command = Command::new(&binary);
        command.uid(65534).gid(65534);
        copy = Some(folder);
    }
    let output = command.arg("-o").arg(&path).args(["--duration", "1s"]).output().unwrap();
    drop(copy);
    refused(&path, &output, "CAP_BPF");
}

#[test]
fn a_check_says_what_this_host_can_record() {
    let output = Command::new(BINARY).arg("check").output().unwrap();
    let said = text(&output.stdout);
    let of =
        |name: &str| said.lines().find(|line| line.starts_with(name)).map(|line| line.contains("  yes  "));
    assert!(of("privileges").is_some() && output.stderr.is_empty(), "{said}");
    assert_eq!(output.status.code(), Some(i32::from(of("recording  ") != Some(true))), "{said}");
    if of("recording  ") == Some(true) {
        assert!(of("--evidence sched").is_some() && of("probe set sockets").is_some(), "{said}");
    }
}

#[test]
fn the_help_shows_how() {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let help = text(&output.stdout);
    assert!(help.starts_with("EXAMPLES") || help.contains("\nEXAMPLES"), "{help}");
    assert!(!help.contains("--rotate"));
}
