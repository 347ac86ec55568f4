//! Real causes of slow requests, injected periodically, and the truth about when.
//!
//! In: a [`Cause`] and a [`Rhythm`]. Out: a [`Run`]: the capture of a steady chain that suffered from it, when it did,
//! and what the client measured. Every cause ends with its guard, in a failed test, too.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use super::capture::Capture;
use super::envoy::{Carried, Mode};
use super::netns::Netns;
use super::process::{pin, send_signal};
use super::recording::Recording;
use super::steady::{Answer, PORTS, Setting, Steady, named, shop_cpu};
use super::{boot_ns, wall_ns};

/// What happens at every tooth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing.
    Nothing,
    /// The shop is stopped (SIGSTOP) and continued.
    Stop,
    /// A program is started that takes the shop's CPU.
    Hog,
    /// Packets to the shop are dropped on the link.
    Loss,
    /// The link from the shop is squeezed: what it sends queues up.
    Delay,
    /// A program syncs much to the disk to which the shop syncs its log.
    Storm,
    /// The inner Envoy's control group gets hardly any CPU time.
    Throttle,
    /// The shop's own code sleeps.
    Sleep,
    /// As `Stop`, with an edge that understands HTTP and clients that give up.
    Quit,
}

/// All of them.
pub const CAUSES: [Cause; 9] = [
    Cause::Nothing,
    Cause::Stop,
    Cause::Hog,
    Cause::Loss,
    Cause::Delay,
    Cause::Storm,
    Cause::Throttle,
    Cause::Sleep,
    Cause::Quit,
];

/// How often, how long, how many times.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    pub period: Duration,
    pub length: Duration,
    pub cycles: u32,
}

/// For the benchmark: eight cycles and a bit.
pub const LONG: Rhythm =
    Rhythm { period: Duration::from_secs(20), length: Duration::from_millis(1000), cycles: 8 };
/// For the tests.
pub const SHORT: Rhythm =
    Rhythm { period: Duration::from_secs(5), length: Duration::from_millis(400), cycles: 9 };

/// One injection; boot-time nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Injected {
    pub onset_ns: i64,
    pub end_ns: i64,
}

/// A run that is over.
pub struct Run {
    pub cause: Cause,
    pub rhythm: Rhythm,
    pub capture: Capture,
    pub injected: Vec<Injected>,
    pub answers: Vec<Answer>,
    /// The edge's log.
    pub carried: Vec<Carried>,
    /// Wall clock minus boot clock, ns.
    pub wall_minus_boot_ns: i64,
}

impl Cause {
    /// Its name, as in the benchmark's table.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn setting(self, rhythm: Rhythm) -> Setting {
        let mut setting = Setting {
            edge: Mode::Tcp,
            rate: 200,
            connections: 128,
            patience: Duration::from_secs(20),
            work: Duration::from_micros(300),
            synced_log: false,
            sleep: Duration::ZERO,
            period: rhythm.period,
            phase_ns: wall_ns() / 1000 % as_ns(rhythm.period),
        };
        match self {
            Self::Quit => {
                setting.edge = Mode::Http;
                setting.patience = Duration::from_millis(300);
            }
            Self::Sleep => setting.sleep = rhythm.length / 2,
            Self::Storm => setting.synced_log = true,
            Self::Hog => setting.work = Duration::from_micros(1000),
            _ => {}
        }
        setting
    }

    fn injector<'c>(self, chain: &'c Steady, rhythm: Rhythm) -> Box<dyn Injector + 'c> {
        let ms = rhythm.length.as_millis().to_string();
        match self {
            Self::Nothing | Self::Sleep => Box::new(Idle),
            Self::Stop | Self::Quit => Box::new(Stopper { pid: chain.shop.pid() }),
            Self::Hog => {
                let mut command = Command::new(named(chain.dir(), "log-compressor"));
                command.args(["spin", "12", &ms]);
                pin(&mut command, shop_cpu());
                Box::new(Starter { command, child: None })
            }
            Self::Storm => {
                let mut command = Command::new(named(chain.dir(), "backup-sync"));
                command.arg("storm").arg(chain.dir().join("backup")).arg(&ms);
                Box::new(Starter { command, child: None })
            }
            Self::Loss => Box::new(Loss::prepare(&chain.back)),
            Self::Delay => Box::new(Squeeze::prepare(chain)),
            Self::Throttle => Box::new(Throttle::prepare(chain.inner.pid(), rhythm.length / 2)),
        }
    }
}

/// Records a steady chain with a cause injected at every tooth.
pub fn run(cause: Cause, rhythm: Rhythm) -> Run {
    let setting = cause.setting(rhythm);
    let phase_ns = setting.phase_ns;
    let chain = Steady::start(setting);
    let mut injector = cause.injector(&chain, rhythm);
    let recording = Recording::of_ports(&PORTS);
    let wall_minus_boot_ns = wall_ns() - boot_ns();
    let length = rhythm.period * rhythm.cycles + rhythm.period / 2;
    let load = chain.load(length);
    let begin_ns = boot_ns();
    let period_ns = as_ns(rhythm.period);
    let first_ns = begin_ns + (phase_ns - begin_ns).rem_euclid(period_ns);
    let teeth = (0..).map(|nth| first_ns + nth * period_ns);
    let teeth = teeth.take_while(|tooth| tooth + 2 * as_ns(rhythm.length) < begin_ns + as_ns(length));
    let injected = teeth.map(|tooth| inject(&mut *injector, tooth, rhythm.length)).collect();
    let answers = load.answers();
    drop(injector);
    if cause == Cause::Quit {
        // A line for each request, where others have one for each connection.
        chain.edge.wait_carried(answers.len());
    }
    let capture = recording.finish();
    let injected = if cause == Cause::Nothing { Vec::new() } else { injected };
    Run { cause, rhythm, capture, injected, answers, carried: chain.edge.carried(), wall_minus_boot_ns }
}

fn inject(injector: &mut dyn Injector, tooth_ns: i64, length: Duration) -> Injected {
    sleep_until(tooth_ns);
    let onset_ns = boot_ns();
    injector.begin();
    sleep_until(onset_ns + as_ns(length));
    injector.end();
    Injected { onset_ns, end_ns: boot_ns() }
}

fn sleep_until(at_ns: i64) {
    let left = u64::try_from(at_ns - boot_ns()).unwrap_or_default();
    std::thread::sleep(Duration::from_nanos(left));
}

fn as_ns(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).expect("a short time")
}

/// Something that can be switched on and off. Dropping it leaves it off.
trait Injector {
    fn begin(&mut self);
    fn end(&mut self);
}

/// Does nothing: there is none, or the shop knows by itself.
struct Idle;

impl Injector for Idle {
    fn begin(&mut self) {}
    fn end(&mut self) {}
}

/// Stops a process.
struct Stopper {
    pid: u32,
}

impl Injector for Stopper {
    fn begin(&mut self) {
        send_signal(self.pid, libc::SIGSTOP);
    }

    fn end(&mut self) {
        send_signal(self.pid, libc::SIGCONT);
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a program that ends by itself, as cron does.
struct Starter {
    command: Command,
    child: Option<Child>,
}

impl Injector for Starter {
    fn begin(&mut self) {
        self.child = Some(self.command.spawn().expect("the program to start"));
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let status = child.wait().expect("the program's end");
            assert!(status.success(), "{:?} ended with {status}", self.command);
        }
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error here means that it has ended after all.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Drops half of the packets that come in for the shop. Its table goes with the namespace.
struct Loss<'c> {
    back: &'c Netns,
}

impl<'c> Loss<'c> {
    fn prepare(back: &'c Netns) -> Self {
        back.tool("nft", &["add table ip lab"]);
        back.tool("nft", &["add chain ip lab arriving { type filter hook input priority 0; }"]);
        Self { back }
    }
}

impl Injector for Loss<'_> {
    fn begin(&mut self) {
        self.back.tool("nft", &["add rule ip lab arriving tcp dport 8080 numgen random mod 100 < 50 drop"]);
    }

    fn end(&mut self) {
        self.back.tool("nft", &["flush chain ip lab arriving"]);
    }
}

/// Slows the link from the shop down. Its queue goes with the namespace.
struct Squeeze<'c> {
    back: &'c Netns,
}

impl<'c> Squeeze<'c> {
    fn prepare(chain: &'c Steady) -> Self {
        // Else both ends take what is late for lost and send it again: that would be another cause.
        for netns in [&chain.front, &chain.back] {
            netns
                .run(|| fs::write("/proc/sys/net/ipv4/tcp_early_retrans", "0").expect("no tail loss probes"));
            netns.ip(&["route", "change", "10.213.0.0/24", "dev", "link0", "rto_min", "5s"]);
        }
        let squeeze = Self { back: &chain.back };
        squeeze.set("add", "1gbit");
        squeeze
    }

    fn set(&self, verb: &str, rate: &str) {
        let queue = ["qdisc", verb, "dev", "link0", "root", "tbf", "rate", rate];
        self.back.tool("tc", &[&queue[..], &["burst", "16kb", "limit", "16mb"]].concat());
    }
}

impl Injector for Squeeze<'_> {
    fn begin(&mut self) {
        self.set("change", "1mbit");
    }

    fn end(&mut self) {
        self.set("change", "1gbit");
    }
}

/// A control group of version 1 with next to no CPU time, now and then.
struct Throttle {
    group: PathBuf,
    pid: u32,
}

/// Where the hierarchy of the version 1 `cpu` controller is mounted.
const CPU_GROUPS: &str = "/sys/fs/cgroup/cpu";

impl Throttle {
    fn prepare(pid: u32, every: Duration) -> Self {
        let group = PathBuf::from(CPU_GROUPS).join(format!("retrospan-{}", std::process::id()));
        fs::create_dir(&group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
        let throttle = Self { group, pid };
        throttle.write("cpu.cfs_period_us", every.as_micros());
        // Against everything else that runs the group is one task: its neighbours must not be what is slow.
        throttle.write("cpu.shares", 65_536);
        throttle.write("cgroup.procs", pid);
        throttle
    }

    fn write(&self, file: &str, value: impl ToString) {
        let file = self.group.join(file);
        fs::write(&file, value.to_string()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

impl Injector for Throttle {
    fn begin(&mut self) {
        self.write("cpu.cfs_quota_us", 1_000);
    }

    fn end(&mut self) {
        self.write("cpu.cfs_quota_us", -1);
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Errors mean that the process has ended, and with it its place in the group.
        drop(fs::write(PathBuf::from(CPU_GROUPS).join("cgroup.procs"), self.pid.to_string()));
        super::holds_within(Duration::from_secs(3), || fs::remove_dir(&self.group).is_ok());
    }
}
