//! A small recording with a slow request a second, and what `spikes` might say about it: hostile text wherever text may
//! come from traffic.

use std::path::{Path, PathBuf};

use retrospan_analyzer::findings::{
    Also, Cause, Cycle, DimensionShare, Findings, HopShare, Interval, Metric, Searched, Spike, Unexplained,
    WorstEpisode,
};
use retrospan_analyzer::report;
use retrospan_analyzer::report::data::load;
use retrospan_analyzer::session;
use retrospan_analyzer::tables::columns;
use retrospan_formats::manifest::Loss;
use retrospan_formats::reader::Capture;
use serde_json::json;

use crate::cli_support::*;

/// What would act in a page if any of it became markup.
const HOSTILE: &str = "/</style></title></svg><script>window.hostile=1</script><img/src=x/onerror=window.hostile=2>\"onload='x'&amp;\u{202e}";
/// Period of the slow requests, ms.
const PERIOD_MS: i64 = 1_000;
/// How many of them there are.
pub const CYCLES: i64 = 6;

/// Ten requests a second, of which one in each second takes 300 ms and has a hostile path; a loss in the third second.
pub fn beating_capture(directory: &Path) -> PathBuf {
    let path = directory.join("beat <b>.cap");
    let mut writer = writer(&path);
    let mut rows = Rows { processes: processes(), ..Rows::default() };
    for k in 0..10 * CYCLES {
        let slow = k % 10 == 4;
        let path = if slow { HOSTILE } else { "/item" };
        let request = format!("GET {path} HTTP/1.1\r\nhost: web\r\n\r\n");
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        rows.sockets.extend(sockets(2 * k, 2 * k + 1, 40_000 + k as i32, 100 * k));
        let takes_ms = if slow { 300 } else { 5 };
        let exchange = exchange(2 * k, 2 * k + 1, 100 * k + 1, takes_ms, &request, response);
        rows.events.extend(exchange.iter().map(|data| data.row(0)));
    }
    rows.events.sort_by_key(|row| row["boot_ns"].as_i64());
    rows.clock = vec![json!({"boot_ns": START_BOOT_NS, "wall_ns": START_WALL_NS})];
    rows.loss = vec![json!({
        "from_boot_ns": START_BOOT_NS + 2_100_000_000_i64, "to_boot_ns": START_BOOT_NS + 2_400_000_000_i64, "cpu": 1,
        "kind": "send", "cause": "ring_full", "count": 7,
    })];
    let lost = Loss { kind: "send".to_owned(), cause: "ring_full".to_owned(), count: 7 };
    part(&mut writer, &rows, PERIOD_MS * CYCLES, vec![lost]);
    writer.complete(cost()).unwrap();
    path
}

/// What `spikes` might say about it, with hostile text wherever text may come from traffic.
fn findings(slow_traces: Vec<String>) -> Findings {
    let first_ns = START_WALL_NS + 401_000_000;
    let cycle = |number: i64| {
        let expected_ns = first_ns + (number - 1) * PERIOD_MS * 1_000_000;
        let hit = number != 5;
        Cycle {
            number: number as usize,
            expected_ns,
            onset_ns: hit.then_some(expected_ns + 1_000_000),
            end_ns: hit.then_some(expected_ns + 300_000_000),
            requests: 3,
            affected: if hit { 1.0 } else { 0.0 },
            errors: 0,
            client_closed: 0,
            excess_s: 0.3,
            worst_s: 0.302,
            lossy: number == 3,
        }
    };
    let interval = Interval { mean: 1.0, low: 0.9, high: 1.1 };
    let spike = Spike {
        summary: format!("Every 1.00 s about one request takes 300 ms, because {HOSTILE} is stopped."),
        odds: "5 of 6 times; odds that this is chance: 1 in 5 000.".to_owned(),
        pids: vec![7],
        requests_sql: "SELECT * FROM spans WHERE duration_ns > 100000000".to_owned(),
        sentence: format!("Every 1.000 s: waiting in curl -> server:8080 for {HOSTILE}"),
        period_s: 1.0,
        period_ci_s: [0.999, 1.001],
        fap: 0.0002,
        fap_extrapolated: true,
        null: "clusters".to_owned(),
        llr: 40.0,
        cycles: CYCLES as usize,
        hits: CYCLES as usize - 1,
        metric: Metric::Latency,
        stream: HOSTILE.to_owned(),
        by: "route".to_owned(),
        condition: "connection_id IN (SELECT connection_id FROM connections WHERE hop = 'curl -> server:8080') AND kind = 'client'".to_owned(),
        hop: "curl -> server:8080".to_owned(),
        cause: format!("each onset follows exec of {HOSTILE}"),
        sql: "SELECT *\nFROM spans\nWHERE path < 'b' AND path > 'a'".to_owned(),
        jitter_s: 0.001,
        first_tooth_ns: first_ns,
        clock: "undecided".to_owned(),
        clock_evidence: 1.0,
        boundary: None,
        affected_requests: 5.0,
        affected_per_cycle: interval,
        excess_s_per_cycle: interval,
        bad_requests: 5,
        share_of_bad: 1.0,
        cycle_table: (1..=CYCLES).map(cycle).collect(),
        hops: vec![HopShare {
            hop: HOSTILE.to_owned(),
            part: "server".to_owned(),
            process: HOSTILE.to_owned(),
            excess_s: 1.5,
            failures: 0,
            share: 0.96,
            positive_cycles: 5,
        }],
        dimensions: vec![DimensionShare {
            dimension: "route".to_owned(),
            value: HOSTILE.to_owned(),
            share: 1.0,
            share_of_ordinary: 0.0,
            positive_cycles: 5,
        }],
        causes: vec![Cause {
            reason: format!("{HOSTILE} is started"),
            explains: false,
            pids: Vec::new(),
            kind: "exec".to_owned(),
            claim: HOSTILE.to_owned(),
            subject: HOSTILE.to_owned(),
            coincidences: 5,
            hits: 5,
            elsewhere: 0,
            absent_in_misses: 1,
            misses: 1,
            chance: 1e-9,
            lead_s: 0.001,
            lead_sd_s: 0.0001,
            dose: None,
            sql: HOSTILE.to_owned(),
            rows: 5,
        }],
        also: vec![Also {
            stream: HOSTILE.to_owned(),
            by: "peer".to_owned(),
            metric: Metric::Errors,
            hits: 4,
        }],
        typical_traces: Vec::new(),
        slow_traces,
    };
    Findings {
        spikes: vec![spike],
        searched: Searched {
            spans: 120,
            streams: 4,
            tests: 2,
            min_period_s: 0.5,
            max_period_s: 2.0,
            fap: 0.01,
            ..Searched::default()
        },
        unexplained: vec![Unexplained {
            worst: WorstEpisode {
                onset_ns: first_ns,
                end_ns: first_ns + 300_000_000,
                requests: 9,
                affected: 3.0,
                excess_s: 0.9,
            },
            sql: format!("SELECT * FROM spans WHERE path = '{HOSTILE}'"),
            stream: HOSTILE.to_owned(),
            metric: Metric::Missing,
            episodes: 2,
            onset_ns: vec![first_ns],
            affected: 3.0,
            fap: None,
            needed: Some(HOSTILE.to_owned()),
        }],
        notes: vec![HOSTILE.to_owned()],
    }
}

/// The report of a capture with these findings; the traces of slow requests are looked up.
pub fn gathered(path: &Path, with_findings: bool) -> report::data::Report {
    let capture = Capture::open(path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = session::open(&capture).unwrap();
        let findings = if with_findings {
            let query = "SELECT trace_id FROM traces WHERE root_duration_ns > 200000000 ORDER BY start_time";
            let batches = context.sql(query).await.unwrap().collect().await.unwrap();
            let ids = batches.iter().flat_map(|batch| {
                let column = columns::texts(batch, "trace_id").unwrap();
                (0..batch.num_rows()).map(|row| column.value(row).to_owned()).collect::<Vec<_>>()
            });
            findings(ids.collect())
        } else {
            Findings { notes: vec!["Nothing comes back.".to_owned()], ..Findings::default() }
        };
        load::report(&context, &capture, findings).await.unwrap()
    })
}
