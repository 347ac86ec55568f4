//! The excess of some traces by part of a hop.

use std::collections::HashMap;

use super::Trace;
use crate::findings::groups::Keys;
use crate::findings::{HopShare, wording};

/// A hop's stream and what of the hop.
pub(super) type Piece = (u32, Part);

/// What a hop consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    /// Own time of the answering process.
    Server,
    /// The way to it and back; where it is not known when a request arrived, also the wait until it was taken.
    Network,
    /// The wait of a request that had arrived until it was taken.
    Queue,
    /// The wait for a connection to it.
    Connect,
}

impl Part {
    /// The name in findings.
    fn name(self) -> &'static str {
        match self {
            Part::Server => "server",
            Part::Network => "network",
            Part::Queue => "queue",
            Part::Connect => "connect",
        }
    }
}

/// Own times of some traces, summed by part.
#[derive(Clone, Default)]
pub(super) struct Split {
    pub(super) traces: u64,
    pub(super) duration_ns: i64,
    pub(super) parts: HashMap<Piece, i64>,
    /// Failed traces by the part in which that began.
    failed: HashMap<Piece, u64>,
}

impl Split {
    pub(super) fn add(&mut self, trace: &Trace) {
        self.traces += 1;
        self.duration_ns += trace.duration_ns;
        for &(part, own_ns) in &trace.parts {
            *self.parts.entry(part).or_default() += own_ns;
        }
        if let Some((_, part)) = trace.failed {
            *self.failed.entry(part).or_default() += 1;
        }
    }

    pub(super) fn excess_s(&self, ordinary: &Split) -> f64 {
        let usual = ordinary.duration_ns as f64 / ordinary.traces.max(1) as f64;
        (self.duration_ns as f64 - self.traces as f64 * usual) * 1e-9
    }

    fn excess_of_s(&self, part: Piece, ordinary: &Split) -> f64 {
        let usual =
            ordinary.parts.get(&part).copied().unwrap_or_default() as f64 / ordinary.traces.max(1) as f64;
        (self.parts.get(&part).copied().unwrap_or_default() as f64 - self.traces as f64 * usual) * 1e-9
    }
}

/// Whether failed requests took less beyond the ordinary than an ordinary one takes: then their time tells nothing.
pub(super) fn quick_failures(spikes: &[Split], ordinary: &Split) -> bool {
    let failed: u64 = spikes.iter().flat_map(|split| split.failed.values()).sum();
    let excess_s: f64 = spikes.iter().map(|split| split.excess_s(ordinary)).sum();
    let usual_s = ordinary.duration_ns as f64 * 1e-9 / ordinary.traces.max(1) as f64;
    failed > 0 && excess_s < failed as f64 * usual_s
}

/// The excess by part of a hop, largest first; of quick failures where most of them begin.
pub(super) fn hops(spikes: &[Split], ordinary: &Split, keys: &Keys, quick: bool) -> Vec<HopShare> {
    let of = |split: &Split| split.parts.keys().chain(split.failed.keys()).copied().collect::<Vec<_>>();
    let mut all: Vec<Piece> = spikes.iter().chain([ordinary]).flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    let by_cycle = |part: Piece| spikes.iter().map(|split| split.excess_of_s(part, ordinary)).collect();
    let parts: Vec<(Piece, Vec<f64>)> = all.iter().map(|&part| (part, by_cycle(part))).collect();
    let begun = |part: Piece| {
        spikes.iter().map(|split| split.failed.get(&part).copied().unwrap_or_default()).collect()
    };
    let mut failed: HashMap<Piece, Vec<u64>> = all.iter().map(|&part| (part, begun(part))).collect();
    let all_failed: u64 = failed.values().flatten().sum();
    let total: f64 = parts.iter().map(|(_, cycles)| cycles.iter().sum::<f64>().max(0.0)).sum();
    let mut hops: Vec<HopShare> = parts
        .into_iter()
        .map(|(piece, cycles)| {
            let (hop, part) = piece;
            let excess_s: f64 = cycles.iter().sum();
            let label = &keys.streams[hop as usize].label;
            let process =
                keys.classes.iter().find(|class| class.hop == hop).map(|class| class.answering.to_string());
            let begun = failed.remove(&piece).filter(|_| quick).unwrap_or_default();
            let failures: u64 = begun.iter().sum();
            HopShare {
                hop: label.clone(),
                part: part.name().to_owned(),
                process: process.unwrap_or_else(|| wording::answering(label).to_owned()),
                excess_s,
                failures,
                share: match (quick, total > 0.0) {
                    (true, _) => failures as f64 / all_failed.max(1) as f64,
                    (false, true) => excess_s.max(0.0) / total,
                    (false, false) => 0.0,
                },
                positive_cycles: if quick {
                    begun.iter().filter(|&&count| count > 0).count()
                } else {
                    cycles.iter().filter(|&&s| s > 0.0).count()
                },
            }
        })
        .collect();
    hops.sort_by(|a, b| {
        let larger = b.failures.cmp(&a.failures).then_with(|| b.excess_s.total_cmp(&a.excess_s));
        larger.then_with(|| a.hop.cmp(&b.hop)).then_with(|| a.part.cmp(&b.part))
    });
    hops
}
