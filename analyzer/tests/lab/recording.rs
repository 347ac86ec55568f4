//! The recorder under test, run as a user runs it.
//!
//! In: its filters. Out: a [`Capture`], finished in order or by force.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::capture::{Capture, analyzer_binary};
use super::folder;
use super::process::{Program, run_ok};

/// A recording in progress.
pub struct Recording {
    program: Program,
    capture: Capture,
}

impl Recording {
    /// Starts the recorder with `args` and waits until it says that it records.
    pub fn start<S: AsRef<str>>(args: &[S]) -> Self {
        let home = folder();
        let dir = home.path().join("test.cap");
        let mut command = Command::new(recorder_binary());
        command.args(args.iter().map(AsRef::as_ref)).arg("-o").arg(&dir);
        let mut program = Program::start("retrospan-record", home.path(), &mut command);
        let log = home.path().join("retrospan-record.out");
        program.wait("`recording to`", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().any(|line| line.starts_with("recording to "))
        });
        Self { program, capture: Capture::new(dir, home) }
    }

    /// Records whatever touches one of `ports`.
    pub fn of_ports(ports: &[u16]) -> Self {
        let args = ports.iter().flat_map(|port| ["--port".to_owned(), port.to_string()]);
        Self::start(&args.collect::<Vec<_>>())
    }

    /// Records processes and their children.
    pub fn of_pids(pids: &[u32]) -> Self {
        let args = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]);
        Self::start(&args.collect::<Vec<_>>())
    }

    /// Where it writes.
    pub fn dir(&self) -> &Path {
        self.capture.dir()
    }

    /// Ends it as Ctrl-C does; it must finish with exit code 0.
    pub fn finish(mut self) -> Capture {
        self.program.signal(libc::SIGINT);
        let status = self.program.ended();
        assert_eq!(status.code(), Some(0), "the recorder's end:\n{}", self.program.printed());
        self.capture
    }

    /// Ends it with SIGKILL, which it cannot prepare for.
    pub fn kill(mut self) -> Capture {
        self.program.signal(libc::SIGKILL);
        self.program.ended();
        self.capture
    }
}

/// The recorder's binary, beside the analyzer's; built if it is not there.
pub fn recorder_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let directory = analyzer_binary().parent().expect("a target folder");
        let binary = directory.join("retrospan-record");
        if !binary.is_file() {
            // The whole workspace, as `cargo test` builds it: one package alone
            // would select other features and build its dependencies anew.
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--bins", "--target-dir"]).arg(directory.join(".."));
            run_ok(build.current_dir(super::workspace()));
        }
        assert!(binary.is_file(), "no {} after cargo build", binary.display());
        binary
    })
}

/// Tries to load the smallest raw tracepoint program there is. Independent of the
/// recorder, so that a recorder which fails is not taken for a machine that cannot.
pub fn try_ebpf() -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const RAW_TRACEPOINT: u32 = 17;
    // r0 = 0; exit
    let program: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let licence = c"Dual MIT/GPL";
    // union bpf_attr: type, instruction count, instructions, licence, the rest zero.
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(RAW_TRACEPOINT) | (program.len() as u64) << 32;
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = licence.as_ptr() as u64;
    // SAFETY: the attributes and what they point to outlive the call; the size is theirs.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just above and nobody else has it.
    unsafe { libc::close(libc::c_int::try_from(fd).expect("a descriptor")) };
    std::fs::metadata("/sys/kernel/btf/vmlinux").map(drop)
}
