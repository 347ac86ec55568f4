//! Births, changes and ends of processes.

use crate::kernel_support::{Body, Recorded, Recording, own_sockets, turn};
use retrospan_formats::event::{Process, life};
use retrospan_recorder::kernel::Options;
use std::process::Command;

/// What happened, the executable and the arguments.
type Life = (Process, Vec<u8>, Vec<u8>);

fn lives(records: &[Recorded], pid: u32) -> Vec<Life> {
    records
        .iter()
        .filter(|record| record.header.pid == pid)
        .filter_map(|record| match &record.body {
            Body::Process { process, exe, argv } => Some((*process, exe.clone(), argv.clone())),
            _ => None,
        })
        .collect()
}

fn run_a_shell(read_argv: bool) -> Option<Vec<Life>> {
    let recording = Recording::start(&Options { read_argv, ..own_sockets() })?;
    let mut child = Command::new("/bin/sh").args(["-c", "exit 3", "an argument"]).spawn().expect("sh");
    let pid = child.id();
    assert_eq!(child.wait().expect("wait").code(), Some(3));
    let (records, ..) = recording.finish();
    Some(lives(&records, pid))
}

#[test]
fn a_process_is_born_becomes_a_program_and_ends() {
    let _turn = turn();
    let Some(lives) = run_a_shell(true) else { return };
    let whats: Vec<u8> = lives.iter().map(|life| life.0.what).collect();
    // A program that is started gives the process its name.
    assert_eq!(whats, [life::FORK, life::RENAME, life::EXEC, life::EXIT]);
    let [born, named, changed, ended] = [&lives[0], &lives[1], &lives[2], &lives[3]];
    assert_eq!(&named.0.comm[..3], b"sh\0");
    assert_eq!(born.0.parent_pid, std::process::id());
    assert_eq!(changed.0.parent_pid, std::process::id());
    assert_eq!(changed.1, b"/bin/sh\0");
    assert_eq!(changed.2, b"/bin/sh\0-c\0exit 3\0an argument\0");
    assert_eq!(&changed.0.comm[..3], b"sh\0");
    assert_eq!(ended.0.exit_code, 3 << 8);
    assert!(born.0.start_boot_ns != 0);
    assert!(lives.iter().all(|life| life.0.start_boot_ns == born.0.start_boot_ns));
    assert!(lives.iter().all(|life| life.0.cgroup_id == born.0.cgroup_id));
}

#[test]
fn only_the_first_argument_leaves_the_kernel_unless_asked() {
    let _turn = turn();
    let Some(lives) = run_a_shell(false) else { return };
    assert_eq!(lives[2].2, b"/bin/sh\0");
}

#[test]
fn a_process_that_gives_itself_a_name_tells_it() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let script = "printf first > /proc/$$/comm; echo a-name-that-is-too-long > /proc/$$/comm";
    let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("sh");
    let pid = child.id();
    assert!(child.wait().expect("wait").success());
    let (records, ..) = recording.finish();
    let renamed: Vec<_> =
        lives(&records, pid).into_iter().filter(|life| life.0.what == life::RENAME).collect();
    let names: Vec<_> =
        renamed.iter().map(|life| String::from_utf8_lossy(&life.0.comm).into_owned()).collect();
    assert_eq!(names, ["sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "first\0\0\0\0\0\0\0\0\0\0\0", "a-name-that-is-\0"]);
}

#[test]
fn threads_are_no_processes() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    std::thread::spawn(|| ()).join().expect("thread");
    let (records, ..) = recording.finish();
    assert!(lives(&records, std::process::id()).is_empty());
}
