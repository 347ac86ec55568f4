//! What the kernel saw besides: rows that go with the teeth, and decoys.

use super::chain::{Chain, Held, Socket};
use super::timeline::Timeline;
use super::{Cause, JOB, Plan, ns};
use retrospan_random::Random;

/// A process that is not of the chain.
#[derive(Clone, Debug)]
pub struct Stranger {
    pub pid: i32,
    pub comm: String,
    pub exe: String,
    /// Ns from the begin of the recording; negative where it was there before.
    pub started_ns: i64,
    pub ended_ns: Option<i64>,
}

/// Who a row is about.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// A process of the chain.
    Chain(usize),
    /// Index of a stranger.
    Stranger(usize),
}

/// A row of `sched`.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub at_ns: i64,
    pub duration_ns: i64,
    pub kind: &'static str,
    pub who: Who,
    pub other: Option<Who>,
}

/// A row of `tcp`: a segment sent again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    pub at_ns: i64,
    pub socket: usize,
    /// It is a SYN.
    pub syn: bool,
}

/// A row of `execs`.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub at_ns: i64,
    pub stranger: usize,
}

/// All rows, in order of time.
#[derive(Debug, Default)]
pub struct Evidence {
    pub strangers: Vec<Stranger>,
    pub waits: Vec<Wait>,
    pub again: Vec<Again>,
    pub execs: Vec<Started>,
}

/// Indices of the strangers that live all the time.
const CROND: usize = 0;
const BATCH_JOB: usize = 1;
const BACKUP: usize = 2;
/// First pid of programs that are started.
const NEXT_PID: i32 = 20_000;
/// A segment is sent again after this at the earliest.
const RESENT_NS: i64 = 200_000_000;

impl Evidence {
    pub fn new(plan: &Plan, timeline: &Timeline, chain: &Chain<'_>) -> Evidence {
        let mut random = Random::new(plan.seed ^ 0x6576_6964);
        let mut evidence = Evidence::default();
        for (number, comm) in ["crond", "batch-job", "backup"].into_iter().enumerate() {
            evidence.strangers.push(Stranger {
                pid: 400 + number as i32,
                comm: comm.to_owned(),
                exe: format!("/usr/sbin/{comm}"),
                started_ns: -ns(1000.0),
                ended_ns: None,
            });
        }
        if let Some(cause) = plan.cause {
            evidence.cause(cause, plan, timeline, chain, &mut random);
        }
        if plan.decoys {
            evidence.decoys(plan, timeline, &chain.sockets, &mut random);
        }
        if let Some(comb) = plan.comb {
            evidence.innocents(plan, comb.period_s);
        }
        evidence.waits.sort_by_key(|row| row.at_ns);
        evidence.again.sort_by_key(|row| row.at_ns);
        evidence.execs.sort_by_key(|row| row.at_ns);
        let end_ns = ns(plan.length_s);
        evidence.waits.retain(|row| (0..end_ns).contains(&row.at_ns));
        evidence.again.retain(|row| (0..end_ns).contains(&row.at_ns));
        evidence.execs.retain(|row| (0..end_ns).contains(&row.at_ns));
        evidence
    }

    fn cause(
        &mut self,
        cause: Cause,
        plan: &Plan,
        timeline: &Timeline,
        chain: &Chain<'_>,
        random: &mut Random,
    ) {
        let who = Who::Chain(plan.trouble.place.hop + 1);
        let held = chain.held.iter().filter(|held| timeline.windows[held.window].tooth);
        match cause {
            Cause::Stopped => {
                for window in timeline.teeth() {
                    self.stop(who, window.from_ns, window.to_ns - window.from_ns);
                }
            }
            Cause::Exec => {
                for window in timeline.teeth() {
                    let lead_ns = ns(0.01 + 0.09 * random.uniform());
                    self.exec(JOB, window.from_ns - lead_ns);
                }
            }
            Cause::RunQueue => {
                let other = Some(Who::Stranger(BATCH_JOB));
                let row = |held: &Held| {
                    let (at_ns, duration_ns) = (held.to_ns, held.to_ns - held.from_ns);
                    Wait { at_ns, duration_ns, kind: "run_queue", who, other }
                };
                self.waits.extend(held.map(row).filter(|wait| wait.duration_ns > ns(0.005)));
            }
            Cause::Retransmit => {
                let row = |held: &Held| {
                    let at_ns = held.to_ns.min(held.from_ns + RESENT_NS);
                    Again { at_ns, socket: held.socket, syn: false }
                };
                self.again.extend(held.map(row));
            }
            Cause::SynAgain => {
                let row = |&(at_ns, socket): &(i64, usize)| Again { at_ns, socket, syn: true };
                self.again.extend(chain.syns.iter().map(row));
            }
        }
    }

    fn decoys(&mut self, plan: &Plan, timeline: &Timeline, sockets: &[Socket], random: &mut Random) {
        let length_s = plan.length_s;
        for (exe, mean_s) in [("/usr/bin/logger", 15.0), ("/usr/bin/ssh-session", 40.0)] {
            for at_s in by_chance(length_s, mean_s, random) {
                self.exec(exe, ns(at_s));
            }
        }
        let mut every = |exe: &str, period_s: f64, from_s: f64, random: &mut Random| {
            for turn in 0..=(length_s / period_s) as usize {
                self.exec(exe, ns(from_s + turn as f64 * period_s + 0.05 * random.normal()));
            }
        };
        every("/usr/bin/run-parts", 60.0, 60.0 * random.uniform(), random);
        // The comb's own period, at a phase where nothing happens.
        if let (Some(comb), Some(first)) = (plan.comb, timeline.teeth().next()) {
            let from_s = first.from_ns as f64 * 1e-9 + comb.period_s * (0.25 + 0.6 * random.uniform());
            every("/usr/bin/metrics-push", comb.period_s, from_s % comb.period_s, random);
        }
        for at_s in by_chance(length_s, 4.0, random) {
            let duration_ns = ns(0.005 + 0.02 * random.uniform());
            let (kind, other) = ("run_queue", Some(Who::Stranger(random.below(3))));
            self.waits.push(Wait {
                at_ns: ns(at_s),
                duration_ns,
                kind,
                who: Who::Chain(random.below(4)),
                other,
            });
        }
        for at_s in by_chance(length_s, 30.0, random) {
            let duration_ns = ns(0.005 + 0.03 * random.uniform());
            let (at_ns, who) = (ns(at_s), Who::Chain(3));
            self.waits.push(Wait { at_ns, duration_ns, kind: "off_cpu", who, other: None });
        }
        for at_s in by_chance(length_s, 200.0, random) {
            self.stop(Who::Stranger(BACKUP), ns(at_s), ns(0.5 + random.uniform()));
        }
        for at_s in by_chance(length_s, 20.0, random) {
            let at_ns = ns(at_s);
            let open = |s: &Socket| s.opened_ns < at_ns && s.closed_ns.is_none_or(|closed| closed > at_ns);
            let socket = random.below(sockets.len());
            if sockets.get(socket).is_some_and(open) {
                self.again.push(Again { at_ns, socket, syn: false });
            }
        }
    }

    /// Programs of one timer each. They have a generator of their own: with more of them nothing else changes.
    fn innocents(&mut self, plan: &Plan, period_s: f64) {
        let mut random = Random::new(plan.seed ^ 0x696e_6e6f);
        for number in 0..plan.innocents {
            let from_s = period_s * random.uniform();
            for turn in 0..=(plan.length_s / period_s) as usize {
                let at_s = from_s + turn as f64 * period_s + 0.05 * random.normal();
                self.exec(&format!("/usr/lib/timers/job-{number}"), ns(at_s));
            }
        }
    }

    fn stop(&mut self, who: Who, at_ns: i64, duration_ns: i64) {
        self.waits.push(Wait { at_ns, duration_ns: 0, kind: "stopped", who, other: None });
        self.waits.push(Wait {
            at_ns: at_ns + duration_ns,
            duration_ns,
            kind: "continued",
            who,
            other: None,
        });
    }

    /// A program that crond starts, and that ends soon.
    fn exec(&mut self, exe: &str, at_ns: i64) {
        let stranger = self.strangers.len();
        let name = exe.rsplit('/').next().unwrap_or(exe);
        self.strangers.push(Stranger {
            pid: NEXT_PID + stranger as i32,
            comm: name.to_owned(),
            exe: exe.to_owned(),
            started_ns: at_ns - 500_000,
            ended_ns: Some(at_ns + 400_000_000),
        });
        self.execs.push(Started { at_ns, stranger });
    }

    /// Who started a program.
    pub fn parent(stranger: usize) -> Option<usize> {
        (stranger > BACKUP).then_some(CROND)
    }
}

/// Times with exponential distances of this mean, s.
fn by_chance(length_s: f64, mean_s: f64, random: &mut Random) -> Vec<f64> {
    let mut times = Vec::new();
    let mut at_s = mean_s * random.exponential();
    while at_s < length_s {
        times.push(at_s);
        at_s += mean_s * random.exponential();
    }
    times
}
