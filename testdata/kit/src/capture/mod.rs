//! Made captures with a known answer: real capture directories, written through the recorder's own writer.
//!
//! The scene is always the same: `client -> edge-envoy:8000 -> inner-envoy:8001 -> shop:8080`, keep-alive HTTP/1.1 (or Redis)
//! through two byte-level proxies, both ends of every connection recorded. Requests come as a Poisson process; every wire and every
//! process takes a lognormal time. At one [`Place`] something goes wrong in a [`Shape`], at the teeth of a [`Comb`] and in
//! unrelated bursts. The kernel rows of a [`Cause`] go with the teeth, and decoys with nothing. A process that is held holds
//! whatever reaches it, so that delays add up over hops as they would in reality. Times are virtual: an hour
//! at 20 requests a second is 72,000 traces of six spans, made in a few seconds. The same plan gives the same capture.
//!
//! `benches/attribution.rs` asks `spikes` about many of them.

mod afresh;
mod chain;
mod evidence;
mod exchange;
mod rows;
mod timeline;

use std::path::Path;

use retrospan_formats::error::CaptureError;

/// What is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Another seed, another capture.
    pub seed: u64,
    /// Length of the recording, s.
    pub length_s: f64,
    /// Requests a second, on average.
    pub requests_per_s: f64,
    /// What the processes speak.
    pub speech: Speech,
    /// What requests take when nothing is wrong.
    pub latency: Latency,
    /// What goes wrong at each tooth and in each burst.
    pub trouble: Trouble,
    /// When it comes back; None: it does not.
    pub comb: Option<Comb>,
    /// Times that it happens besides, without its cause.
    pub bursts: usize,
    /// What the kernel saw at each tooth.
    pub cause: Option<Cause>,
    /// Kernel rows that have nothing to do with it: programs started by chance and by a timer, one of them with the comb's own
    /// period, short waits for a CPU and for a disk, single segments sent again, a stopped stranger.
    pub decoys: bool,
    /// Programs that are started with the comb's own period, each at a phase of its own.
    pub innocents: usize,
}

/// What the processes of a scene speak; the proxies read none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1: `GET` of a few paths, 503 where something fails.
    Http,
    /// Redis: `GET`, `HGETALL` and `CONFIG GET`, `-LOADING` where something fails.
    Redis,
}

/// What requests take: lognormal times.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Median of one way over a wire, ms.
    pub wire_ms: f64,
    /// Medians of the own times of `edge-envoy`, `inner-envoy` and `shop`, ms.
    pub own_ms: [f64; 3],
    /// Standard deviation of the logarithms.
    pub sigma: f64,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Where.
    pub place: Place,
    /// How.
    pub shape: Shape,
    /// How long, s.
    pub width_s: f64,
}

/// A part of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 `client -> edge-envoy:8000`, 1 `edge-envoy -> inner-envoy:8001`, 2 `inner-envoy -> shop:8080`.
    pub hop: usize,
    /// Which part.
    pub part: Part,
}

/// A hop is a wire and the process at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The answering process's own time: after it has taken the request.
    Server,
    /// On the wire, and queued until the answering process takes it.
    Network,
    /// Unread, while requests have arrived: the only part of which arrivals are recorded.
    Queue,
}

/// How a trouble runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing passes the place until the end; then everything does.
    Freeze,
    /// Most requests that reach the place take [`SLOW_S`] longer.
    Slow,
    /// Most requests that reach the process are answered with 503, at once. Needs [`Part::Server`]; on a wire nothing
    /// happens.
    Errors,
    /// [`Shape::Freeze`], and a client that closes the connection after [`PATIENCE`] of the width. Proxies notice when
    /// they have the answer, as real ones do.
    GiveUp,
    /// The listener's queue is full: SYNs are dropped, and sent again after [`SYN_AGAIN_S`]. Every request has connections of its
    /// own, and its client waits for [`CONNECT_PATIENCE_S`] at most. Needs [`Part::Network`] of a hop that a proxy opens, 1 or
    /// 2; elsewhere nothing happens.
    QueueFull,
}

/// Median of what a slow request takes longer, s.
pub const SLOW_S: f64 = 0.3;
/// Share of the width that a client waits in [`Shape::GiveUp`].
pub const PATIENCE: f64 = 0.3;
/// When a SYN is sent again, s after the first.
pub const SYN_AGAIN_S: [f64; 3] = [1.0, 3.0, 7.0];
/// How long a client waits in [`Shape::QueueFull`], s.
pub const CONNECT_PATIENCE_S: f64 = 1.5;

/// When trouble comes back.
#[derive(Clone, Copy, Debug)]
pub struct Comb {
    /// Period, s.
    pub period_s: f64,
    /// Standard deviation of an onset around its tooth, as a share of the period.
    pub jitter: f64,
    /// Share of teeth on which nothing happens.
    pub missing: f64,
}

/// What the kernel saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The answering process was stopped for the whole width.
    Stopped,
    /// Threads of the answering process waited for a CPU that `batch-job` had, each as long as its request was delayed.
    RunQueue,
    /// [`JOB`] was started up to 0.1 s before.
    Exec,
    /// The delayed segments were sent again.
    Retransmit,
    /// The dropped SYNs of [`Shape::QueueFull`] were seen to be sent again.
    SynAgain,
}

/// Program of [`Cause::Exec`].
pub const JOB: &str = "/opt/jobs/reindex";

/// What is in the capture.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The hop of the place as the analyzer names it.
    pub hop: String,
    /// `server`, `network` or `connect`.
    pub part: &'static str,
    /// Process whose own time it is, or that is waited for.
    pub process: &'static str,
    /// Kind and subject of the cause as the analyzer names them.
    pub cause: Option<(&'static str, String)>,
    /// Onsets of the teeth that fired, s from the begin of the recording.
    pub onsets_s: Vec<f64>,
    /// Teeth that did not fire.
    pub missing: usize,
    /// Requests sent.
    pub requests: u64,
    /// Requests that trouble delayed or failed, at teeth and in bursts.
    pub troubled: u64,
}

const PROCESSES: [&str; 4] = ["client", "edge-envoy", "inner-envoy", "shop"];
const PORTS: [u16; 3] = [8000, 8001, 8080];
/// CLOCK_BOOTTIME of the start: the machine had been up for a while.
const STARTED_BOOT_NS: i64 = 5_000_000_000_000;
/// CLOCK_REALTIME of the start: 2026-09-01, 12:00 UTC.
const STARTED_WALL_NS: i64 = 1_788_264_000_000_000_000;

impl Default for Plan {
    /// An hour at 20 requests/s; `shop` freezes for 2 s every 300 s, six seconds of jitter at most, no cause, no decoys.
    fn default() -> Self {
        Self {
            seed: 1,
            length_s: 3600.0,
            requests_per_s: 20.0,
            speech: Speech::Http,
            latency: Latency { wire_ms: 0.08, own_ms: [0.2, 0.2, 8.0], sigma: 0.5 },
            trouble: Trouble {
                place: Place { hop: 2, part: Part::Server },
                shape: Shape::Freeze,
                width_s: 2.0,
            },
            comb: Some(Comb { period_s: 300.0, jitter: 0.01, missing: 0.0 }),
            bursts: 0,
            cause: None,
            decoys: false,
            innocents: 0,
        }
    }
}

impl Place {
    /// The hop's name, as in `connections.hop`.
    pub fn hop_name(self) -> String {
        format!("{} -> {}:{}", PROCESSES[self.hop], self.process(), PORTS[self.hop])
    }

    /// The answering process.
    pub fn process(self) -> &'static str {
        PROCESSES[self.hop + 1]
    }
}

impl Cause {
    /// Kind and subject as the analyzer names them.
    fn named(self, place: Place) -> (&'static str, String) {
        match self {
            Cause::Stopped => ("stopped", place.process().to_owned()),
            Cause::RunQueue => ("run_queue", place.process().to_owned()),
            Cause::Exec => ("exec", JOB.to_owned()),
            Cause::Retransmit => ("retransmit", place.hop_name()),
            Cause::SynAgain => ("syn_retransmit", place.hop_name()),
        }
    }
}

/// Writes the capture of a plan into `directory`, which must not exist or be empty, and tells what is in it. A hop above 2
/// is taken for 2.
pub fn write(directory: &Path, plan: &Plan) -> Result<Truth, CaptureError> {
    let mut plan = plan.clone();
    plan.trouble.place.hop = plan.trouble.place.hop.min(2);
    let timeline = timeline::Timeline::new(&plan);
    let mut capture = rows::Sink::create(directory, &plan)?;
    let mut chain = chain::Chain::new(&plan, &timeline);
    exchange::run(&mut chain, &mut capture)?;
    let evidence = evidence::Evidence::new(&plan, &timeline, &chain);
    capture.complete(&chain, &evidence)?;
    let place = plan.trouble.place;
    Ok(Truth {
        hop: place.hop_name(),
        part: match (plan.trouble.shape, place.part) {
            (Shape::QueueFull, _) => "connect",
            (_, Part::Server) => "server",
            (_, Part::Network) => "network",
            (_, Part::Queue) => "queue",
        },
        process: place.process(),
        cause: plan.cause.map(|cause| cause.named(place)),
        onsets_s: timeline.teeth().map(|window| window.from_ns as f64 * 1e-9).collect(),
        missing: timeline.missing,
        requests: chain.requests,
        troubled: chain.held.len() as u64,
    })
}

/// Seconds to ns.
fn ns(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}
