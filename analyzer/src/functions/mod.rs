//! SQL functions over times and latencies, with which the shipped analysis can be taken apart and put together anew.
//!
//! `episodes()` finds stretches with bad requests, `comb(times, shortest_period_s)` a period in any times, `fold_phase` folds
//! times on a period; `latency_histogram` and `latency_sketch` count latencies so that counts of parts can be added up.

pub mod comb;
pub mod episodes;
pub mod fold;
pub mod sketch;

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;

/// The range of a recording, ns since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recording {
    /// Begin.
    pub begin_ns: i64,
    /// End.
    pub end_ns: i64,
}

/// Makes the functions available. Those about a recording know the capture's.
pub fn register(context: &SessionContext, capture: &Capture, recording: Recording) {
    context.register_udf(fold::fold_phase());
    context.register_udf(sketch::sketch_quantile());
    context.register_udaf(sketch::latency_histogram());
    context.register_udaf(sketch::latency_sketch());
    context.register_udaf(sketch::sketch_merge());
    context.register_udaf(comb::comb(recording));
    context.register_udtf("episodes", Arc::new(episodes::Episodes::new(capture.clone())));
}
