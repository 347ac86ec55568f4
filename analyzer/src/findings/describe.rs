//! One spike in full: its cycles, where its time goes, what coincides.

use std::collections::BTreeSet;

use super::attribution::{Attribution, Window, attribute};
use super::coincidence::{causes, nearest_to_a_cause};
use super::find::Finder;
use super::search::{Candidate, Found};
use super::subject::Subject;
use super::{Also, Boundary, Cause, Cycle, Interval, Metric, Spike, summary, wording};
use crate::error::Result;
use crate::periodicity::Episode;
use crate::periodicity::refine::{self, Clock, Refined};

/// Combs whose likelihood ratios differ by less fit equally well, nats.
const AS_GOOD: f64 = 3.0;

impl Finder<'_> {
    pub(super) async fn spike(&mut self, group: &[usize]) -> Result<Spike> {
        let found = self.search.found[self.best_of(group)].clone();
        let candidate = self.search.candidates[found.candidate].clone();
        let bins = self.counted.bins;
        let horizon_ns = self.end_ns - self.begin_ns;
        let mut refined = refine::refine(&found.comb, &candidate.onsets_ns(), horizon_ns, bins.bin_ns);
        let period_ns = refined.period_ns;
        let (seen, unseen): (Vec<_>, Vec<_>) = refined.cycles.into_iter().partition(|cycle| {
            cycle.hit.is_some() || self.has_traffic(candidate.stream, cycle.expected_ns, period_ns)
        });
        refined.cycles = seen;
        let unseen_ns: Vec<i64> =
            unseen.iter().map(|cycle| self.begin_ns + cycle.expected_ns as i64).collect();
        let windows = self.windows(&refined, &candidate.episodes);
        let spans_per_ns = self.counted.spans as f64 / horizon_ns.max(1) as f64;
        let attribution = attribute(
            self.context,
            &mut self.keys,
            &self.counted.ordinary,
            (candidate.stream, candidate.metric),
            &windows,
            spans_per_ns,
        )
        .await?;
        self.sampled = self.sampled.max(attribution.sampled);
        let mut spike = self.described(&found, (&refined, &unseen_ns), &attribution, &windows);
        spike.also = self.also(group, &found, &refined);
        Ok(spike)
    }

    /// The comb that stands for a group: of those that fit about as well as the best, where the stream is nearest to the cause.
    fn best_of(&self, group: &[usize]) -> usize {
        let of = |index: usize| {
            let found = &self.search.found[index];
            (found, &self.search.candidates[found.candidate])
        };
        let best_llr = |missing: bool| {
            let combs = group
                .iter()
                .map(|&index| of(index))
                .filter(|(_, c)| (c.metric == Metric::Missing) == missing);
            combs.map(|(found, _)| found.comb.llr).fold(f64::NEG_INFINITY, f64::max)
        };
        let best = [best_llr(false), best_llr(true)];
        let rank = |&index: &usize| {
            let (found, candidate) = of(index);
            let missing = candidate.metric == Metric::Missing;
            let poor = found.comb.llr < best[usize::from(missing)] - AS_GOOD;
            // A request that failed says more than that it was slow.
            (missing, poor, candidate.metric == Metric::Latency, candidate.nearness, index)
        };
        group.iter().copied().min_by_key(rank).unwrap_or_default()
    }

    /// Whether requests of the stream began around a tooth: without any it can neither be hit nor missed.
    fn has_traffic(&self, stream: u32, expected_ns: f64, period_ns: f64) -> bool {
        let bins = self.counted.bins;
        let begun = &self.counted.streams[stream as usize].begun;
        let around = (period_ns / 20.0).max(2.0 * bins.bin_ns as f64);
        let bin = |ns: f64| (ns.max(0.0) as i64 / bins.bin_ns) as usize;
        let (from, to) = (bin(expected_ns - around), bin(expected_ns + around));
        begun.iter().take(to + 1).skip(from).any(|&requests| requests > 0)
    }

    fn windows(&self, refined: &Refined, episodes: &[Episode]) -> Vec<Window> {
        let period_ns = refined.period_ns;
        let bin_ns = self.counted.bins.bin_ns;
        refined
            .cycles
            .iter()
            .filter_map(|cycle| {
                let episode = &episodes[cycle.hit?];
                let from_ns = self.begin_ns + episode.onset_ns - bin_ns;
                let to_ns = (self.begin_ns + episode.end_ns).max(from_ns + 2 * bin_ns);
                let to_ns = to_ns.min(from_ns + (period_ns * 0.4) as i64);
                let half = if cycle.tooth == 0
                    || self.begin_ns + (cycle.expected_ns + period_ns / 2.0) as i64
                        <= self.end_ns - (period_ns / 4.0) as i64
                {
                    period_ns / 2.0
                } else {
                    -period_ns / 2.0
                };
                let middle_ns = from_ns + half as i64;
                let width_ns = (to_ns - from_ns).max((period_ns / 8.0) as i64).min((period_ns / 2.5) as i64);
                Some(Window {
                    from_ns,
                    to_ns,
                    ordinary_from_ns: middle_ns,
                    ordinary_to_ns: middle_ns + width_ns,
                    slack_ns: (period_ns / 4.0) as i64,
                })
            })
            .collect()
    }

    fn described(
        &self,
        found: &Found,
        (refined, unseen_ns): (&Refined, &[i64]),
        attribution: &Attribution,
        windows: &[Window],
    ) -> Spike {
        let candidate = &self.search.candidates[found.candidate];
        let stream = &self.keys.streams[candidate.stream as usize];
        let period_s = refined.period_ns * 1e-9;
        let margin_s = refined.period_margin_ns * 1e-9;
        let cycle_table = self.cycle_table(refined, &candidate.episodes, attribution);
        let hits = cycle_table.iter().filter(|cycle| cycle.onset_ns.is_some()).count();
        let affected: Vec<f64> = hit_values(&cycle_table, |cycle| cycle.affected);
        let excess: Vec<f64> = hit_values(&cycle_table, |cycle| cycle.excess_s);
        let affected_requests: f64 = affected.iter().sum();
        let (causes, doubt) =
            self.causes((refined, unseen_ns), attribution, &cycle_table, &candidate.episodes);
        let top = attribution.hops.first();
        let first_tooth_ns =
            self.begin_ns + refined.cycles.first().map_or(0, |cycle| cycle.expected_ns as i64);
        let mut spike = Spike {
            summary: String::new(),
            odds: String::new(),
            sentence: String::new(),
            period_s,
            period_ci_s: [period_s - margin_s, period_s + margin_s],
            fap: found.fap,
            fap_extrapolated: found.false_alarm.extrapolated,
            null: found.false_alarm.null.name().to_owned(),
            llr: found.comb.llr,
            cycles: cycle_table.len(),
            hits,
            metric: candidate.metric,
            stream: stream.label.clone(),
            by: stream.by.name().to_owned(),
            condition: stream.condition.clone(),
            cause: doubt.map_or_else(|| wording::cause(&causes, top), |doubt| wording::no_sure_cause(&doubt)),
            sql: String::new(),
            hop: top.map_or_else(|| stream.label.clone(), |top| top.hop.clone()),
            pids: self.answering_pids(attribution),
            requests_sql: String::new(),
            jitter_s: refined.jitter_ns * 1e-9,
            first_tooth_ns,
            clock: match refined.clock {
                Clock::Locked => "locked",
                Clock::FreeRunning => "free-running",
                Clock::Undecided => "undecided",
            }
            .to_owned(),
            clock_evidence: refined.clock_evidence,
            boundary: boundary(refined, first_tooth_ns, hits),
            affected_requests,
            affected_per_cycle: interval(&affected),
            excess_s_per_cycle: interval(&excess),
            bad_requests: self.bad_requests(candidate),
            share_of_bad: share_of_bad(affected_requests, self.bad_requests(candidate)),
            cycle_table,
            hops: attribution.hops.clone(),
            dimensions: attribution.dimensions.clone(),
            causes,
            also: Vec::new(),
            typical_traces: attribution.typical_traces.clone(),
            slow_traces: attribution.slow_traces.clone(),
        };
        spike.requests_sql = self.rows_of(&spike, &stream.condition, windows);
        spike.sql =
            spike.causes.first().map_or_else(|| spike.requests_sql.clone(), |cause| cause.sql.clone());
        spike.scale(self.one_in);
        spike.sentence = wording::sentence(&spike);
        spike.summary = summary::what(&spike);
        spike.odds = summary::odds(&spike);
        spike
    }

    /// Bad requests of a candidate; of those that did not come, as many as its episodes lack.
    fn bad_requests(&self, candidate: &Candidate) -> u64 {
        if candidate.metric == Metric::Missing {
            return candidate.affected().round() as u64;
        }
        let bad = self.counted.streams[candidate.stream as usize].bad.iter();
        bad.filter(|bad| bad.metric == candidate.metric).count() as u64
    }

    /// Whether events were lost around a tooth: an episode may have been missed.
    fn lost_around(&self, expected_ns: f64, refined: &Refined) -> bool {
        let bin_ns = self.counted.bins.bin_ns as f64;
        lost_within(&self.lossy, bin_ns, expected_ns, (3.0 * refined.jitter_ns).max(2.0 * bin_ns))
    }

    /// The affected requests themselves.
    fn rows_of(&self, spike: &Spike, condition: &str, windows: &[Window]) -> String {
        let width = windows.iter().map(|w| w.to_ns - w.from_ns).max().unwrap_or_default() as f64;
        let period_ns = spike.period_s * 1e9;
        let origin_ns = windows.first().map_or(spike.first_tooth_ns, |w| w.from_ns);
        let phase = wording::Phase::new(period_ns, origin_ns, origin_ns + (width * 1.2) as i64);
        let phase = phase.condition("start_time").map(|phase| format!(" AND {phase}")).unwrap_or_default();
        format!(
            "SELECT start_time, duration_ns, own_ns, kind, process, operation, target, status, status_text, outcome, trace_id \
             FROM spans WHERE {condition}{phase} ORDER BY duration_ns DESC"
        )
    }

    fn cycle_table(&self, refined: &Refined, episodes: &[Episode], attribution: &Attribution) -> Vec<Cycle> {
        let mut hit = 0;
        let mut cycles = Vec::new();
        let first = refined.cycles.first().map_or(0, |cycle| cycle.tooth);
        for cycle in &refined.cycles {
            let expected_ns = self.begin_ns + cycle.expected_ns as i64;
            let mut row = Cycle {
                number: cycle.tooth - first + 1,
                expected_ns,
                onset_ns: None,
                end_ns: None,
                requests: 0,
                affected: 0.0,
                errors: 0,
                client_closed: 0,
                excess_s: 0.0,
                worst_s: 0.0,
                lossy: self.lost_around(cycle.expected_ns, refined),
            };
            if let Some(episode) = cycle.hit.map(|hit| &episodes[hit]) {
                let [requests, errors, client_closed] =
                    attribution.requests.get(hit).copied().unwrap_or_default();
                row.onset_ns = Some(self.begin_ns + episode.onset_ns);
                row.end_ns = Some(self.begin_ns + episode.end_ns);
                row.affected = episode.affected;
                (row.errors, row.client_closed) = (errors, client_closed);
                // What was counted is no estimate.
                row.requests = if attribution.sampled > 1 { 0 } else { requests }.max(episode.requests);
                row.excess_s = attribution.excess_s.get(hit).copied().unwrap_or_default();
                row.worst_s = attribution.worst_s.get(hit).copied().unwrap_or_default();
                row.lossy = episode.lossy;
                hit += 1;
            }
            cycles.push(row);
        }
        cycles
    }

    /// What coincides; where nothing does, what comes near. What comes at a tooth around which nothing was seen, for want of
    /// requests or because events were lost, is as little elsewhere as at another episode.
    fn causes(
        &self,
        (refined, unseen_ns): (&Refined, &[i64]),
        attribution: &Attribution,
        cycles: &[Cycle],
        episodes: &[Episode],
    ) -> (Vec<Cause>, Option<String>) {
        let hits: Vec<(i64, i64, i64)> = cycles
            .iter()
            .filter_map(|cycle| Some((cycle.onset_ns?, cycle.end_ns?, (cycle.worst_s * 1e9) as i64)))
            .collect();
        let misses: Vec<i64> =
            cycles.iter().filter(|c| c.onset_ns.is_none()).map(|c| c.expected_ns).collect();
        let is_hit = |at: &i64| hits.binary_search_by_key(at, |hit| hit.0).is_ok();
        let onsets = episodes.iter().map(|episode| self.begin_ns + episode.onset_ns);
        let others: Vec<i64> = onsets.filter(|at| !is_hit(at)).collect();
        let excess_s: Vec<f64> = hit_values(cycles, |cycle| cycle.excess_s);
        let (hop, processes, answering) = self.suspects(attribution);
        let namespaces = self.namespaces(attribution);
        let subject = Subject {
            hits: &hits,
            misses: &misses,
            others: &others,
            unseen: unseen_ns,
            excess_s: &excess_s,
            period_ns: refined.period_ns,
            recording: (self.begin_ns, self.end_ns),
            resolution_ns: self.counted.bins.bin_ns,
            hop: &hop,
            on_the_way: attribution.hops.first().is_some_and(|top| top.is_on_the_way()),
            processes: &processes,
            answering: &answering,
            namespaces: &namespaces,
            pids: &self.pids,
        };
        let causes = causes(&self.series, &subject);
        let doubt = if causes.is_empty() { nearest_to_a_cause(&self.series, &subject) } else { None };
        (causes, doubt)
    }

    /// The hop with the largest share, and whose delay would explain it: the processes whose own time it is; for time on
    /// the way also those that wait, which may be late to take the answer. Last the processes that answer at the hop.
    fn suspects(&self, attribution: &Attribution) -> (String, BTreeSet<i64>, BTreeSet<i64>) {
        let Some(top) = attribution.hops.first() else { return Default::default() };
        let ends = self.processes.get(&top.hop).cloned().unwrap_or_default();
        let mut processes = ends.answering.clone();
        if top.is_on_the_way() {
            processes.extend(ends.requesting);
        }
        (top.hop.clone(), processes, ends.answering)
    }

    /// Network namespaces of the suspects.
    fn namespaces(&self, attribution: &Attribution) -> BTreeSet<i64> {
        let Some(top) = attribution.hops.first() else { return BTreeSet::new() };
        let ends = self.processes.get(&top.hop).cloned().unwrap_or_default();
        let mut namespaces = ends.answering_namespaces;
        if top.is_on_the_way() {
            namespaces.extend(ends.requesting_namespaces);
        }
        namespaces
    }

    /// Pids of the processes that answer at the hop with the largest share, in order.
    fn answering_pids(&self, attribution: &Attribution) -> Vec<i64> {
        let (_, _, answering) = self.suspects(attribution);
        let pids: BTreeSet<i64> = answering.iter().filter_map(|id| self.pids.get(id).copied()).collect();
        pids.into_iter().collect()
    }

    /// Other series with most of their episodes on the comb.
    fn also(&self, group: &[usize], found: &Found, refined: &Refined) -> Vec<Also> {
        let tolerance_ns = (3.0 * refined.jitter_ns).max(refined.period_ns * 0.05);
        let on_comb = |episode: &&Episode| {
            let turns = (episode.onset_ns as f64 - refined.phase_ns) / refined.period_ns;
            (turns - turns.round()).abs() * refined.period_ns <= tolerance_ns
        };
        let in_group =
            |index: usize| group.iter().any(|&member| self.search.found[member].candidate == index);
        let mut also: Vec<Also> = self
            .search
            .candidates
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != found.candidate)
            .filter_map(|(index, candidate)| {
                let hits = candidate.episodes.iter().filter(on_comb).count();
                let stream = &self.keys.streams[candidate.stream as usize];
                let most = 3 * hits >= 2 * found.comb.hits.len();
                (in_group(index) || most).then(|| Also {
                    stream: stream.label.clone(),
                    by: stream.by.name().to_owned(),
                    metric: candidate.metric,
                    hits,
                })
            })
            .collect();
        also.sort_by(|a, b| {
            b.hits
                .cmp(&a.hits)
                .then_with(|| a.by.cmp(&b.by))
                .then_with(|| a.stream.cmp(&b.stream))
                .then_with(|| a.metric.cmp(&b.metric))
        });
        also
    }
}

/// Share of the bad requests that the spikes affected.
fn share_of_bad(affected: f64, bad: u64) -> f64 {
    if bad == 0 { 1.0 } else { (affected / bad as f64).min(1.0) }
}

fn hit_values(cycles: &[Cycle], value: impl Fn(&Cycle) -> f64) -> Vec<f64> {
    cycles.iter().filter(|cycle| cycle.onset_ns.is_some()).map(value).collect()
}

/// Whether any bin within reach of a moment is lossy.
fn lost_within(lossy: &[bool], bin_ns: f64, at_ns: f64, reach_ns: f64) -> bool {
    let bin = |ns: f64| (ns.max(0.0) / bin_ns) as usize;
    let (from, to) = (bin(at_ns - reach_ns), bin(at_ns + reach_ns));
    lossy.iter().take(to + 1).skip(from).any(|&lost| lost)
}

/// A mean with its 95 % interval over cycles: requests within one cycle are not independent.
fn interval(values: &[f64]) -> Interval {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    if values.len() < 2 {
        return Interval { mean, low: mean, high: mean };
    }
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let margin = refine::t_quantile(n - 1.0) * deviation / n.sqrt();
    Interval { mean, low: mean - margin, high: mean + margin }
}

fn boundary(refined: &Refined, tooth_ns: i64, hits: usize) -> Option<Boundary> {
    let margin_ns = refined.jitter_ns / (hits.max(1) as f64).sqrt();
    let found = refine::boundary(tooth_ns as f64, refined.period_ns, refined.period_margin_ns, margin_ns)?;
    Some(Boundary {
        every_s: found.every_ns as f64 * 1e-9,
        offset_s: found.offset_ns * 1e-9,
        chance: found.chance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tooth_beside_a_loss_is_lossy_whether_it_was_hit_or_not() {
        let mut lossy = vec![false; 100];
        lossy[40] = true;
        let lost = |at_ns: f64| lost_within(&lossy, 10.0, at_ns, 20.0);
        assert!(lost(400.0) && lost(385.0) && lost(425.0));
        assert!(!lost(370.0) && !lost(431.0) && !lost(-50.0) && !lost(1e6));
    }
}
