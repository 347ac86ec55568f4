//! How many spans a second are counted into the bins of their streams: both passes of `findings::bins::count` over spans
//! that are in memory already, so without reading and decoding files.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewBuilder};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use retrospan_analyzer::findings::bins::{Bins, count};
use retrospan_analyzer::findings::groups::{By, Keys};
use retrospan_analyzer::tables::spans::Sides;

const SPANS: i64 = 10_000_000;
const BATCH: i64 = 8192;
const CONNECTIONS: i64 = 384;
const HOPS: i64 = 3;
const PATHS: i64 = 12;
const LENGTH_NS: i64 = 3_600_000_000_000;
const MIN_PERIOD_NS: i64 = 60_000_000_000;
const RUNS: usize = 5;

/// Prints rows of the table of speeds.
pub fn table() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let mut seconds: Vec<f64> = (0..RUNS).map(|_| runtime.block_on(run(threads))).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        let middle = seconds[RUNS / 2];
        println!(
            "| binning of {SPANS} spans in memory, both passes, {threads} threads | {middle:.3} s: {:.1} million spans a second and pass |",
            2.0 * SPANS as f64 / middle * 1e-6
        );
    }
}

async fn run(threads: usize) -> f64 {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    let share = SPANS / threads as i64;
    let parts = (0..threads as i64).map(|part| spans(part * share, share)).collect();
    register(&context, "spans", parts);
    register(&context, "connections", vec![vec![connections()]]);
    register(&context, "processes", vec![vec![processes()]]);
    let mut keys = Keys::read(&context, Sides::default()).await.expect("keys");
    let bins = Bins::new(0, LENGTH_NS, MIN_PERIOD_NS);
    let begin = Instant::now();
    let counted = count(&context, &mut keys, bins, (&By::ALL, MIN_PERIOD_NS), &|_| ()).await;
    let elapsed = begin.elapsed().as_secs_f64();
    let counted = counted.expect("counts");
    let in_hops: u64 = counted
        .streams
        .iter()
        .zip(&keys.streams)
        .filter(|(_, stream)| stream.by == By::Hop)
        .flat_map(|(counts, _)| &counts.begun)
        .map(|&n| u64::from(n))
        .sum();
    assert_eq!((counted.spans, in_hops), (SPANS as u64, SPANS as u64 / 2), "every span once");
    elapsed
}

fn register(context: &SessionContext, name: &str, parts: Vec<Vec<RecordBatch>>) {
    let schema = parts[0][0].schema();
    let table = MemTable::try_new(schema, parts).expect("a table");
    context.register_table(name, Arc::new(table)).expect("a table");
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Texts that repeat share their view, as those from a file's dictionary do.
fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    let mut builder = StringViewBuilder::new().with_deduplicate_strings();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// Client and server spans in turns, in the order of time. Batches share the columns without times: those a decoder has
/// just written are in a cache, too.
fn spans(from: i64, spans: i64) -> Vec<RecordBatch> {
    let rows = || 0..BATCH;
    let outcome = |row: i64| if row % 1000 < 2 { "client_closed" } else { "ok" };
    let shared = [
        ("connection_id", numbers(rows().map(|row| row / 2 * 7919 % CONNECTIONS))),
        ("kind", texts(rows().map(|row| ["client", "server"][(row % 2) as usize].to_owned()))),
        ("method", texts(rows().map(|_| "GET".to_owned()))),
        ("path", texts(rows().map(|row| format!("/api/v2/resources/kind-{}", row / 2 % PATHS)))),
        ("outcome", texts(rows().map(|row| outcome(row).to_owned()))),
    ];
    let slow = |row: i64| if row / 5000 % 200 == 7 { 300_000_000 } else { 2_000_000 + row % 77 * 10_000 };
    let batch = |first: i64| {
        let rows = || first..(first + BATCH).min(from + spans);
        let length = rows().count();
        let times = [
            ("start_time", numbers(rows().map(|row| LENGTH_NS / SPANS * row))),
            ("duration_ns", numbers(rows().map(slow))),
        ];
        let columns = shared.iter().map(|(name, column)| (*name, column.slice(0, length))).chain(times);
        RecordBatch::try_from_iter(columns).expect("a batch")
    };
    (from..from + spans).step_by(BATCH as usize).map(batch).collect()
}

fn connections() -> RecordBatch {
    let all = || 0..CONNECTIONS;
    let port = |id: i64| 8000 + id % HOPS;
    RecordBatch::try_from_iter([
        ("connection_id", numbers(all())),
        ("requests", numbers(all().map(|_| SPANS / CONNECTIONS / 2))),
        ("client_socket_id", numbers(all().map(|id| 2 * id + 1))),
        ("server_socket_id", numbers(all().map(|id| 2 * id + 2))),
        ("src_addr", texts(all().map(|id| format!("10.0.0.{}", id % 8)))),
        ("src_port", numbers(all().map(|id| 40_000 + id))),
        ("dst_port", numbers(all().map(port))),
        ("dst_addr", texts(all().map(|_| "10.0.1.1".to_owned()))),
        (
            "hop",
            texts(all().map(|id| format!("process-{} -> process-{}:{}", id % HOPS, id % HOPS + 1, port(id)))),
        ),
        ("client_process_id", numbers(all().map(|id| id % HOPS))),
        ("server_process_id", numbers(all().map(|id| id % HOPS + 1))),
    ])
    .expect("a batch")
}

fn processes() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("process_id", numbers(0..=HOPS)),
        ("comm", texts((0..=HOPS).map(|id| format!("process-{id}")))),
    ])
    .expect("a batch")
}
