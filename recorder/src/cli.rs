//! The command line, and nothing but it: clap's types end here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use retrospan_formats::units;

use crate::kernel::{Evidence, ProbeSet};
use crate::options::{Options, Payload};

const EXAMPLES: &str = "\
EXAMPLES
  # An hour of everything on ports 8000 to 9000
  retrospan-record --duration 1h --port 8000-9000 -o friday.cap

  # One service and whatever it starts, until Ctrl-C
  retrospan-record --pid $(pidof -s nginx) -o nginx.cap

  # One command and its children, until it ends
  retrospan-record -o fetch.cap -- curl -s http://localhost:8080/

  # No content at all: lengths, times and addresses
  retrospan-record --payload none --duration 10m -o quiet.cap

The capture can be read while it is recorded, and after a kill at any moment: `retrospan info friday.cap`.";

const AFTER_HELP: &str = "\
Filters: repeats of one filter are OR, different filters are AND. They are evaluated once per socket, when it is first seen.
Signals: Ctrl-C, SIGTERM and SIGHUP end the recording, complete the files and print a summary. SIGTERM and SIGHUP are passed on to COMMAND.
Exit status: 0 recorded, 1 no socket matched the filters, or there is none (what listens here is on stderr), 2 not recorded (the reason is on stderr). The summary prints COMMAND's own status.
Privileges: root, or CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";

/// Records the socket calls and TCP state changes of this host into a capture.
#[derive(Debug, Parser)]
#[command(name = "retrospan-record", version, before_long_help = EXAMPLES, after_help = AFTER_HELP)]
pub struct Cli {
    /// Directory to write the capture to; new or empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Stop after this time, such as 90s, 10m or 1h30m; without it at Ctrl-C, or when COMMAND ends
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Only this process and its present and future descendants
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Only processes with this name in /proc/PID/comm (15 characters at most)
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Only sockets whose local or remote port is this one, or in this range
    #[arg(long, value_name = "PORT[-PORT]", value_parser = parse_ports)]
    port: Vec<(u16, u16)>,
    /// Most payload bytes of one call that are kept
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    snaplen: u32,
    /// Buffer between kernel and recorder for each CPU, such as 512k or 8m; a larger one loses less on a busy host
    #[arg(long, value_name = "SIZE", default_value = "8m", value_parser = parse_size)]
    ring_size: u32,
    /// Record the whole command lines of processes and of COMMAND, which may hold secrets; without it the program's name
    #[arg(long)]
    args: bool,
    /// How much of the messages' content to record
    #[arg(long, value_enum, default_value_t = PayloadArg::Heads)]
    payload: PayloadArg,
    /// Record of each blanked value of a request's head a hash whose key is random and never written: equal values can be
    /// told, and nobody can read one. So a request can be known again behind a proxy that sends its headers on
    #[arg(long)]
    hash_secrets: bool,
    /// What else to record, so that causes can be named: a list of tcp (retransmits, resets, round-trip times), sched
    /// (waiting for a CPU, blocked, stopped, throttled), usage (CPU time by process), execs (programs started), arrivals
    /// (how long received data lay unread) and wakes (which thread of its process woke the thread that sends; not by default),
    /// or none, or all
    #[arg(long, value_name = "LIST", default_value = "tcp,sched,usage,execs,arrivals", value_parser = Evidence::parse)]
    evidence: Evidence,
    /// Leave out waits of threads that are shorter than this
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse_duration)]
    sched_threshold: Duration,
    /// How to see what is done with sockets: by system calls, or by the kernel's functions for sockets, which costs other calls
    /// nothing and sees io_uring, but not every kernel allows; auto: the latter where it can be had
    #[arg(long, value_enum, value_name = "SET", default_value_t = ProbesArg::Auto)]
    probes: ProbesArg,
    /// Most time between two parts: a kill loses no more than this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, hide = true)]
    rotate: Duration,
    /// Run this command, record it and its descendants, and stop when it ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PayloadArg {
    /// Message heads without what may be secret: names and lengths, of HTTP also values known to be harmless
    Heads,
    /// All bytes up to --snaplen: may hold passwords and personal data
    Full,
    /// No content: lengths, times and addresses alone
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProbesArg {
    /// Sockets, or else syscalls
    Auto,
    /// Every system call
    Syscalls,
    /// The kernel's functions for sockets
    Sockets,
}

impl From<Cli> for Options {
    fn from(cli: Cli) -> Options {
        Options {
            output: cli.output,
            duration: cli.duration,
            pids: cli.pid,
            comms: cli.comm,
            ports: cli.port,
            snap_bytes: cli.snaplen,
            ring_bytes: cli.ring_size,
            args: cli.args,
            payload: match cli.payload {
                PayloadArg::Heads => Payload::Heads,
                PayloadArg::Full => Payload::Full,
                PayloadArg::None => Payload::None,
            },
            hash_secrets: cli.hash_secrets,
            evidence: cli.evidence,
            sched_threshold: cli.sched_threshold,
            probe_set: match cli.probes {
                ProbesArg::Auto => None,
                ProbesArg::Syscalls => Some(ProbeSet::Syscalls),
                ProbesArg::Sockets => Some(ProbeSet::Sockets),
            },
            rotate: cli.rotate,
            command: cli.command,
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration_ns(text).map(Duration::from_nanos)
}

/// `8080` or `8000-9000`.
fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is not a port or a range such as 8000-9000");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = (port(first)?, port(last)?);
    if first > last || last == 0 { Err(wrong()) } else { Ok((first, last)) }
}

/// Up to 1 GiB.
fn parse_size(text: &str) -> Result<u32, String> {
    match units::size_bytes(text)? {
        bytes @ 1..=0x4000_0000 => Ok(bytes as u32),
        _ => Err(format!("{text:?} is not a size up to 1g")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        Cli::try_parse_from([&["retrospan-record"], words].concat()).map(Options::from)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_together() {
        let options = parse(&[
            "--duration",
            "1h30m",
            "--pid",
            "7",
            "--pid",
            "8",
            "--comm",
            "envoy",
            "--port",
            "80",
            "--port",
            "8000-9000",
            "--snaplen",
            "256",
            "--ring-size",
            "64K",
            "--args",
            "--payload",
            "none",
            "--hash-secrets",
            "--evidence",
            "tcp,usage",
            "--sched-threshold",
            "20ms",
            "--probes",
            "sockets",
            "-o",
            "x.cap",
            "--",
            "curl",
            "-o",
            "out",
        ])
        .unwrap();
        assert_eq!(options.duration, Some(Duration::from_secs(5400)));
        assert_eq!((options.pids, options.comms), (vec![7, 8], vec!["envoy".to_owned()]));
        assert_eq!(options.ports, [(80, 80), (8000, 9000)]);
        assert_eq!((options.snap_bytes, options.ring_bytes), (256, 65536));
        assert!(options.args);
        assert_eq!(options.payload, Payload::None);
        assert!(options.hash_secrets);
        assert_eq!(options.evidence.names(), ["tcp", "usage"]);
        assert_eq!(options.sched_threshold, Duration::from_millis(20));
        assert_eq!(options.probe_set, Some(ProbeSet::Sockets));
        assert_eq!(options.command, ["curl", "-o", "out"]);
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let options = parse(&["-o", "x.cap"]).unwrap();
        assert_eq!((options.snap_bytes, options.ring_bytes), (1024, 8 << 20));
        assert_eq!(options.rotate, Duration::from_secs(10));
        assert_eq!(options.payload, Payload::Heads);
        assert!(!options.hash_secrets);
        assert_eq!(options.evidence, Evidence::DEFAULT);
        assert_eq!(options.sched_threshold, Duration::from_millis(5));
        assert!(options.duration.is_none() && options.command.is_empty() && options.probe_set.is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--duration", "1h"][..],
            &["-o", "x", "--duration", ""],
            &["-o", "x", "--duration", "90"],
            &["-o", "x", "--duration", "1x"],
            &["-o", "x", "--duration", "h"],
            &["-o", "x", "--duration", "99999999999999999999s"],
            &["-o", "x", "--port", "9000-8000"],
            &["-o", "x", "--port", "65536"],
            &["-o", "x", "--port", "0"],
            &["-o", "x", "--pid", "0"],
            &["-o", "x", "--ring-size", "0m"],
            &["-o", "x", "--ring-size", "65536"],
            &["-o", "x", "--ring-size", "2g"],
            &["-o", "x", "--payload", "bodies"],
            &["-o", "x", "--evidence", "disk"],
            &["-o", "x", "--evidence", "none,tcp"],
            &["-o", "x", "--probes", "kprobes"],
            &["-o", "x", "curl"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
