//! Something is scarce at every tooth: room in a queue, memory, a disk, a CPU. A client asks a shop with that weakness directly.
//!
//! In: what is scarce. Out: a [`Trial`]: the capture, when it was so, and what the client measured; and what `spikes` says of
//! it. Everything that is set is set in namespaces and cgroups of the run's own, and goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use super::capture::Capture;
use super::causes::{Injected, Rhythm};
use super::netns::Netns;
use super::process::{Program, pin};
use super::recording::Recording;
use super::steady::{Answer, Load, named, shop_cpu};
use super::{boot_ns, folder, tool, wall_ns};

const PORT: u16 = 8080;
const RESOLVER: &str = "127.0.0.1:5353";
/// How often the kernel's counters are read. Teeth of a few seconds need more than one reading a second.
const COUNTER_INTERVAL: &str = "50ms";

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Room in the listen queue: the shop does not accept for a while.
    Backlog,
    /// Room in a resolver's receive buffer: it does not read for a while, and the shop's questions are lost.
    Resolver,
    /// Memory of the shop's cgroup: it writes more than fits, as long as a tooth lasts.
    Memory,
    /// Connections: the shop closes all, and does not accept for a while.
    Connections,
    /// A disk: another program writes much to it.
    Disk,
    /// A CPU: it is busy receiving packets.
    Cpu,
}

/// A run that is over.
pub struct Trial {
    pub rhythm: Rhythm,
    pub capture: Capture,
    pub injected: Vec<Injected>,
    pub answers: Vec<Answer>,
}

impl Want {
    /// The shop's weakness, as the program calls it.
    fn weakness(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Resolver => "resolver",
            Self::Memory => "snapshot",
            Self::Connections => "reload",
            Self::Disk | Self::Cpu => "nothing",
        }
    }

    /// Requests a second, and the connections they are made on; 0 for one each.
    fn load(self) -> (u32, u32) {
        match self {
            Self::Backlog => (150, 0),
            _ => (150, 64),
        }
    }
}

fn as_ns(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).expect("a short time")
}

/// Records a client and a shop while something is scarce at every tooth.
pub fn run(want: Want, rhythm: Rhythm) -> Trial {
    let dir = folder();
    let (front, back) = (Netns::new("client"), Netns::new("shop"));
    Netns::join(&front, &back);
    let phase_ms = (wall_ns() / 1_000_000) % (as_ns(rhythm.period) / 1_000_000);
    let teeth = [rhythm.period.as_millis() as i64, phase_ms, rhythm.length.as_millis() as i64];
    if want == Want::Backlog {
        back.run(|| fs::write("/proc/sys/net/core/somaxconn", "4").expect("a short queue"));
    }
    let _resolver = (want == Want::Resolver).then(|| resolver(&back, dir.path(), teeth));
    let shop = shop(want, &back, dir.path(), teeth);
    let _group = (want == Want::Memory).then(|| MemoryGroup::with(shop.pid()));
    if want == Want::Cpu {
        slow_receiving(&back, dir.path());
    }
    let recording = Recording::start(&["--port", &PORT.to_string(), "--counter-interval", COUNTER_INTERVAL]);
    let length = rhythm.period * rhythm.cycles + rhythm.period / 2;
    let target = format!("10.213.0.2:{PORT}");
    let load = Load::start(&front, dir.path(), &target, want.load(), (length, Duration::from_secs(10)));
    let begin_ns = boot_ns();
    let (period_ns, length_ns) = (as_ns(rhythm.period), as_ns(rhythm.length));
    let first_ns = begin_ns + (phase_ms * 1_000_000 - begin_ns).rem_euclid(period_ns);
    let onsets = (0..).map(|nth| first_ns + nth * period_ns);
    let onsets = onsets.take_while(|onset| onset + 2 * length_ns < begin_ns + as_ns(length));
    let injected = onsets.map(|onset_ns| {
        let left = u64::try_from(onset_ns - boot_ns()).unwrap_or_default();
        std::thread::sleep(Duration::from_nanos(left));
        disturb(want, &back, dir.path(), rhythm.length);
        Injected { onset_ns, end_ns: boot_ns().max(onset_ns + length_ns) }
    });
    let injected = injected.collect();
    let answers = load.answers();
    Trial { rhythm, capture: recording.finish(), injected, answers }
}

fn shop(want: Want, back: &Netns, dir: &Path, [period, phase, length]: [i64; 3]) -> Program {
    let mut command = Command::new(named(dir, "shop"));
    let numbers = [period, phase, length].map(|number| number.to_string());
    if want == Want::Disk {
        // Its log is written through to the disk.
        command.arg("serve").arg(PORT.to_string()).arg(dir.join("shop.log")).args(["dsync", "300"]);
        command.args(&numbers[..2]).arg("0");
    } else {
        command.args(["suffer", &PORT.to_string(), want.weakness()]).args(numbers);
        match want {
            Want::Resolver => command.arg(RESOLVER),
            _ => command.arg(dir.join("snapshot")),
        };
    }
    back.place(&mut command);
    pin(&mut command, shop_cpu());
    let mut shop = Program::start("shop", dir, &mut command);
    shop.wait_listening(PORT);
    shop
}

fn resolver(back: &Netns, dir: &Path, teeth: [i64; 3]) -> Program {
    let mut command = Command::new(named(dir, "resolver"));
    command.args(["resolve", "5353"]).args(teeth.map(|number| number.to_string()));
    back.place(&mut command);
    Program::start("resolver", dir, &mut command)
}

/// What somebody else does at a tooth, to its end.
fn disturb(want: Want, back: &Netns, dir: &Path, length: Duration) {
    let ms = length.as_millis().to_string();
    let mut command = match want {
        Want::Disk => {
            let mut command = Command::new(named(dir, "backup-sync"));
            command.arg("hog").arg(dir.join("backup")).arg(&ms);
            command
        }
        Want::Cpu => {
            // Ahead of the shop: what a flood from outside does without asking the scheduler.
            let mut command = Command::new(tool("nice"));
            command.args(["-n", "-20"]).arg(named(dir, "packet-flood")).args(["flood", "9", &ms]);
            back.place(&mut command);
            pin(&mut command, shop_cpu());
            command
        }
        _ => return,
    };
    let child: std::io::Result<Child> = command.spawn();
    let status = child.expect("the program to start").wait().expect("its end");
    assert!(status.success(), "{command:?} ended with {status}");
}

/// Makes every datagram that arrives expensive: it is held against thousands of rules.
fn slow_receiving(back: &Netns, dir: &Path) {
    let file = dir.join("rules");
    let rules = "add rule ip lab arriving udp dport 9 udp length 1 drop\n".repeat(4000);
    let table = "add table ip lab\nadd chain ip lab arriving { type filter hook input priority 0; }\n";
    fs::write(&file, format!("{table}{rules}")).expect("the rules");
    back.tool("nft", &["-f", &file.display().to_string()]);
}

/// A control group of version 1 with little memory.
struct MemoryGroup {
    group: PathBuf,
    pid: u32,
}

/// Where the hierarchy of the version 1 `memory` controller is mounted.
const MEMORY_GROUPS: &str = "/sys/fs/cgroup/memory";

impl MemoryGroup {
    fn with(pid: u32) -> Self {
        let group = PathBuf::from(MEMORY_GROUPS).join(format!("retrospan-{}", std::process::id()));
        fs::create_dir(&group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
        let made = Self { group, pid };
        made.write("memory.limit_in_bytes", "67108864");
        made.write("cgroup.procs", &pid.to_string());
        made
    }

    fn write(&self, file: &str, value: &str) {
        let file = self.group.join(file);
        fs::write(&file, value).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Errors mean that the process has ended, and with it its place in the group.
        drop(fs::write(PathBuf::from(MEMORY_GROUPS).join("cgroup.procs"), self.pid.to_string()));
        super::holds_within(Duration::from_secs(3), || fs::remove_dir(&self.group).is_ok());
    }
}

impl Trial {
    /// What `spikes` finds.
    pub fn spikes(&self) -> Vec<Value> {
        let text = self.capture.retrospan("spikes", &["--format", "json", "--min-period", "1s"]);
        let found: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
        found["spikes"].as_array().cloned().unwrap_or_default()
    }

    /// Of the finding with the period of the teeth: its causes, as kind and claim, and the part of requests that lost most time; and
    /// what is wrong where none of the causes is one of `kinds` nor that part one of `parts`, or a cause's statement shows nothing.
    pub fn told(&self, kinds: &[&str], parts: &[&str]) -> (Vec<(String, String)>, String, Vec<String>) {
        let period_s = self.rhythm.period.as_secs_f64();
        let spikes = self.spikes();
        let ours = |spike: &&Value| {
            spike["period_s"].as_f64().is_some_and(|found| (found - period_s).abs() <= 0.01 * period_s)
        };
        let Some(spike) = spikes.iter().find(ours) else {
            return (Vec::new(), String::new(), vec![format!("no finding every {period_s} s: {spikes:#?}")]);
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let causes: Vec<&Value> = spike["causes"].as_array().into_iter().flatten().collect();
        let named: Vec<_> =
            causes.iter().map(|cause| (text(&cause["kind"]), text(&cause["claim"]))).collect();
        let part = text(&spike["hops"][0]["part"]);
        let mut wrong: Vec<String> = Vec::new();
        for cause in &causes {
            if self.capture.sql(&text(&cause["sql"])).is_empty() {
                wrong.push(format!("no rows from: {}", cause["sql"]));
            }
        }
        let is_one = |(kind, _): &(String, String)| kinds.contains(&kind.as_str());
        if !named.iter().any(is_one) && !parts.contains(&part.as_str()) {
            wrong.push(format!("no cause of {kinds:?}, and most time not lost in {parts:?}: {spike:#}"));
        }
        (named, part, wrong)
    }
}
