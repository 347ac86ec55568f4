//! `--tls`: which files have functions of TLS libraries in them, now and of processes that start later.
//!
//! Looking into files takes time, so a thread does it; what it finds is attached by the recorder's own.

pub mod elf;
mod file;
pub mod functions;
pub mod go;
pub mod scan;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use retrospan_formats::manifest;

use crate::host::procfs;
use crate::kernel::Probes;
use crate::text::one_line;
use elf::Contents;
use scan::{Found, Scan};

/// When a process that has begun a program is looked at after that: first its executable is there, then its libraries are, and
/// much later those that it loads when it needs them.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(4)];
/// Every process is looked at once in this many ticks, ...
const SLICES: u32 = 10;
/// ... which are so long.
const TICK: Duration = Duration::from_secs(1);

/// The state of `--tls`.
#[derive(Debug)]
pub struct Tls {
    to_scan: Sender<u32>,
    found: Receiver<Found>,
    files: Vec<manifest::TlsFile>,
}

impl Tls {
    /// Attaches to what there is now: libraries, what runs, and `command`, which is to be run.
    pub fn start(probes: &mut Probes, command: Option<&Path>) -> io::Result<Tls> {
        let (mut scan, mut found) = (Scan::default(), Vec::new());
        scan.libraries(&mut found);
        if let Some(command) = command {
            scan.file(command, command.to_string_lossy().into_owned(), &mut found);
        }
        procfs::pids().into_iter().for_each(|pid| scan.process(pid, &mut found));
        let (to_scan, asked) = channel();
        let (tell, told) = channel();
        thread::Builder::new().name("tls-scan".to_owned()).spawn(move || watch(scan, &asked, &tell))?;
        let mut tls = Tls { to_scan, found: told, files: Vec::new() };
        found.into_iter().for_each(|found| tls.attach(probes, &found));
        Ok(tls)
    }

    /// A process has begun a program.
    pub fn began(&self, pid: u32) {
        // The thread ends with this.
        let _ = self.to_scan.send(pid);
    }

    /// Attaches to what was found since.
    pub fn attach_found(&mut self, probes: &mut Probes) {
        while let Ok(found) = self.found.try_recv() {
            self.attach(probes, &found);
        }
    }

    fn attach(&mut self, probes: &mut Probes, found: &Found) {
        let (library, functions, problem) = match &found.contents {
            Contents::Nothing => return,
            Contents::Unsupported(library, why) => (library, 0, Some((*why).to_owned())),
            Contents::Functions(library, functions, at) => match probes.attach_tls(&found.path, at) {
                Ok(()) => (library, *functions, None),
                Err(error) => (library, 0, Some(one_line(&error.to_string()))),
            },
        };
        let file = manifest::TlsFile {
            file: found.name.clone(),
            library: library.name().to_owned(),
            functions,
            problem,
        };
        // One file may be found under several names, be it in several containers.
        if !self.files.contains(&file) {
            self.files.push(file);
        }
    }

    /// Where something was found so far.
    pub fn files(&self) -> &[manifest::TlsFile] {
        &self.files
    }

    /// What the user is to know of files that cannot be looked into.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter_map(|file| {
            let problem = file.problem.as_ref()?;
            Some(format!("{}: TLS not recorded ({}): {problem}", file.file, file.library))
        })
    }
}

/// Looks at processes when it is time, until nobody asks any more.
fn watch(mut scan: Scan, asked: &Receiver<u32>, tell: &Sender<Found>) {
    let mut waiting: [VecDeque<(Instant, u32)>; LOOKS.len()] = Default::default();
    let (mut tick, mut slice) = (Instant::now() + TICK, 0);
    let mut found = Vec::new();
    loop {
        let next = waiting.iter().filter_map(|queue| Some(queue.front()?.0)).fold(tick, Instant::min);
        match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(pid) => {
                let now = Instant::now();
                waiting.iter_mut().zip(LOOKS).for_each(|(queue, after)| queue.push_back((now + after, pid)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        for queue in &mut waiting {
            while let Some((_, pid)) = queue.pop_front_if(|(due, _)| *due <= now) {
                scan.process(pid, &mut found);
            }
        }
        if now >= tick {
            let mine = procfs::pids().into_iter().filter(|pid| pid % SLICES == slice);
            mine.for_each(|pid| scan.process(pid, &mut found));
            (tick, slice) = (Instant::now() + TICK, (slice + 1) % SLICES);
        }
        if found.drain(..).any(|found| tell.send(found).is_err()) {
            return;
        }
    }
}
