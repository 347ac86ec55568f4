//! What was not shown, what it would take, and what the reader must know.

use retrospan_formats::manifest::Manifest;
use retrospan_formats::reader::Capture;

use super::find::{Finder, Own};
use super::search::{Candidate, Options};
use super::{Also, Findings, Spike, Unexplained, WorstEpisode};
use crate::periodicity::comb::Comb;
use crate::periodicity::{Episode, power};
use crate::text;

/// Series without a period that are named.
const MOST_UNEXPLAINED: usize = 5;
/// What came once and hit fewer requests is not worth a word.
const LEAST_AFFECTED_ONCE: f64 = 5.0;

impl Finder<'_> {
    /// How many combs of that one's series and period there are, if they divide it evenly; else 1.
    fn evenly_spaced(&self, index: usize, group: &[usize]) -> usize {
        let first = &self.search.found[index];
        let mut phases: Vec<f64> = group
            .iter()
            .map(|&other| &self.search.found[other])
            .filter(|other| other.candidate == first.candidate)
            .map(|other| ((other.comb.phase_ns - first.comb.phase_ns) / first.comb.period_ns).rem_euclid(1.0))
            .collect();
        phases.sort_by(f64::total_cmp);
        let part = 1.0 / phases.len() as f64;
        let even = phases.windows(2).all(|pair| ((pair[1] - pair[0]) / part - 1.0).abs() < 0.2);
        if even { phases.len() } else { 1 }
    }

    /// Says so where the recorder was at work in most of the cycles, and seldom else.
    pub(super) fn own_note(&self, spike: &Spike) -> Option<String> {
        let onsets: Vec<i64> = spike.cycle_table.iter().filter_map(|cycle| cycle.onset_ns).collect();
        let period_ns = (spike.period_s * 1e9) as i64;
        let matches = self_activity(&self.own, &onsets, period_ns, (self.begin_ns, self.end_ns))?;
        Some(format!(
            "the recorder itself was writing in {matches} of {} cycles of the spike every {:.1} s: record to another disk to be sure",
            onsets.len(),
            spike.period_s
        ))
    }

    /// Says so where not every trace was read to explain a spike.
    pub(super) fn sampled_note(&self) -> Option<String> {
        (self.sampled > 1).then(|| {
            format!(
                "so many requests began in the spikes that one trace in {} was read to explain them: excess, failed and given-up requests are estimates, and longer waits than the longest may be among the others",
                self.sampled
            )
        })
    }

    /// Says so where one series holds several combs of one period: it comes back more often than was looked for.
    pub(super) fn shorter_note(&self, group: &[usize], spike: &Spike) -> Option<String> {
        let combs = group.iter().map(|&index| self.evenly_spaced(index, group)).max()?;
        (combs > 1).then(|| {
            let shorter_s = spike.period_s / combs as f64;
            format!(
                "the spike every {:.3} s comes {combs} times in that time, so every {shorter_s:.3} s: search again with --min-period {:.1}s",
                spike.period_s,
                shorter_s / 2.0
            )
        })
    }

    pub(super) fn unexplained(&self, spikes: &[Spike], options: &Options) -> Vec<Unexplained> {
        let explained = |candidate: &Candidate| {
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
        let seen_in = |candidate: &Candidate| {
            let stream = &self.keys.streams[candidate.stream as usize];
            let seen = |also: &Also| also.stream == stream.label && also.metric == candidate.metric;
            spikes.iter().any(|spike| spike.also.iter().any(seen))
        };
        let worth_a_word = |index: usize, candidate: &Candidate| match candidate.episodes.len() {
            0 => false,
            1 => candidate.affected() >= LEAST_AFFECTED_ONCE,
            2 => true,
            _ => self.search.rejected.iter().any(|rejected| rejected.0 == index),
        };
        let mut left: Vec<(usize, &Candidate)> = self
            .search
            .candidates
            .iter()
            .enumerate()
            .filter(|(index, candidate)| {
                worth_a_word(*index, candidate) && !explained(candidate) && !seen_in(candidate)
            })
            .collect();
        // The same episodes in several streams are named once: where the stream is nearest to the cause.
        left.sort_by_key(|(_, candidate)| candidate.nearness);
        let key = |candidate: &Candidate| {
            (
                candidate.metric,
                candidate.episodes.len(),
                candidate.episodes.first().map(|e| e.onset_ns / 1_000_000_000),
            )
        };
        let mut named = Vec::new();
        left.retain(|(_, candidate)| {
            let new = !named.contains(&key(candidate));
            named.push(key(candidate));
            new
        });
        left.sort_by(|a, b| b.1.affected().total_cmp(&a.1.affected()));
        left.iter()
            .take(MOST_UNEXPLAINED)
            .map(|&(index, candidate)| {
                let rejected = self.search.rejected.iter().find(|rejected| rejected.0 == index);
                let stream = &self.keys.streams[candidate.stream as usize];
                let worst = self.worst(candidate);
                let mut unexplained = Unexplained {
                    stream: stream.label.clone(),
                    sql: rows_of(&stream.condition, &worst),
                    worst,
                    metric: candidate.metric,
                    episodes: candidate.episodes.len(),
                    onset_ns: candidate.episodes.iter().map(|e| self.begin_ns + e.onset_ns).collect(),
                    affected: candidate.affected(),
                    fap: rejected.map(|rejected| rejected.1),
                    needed: self.needed(candidate, rejected.map(|rejected| &rejected.2), options),
                };
                unexplained.scale(self.one_in);
                unexplained
            })
            .collect()
    }

    /// The episode with the most affected requests.
    fn worst(&self, candidate: &Candidate) -> WorstEpisode {
        let worst = candidate.episodes.iter().max_by(|a, b| a.affected.total_cmp(&b.affected));
        worst.map_or_else(WorstEpisode::default, |episode| WorstEpisode {
            onset_ns: self.begin_ns + episode.onset_ns,
            end_ns: self.begin_ns + episode.end_ns,
            requests: episode.requests,
            affected: episode.affected,
            excess_s: episode.excess_ns * 1e-9,
        })
    }

    /// How long a recording would tell, if what was seen is periodic.
    fn needed(&self, candidate: &Candidate, comb: Option<&Comb>, options: &Options) -> Option<String> {
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
        let at_jitter = if comb.is_some() { "at this jitter" } else { "at an assumed jitter of 1 %" };
        let fits = comb.is_none_or(|comb| 2 * comb.hits.len() > candidate.episodes.len());
        (fits && needed_ns > length_ns && period_ns >= options.min_period_ns as f64).then(|| {
            format!(
                "if it comes back every {}, {cycles} cycles are needed {at_jitter}: record {}",
                long(period_ns),
                long(needed_ns * 1.1)
            )
        })
    }

    pub(super) fn notes(&self, findings: &Findings, capture: &Capture) -> Vec<String> {
        let mut notes = Vec::new();
        if self.counted.spans == 0 {
            notes.push("the capture holds no requests".to_owned());
        } else if findings.searched.is_too_short() {
            notes.push(format!(
                "the recording is too short for any period of {} or more, so none was looked for: record at least {}",
                long(findings.searched.min_period_s * 1e9),
                long(findings.searched.min_period_s * 4e9)
            ));
        } else if findings.spikes.is_empty() {
            let searched = &findings.searched;
            notes.push(format!(
                "no periodic spike: {} spans in {} streams, periods of {} to {}, false-alarm probability {}",
                text::count(searched.spans),
                searched.streams,
                long(searched.min_period_s * 1e9),
                long(searched.max_period_s * 1e9),
                searched.fap
            ));
        }
        if self.counted.left_out > 0 {
            notes.push(format!("{} streams with the fewest requests were left out", self.counted.left_out));
        }
        let missing = unrecorded(&capture.manifest);
        if let Some(imported) = unseen_by_import(&capture.manifest).filter(|_| !findings.spikes.is_empty()) {
            notes.push(imported.to_owned());
        } else if !findings.spikes.is_empty() && !missing.is_empty() {
            notes.push(format!(
                "without kernel evidence of {} in the capture, causes that would show there cannot be seen: record with `--evidence {}`",
                missing.join(" and "),
                missing.join(",")
            ));
        }
        notes.extend(self.sampled_note());
        if self.one_in > 1 {
            let one_in = text::count(self.one_in);
            notes.push(format!(
                "one connection in {one_in} was recorded: numbers of requests are scaled to all"
            ));
        }
        let losses = || capture.manifest.losses.iter();
        if losses().any(|loss| loss.is_left_out()) {
            notes.push(
                "the recorder reached a limit and left out some of what it saw: `retrospan info` says what"
                    .to_owned(),
            );
        }
        let lost: u64 = losses().filter(|loss| !loss.is_left_out()).map(|loss| loss.count).sum();
        if lost > 0 {
            notes.push(format!(
                "{} events were lost: `retrospan info` says which and when",
                text::count(lost)
            ));
        }
        notes
    }
}

/// A statement that shows the requests of an episode, the longest first.
fn rows_of(condition: &str, episode: &WorstEpisode) -> String {
    let [from, to] = [episode.onset_ns, episode.end_ns].map(|ns| text::time(ns, 0, 3));
    format!(
        "SELECT start_time, duration_ns, own_ns, kind, process, operation, target, status, outcome, trace_id \
         FROM spans WHERE {condition} AND start_time >= '{from}' AND start_time <= '{to}' ORDER BY duration_ns DESC"
    )
}

/// How far from an onset the recorder's work may be.
const OWN_REACH_NS: i64 = 1_000_000_000;

/// Onsets at which the recorder worked, where those are most and it seldom does else: of its notable work, or of all. A
/// recorder that ends a file every few seconds is at work near every onset by chance.
fn self_activity(
    own: &[Own],
    onsets: &[i64],
    period_ns: i64,
    (begin_ns, end_ns): (i64, i64),
) -> Option<usize> {
    let reach_ns = (period_ns / 50).min(OWN_REACH_NS);
    let samples = 200;
    [true, false].into_iter().find_map(|notable| {
        let near = |at: i64| {
            let at_work = |own: &Own| own.from_ns - reach_ns <= at && at <= own.to_ns + reach_ns;
            own.iter().filter(|own| own.notable || !notable).any(at_work)
        };
        let matches = onsets.iter().filter(|&&onset| near(onset)).count();
        let by_chance = (0..samples).filter(|i| near(begin_ns + (end_ns - begin_ns) / samples * i)).count();
        let unusual =
            matches > 0 && matches * 10 >= onsets.len() * 8 && by_chance as f64 / (samples as f64) < 0.3;
        unusual.then_some(matches)
    })
}

/// Kinds of evidence for causes that were not recorded, by the names of their tables.
fn unrecorded(manifest: &Manifest) -> Vec<&'static str> {
    let wanted = manifest.options.get("evidence").and_then(|names| names.as_array());
    let is_there = |name: &str| {
        wanted.is_some_and(|names| names.iter().any(|wanted| wanted == name))
            || manifest.files.iter().any(|file| file.table == name)
    };
    ["tcp", "sched", "usage", "execs"].into_iter().filter(|name| !is_there(name)).collect()
}

/// What an import cannot show of causes.
fn unseen_by_import(manifest: &Manifest) -> Option<&'static str> {
    let of_traces =
        "the capture was made of traces, which hold no kernel events: they show where and when, and no cause";
    let of_packets =
        "the capture was made of packets, which hold no kernel events: causes within a host cannot be seen";
    manifest.imported.as_ref().map(|_| if manifest.is_of_traces() { of_traces } else { of_packets })
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn of_a_recorder_that_always_writes_only_notable_work_is_told() {
        let recording = (0, 7200 * SECOND);
        let onsets: Vec<i64> = (0..12).map(|i| (30 + i * 600) * SECOND).collect();
        let own =
            |at: i64, length_ns: i64, notable: bool| Own { from_ns: at, to_ns: at + length_ns, notable };
        let usual: Vec<Own> = (0..2400).map(|i| own(i * 3 * SECOND, 5_000_000, false)).collect();
        let told = |own: &[Own]| self_activity(own, &onsets, 600 * SECOND, recording);
        assert_eq!(told(&usual), None);
        let long = onsets.iter().map(|&at| own(at - 100_000_000, 400_000_000, true));
        assert_eq!(told(&usual.iter().copied().chain(long).collect::<Vec<_>>()), Some(12));
        // One that ends a file with every onset and never else need do nothing out of the ordinary.
        let seldom: Vec<Own> = onsets.iter().map(|&at| own(at, 50_000_000, false)).collect();
        assert_eq!(told(&seldom), Some(12));
        assert_eq!(told(&[]), None);
    }
}
