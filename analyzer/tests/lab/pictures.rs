//! What every picture of a finding has to show, whatever the capture: not nothing, and as much as the finding counts.

use std::path::Path;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use retrospan_analyzer::findings::find::find;
use retrospan_analyzer::findings::search::Options;
use retrospan_analyzer::findings::{Findings, Metric, Spike};
use retrospan_analyzer::report::data::{Fold, PHASES, load};
use retrospan_analyzer::session;
use retrospan_formats::reader::Capture;

/// Looks for each metric by itself and for all together, and returns what is wrong with the pictures of what it finds, and how
/// many pictures there were.
pub fn wrong_pictures(capture: &Path, min_period_ns: i64) -> (Vec<String>, usize) {
    let capture = Capture::open(capture).expect("the capture opens");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let context = session::open(&capture).expect("tables");
        let (mut wrong, mut pictures) = (Vec::new(), 0);
        let alone = Metric::ALL.into_iter().map(|metric| vec![metric]);
        for metrics in alone.chain([Metric::ALL.to_vec()]) {
            let options = Options { metrics, min_period_ns, ..Options::default() };
            let findings = find(&context, &capture, &options, &|_| ()).await.expect("findings");
            pictures += findings.spikes.len();
            wrong.extend(wrong_in(&context, &capture, &findings).await);
        }
        (wrong, pictures)
    })
}

/// What is wrong with the pictures of these findings.
pub async fn wrong_in(context: &SessionContext, capture: &Capture, findings: &Findings) -> Vec<String> {
    let folds = load::folds(context, capture, findings).await.expect("folds");
    let mut wrong = Vec::new();
    for (spike, fold) in findings.spikes.iter().zip(&folds) {
        let of_spike = wrong_of(context, spike, fold).await;
        wrong.extend(of_spike.map(|what| format!("{what}: {}", spike.sentence)));
    }
    wrong
}

async fn wrong_of(context: &SessionContext, spike: &Spike, fold: &Fold) -> Option<String> {
    let sum: f64 = fold.values.iter().sum();
    if sum == 0.0 || fold.zoom.iter().all(|&count| count == 0) {
        return Some("an empty picture".to_owned());
    }
    if spike.metric == Metric::Errors || spike.metric == Metric::ClientClosed {
        let failures = if spike.metric == Metric::Errors {
            "outcome IN ('error', 'server_closed', 'reset')"
        } else {
            "outcome = 'client_closed'"
        };
        let counted = count(context, &format!("({}) AND {failures}", spike.condition)).await;
        if [sum as u64, spike.bad_requests] != [counted; 2] {
            return Some(format!(
                "the picture shows {sum}, the finding says {}, the spans {counted}",
                spike.bad_requests
            ));
        }
    }
    spike.cycle_table.iter().filter(|cycle| !cycle.lossy).find_map(|cycle| {
        let (onset_ns, end_ns) = (cycle.onset_ns?, cycle.end_ns?);
        let seen = cells(fold, onset_ns, end_ns);
        let enough = match spike.metric {
            // Nothing came in the middle of it: what is shown there is less than elsewhere.
            Metric::Missing => seen <= sum,
            Metric::Latency => seen > 0.0,
            _ => seen + 0.5 >= cycle.affected,
        };
        (!enough).then(|| {
            format!("cycle {} affects {:.1}, the picture shows {seen}", cycle.number, cycle.affected)
        })
    })
}

/// The sum of the cells that a stretch of time touches.
fn cells(fold: &Fold, from_ns: i64, to_ns: i64) -> f64 {
    let at = |ns: i64| fold.place(ns).map(|(cycle, phase)| cycle * PHASES + phase);
    let (Some(first), Some(last)) = (at(from_ns), at(to_ns.max(from_ns))) else { return 0.0 };
    fold.values[first..=last].iter().sum()
}

async fn count(context: &SessionContext, condition: &str) -> u64 {
    let query = format!("SELECT count(*) FROM spans WHERE {condition}");
    let batches = context.sql(&query).await.expect(&query).collect().await.expect(&query);
    batches[0].column(0).as_primitive::<Int64Type>().value(0) as u64
}
