//! `retrospan selftest` on this host: it proves what it says, and leaves nothing behind.

use std::fs;
use std::path::PathBuf;

use crate::lab::capture::retrospan;
use crate::lab::process::run;
use crate::lab::recording::recorder_binary;
use crate::lab::{ebpf_or_skip, folder};

/// Processes whose command line has that word.
fn processes(word: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let has_word = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == word.as_bytes())
    };
    entries.filter(has_word).collect()
}

#[test]
fn it_finds_the_spike_that_it_makes() {
    let Some(_turn) = ebpf_or_skip("it_finds_the_spike_that_it_makes") else { return };
    let home = folder();
    // Beside the program under test, where it looks first.
    assert_eq!(recorder_binary().parent(), crate::lab::capture::analyzer_binary().parent());
    let mut command = retrospan();
    command.arg("selftest").env("TMPDIR", home.path()).env("XDG_CACHE_HOME", home.path().join("cache"));
    let output = run(&mut command);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    for step in ["recorder", "traffic", "kernel", "recording", "requests", "finding", "hop", "cause"] {
        assert!(
            said.lines().any(|line| line.trim_start().starts_with(&format!("{step} "))),
            "{step}: {said}"
        );
    }
    let period = ["a spike every 3.7", "a spike every 3.69"];
    assert!(period.iter().any(|words| said.contains(words)) && said.contains("(SIGSTOP)"), "{said}");
    let left: Vec<_> =
        fs::read_dir(home.path()).expect("the folder").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name == "cache"), "{left:?}");
    let going_on = processes("--part");
    assert!(going_on.is_empty(), "{going_on:?}");
}
