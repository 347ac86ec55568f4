//! The default search on the spans of a recording that is kept elsewhere: a Parquet file with `start_time` (timestamp),
//! `duration_ns`, `outcome` and `dst_port` of client spans. Every port is a hop.

use std::time::Instant;

use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::ParquetReadOptions;
use retrospan_analyzer::findings::bins::{Bins, count};
use retrospan_analyzer::findings::groups::Keys;
use retrospan_analyzer::findings::search::{Options, candidates, search};
use retrospan_analyzer::sql::session;
use retrospan_analyzer::tables::spans::Sides;

const SPANS: &str = "CREATE VIEW spans AS SELECT CAST(dst_port AS BIGINT) AS connection_id, 'client' AS kind,
    CAST(NULL AS VARCHAR) AS method, CAST(NULL AS VARCHAR) AS path, outcome, arrow_cast(start_time, 'Timestamp(Nanosecond, None)') AS start_time, duration_ns FROM file";
const CONNECTIONS: &str = "CREATE VIEW connections AS SELECT CAST(dst_port AS BIGINT) AS connection_id,
    count(*) AS requests, 1 AS client_socket_id, '127.0.0.1' AS src_addr, 0 AS src_port, '127.0.0.1' AS dst_addr,
    CAST(dst_port AS BIGINT) AS dst_port, concat('client -> :', CAST(dst_port AS VARCHAR)) AS hop,
    1 AS client_process_id, 1 AS server_process_id FROM file GROUP BY dst_port";
const PROCESSES: &str = "CREATE VIEW processes AS SELECT 1 AS process_id, 'client' AS comm";
const ENDS: &str =
    "SELECT min(CAST(start_time AS BIGINT)), max(CAST(start_time AS BIGINT) + duration_ns) FROM spans";
/// Shortest periods asked for, s; the default first.
const ASKED_S: [i64; 6] = [10, 15, 60, 120, 200, 300];

/// Prints what is found in the file, whatever shortest period is asked for.
pub fn table(path: &str) {
    println!("\n### The default search on {path}\n");
    println!(
        "| shortest period asked for | found | cycles | FAP | series tested | time |\n|---|---|---|---|---|---|"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    for asked_s in ASKED_S {
        runtime.block_on(row(path, asked_s));
    }
}

async fn row(path: &str, asked_s: i64) {
    let context = session::empty().expect("a session");
    context.register_parquet("file", path, ParquetReadOptions::default()).await.expect("a Parquet file");
    for view in [SPANS, CONNECTIONS, PROCESSES] {
        context.sql(view).await.expect("a view");
    }
    let ends = context.sql(ENDS).await.expect("ends").collect().await.expect("ends");
    let end = |column: usize| {
        let cast = datafusion::arrow::compute::cast(ends[0].column(column), &DataType::Int64).expect("times");
        let times: &Int64Array = cast.as_primitive::<Int64Type>();
        times.value(0)
    };
    let options = Options { min_period_ns: asked_s * 1_000_000_000, ..Options::default() };
    let bins = Bins::new(end(0), end(1), options.min_period_ns);
    let begin = Instant::now();
    let mut keys = Keys::read(&context, Sides::default()).await.expect("keys");
    let by = (&options.by[..], options.min_period_ns);
    let counted = count(&context, &mut keys, bins, by, &|_| ()).await.expect("counts");
    let found =
        tokio::task::block_in_place(|| search(candidates(&counted, &keys, &[], &options), bins, &options));
    let best = found.found.first().map_or("nothing | | ".to_owned(), |best| {
        format!(
            "{:.1} s | {} of {} | {:.1e}",
            best.comb.period_ns * 1e-9,
            best.comb.hits.len(),
            best.comb.teeth,
            best.fap
        )
    });
    println!("| {asked_s} s | {best} | {} | {:.1} s |", found.tests, begin.elapsed().as_secs_f64());
}
