//! `retrospan selftest` where it cannot work: it says which step failed, and leaves nothing behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::lab::capture::{analyzer_binary, retrospan};
use crate::lab::process::run;
use crate::lab::recording::recorder_binary;

/// Whoever may record nothing.
const NOBODY: u32 = 65534;

/// Copies of the programs, in a folder that everybody may enter, and one for what they write.
fn programs(with_recorder: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    for open in [folder.path(), &temporary] {
        fs::set_permissions(open, Permissions::from_mode(0o777)).expect("permissions");
    }
    fs::copy(analyzer_binary(), folder.path().join("retrospan")).expect("the analyzer");
    if with_recorder {
        fs::copy(recorder_binary(), folder.path().join("retrospan-record")).expect("the recorder");
    }
    (folder, temporary)
}

/// Runs the test as somebody without privileges.
fn selftest(programs: &Path, temporary: &Path) -> (Output, String) {
    let mut command = Command::new(programs.join("retrospan"));
    command.arg("selftest").env("TMPDIR", temporary).env("PATH", "/nonexistent").current_dir(temporary);
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn without_privileges_the_kernel_step_fails_and_nothing_is_left() {
    let (folder, temporary) = programs(true);
    let (output, said) = selftest(folder.path(), &temporary);
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for step in ["recorder   ok ", "traffic    ok ", "kernel     FAILED "] {
        assert!(said.contains(step), "{step}: {said}");
    }
    assert!(said.contains("CAP_BPF") && said.contains("sudo retrospan selftest"), "{said}");
    assert!(is_empty(&temporary));
    // Each part had the name of this copy in its command line.
    let name = folder.path().join("retrospan");
    let of_this = |path: PathBuf| fs::read_link(path.join("exe")).is_ok_and(|exe| exe == name);
    let left = fs::read_dir("/proc").expect("/proc").flatten().filter(|e| of_this(e.path())).count();
    assert_eq!(left, 0, "processes of the test that go on");
}

#[test]
fn without_its_recorder_it_says_where_that_belongs() {
    let (folder, temporary) = programs(false);
    let (output, said) = selftest(folder.path(), &temporary);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("recorder   FAILED ") && said.contains("Put it beside retrospan"), "{said}");
    assert!(is_empty(&temporary));
}

#[test]
fn bad_use_is_exit_2() {
    let full = tempfile::tempdir().expect("a folder");
    fs::write(full.path().join("x"), "x").expect("a file");
    let kept = full.path().display().to_string();
    for arguments in [&["--keep", &kept][..], &["--part", "proxy"], &["--keep"], &["now"]] {
        let output = run(retrospan().arg("selftest").args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let nowhere = run(retrospan().arg("selftest").env("TMPDIR", full.path().join("none")));
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert_eq!(nowhere.status.code(), Some(2), "{said}");
    assert!(said.contains("none"), "{said}");
}
