//! The command line, and nothing but it: clap's types end here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use retrospan_formats::units;
use retrospan_protocols::redact::rules::Rule;

use crate::filters::args::FilterArgs;
use crate::kernel::{Evidence, ProbeSet, SocketKinds};
use crate::options::{Options, Payload};
use crate::rows::rolling::Keep;
use crate::rows::room::Space;
use crate::shed::Limits;
use crate::triggers::DumpOn;

const EXAMPLES: &str = "\
EXAMPLES
  # An hour of everything on ports 8000 to 9000
  retrospan-record --duration 1h --port 8000-9000 -o friday.cap

  # One service and whatever it starts, until Ctrl-C
  retrospan-record --pid $(pidof -s nginx) -o nginx.cap

  # One command and its children, until it ends
  retrospan-record -o fetch.cap -- curl -s http://localhost:8080/

  # What one container serves, but not to this host itself, of one connection in ten
  retrospan-record --container cart --side server --exclude cidr=127.0.0.1 --sample 1/10 --duration 10m -o cart.cap

  # The last two hours, for as long as it takes; a copy of them whenever clients give up
  retrospan-record --keep 2h --dump-on 'client-closed>5/s' -o rolling.cap

  # No content at all: lengths, times and addresses
  retrospan-record --payload none --duration 10m -o quiet.cap

The capture can be read while it is recorded, and after a kill at any moment: `retrospan info friday.cap`.";

const AFTER_HELP: &str = "\
Filters: repeats of one filter are OR, different filters are AND, and --exclude wins. They are evaluated once per socket, as soon as what they ask is known; nothing is written before. The recorder never records itself.
Signals: Ctrl-C, SIGTERM and SIGHUP end the recording, complete the files and print a summary. SIGTERM and SIGHUP are passed on to COMMAND.
Exit status: 0 recorded, 1 no socket matched the filters, or there is none (what listens here is on stderr), 2 not recorded (the reason is on stderr). The summary prints COMMAND's own status.
Privileges: root, or CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";

/// Records the socket calls and TCP state changes of this host into a capture.
#[derive(Debug, Parser)]
#[command(name = "retrospan-record", version, before_long_help = EXAMPLES, after_help = AFTER_HELP)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    /// Directory to write the capture to; new or empty
    #[arg(short, long, value_name = "DIR", required = true)]
    output: Option<PathBuf>,
    /// Stop after this time, such as 90s, 10m or 1h30m; without it at Ctrl-C, or when COMMAND ends
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Which sockets to record: a list of tcp, dns (UDP from or to port 53 or 5353), udp (all of UDP), unix (Unix stream
    /// sockets with a path) and pairs (those without: mostly within a process). Unix sockets have no port, so none passes --port
    #[arg(long, value_name = "LIST", default_value = "tcp,dns,unix", value_parser = SocketKinds::parse)]
    sockets: SocketKinds,
    /// Record what TLS libraries encrypt and decrypt, too: OpenSSL and GnuTLS, of every process that uses them. Each call of them takes
    /// some microseconds longer (docs/tls.md)
    #[arg(long)]
    tls: bool,
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
    /// Blank more: header=NAME, query=NAME (of URLs and forms), json=KEY, each with @PORT or @PORT-PORT behind it to hold for those ports
    /// alone. With --payload heads only header=
    #[arg(long, value_name = "WHAT[@PORTS]")]
    redact: Vec<Rule>,
    /// Blank less: header=NAME and query=NAME of message heads; with --payload full, which blanks values of telling names (docs/redaction.md), also
    /// json=KEY, cards (numbers of payment cards) and tokens (by how they look)
    #[arg(long, value_name = "WHAT[@PORTS]")]
    reveal: Vec<Rule>,
    /// Record of each blanked value of a request's head a hash whose key is random and never written: equal values can be
    /// told, and nobody can read one. So a request can be known again behind a proxy that sends its headers on
    #[arg(long)]
    hash_secrets: bool,
    /// What else to record, so that causes can be named: a list of tcp (retransmits, resets, round-trip times), sched
    /// (waiting for a CPU, blocked, stopped, throttled), usage (CPU time by process), execs (programs started), arrivals
    /// (how long received data lay unread), counters (what the kernel counts by itself: full listen queues, reclaimed memory, busy
    /// disks) and wakes (which thread of its process woke the thread that sends; not by default), or none, or all
    #[arg(long, value_name = "LIST", default_value = "tcp,sched,usage,execs,arrivals,counters", value_parser = Evidence::parse)]
    evidence: Evidence,
    /// Leave out waits of threads that are shorter than this
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse_duration)]
    sched_threshold: Duration,
    /// How often to read the kernel's counters, give or take 30 %: spikes that come back after a few seconds need shorter pauses
    /// for a counter to be shown to be their cause
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    counter_interval: Duration,
    /// How to see what is done with sockets: by system calls, or by the kernel's functions for sockets, which costs other calls
    /// nothing and sees io_uring, but not every kernel allows; auto: the latter where it can be had
    #[arg(long, value_enum, value_name = "SET", default_value_t = ProbesArg::Auto)]
    probes: ProbesArg,
    /// Keep only the latest: about this much time, such as 2h, or this much of the disk, such as 10g; give it twice for both
    #[arg(long, value_name = "TIME|SIZE", value_parser = parse_keep)]
    keep: Vec<Keep>,
    /// Make a copy of what is held, beside DIR, and go on: on SIGUSR1, at the end of a process (exit:NAME), where clients leave
    /// before they are answered (client-closed>5/s), or where a hundredth of a port's answers begin late (p99:8080>250ms)
    #[arg(long, value_name = "WHAT", value_parser = DumpOn::parse)]
    dump_on: Vec<DumpOn>,
    /// Most room for the capture and its copies: with --keep older parts go, else more and more is left out from 70 % on, as with --max-rate,
    /// and the recording ends in time
    #[arg(long, value_name = "SIZE", value_parser = units::size_bytes)]
    max_disk: Option<u64>,
    /// Room that is left to others on the disk: with --keep older parts go, else more and more is left out, as with --max-disk, and
    /// the recording ends in time
    #[arg(long, value_name = "SIZE", value_parser = units::size_bytes)]
    min_free_disk: Option<u64>,
    /// Most events a second, such as 20000: beyond it bytes of bodies are left out first, then those of heads, then the data of half of
    /// the connections, and so on; what was left out is counted in the capture, and recorded again when it is calm
    #[arg(long, value_name = "EVENTS")]
    max_rate: Option<u32>,
    /// Most CPU time of the recorder itself, such as 5% (100%: one CPU), kept in the same way
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_cpu: Option<f64>,
    /// Most time between two parts: a kill loses no more than this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, hide = true)]
    rotate: Duration,
    /// Run this command, record it and its descendants, and stop when it ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    // Last, as their heading would be that of what comes after them.
    #[command(flatten)]
    filters: FilterArgs,
}

/// What to do instead of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Try what this host can record, feature by feature, and say what is missing; nothing is recorded. Exit status 0: it can record, 1: not
    Check,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PayloadArg {
    /// Message heads without what may be secret: names and lengths, of HTTP also values known to be harmless
    Heads,
    /// All bytes up to --snaplen but what looks like a secret: may hold personal data
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

impl Cli {
    /// What to do instead of recording.
    pub fn action(&self) -> Option<Action> {
        self.action
    }
}

impl From<Cli> for Options {
    fn from(cli: Cli) -> Options {
        Options {
            // Without an action it is there.
            output: cli.output.unwrap_or_default(),
            duration: cli.duration,
            filters: cli.filters.into(),
            snap_bytes: cli.snaplen,
            ring_bytes: cli.ring_size,
            args: cli.args,
            payload: match cli.payload {
                PayloadArg::Heads => Payload::Heads,
                PayloadArg::Full => Payload::Full,
                PayloadArg::None => Payload::None,
            },
            redact: cli.redact,
            reveal: cli.reveal,
            hash_secrets: cli.hash_secrets,
            evidence: cli.evidence,
            sched_threshold: cli.sched_threshold,
            counter_interval: cli.counter_interval,
            probe_set: match cli.probes {
                ProbesArg::Auto => None,
                ProbesArg::Syscalls => Some(ProbeSet::Syscalls),
                ProbesArg::Sockets => Some(ProbeSet::Sockets),
            },
            space: Space {
                keep: cli.keep.into_iter().fold(Keep::default(), |sum, keep| Keep {
                    time_ns: keep.time_ns.or(sum.time_ns),
                    bytes: keep.bytes.or(sum.bytes),
                }),
                max_bytes: cli.max_disk,
                min_free_bytes: cli.min_free_disk,
            },
            limits: Limits { rate: cli.max_rate.map(f64::from), cpus: cli.max_cpu },
            dump_on: cli.dump_on,
            rotate: cli.rotate,
            command: cli.command,
            kinds: cli.sockets,
            tls: cli.tls,
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration_ns(text).map(Duration::from_nanos)
}

/// `2h` or `10g`. A time where it may be both: `5m` is minutes, `5mb` is not.
fn parse_keep(text: &str) -> Result<Keep, String> {
    if let Ok(time_ns) = units::duration_ns(text) {
        return Ok(Keep { time_ns: Some(time_ns), bytes: None });
    }
    let wrong = |_| format!("{text:?} is neither a time such as 2h nor a size such as 10g");
    Ok(Keep { time_ns: None, bytes: Some(units::size_bytes(text).map_err(wrong)?) })
}

/// `5%` or `5` as 0.05.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent = number.parse::<f64>().ok().filter(|percent| percent.is_finite());
    percent.map(|percent| percent / 100.0).ok_or_else(|| format!("{text:?} is not a percentage such as 5%"))
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
            "--exclude",
            "cidr=10.0.0.0/8",
            "--sample",
            "1/10",
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
            "heads",
            "--hash-secrets",
            "--evidence",
            "tcp,usage",
            "--sched-threshold",
            "20ms",
            "--probes",
            "sockets",
            "--keep",
            "2h",
            "--keep",
            "10GB",
            "--dump-on",
            "SIGUSR1",
            "--dump-on",
            "exit:envoy",
            "--max-disk",
            "20g",
            "--min-free-disk",
            "500m",
            "--max-rate",
            "20000",
            "--max-cpu",
            "5%",
            "--redact",
            "header=x-tenant@8000-9000",
            "--reveal",
            "query=page",
            "-o",
            "x.cap",
            "--",
            "curl",
            "-o",
            "out",
        ])
        .unwrap();
        assert_eq!(options.duration, Some(Duration::from_secs(5400)));
        assert_eq!(
            options.filters(),
            "--port 80 --port 8000-9000 --comm envoy --pid 7 --pid 8 --exclude cidr=10.0.0.0/8 --sample 1/10 -- curl"
        );
        assert_eq!((options.snap_bytes, options.ring_bytes), (256, 65536));
        assert!(options.args);
        assert_eq!(options.payload, Payload::Heads);
        assert!(options.hash_secrets);
        assert_eq!(options.limits, Limits { rate: Some(20_000.0), cpus: Some(0.05) });
        assert_eq!((options.redact.len(), options.reveal[0].to_string()), (1, "query=page".to_owned()));
        assert_eq!(options.evidence.names(), ["tcp", "usage"]);
        assert_eq!(options.sched_threshold, Duration::from_millis(20));
        assert_eq!(options.probe_set, Some(ProbeSet::Sockets));
        let keep = Keep { time_ns: Some(7_200_000_000_000), bytes: Some(10 << 30) };
        let space = Space { keep, max_bytes: Some(20 << 30), min_free_bytes: Some(500 << 20) };
        assert_eq!((options.space, options.dump_on.len()), (space, 2));
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
    fn an_action_stands_alone() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["retrospan-record"], words].concat());
        assert_eq!(parse(&["check"]).unwrap().action(), Some(Action::Check));
        assert_eq!(parse(&["-o", "x.cap"]).unwrap().action(), None);
        assert!(parse(&["-o", "x.cap", "check"]).is_err() && parse(&[]).is_err());
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
            &["-o", "x", "--only-pid", "0"],
            &["-o", "x", "--side", "both"],
            &["-o", "x", "--exclude", "envoy"],
            &["-o", "x", "--cidr", "10.0.0.0/33"],
            &["-o", "x", "--sample", "100"],
            &["-o", "x", "--ring-size", "0m"],
            &["-o", "x", "--ring-size", "65536"],
            &["-o", "x", "--ring-size", "2g"],
            &["-o", "x", "--payload", "bodies"],
            &["-o", "x", "--evidence", "disk"],
            &["-o", "x", "--evidence", "none,tcp"],
            &["-o", "x", "--probes", "kprobes"],
            &["-o", "x", "--sockets", "raw"],
            &["-o", "x", "--keep", "2"],
            &["-o", "x", "--keep", "soon"],
            &["-o", "x", "--dump-on", "monday"],
            &["-o", "x", "--max-disk", "10"],
            &["-o", "x", "curl"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
