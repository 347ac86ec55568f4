//! What one recorded event costs the program that makes it.
//!
//! Four loops (getppid(), a send and a receive of 256 bytes on loopback TCP, a write and a read on a
//! pipe, a switch between two threads that wake each other on one CPU) are timed with and without the recorder
//! in turns, on the clock of the calling thread, or of both threads that switch: what
//! the kernel programs do is charged to it, what the recorder does in its own time is not. On
//! hardware the unit is ns; in the guest of guest.sh, whose clock counts them, it is instructions.
//!
//!     cargo bench --profile dev -p retrospan-recorder --bench event_cost -- [OPTION=VALUE...]
//!
//! `recorder=PATH` (default `target/debug/retrospan-record`), `unit=ns`, `rounds=5`, `calls=20000`,
//! `record=--snaplen,256` (what the recorder is started with).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};

/// Payload of one event, bytes.
const PAYLOAD_BYTES: usize = 256;

fn main() -> ExitCode {
    match Options::from_args(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("event_cost: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for, with the defaults of the module's description.
struct Options {
    recorder: PathBuf,
    unit: String,
    rounds: usize,
    calls: u32,
    record: Vec<String>,
}

impl Options {
    fn from_args(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
        let mut options = Options {
            recorder: Path::new(&target).join("debug/retrospan-record"),
            unit: "ns".into(),
            rounds: 5,
            calls: 20_000,
            record: vec!["--snaplen".into(), PAYLOAD_BYTES.to_string()],
        };
        for arg in args.filter(|arg| arg != "--bench") {
            let (name, value) = arg.split_once('=').ok_or(format!("{arg} is not OPTION=VALUE"))?;
            let number = || value.parse::<u32>().map_err(|e| format!("{arg}: {e}"));
            match name {
                "recorder" => options.recorder = value.into(),
                "unit" => options.unit = value.into(),
                "rounds" => options.rounds = number()?.max(1) as usize,
                "calls" => options.calls = number()?.max(1),
                "record" => options.record = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("no option {name}")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut loops = Loops::new().map_err(|e| format!("sockets: {e}"))?;
    let mut bare: Figures = BTreeMap::new();
    let mut recorded: Figures = BTreeMap::new();
    loops.measure(options.calls / 10, &mut BTreeMap::new())?;
    let recorder_exists = options.recorder.exists();
    for _ in 0..options.rounds {
        loops.measure(options.calls, &mut bare)?;
        if recorder_exists {
            let recording = Recording::start(options)?;
            loops.measure(options.calls, &mut recorded)?;
            recording.stop()?;
        }
    }
    if !recorder_exists {
        eprintln!("event_cost: no {}: bare figures only", options.recorder.display());
    }
    print(options, &bare, &recorded);
    Ok(())
}

/// Cost of one call by the name of the loop, one entry a round.
type Figures = BTreeMap<&'static str, Vec<f64>>;

fn print(options: &Options, bare: &Figures, recorded: &Figures) {
    let unit = &options.unit;
    for (name, costs) in bare {
        let (low, middle, high) = spread(costs);
        print!("RESULT {name}: bare {middle:.0} {unit} ({low:.0}..{high:.0})");
        if let Some(costs) = recorded.get(name) {
            let (low, with, high) = spread(costs);
            print!(", recorded {with:.0} ({low:.0}..{high:.0}), added {:.0}", with - middle);
        }
        println!();
    }
    if let (Some(bare), Some(recorded)) = (bare.get("send+receive"), recorded.get("send+receive")) {
        let event = (spread(recorded).1 - spread(bare).1) / 2.0;
        println!("RESULT one event with {PAYLOAD_BYTES} B of payload: {event:.0} {unit}");
    }
}

/// Least, median and greatest of at least one figure.
fn spread(costs: &[f64]) -> (f64, f64, f64) {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// What the loops work on.
struct Loops {
    sender: TcpStream,
    receiver: TcpStream,
    pipe_reader: std::io::PipeReader,
    pipe_writer: std::io::PipeWriter,
}

impl Loops {
    fn new() -> std::io::Result<Loops> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let (receiver, _) = listener.accept()?;
        sender.set_nodelay(true)?;
        let (pipe_reader, pipe_writer) = std::io::pipe()?;
        Ok(Loops { sender, receiver, pipe_reader, pipe_writer })
    }

    fn measure(&mut self, calls: u32, figures: &mut Figures) -> Result<(), String> {
        let failed = |e: std::io::Error| e.to_string();
        let out = request();
        let mut back = [0; PAYLOAD_BYTES];
        let mut add = |name, cost| figures.entry(name).or_default().push(cost);
        add(
            "getppid",
            timed(calls, || {
                // SAFETY: getppid takes nothing and cannot fail; libc's own function may cache.
                unsafe { libc::syscall(libc::SYS_getppid) };
                Ok(())
            })
            .map_err(failed)?,
        );
        let pipe = timed(calls, || {
            self.pipe_writer.write_all(&out)?;
            self.pipe_reader.read_exact(&mut back)
        });
        add("pipe write+read", pipe.map_err(failed)?);
        let socket = timed(calls, || {
            self.sender.write_all(&out)?;
            self.receiver.read_exact(&mut back)
        });
        add("send+receive", socket.map_err(failed)?);
        add("wake-up+switch", switches(calls).map_err(failed)?);
        Ok(())
    }
}

/// CPU time of one wake-up and one switch, ns: two threads on one CPU pass a byte to and fro.
fn switches(calls: u32) -> std::io::Result<f64> {
    let (mut from_other, mut to_this) = std::io::pipe()?;
    let (mut from_this, mut to_other) = std::io::pipe()?;
    let all = affinity(None)?;
    affinity(Some(&all))?;
    let other = std::thread::spawn(move || -> std::io::Result<()> {
        let mut byte = [0];
        while from_this.read(&mut byte)? > 0 {
            to_this.write_all(&byte)?;
        }
        Ok(())
    });
    let mut pass = || -> std::io::Result<()> {
        to_other.write_all(&[1])?;
        from_other.read_exact(&mut [0])
    };
    (0..100).try_for_each(|_| pass())?;
    let from = clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
    (0..calls).try_for_each(|_| pass())?;
    let took = clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID) - from;
    drop(to_other);
    other.join().map_err(|_| std::io::Error::other("the other thread failed"))??;
    // SAFETY: the set is only read.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &all) };
    Ok(took as f64 / f64::from(calls) / 2.0)
}

/// Puts this thread, and those it starts, on the first CPU of the set; without one, tells which it may use.
fn affinity(first_of: Option<&libc::cpu_set_t>) -> std::io::Result<libc::cpu_set_t> {
    const BYTES: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a CPU set is plain bits, all zeros is an empty one; the kernel reads or writes BYTES of it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let result = match first_of {
            None => libc::sched_getaffinity(0, BYTES, &mut set),
            Some(all) => {
                let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, all));
                libc::CPU_SET(first.unwrap_or(0), &mut set);
                libc::sched_setaffinity(0, BYTES, &set)
            }
        };
        if result == 0 { Ok(set) } else { Err(std::io::Error::last_os_error()) }
    }
}

/// A request head of exactly [`PAYLOAD_BYTES`]: kept whole, whatever came before it.
fn request() -> Vec<u8> {
    let mut head = b"GET /things/1 HTTP/1.1\r\nHost: localhost\r\nX-Fill: ".to_vec();
    head.resize(PAYLOAD_BYTES - 4, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Time of the calling thread per call of `body`, ns.
fn timed(calls: u32, mut body: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    let from = clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    for _ in 0..calls {
        body()?;
    }
    Ok((clock_ns(libc::CLOCK_THREAD_CPUTIME_ID) - from) as f64 / f64::from(calls))
}

fn clock_ns(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A running recorder.
struct Recording {
    child: Child,
    stderr: BufReader<ChildStderr>,
    capture: PathBuf,
}

impl Recording {
    fn start(options: &Options) -> Result<Recording, String> {
        let capture = std::env::temp_dir().join(format!("event_cost-{}.cap", std::process::id()));
        let mut child = Command::new(&options.recorder)
            .args(&options.record)
            .arg("-o")
            .arg(&capture)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", options.recorder.display()))?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let mut recording = Recording { child, stderr: BufReader::new(stderr), capture };
        let mut said = String::new();
        while !said.lines().last().is_some_and(|line| line.starts_with("recording to ")) {
            if recording.stderr.read_line(&mut said).map_err(|e| e.to_string())? == 0 {
                return Err(format!("the recorder ended: {said}"));
            }
        }
        Ok(recording)
    }

    fn stop(mut self) -> Result<(), String> {
        // SAFETY: signals our own child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let mut summary = String::new();
        self.stderr.read_to_string(&mut summary).map_err(|e| e.to_string())?;
        let status = self.child.wait().map_err(|e| e.to_string())?;
        std::fs::remove_dir_all(&self.capture).map_err(|e| format!("{}: {e}", self.capture.display()))?;
        if status.success() { Ok(()) } else { Err(format!("the recorder failed: {summary}")) }
    }
}
