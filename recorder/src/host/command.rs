//! Runs COMMAND so that nothing of it is missed: its process waits at a gate, between fork and
//! exec, until it is watched.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::JoinHandle;

/// A process that waits to become COMMAND.
pub struct Gated {
    /// Its pid.
    pub pid: u32,
    gate: PipeWriter,
    spawning: JoinHandle<io::Result<Child>>,
}

impl Gated {
    /// Forks. The process stays at the gate until [`Gated::open`], and ends there if this is dropped.
    pub fn fork(command: &[OsString]) -> io::Result<Gated> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
        };
        let (mut pids, pid_writer) = pipe()?;
        let (gate_reader, gate) = pipe()?;
        let mut command = Command::new(program);
        command.args(arguments);
        let parents_end = gate.as_raw_fd();
        // SAFETY: between fork and exec the closure only closes, writes and reads descriptors and asks
        // for its pid: nothing that allocates or takes a lock.
        unsafe { command.pre_exec(move || wait_at_gate(parents_end, &pid_writer, &gate_reader)) };
        // `spawn` returns after exec, so it has its own thread.
        let spawning =
            std::thread::Builder::new().name("command".to_owned()).spawn(move || command.spawn())?;
        let mut pid = [0; 4];
        match pids.read_exact(&mut pid) {
            Ok(()) => Ok(Gated { pid: u32::from_ne_bytes(pid), gate, spawning }),
            Err(error) => Err(joined(spawning).err().unwrap_or(error)),
        }
    }

    /// Lets it run the program.
    pub fn open(mut self) -> io::Result<Child> {
        self.gate.write_all(b"!")?;
        drop(self.gate);
        joined(self.spawning)
    }
}

fn joined(spawning: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    match spawning.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// In the child. The parent's end is closed here, so that a parent that died opens no gate.
fn wait_at_gate(parents_end: RawFd, mut pids: &PipeWriter, mut gate: &PipeReader) -> io::Result<()> {
    // SAFETY: this is the child's copy of a descriptor that nothing in the child uses.
    unsafe { libc::close(parents_end) };
    pids.write_all(&std::process::id().to_ne_bytes())?;
    gate.read_exact(&mut [0])
}

/// The file that running `program` would execute, by the rules of execvp(3).
pub fn find_program(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return is_executable(Path::new(program)).then(|| program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn nothing_runs_before_the_gate_opens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ran");
        let gated = Gated::fork(&words(&["touch", file.to_str().unwrap()])).unwrap();
        // The child is there and is not yet the program.
        let exe = fs::read_link(format!("/proc/{}/exe", gated.pid)).unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap());
        assert!(!file.exists());
        let pid = gated.pid;
        let mut child = gated.open().unwrap();
        assert_eq!(child.id(), pid);
        assert!(child.wait().unwrap().success());
        assert!(file.exists());
    }

    #[test]
    fn a_dropped_gate_lets_nothing_through() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ran");
        let Gated { gate, spawning, .. } = Gated::fork(&words(&["touch", file.to_str().unwrap()])).unwrap();
        drop(gate);
        assert!(joined(spawning).is_err());
        assert!(!file.exists());
    }

    #[test]
    fn finds_programs_as_a_shell_would() {
        assert!(find_program(OsStr::new("sh")).unwrap().ends_with("sh"));
        assert_eq!(find_program(OsStr::new("/bin/sh")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program(OsStr::new("no-such-program-here")), None);
        assert_eq!(find_program(OsStr::new("/etc/passwd")), None);
    }
}
