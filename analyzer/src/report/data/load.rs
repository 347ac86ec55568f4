//! From a capture and its findings to what the pictures show.
//!
//! `spans` is read once for all heat maps ([`super::aggregate`]) and once for the traces that are shown.

use datafusion::prelude::SessionContext;
use futures::StreamExt;
use retrospan_formats::reader::Capture;

use super::hops::Hops;
use super::{Fold, Lost, Report, Timeline};
use super::{folds, timeline, traces};
use crate::error::Result;
use crate::findings::Findings;
use crate::sql::session;
use crate::tables::columns::{numbers, texts};
use crate::tables::dimensions;
use crate::tables::spans::Sides;
use crate::text::{count, duration, time};

/// Findings with pictures of their own; the rest are sentences.
const MAX_PICTURED: usize = 8;
/// Losses that are listed; the rest are in the sum.
const MAX_LOSSES: usize = 10_000;

/// Gathers everything.
pub async fn report(context: &SessionContext, capture: &Capture, findings: Findings) -> Result<Report> {
    let range_ns = range_ns(capture)?;
    let lost = losses(context).await?;
    let hops = Hops::read(context).await?;
    let pictured = &findings.spikes[..findings.spikes.len().min(MAX_PICTURED)];
    let timeline = timeline::read(context, &hops, range_ns).await?;
    let folds = folds::read(context, pictured, range_ns, &lost).await?;
    let traces = traces::gather(context, pictured).await?;
    Ok(Report {
        name: capture
            .directory
            .file_name()
            .map_or_else(|| "capture".to_owned(), |name| name.to_string_lossy().into_owned()),
        facts: facts(capture, &hops, &timeline, range_ns),
        utc_offset_s: capture.manifest.host.utc_offset_s,
        from_ns: range_ns[0],
        to_ns: range_ns[1],
        edges: hops.edges(&timeline, Sides::of(&capture.manifest)),
        findings,
        timeline,
        folds,
        traces,
        lost,
    })
}

/// The folded heat maps alone: for the terminal.
pub async fn folds(context: &SessionContext, capture: &Capture, findings: &Findings) -> Result<Vec<Fold>> {
    let pictured = &findings.spikes[..findings.spikes.len().min(MAX_PICTURED)];
    if pictured.is_empty() {
        return Ok(Vec::new());
    }
    folds::read(context, pictured, range_ns(capture)?, &losses(context).await?).await
}

/// Begin and end of the recording, ns since 1970.
fn range_ns(capture: &Capture) -> Result<[i64; 2]> {
    let clock = dimensions::clock(capture)?;
    let from_ns = clock.wall_ns(capture.manifest.started_boot_ns);
    Ok([from_ns, clock.wall_ns(capture.manifest.whole_until_boot_ns).max(from_ns.saturating_add(1))])
}

fn facts(
    capture: &Capture,
    hops: &Hops,
    timeline: &Timeline,
    [from_ns, to_ns]: [i64; 2],
) -> Vec<(String, String)> {
    let manifest = &capture.manifest;
    let host = &manifest.host;
    let requests = timeline.series.first().map_or(0, |all| all.requests);
    let origin = match &manifest.imported {
        Some(imported) => (manifest.probe_set.as_str(), imported.files.join(", ")),
        None => ("host", format!("{}, Linux {}", host.name, host.kernel)),
    };
    let facts = [
        origin,
        ("from", time(from_ns, host.utc_offset_s, 0)),
        ("until", time(to_ns, host.utc_offset_s, 0)),
        ("length", duration(to_ns - from_ns)),
        ("requests from outside", count(hops.from_outside())),
        ("over all hops", count(requests)),
        ("state", capture.state.name().to_owned()),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Intervals of which events are missing; intervals that touch are one.
async fn losses(context: &SessionContext) -> Result<Vec<Lost>> {
    let query = "SELECT CAST(wall_time(from_boot_ns) AS BIGINT) AS from_ns,
                        CAST(wall_time(to_boot_ns) AS BIGINT) AS to_ns, kind, cause, sum(count) AS count
                 FROM loss WHERE count > 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
    let mut lost: Vec<Lost> = Vec::new();
    let mut batches = session::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let (from, to, counts) =
            (numbers(&batch, "from_ns")?, numbers(&batch, "to_ns")?, numbers(&batch, "count")?);
        let (kind, cause) = (texts(&batch, "kind")?, texts(&batch, "cause")?);
        for row in 0..batch.num_rows() {
            let what = format!("{}: {}", kind.value(row), cause.value(row).replace('_', " "));
            let next = Lost {
                from_ns: from.value(row),
                to_ns: to.value(row),
                count: u64::try_from(counts.value(row)).unwrap_or_default(),
                what,
            };
            let full = lost.len() >= MAX_LOSSES;
            match lost.last_mut() {
                Some(last) if full || (last.to_ns >= next.from_ns && last.what == next.what) => {
                    last.to_ns = last.to_ns.max(next.to_ns);
                    last.count += next.count;
                }
                _ => lost.push(next),
            }
        }
    }
    Ok(lost)
}
