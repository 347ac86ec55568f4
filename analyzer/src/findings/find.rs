//! From a capture to findings: the steps in order.

use std::collections::{BTreeSet, HashMap};

use datafusion::arrow::array::{Array, AsArray, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use retrospan_formats::reader::Capture;

use super::bins::{Bins, Counted, count};
use super::groups::{By, Keys};
use super::kernel_events::{self, EventSeries};
use super::search::{Candidate, Found, Options, Search, candidates, search};
use super::{Findings, Metric, Searched};
use crate::error::{Error, Result};
use crate::periodicity::Episode;
use crate::sql::session;
use crate::tables::columns::{numbers, typed};
use crate::tables::dimensions;
use crate::tables::spans::Sides;
use crate::text;

/// Findings that are described; more combs than these are not told apart any better.
const MOST_SPIKES: usize = 10;
/// Looks for periodic spikes. `progress` is told what is being done.
pub async fn find(
    context: &SessionContext,
    capture: &Capture,
    options: &Options,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Findings> {
    let Prepared { keys, counted, candidates, lossy, begin_ns, end_ns } =
        prepare(context, capture, options, progress).await?;
    progress("looking for periods");
    let search = tokio::task::block_in_place(|| search(candidates, counted.bins, options));
    let mut finder = Finder {
        context,
        keys,
        counted,
        search,
        lossy,
        series: Vec::new(),
        processes: HashMap::new(),
        pids: HashMap::new(),
        own: Vec::new(),
        sampled: 1,
        one_in: dimensions::sampled_one_in(&capture.manifest),
        begin_ns,
        end_ns,
    };
    if !finder.search.found.is_empty() {
        progress("reading kernel events");
        finder.series = kernel_events::read(context).await?;
        finder.processes = processes_of_hops(context).await?;
        finder.pids = pids(context).await?;
        finder.own = own_activity(context).await?;
    }
    let mut findings = Findings {
        searched: finder.searched(options, capture.manifest.host.utc_offset_s),
        ..Findings::default()
    };
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

/// A capture as candidates.
struct Prepared {
    keys: Keys,
    counted: Counted,
    candidates: Vec<Candidate>,
    lossy: Vec<bool>,
    begin_ns: i64,
    end_ns: i64,
}

async fn prepare(
    context: &SessionContext,
    capture: &Capture,
    options: &Options,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Prepared> {
    let (clock, losses) = (dimensions::clock(capture)?, dimensions::losses(capture)?);
    let manifest = &capture.manifest;
    let (from, to) = (manifest.started_boot_ns, manifest.whole_until_boot_ns);
    let (begin_ns, end_ns) = (clock.wall_ns(from), clock.wall_ns(to.max(from + 1)));
    let bins = Bins::new(begin_ns, end_ns, options.min_period_ns);
    progress("reading connections");
    let mut keys = Keys::read(context, Sides::of(manifest)).await?;
    let reading = |spans: u64| progress(&format!("reading spans: {}", text::count(spans)));
    let counted = count(context, &mut keys, bins, (&options.by, options.min_period_ns), &reading).await?;
    let lossy: Vec<bool> = (0..bins.count as i64)
        .map(|bin| losses.had_loss(from + bin * bins.bin_ns, from + (bin + 1) * bins.bin_ns))
        .collect();
    progress("looking for episodes");
    let candidates = tokio::task::block_in_place(|| candidates(&counted, &keys, &lossy, options));
    Ok(Prepared { keys, counted, candidates, lossy, begin_ns, end_ns })
}

/// An episode with the stream it is of.
#[derive(Clone, Debug)]
pub struct Episodic {
    /// What the stream is a value of.
    pub by: By,
    /// The stream.
    pub stream: String,
    /// The metric.
    pub metric: Metric,
    /// Counts from 1 within the stream and metric.
    pub number: i64,
    /// Begin, ns since 1970 UTC.
    pub onset_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Requests in it.
    pub requests: i64,
    /// Bad ones beyond the ordinary share.
    pub affected: f64,
    /// What they took beyond the ordinary, s.
    pub excess_s: f64,
    /// Events were lost in it or beside it.
    pub lossy: bool,
}

/// The episodes of a capture, by stream and metric, in order.
pub async fn episodes(
    context: &SessionContext,
    capture: &Capture,
    options: &Options,
) -> Result<Vec<Episodic>> {
    let prepared = prepare(context, capture, options, &|_| ()).await?;
    let mut rows = Vec::new();
    for candidate in &prepared.candidates {
        let stream = &prepared.keys.streams[candidate.stream as usize];
        let row = |(index, episode): (usize, &Episode)| Episodic {
            by: stream.by,
            stream: stream.label.clone(),
            metric: candidate.metric,
            number: index as i64 + 1,
            onset_ns: prepared.begin_ns + episode.onset_ns,
            end_ns: prepared.begin_ns + episode.end_ns,
            requests: episode.requests as i64,
            affected: episode.affected,
            excess_s: episode.excess_ns * 1e-9,
            lossy: episode.lossy,
        };
        rows.extend(candidate.episodes.iter().enumerate().map(row));
    }
    Ok(rows)
}

/// What findings are described from.
pub struct Finder<'a> {
    pub(super) context: &'a SessionContext,
    pub(super) keys: Keys,
    pub(super) counted: Counted,
    pub(super) search: Search,
    /// Bins in which events were lost.
    pub(super) lossy: Vec<bool>,
    pub(super) series: Vec<EventSeries>,
    pub(super) processes: HashMap<String, Ends>,
    /// Pids by process id.
    pub(super) pids: HashMap<i64, i64>,
    /// When the recorder itself was busy, ns since 1970 UTC.
    pub(super) own: Vec<Own>,
    /// Of so many traces one was read to explain a spike; 1: all.
    pub(super) sampled: u64,
    /// Of so many connections one was recorded; 1: each.
    pub(super) one_in: u64,
    pub(super) begin_ns: i64,
    pub(super) end_ns: i64,
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
            sampled_one_in: self.one_in,
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
        let matches = few
            .iter()
            .filter(|&&onset| many.iter().any(|&other| (onset - other).abs() <= tolerance_ns))
            .count();
        2 * matches > few.len()
    }

    fn hit_onsets(&self, found: &Found) -> Vec<f64> {
        let episodes = &self.search.candidates[found.candidate].episodes;
        found.comb.hits.iter().map(|&(_, hit)| episodes[hit].onset_ns as f64).collect()
    }
}

/// Ids of the processes at the ends of a hop: a service may have several.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    pub(super) requesting: BTreeSet<i64>,
    pub(super) answering: BTreeSet<i64>,
    /// Network namespaces of both.
    pub(super) requesting_namespaces: BTreeSet<i64>,
    pub(super) answering_namespaces: BTreeSet<i64>,
}

async fn processes_of_hops(context: &SessionContext) -> Result<HashMap<String, Ends>> {
    let query = "SELECT DISTINCT hop, client_process_id, server_process_id, client_netns, server_netns
                 FROM connections WHERE hop IS NOT NULL";
    let mut hops: HashMap<String, Ends> = HashMap::new();
    let mut batches = session::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let number =
            |name| Ok::<Int64Array, Error>(typed(&batch, name, &DataType::Int64)?.as_primitive().clone());
        let names: StringViewArray = typed(&batch, "hop", &DataType::Utf8View)?.as_string_view().clone();
        let (clients, servers) = (number("client_process_id")?, number("server_process_id")?);
        let (of_clients, of_servers) = (number("client_netns")?, number("server_netns")?);
        for row in 0..batch.num_rows() {
            let ends = hops.entry(names.value(row).to_owned()).or_default();
            ends.requesting.extend(clients.is_valid(row).then(|| clients.value(row)));
            ends.answering.extend(servers.is_valid(row).then(|| servers.value(row)));
            ends.requesting_namespaces.extend(of_clients.is_valid(row).then(|| of_clients.value(row)));
            ends.answering_namespaces.extend(of_servers.is_valid(row).then(|| of_servers.value(row)));
        }
    }
    Ok(hops)
}

async fn pids(context: &SessionContext) -> Result<HashMap<i64, i64>> {
    let mut pids = HashMap::new();
    let mut batches = session::plan(context, "SELECT process_id, pid FROM processes WHERE pid > 0")
        .await?
        .execute_stream()
        .await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let (ids, of_ids) = (numbers(&batch, "process_id")?, numbers(&batch, "pid")?);
        pids.extend(ids.iter().zip(of_ids.iter()).filter_map(|(id, pid)| id.zip(pid)));
    }
    Ok(pids)
}

/// One time that the recorder was at work.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    /// It took much longer than such work usually does.
    pub(super) notable: bool,
}

/// Work of the recorder that took no longer is a moment.
const MOMENT_NS: i64 = 20_000_000;
/// Work that took so many times its kind's median is notable.
const NOTABLE: i64 = 3;

/// When the recorder worked for longer than a moment.
async fn own_activity(context: &SessionContext) -> Result<Vec<Own>> {
    let query = format!(
        "SELECT CAST(wall_time(boot_ns - duration_ns) AS BIGINT) AS from_ns, CAST(wall_time(boot_ns) AS BIGINT) AS to_ns,
                CAST(median(duration_ns) OVER (PARTITION BY kind) AS BIGINT) AS usual_ns
         FROM recorder WHERE kind <> 'drain' OR duration_ns > {MOMENT_NS}"
    );
    let mut activity = Vec::new();
    let mut batches = session::plan(context, &query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let number =
            |name| Ok::<Int64Array, Error>(typed(&batch, name, &DataType::Int64)?.as_primitive().clone());
        let (from, to, usual) = (number("from_ns")?, number("to_ns")?, number("usual_ns")?);
        activity.extend((0..from.len()).map(|row| own(from.value(row), to.value(row), usual.value(row))));
    }
    Ok(activity)
}

fn own(from_ns: i64, to_ns: i64, usual_ns: i64) -> Own {
    Own { from_ns, to_ns, notable: to_ns - from_ns > MOMENT_NS.max(NOTABLE * usual_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::attribution::{Attribution, Window, attribute};
    use retrospan_testkit::capture::{Comb, Part, Place, Plan, Shape, Trouble, write};

    /// Half an hour in which `shop` freezes for half a second every 10 s: more cycles than are asked for one by one.
    fn many_cycles(test: impl AsyncFnOnce(&SessionContext, &Capture)) {
        let place = Place { hop: 2, part: Part::Server };
        let plan = Plan {
            length_s: 1500.0,
            requests_per_s: 20.0,
            trouble: Trouble { place, shape: Shape::Freeze, width_s: 0.5 },
            comb: Some(Comb { period_s: 10.0, jitter: 0.002, missing: 0.0 }),
            ..Plan::default()
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = folder.path().join("made.cap");
        write(&directory, &plan).expect("a capture");
        let capture = Capture::open(&directory).expect("the capture opens");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        runtime.block_on(async { test(&crate::session::open(&capture).expect("tables"), &capture).await });
    }

    #[test]
    fn every_cycle_is_read_however_many_there_are() {
        many_cycles(async |context, capture| {
            let options = Options { min_period_ns: 5_000_000_000, by: vec![By::Hop], ..Options::default() };
            let findings = find(context, capture, &options, &|_| ()).await.expect("findings");
            let spike = &findings.spikes[0];
            assert!(spike.hits > 140, "{}", spike.sentence);
            let unread =
                spike.cycle_table.iter().filter(|cycle| cycle.onset_ns.is_some() && cycle.worst_s < 0.2);
            assert!(unread.count() < 3, "{:#?}", spike.cycle_table);
            assert!(spike.hops[0].positive_cycles > 140, "{:?}", spike.hops[0]);
        });
    }

    #[test]
    fn what_is_read_of_one_trace_in_a_few_is_scaled() {
        many_cycles(async |context, capture| {
            let options = Options { by: vec![By::Hop], ..Options::default() };
            let Prepared { mut keys, counted, begin_ns, end_ns, .. } =
                prepare(context, capture, &options, &|_| ()).await.expect("counts");
            let second = 1_000_000_000;
            // Half of the recording against the other: frozen or not, the numbers have to be the same.
            let windows: Vec<Window> = (0..140)
                .map(|i| begin_ns + i * 10 * second)
                .map(|at| Window {
                    from_ns: at,
                    to_ns: at + 8 * second,
                    ordinary_from_ns: at + 8 * second,
                    ordinary_to_ns: at + 10 * second,
                    slack_ns: second,
                })
                .collect();
            let stream = keys.streams.iter().position(|stream| stream.label.starts_with("client ->"));
            let stream = stream.expect("the client's hop") as u32;
            let mut read = async |spans_per_ns: f64| -> Attribution {
                let of = (stream, Metric::Latency);
                attribute(context, &mut keys, &counted.ordinary, of, &windows, spans_per_ns)
                    .await
                    .expect("spans")
            };
            let all = read(1e-9).await;
            let some = read(3.5 * 4e6 / (end_ns - begin_ns) as f64).await;
            assert_eq!((all.sampled, some.sampled), (1, 4));
            let requests = |of: &Attribution| of.requests.iter().map(|counts| counts[0]).sum::<u64>() as f64;
            let ratio = requests(&some) / requests(&all);
            assert!((0.9..1.1).contains(&ratio), "{ratio}");
            assert!(requests(&all) > 10_000.0);
            let top = |of: &Attribution| of.hops.iter().map(|hop| hop.excess_s.abs()).fold(0.0, f64::max);
            let ratio = top(&some) / top(&all);
            assert!((0.5..2.0).contains(&ratio), "{ratio}");
        });
    }
}
