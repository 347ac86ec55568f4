//! A chain under steady load: client -> edge-envoy :8000 -> inner-envoy :8001 -> shop :8080.
//!
//! In: how the parts are set. Out: the running chain, each part under a name of its own, and [`Answer`]: what the
//! client measured. The load is an open loop: when a request is due does not depend on the answers before it, so
//! that a stall is seen by every request that falls into it.
//!
//! The shop lives in a network namespace of its own, the rest in another, with one link between them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::envoy::{self, Envoy, Mode, Plan};
use super::netns::Netns;
use super::process::{Program, pin};
use super::{folder, servers};

/// Where client, edge and inner connect to.
pub const PORTS: [u16; 3] = [8000, 8001, 8080];
const SHOP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 213, 0, 2)), PORTS[2]);

/// How the parts are set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What the edge understands; the inner Envoy only ever passes bytes on.
    pub edge: Mode,
    /// Requests a second.
    pub rate: u32,
    /// Connections that the client opens before it begins.
    pub connections: u32,
    /// How long the client waits for an answer.
    pub patience: Duration,
    /// CPU time of a request in the shop.
    pub work: Duration,
    /// The shop writes its log with O_DSYNC.
    pub synced_log: bool,
    /// The shop sleeps this long in each request that begins in as long a time after a tooth.
    pub sleep: Duration,
    /// Teeth: boot-time nanoseconds `phase_ns`, and every `period` after it.
    pub period: Duration,
    pub phase_ns: i64,
}

/// The running chain.
pub struct Steady {
    pub edge: Envoy,
    pub inner: Envoy,
    pub shop: Program,
    /// The namespaces of the shop and of the others.
    pub back: Netns,
    pub front: Netns,
    setting: Setting,
    dir: TempDir,
}

/// One request as the client saw it; boot-time nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was to be sent, and when it was.
    pub due_ns: i64,
    pub sent_ns: i64,
    pub done_ns: i64,
    /// The client's port; 0 where it could not connect.
    pub port: u16,
    /// 0 where no answer came in time.
    pub status: u16,
}

impl Answer {
    /// What the request cost whoever wanted it, ns.
    pub fn took_ns(&self) -> i64 {
        self.done_ns - self.due_ns
    }
}

/// The CPU that the shop runs on, and whoever is to disturb it.
pub fn shop_cpu() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) - 1
}

/// The lab's program for steady runs under another name: what it is called is what a recording knows it by.
pub fn named(dir: &Path, name: &str) -> PathBuf {
    link(&servers::built("steady"), dir, name)
}

fn link(program: &Path, dir: &Path, name: &str) -> PathBuf {
    let own = dir.join(name);
    if !own.is_file() && fs::hard_link(program, &own).is_err() {
        fs::copy(program, &own).expect("a copy of the program, as no link can be made");
    }
    own
}

impl Steady {
    /// Starts the chain; the load comes later.
    pub fn start(setting: Setting) -> Self {
        let dir = folder();
        let (front, back) = (Netns::new("front"), Netns::new("back"));
        Netns::join(&front, &back);
        let mut shop = Command::new(named(dir.path(), "shop"));
        shop.arg("serve").arg(PORTS[2].to_string()).arg(dir.path().join("shop.log"));
        shop.arg(if setting.synced_log { "dsync" } else { "plain" })
            .arg(setting.work.as_micros().to_string());
        shop.arg(setting.period.as_millis().to_string()).arg((setting.phase_ns / 1_000_000).to_string());
        shop.arg(setting.sleep.as_millis().to_string());
        back.place(&mut shop);
        pin(&mut shop, shop_cpu());
        let mut shop = Program::start("shop", dir.path(), &mut shop);
        shop.wait_listening(PORTS[2]);
        let envoy = |name: &str, mode, port, upstream| {
            let program = link(&envoy::binary(), dir.path(), name);
            let plan = Plan { name, program, mode, port, upstream, workers: 1 };
            Envoy::start_as(&plan, dir.path(), |command| front.place(command))
        };
        let inner = envoy("inner-envoy", Mode::Tcp, PORTS[1], SHOP);
        let edge = envoy("edge-envoy", setting.edge, PORTS[0], (Ipv4Addr::LOCALHOST, PORTS[1]).into());
        Self { edge, inner, shop, back, front, setting, dir }
    }

    /// Starts the load and waits until it begins.
    pub fn load(&self, length: Duration) -> Load {
        let Setting { rate, connections, patience, .. } = self.setting;
        let target = super::process::loopback(PORTS[0]);
        Load::start(&self.front, self.dir.path(), &target, (rate, connections), (length, patience))
    }

    /// A folder for what a run leaves.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A load on its way.
pub struct Load {
    program: Program,
    log: PathBuf,
}

impl Load {
    /// Starts a client in a namespace: so many requests a second on so many connections (0: each on one of its own), for that
    /// long, each with that patience.
    pub fn start(
        netns: &Netns,
        dir: &Path,
        target: &str,
        (rate, connections): (u32, u32),
        (length, patience): (Duration, Duration),
    ) -> Self {
        let log = dir.join("client.log");
        let mut command = Command::new(named(dir, "shop-client"));
        command.arg("load").arg(target);
        let numbers =
            [u128::from(rate), u128::from(connections), u128::from(length.as_secs()), patience.as_millis()];
        command.args(numbers.map(|number| number.to_string())).arg(&log);
        netns.place(&mut command);
        let mut program = Program::start("shop-client", dir, &mut command);
        let printed = dir.join("shop-client.out");
        program.wait("`loading`", || fs::read_to_string(&printed).is_ok_and(|text| text.contains("loading")));
        Load { program, log }
    }

    /// Waits for the last answer and returns all, in order of when they were due.
    pub fn answers(mut self) -> Vec<Answer> {
        let status = self.program.ended();
        assert!(status.success(), "the client ended with {status}:\n{}", self.program.printed());
        let text = fs::read_to_string(&self.log).expect("the client's log");
        let row = |line: &str| {
            let numbers: Vec<i64> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
            let [due_ns, sent_ns, done_ns, port, status] = numbers[..] else { panic!("client's row {line}") };
            let [port, status] = [port, status].map(|n| u16::try_from(n).expect("a small number"));
            Answer { due_ns, sent_ns, done_ns, port, status }
        };
        let mut answers: Vec<_> = text.lines().map(row).collect();
        answers.sort_by_key(|answer| answer.due_ns);
        answers
    }
}
