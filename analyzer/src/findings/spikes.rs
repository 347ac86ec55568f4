//! From a capture to findings: the steps in order.

use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use retrospan_formats::reader::Capture;

use super::attribution::{Attribution, Window, attribute};
use super::bins::{Bins, Counted, count};
use super::coincidence::{Subject, causes};
use super::happenings::{self, Train};
use super::keys::{By, Keys};
use super::search::{Found, Options, Search, search};
use super::{Also, Boundary, Cycle, Findings, Interval, Metric, Searched, Spike, Unexplained, words};
use crate::catalog;
use crate::dimensions;
use crate::error::{Error, Result};
use crate::periodicity::refine::{self, Clock, Refined};
use crate::periodicity::{Episode, power};
use crate::span_rows::typed;

/// Findings that are described; more combs than these are not told apart any better.
const MOST_SPIKES: usize = 10;
/// Series without a period that are named.
const MOST_UNEXPLAINED: usize = 5;

/// Looks for periodic spikes. `progress` is told what is being done.
pub async fn find(
    context: &SessionContext,
    capture: &Capture,
    options: &Options,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Findings> {
    let known = dimensions::read(capture)?;
    let manifest = &capture.manifest;
    let (from, to) = (manifest.started_boot_ns, manifest.whole_until_boot_ns);
    let (begin_ns, end_ns) = (known.clock.wall_ns(from), known.clock.wall_ns(to.max(from + 1)));
    let bins = Bins::new(begin_ns, end_ns, options.min_period_ns);
    progress("reading connections");
    let mut keys = Keys::read(context).await?;
    let reading = |spans: u64| progress(&format!("reading spans: {}", crate::text::count(spans)));
    let counted = count(context, &mut keys, bins, &options.by, &reading).await?;
    let lossy: Vec<bool> = (0..bins.count as i64)
        .map(|bin| known.lossy(from + bin * bins.bin_ns, from + (bin + 1) * bins.bin_ns))
        .collect();
    progress("looking for periods");
    let search = tokio::task::block_in_place(|| search(&counted, &keys, &lossy, options));
    let mut finder =
        Finder { context, keys, counted, search, trains: Vec::new(), own: Vec::new(), begin_ns, end_ns };
    if !finder.search.found.is_empty() {
        progress("reading kernel events");
        finder.trains = happenings::read(context).await?;
        finder.own = own_activity(context).await?;
    }
    let mut findings =
        Findings { searched: finder.searched(options, manifest.host.utc_offset_s), ..Findings::default() };
    for (index, group) in finder.groups().iter().take(MOST_SPIKES).enumerate() {
        progress(&format!("explaining finding {}", index + 1));
        let spike = finder.spike(group).await?;
        findings.notes.extend(finder.own_note(&spike));
        findings.notes.extend(finder.shorter_note(group, &spike));
        findings.spikes.push(spike);
    }
    findings.unexplained = finder.unexplained(&findings.spikes, options);
    findings.notes.extend(finder.notes(&findings, capture));
    Ok(findings)
}

struct Finder<'a> {
    context: &'a SessionContext,
    keys: Keys,
    counted: Counted,
    search: Search,
    trains: Vec<Train>,
    /// When the recorder itself was busy writing, ns since 1970 UTC.
    own: Vec<(i64, i64)>,
    begin_ns: i64,
    end_ns: i64,
}

/// Combs of several series that are one spike: the surest first.
type Group = Vec<usize>;

impl Finder<'_> {
    fn searched(&self, options: &Options, utc_offset_s: i32) -> Searched {
        let length_s = (self.end_ns - self.begin_ns) as f64 * 1e-9;
        Searched {
            spans: self.counted.spans,
            streams: self.counted.streams.iter().filter(|counts| !counts.begun.is_empty()).count(),
            tests: self.search.tests,
            min_period_s: options.min_period_ns as f64 * 1e-9,
            max_period_s: options
                .max_period_ns
                .map_or(length_s / 2.9, |ns| (ns as f64 * 1e-9).min(length_s / 2.9)),
            fap: options.fap,
            begin_ns: self.begin_ns,
            end_ns: self.end_ns,
            utc_offset_s,
        }
    }

    /// Combs with the same period and phase are one spike, seen by several streams and metrics.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (index, found) in self.search.found.iter().enumerate() {
            let same = |group: &&mut Group| self.same_spike(&self.search.found[group[0]], found);
            match groups.iter_mut().find(same) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups
    }

    /// Most onsets of one lie on an episode of the other: also where one stream sees every second cycle only. Two combs of one
    /// period in one series are a shorter period that was not looked for.
    fn same_spike(&self, a: &Found, b: &Found) -> bool {
        if a.candidate == b.candidate && (a.comb.period_ns / b.comb.period_ns - 1.0).abs() < 0.01 {
            return true;
        }
        let tolerance_ns =
            (a.comb.period_ns.min(b.comb.period_ns) * 0.1).max(2.0 * self.counted.bins.bin_ns as f64);
        let (of_a, of_b) = (self.hit_onsets(a), self.hit_onsets(b));
        let (few, many) = if of_a.len() <= of_b.len() { (of_a, of_b) } else { (of_b, of_a) };
        let met = few
            .iter()
            .filter(|&&onset| many.iter().any(|&other| (onset - other).abs() <= tolerance_ns))
            .count();
        2 * met > few.len()
    }

    fn hit_onsets(&self, found: &Found) -> Vec<f64> {
        let episodes = &self.search.candidates[found.candidate].episodes;
        found.comb.hits.iter().map(|&(_, hit)| episodes[hit].onset_ns as f64).collect()
    }

    async fn spike(&mut self, group: &[usize]) -> Result<Spike> {
        let found = self.search.found[self.best_of(group)].clone();
        let candidate = self.search.candidates[found.candidate].clone();
        let bins = self.counted.bins;
        let horizon_ns = self.end_ns - self.begin_ns;
        let refined = refine::refine(&found.comb, &candidate.onsets_ns(), horizon_ns, bins.bin_ns);
        let windows = self.windows(&refined, &candidate.episodes);
        let spans_per_ns = self.counted.spans as f64 / horizon_ns.max(1) as f64;
        let attribution = attribute(
            self.context,
            &mut self.keys,
            &self.counted.ordinary,
            candidate.stream,
            &windows,
            spans_per_ns,
        )
        .await?;
        let mut spike = self.described(&found, &refined, &attribution, &windows);
        spike.also = self.also(group, &found, &refined);
        Ok(spike)
    }

    /// The comb that stands for a group: with the most hits, and among those where the stream is nearest to the cause: a hop
    /// before a whole service, and of several hops around each other the innermost, which is the quickest.
    fn best_of(&self, group: &[usize]) -> usize {
        let rank = |&index: &usize| {
            let found = &self.search.found[index];
            let candidate = &self.search.candidates[found.candidate];
            let grouping =
                By::ALL.iter().position(|&by| by == self.keys.streams[candidate.stream as usize].by);
            let hits = found.comb.hits.len();
            (
                candidate.metric == Metric::Missing,
                std::cmp::Reverse(hits),
                grouping,
                self.usual_ns(candidate.stream),
                index,
            )
        };
        group.iter().copied().min_by_key(rank).unwrap_or_default()
    }

    /// What a request of the stream usually takes.
    fn usual_ns(&self, stream: u32) -> i64 {
        let lanes = self.keys.lanes.iter().zip(&self.counted.ordinary);
        let medians =
            lanes.filter(|(lane, _)| lane.streams.contains(&stream)).map(|(_, ordinary)| ordinary.median_ns);
        medians.max().unwrap_or(i64::MAX)
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
        refined: &Refined,
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
        let bad = self.counted.streams[candidate.stream as usize].bad.iter();
        let all_bad = bad.filter(|bad| bad.metric == candidate.metric).count().max(1) as f64;
        let affected_requests: f64 = affected.iter().sum();
        let causes = self.causes(refined, attribution, &cycle_table);
        let top = attribution.hops.first();
        let (hop, part, process) = match top {
            Some(top) => (top.hop.clone(), top.part.as_str(), top.process.as_str()),
            None => (stream.label.clone(), "", ""),
        };
        let first_tooth_ns =
            self.begin_ns + refined.cycles.first().map_or(0, |cycle| cycle.expected_ns as i64);
        let mut spike = Spike {
            sentence: String::new(),
            period_s,
            period_ci_s: [period_s - margin_s, period_s + margin_s],
            fap: found.fap,
            fap_extrapolated: found.false_alarm.extrapolated,
            null: format!("{:?}", found.false_alarm.null).to_lowercase(),
            llr: found.comb.llr,
            cycles: cycle_table.len(),
            hits,
            metric: candidate.metric,
            stream: stream.label.clone(),
            by: stream.by.name().to_owned(),
            cause: words::cause(&causes, &hop, part, process),
            sql: String::new(),
            hop,
            jitter_s: refined.jitter_ns * 1e-9,
            first_tooth_ns,
            clock: match refined.clock {
                Clock::Locked => "locked",
                Clock::FreeRunning => "free-running",
                Clock::Undecided => "undecided",
            }
            .to_owned(),
            boundary: boundary(refined, first_tooth_ns, hits),
            affected_requests,
            affected_per_cycle: interval(&affected),
            excess_s_per_cycle: interval(&excess),
            share_of_bad: if candidate.metric == Metric::Missing {
                1.0
            } else {
                (affected_requests / all_bad).min(1.0)
            },
            cycle_table,
            hops: attribution.hops.clone(),
            dimensions: attribution.dimensions.clone(),
            causes,
            also: Vec::new(),
            typical_traces: attribution.typical_traces.clone(),
            slow_traces: attribution.slow_traces.clone(),
        };
        spike.sql = match spike.causes.first() {
            Some(cause) => cause.sql.clone(),
            None => self.rows_of(&spike, &stream.condition, windows),
        };
        spike.sentence = words::sentence(&spike);
        spike
    }

    /// The affected requests themselves.
    fn rows_of(&self, spike: &Spike, condition: &str, windows: &[Window]) -> String {
        let width = windows.iter().map(|w| w.to_ns - w.from_ns).max().unwrap_or_default() as f64;
        let period_ns = spike.period_s * 1e9;
        let origin_ns = windows.first().map_or(spike.first_tooth_ns, |w| w.from_ns);
        let phase = words::in_phase("start_time", period_ns, origin_ns, (width * 1.2 / period_ns).min(1.0));
        format!(
            "SELECT start_time, duration_ns, own_ns, kind, process, method, path, status, outcome, trace_id \
             FROM spans WHERE {condition} AND {phase} ORDER BY duration_ns DESC"
        )
    }

    fn cycle_table(&self, refined: &Refined, episodes: &[Episode], attribution: &Attribution) -> Vec<Cycle> {
        let mut hit = 0;
        let mut cycles = Vec::new();
        for (index, cycle) in refined.cycles.iter().enumerate() {
            let expected_ns = self.begin_ns + cycle.expected_ns as i64;
            let mut row = Cycle {
                number: index + 1,
                expected_ns,
                onset_ns: None,
                end_ns: None,
                requests: 0,
                affected: 0.0,
                errors: 0,
                client_closed: 0,
                excess_s: 0.0,
                worst_s: 0.0,
                lossy: false,
            };
            if let Some(episode) = cycle.hit.map(|hit| &episodes[hit]) {
                let [requests, errors, client_closed] =
                    attribution.requests.get(hit).copied().unwrap_or_default();
                row.onset_ns = Some(self.begin_ns + episode.onset_ns);
                row.end_ns = Some(self.begin_ns + episode.end_ns);
                row.affected = episode.affected;
                (row.requests, row.errors, row.client_closed) =
                    (requests.max(episode.requests), errors, client_closed);
                row.excess_s = attribution.excess_s.get(hit).copied().unwrap_or_default();
                row.worst_s = attribution.worst_s.get(hit).copied().unwrap_or_default();
                row.lossy = episode.lossy;
                hit += 1;
            }
            cycles.push(row);
        }
        cycles
    }

    fn causes(&self, refined: &Refined, attribution: &Attribution, cycles: &[Cycle]) -> Vec<super::Cause> {
        let hits: Vec<(i64, i64, i64)> = cycles
            .iter()
            .filter_map(|cycle| Some((cycle.onset_ns?, cycle.end_ns?, (cycle.worst_s * 1e9) as i64)))
            .collect();
        let misses: Vec<i64> =
            cycles.iter().filter(|c| c.onset_ns.is_none()).map(|c| c.expected_ns).collect();
        let excess_s: Vec<f64> = hit_values(cycles, |cycle| cycle.excess_s);
        let (hop, processes) = self.suspects(attribution);
        causes(
            &self.trains,
            &Subject {
                hits: &hits,
                misses: &misses,
                excess_s: &excess_s,
                period_ns: refined.period_ns,
                recording: (self.begin_ns, self.end_ns),
                resolution_ns: self.counted.bins.bin_ns,
                hop: &hop,
                processes: &processes,
            },
        )
    }

    /// The hop with the largest share, and whose delay would explain it: the process whose own time it is; for time on
    /// the way also the one that waits, which may be late to take the answer.
    fn suspects(&self, attribution: &Attribution) -> (String, Vec<String>) {
        let Some(top) = attribution.hops.first() else { return (String::new(), Vec::new()) };
        let mut processes = vec![top.process.clone()];
        if top.part == "network" {
            let lane =
                self.keys.lanes.iter().find(|lane| self.keys.streams[lane.hop as usize].label == top.hop);
            processes.extend(lane.map(|lane| lane.client.to_string()));
        }
        (top.hop.clone(), processes)
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
                let most = 2 * hits > candidate.episodes.len() && 2 * hits >= found.comb.hits.len();
                (in_group(index) || most).then(|| Also {
                    stream: stream.label.clone(),
                    by: stream.by.name().to_owned(),
                    metric: candidate.metric,
                    hits,
                })
            })
            .collect();
        also.sort_by(|a, b| {
            b.hits.cmp(&a.hits).then_with(|| a.by.cmp(&b.by)).then_with(|| a.stream.cmp(&b.stream))
        });
        also
    }

    /// Says so where one series holds several combs of one period: it comes back more often than was looked for.
    fn shorter_note(&self, group: &[usize], spike: &Spike) -> Option<String> {
        let of = |index: &usize| self.search.found[*index].candidate;
        let combs =
            group.iter().map(|index| group.iter().filter(|other| of(other) == of(index)).count()).max()?;
        (combs > 1).then(|| {
            let shorter_s = spike.period_s / combs as f64;
            format!(
                "the spike every {:.3} s comes {combs} times in that time, so every {shorter_s:.3} s: search again with --min-period {:.1}s",
                spike.period_s,
                shorter_s / 2.0
            )
        })
    }

    /// Says so where the recorder was at work in most of the cycles, and seldom else.
    fn own_note(&self, spike: &Spike) -> Option<String> {
        let onsets: Vec<i64> = spike.cycle_table.iter().filter_map(|cycle| cycle.onset_ns).collect();
        let reach_ns = (spike.period_s * 1e9 / 50.0) as i64;
        let near = |at: i64| self.own.iter().any(|&(from, to)| from - reach_ns <= at && at <= to + reach_ns);
        let met = onsets.iter().filter(|&&onset| near(onset)).count();
        let samples = 200;
        let by_chance = (0..samples)
            .filter(|&i| near(self.begin_ns + (self.end_ns - self.begin_ns) / samples * i))
            .count();
        let unusual = met * 10 >= onsets.len() * 8 && by_chance as f64 / (samples as f64) < 0.3;
        unusual.then(|| {
            format!(
                "the recorder itself was writing in {met} of {} cycles of the spike every {:.1} s: record to another disk to be sure",
                onsets.len(),
                spike.period_s
            )
        })
    }

    fn unexplained(&self, spikes: &[Spike], options: &Options) -> Vec<Unexplained> {
        let explained = |candidate: &super::search::Candidate| {
            spikes.iter().any(|spike| {
                let on = |episode: &&Episode| {
                    let at = self.begin_ns + episode.onset_ns;
                    let near = (spike.period_s * 1e8) as i64;
                    spike
                        .cycle_table
                        .iter()
                        .any(|cycle| cycle.onset_ns.is_some_and(|onset| (onset - at).abs() < near))
                };
                3 * candidate.episodes.iter().filter(on).count() >= 2 * candidate.episodes.len()
            })
        };
        let mut left: Vec<(usize, &super::search::Candidate)> = self
            .search
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.episodes.len() >= 2 && !explained(candidate))
            .collect();
        left.sort_by(|a, b| b.1.affected().total_cmp(&a.1.affected()));
        left.iter()
            .take(MOST_UNEXPLAINED)
            .map(|&(index, candidate)| {
                let rejected = self.search.rejected.iter().find(|rejected| rejected.0 == index);
                Unexplained {
                    stream: self.keys.streams[candidate.stream as usize].label.clone(),
                    metric: candidate.metric,
                    episodes: candidate.episodes.len(),
                    onset_ns: candidate.episodes.iter().map(|e| self.begin_ns + e.onset_ns).collect(),
                    affected: candidate.affected(),
                    fap: rejected.map(|rejected| rejected.1),
                    needed: self.needed(candidate, rejected.map(|rejected| &rejected.2), options),
                }
            })
            .collect()
    }

    /// How long a recording would tell, if what was seen is periodic.
    fn needed(
        &self,
        candidate: &super::search::Candidate,
        comb: Option<&crate::periodicity::comb::Comb>,
        options: &Options,
    ) -> Option<String> {
        let length_ns = (self.end_ns - self.begin_ns) as f64;
        let onsets = candidate.onsets_ns();
        let (period_ns, jitter) = match comb {
            Some(comb) => (comb.period_ns, comb.sigma_ns / comb.period_ns),
            None if onsets.len() == 2 => (onsets[1] - onsets[0], 0.01),
            None => return None,
        };
        let fap = options.fap / self.search.tests.max(1) as f64;
        let cycles = power::cycles_needed(jitter, fap);
        let needed_ns = power::recording_needed_ns(period_ns, jitter, fap) as f64;
        let fits = comb.is_none_or(|comb| 2 * comb.hits.len() > candidate.episodes.len());
        (fits && needed_ns > length_ns && period_ns >= options.min_period_ns as f64).then(|| {
            format!(
                "if it comes back every {}, {cycles} cycles are needed at this jitter: record {}",
                long(period_ns),
                long(needed_ns * 1.1)
            )
        })
    }

    fn notes(&self, findings: &Findings, capture: &Capture) -> Vec<String> {
        let mut notes = Vec::new();
        if self.counted.spans == 0 {
            notes.push("the capture holds no requests".to_owned());
        } else if findings.spikes.is_empty() {
            let searched = &findings.searched;
            notes.push(format!(
                "no periodic spike: {} spans in {} streams, periods of {} to {}, false-alarm probability {}",
                crate::text::count(searched.spans),
                searched.streams,
                long(searched.min_period_s * 1e9),
                long(searched.max_period_s * 1e9),
                searched.fap
            ));
        }
        if findings.searched.max_period_s < findings.searched.min_period_s {
            notes.push(format!(
                "too short a recording for any period of {} or more: record at least {}",
                long(findings.searched.min_period_s * 1e9),
                long(findings.searched.min_period_s * 4e9)
            ));
        }
        if self.counted.left_out > 0 {
            notes.push(format!("{} streams with the fewest requests were left out", self.counted.left_out));
        }
        let lost: u64 = capture.manifest.losses.iter().map(|loss| loss.count).sum();
        if lost > 0 {
            notes.push(format!(
                "{} events were lost: `retrospan info` says which and when",
                crate::text::count(lost)
            ));
        }
        notes
    }
}

fn hit_values(cycles: &[Cycle], value: impl Fn(&Cycle) -> f64) -> Vec<f64> {
    cycles.iter().filter(|cycle| cycle.onset_ns.is_some()).map(value).collect()
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

/// A length of time without false precision: `50 min`, `12.4 s`.
fn long(ns: f64) -> String {
    let s = ns * 1e-9;
    match s {
        s if s >= 5400.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 300.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s if s >= 100.0 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    }
}

/// When the recorder wrote for longer than a moment.
async fn own_activity(context: &SessionContext) -> Result<Vec<(i64, i64)>> {
    let query = "SELECT CAST(wall_time(boot_ns - duration_ns) AS BIGINT) AS from_ns, CAST(wall_time(boot_ns) AS BIGINT) AS to_ns
                 FROM recorder WHERE kind <> 'drain' OR duration_ns > 20000000";
    let mut activity = Vec::new();
    let mut batches = catalog::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let number =
            |name| Ok::<Int64Array, Error>(typed(&batch, name, &DataType::Int64)?.as_primitive().clone());
        let (from, to) = (number("from_ns")?, number("to_ns")?);
        activity.extend((0..from.len()).map(|row| (from.value(row), to.value(row))));
    }
    Ok(activity)
}
