//! dev
use retrospan_analyzer::findings::*;
use retrospan_analyzer::{catalog, report};
use retrospan_formats::reader::Capture;

#[test]
fn dev() {
    let Ok(capture) = std::env::var("DEV_CAPTURE") else { return };
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(capture.replace(".cap", ".truth.json")).unwrap()).unwrap();
    let onsets: Vec<(i64, i64)> = truth["injected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (i["onset_wall_ns"].as_i64().unwrap(), i["end_wall_ns"].as_i64().unwrap()))
        .collect();
    let capture = Capture::open(std::path::Path::new(&capture)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = onsets.first().map_or(0, |o| o.0);
    let hop = std::env::var("DEV_HOP").unwrap_or_default();
    let mut findings = Findings::default();
    if !onsets.is_empty() {
        let context = catalog::open(&capture).unwrap();
        let batch = runtime.block_on(async { context.sql(&format!("SELECT trace_id FROM traces WHERE start_time >= TIMESTAMP '1970-01-01' ORDER BY root_duration_ns DESC LIMIT 5")).await.unwrap().collect().await.unwrap() });
        let batch2 = runtime.block_on(async { context.sql(&format!("SELECT trace_id FROM traces WHERE root_duration_ns < 2000000 ORDER BY root_duration_ns DESC LIMIT 3")).await.unwrap().collect().await.unwrap() });
        let ids = |b: &Vec<arrow::array::RecordBatch>| {
            use arrow::array::AsArray;
            let mut v = vec![];
            for b in b {
                let c = arrow::compute::cast(b.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
                for r in c.as_string::<i32>().iter() {
                    v.push(r.unwrap().to_owned())
                }
            }
            v
        };
        let mut table: Vec<Cycle> = onsets
            .iter()
            .enumerate()
            .map(|(i, o)| Cycle {
                number: i + 1,
                expected_ns: first + (i as i64) * 5_000_200_000,
                onset_ns: Some(o.0),
                end_ns: Some(o.1),
                requests: 90,
                affected: 60.0 + i as f64,
                errors: 0,
                client_closed: 0,
                excess_s: 13.2,
                worst_s: 0.41,
                lossy: i == 3,
            })
            .collect();
        table[5].onset_ns = None;
        table[5].end_ns = None;
        findings.spikes.push(Spike {
            sentence: format!("Every 5.000 s ± 0.001 s, 8 of 9 cycles, false-alarm probability 0.0002: 96 % of the excess is waiting in {hop}; 71 % of all slow requests. <script>alert(1)</script>"),
            period_s: 5.0002, period_ci_s: [4.9997, 5.0007], fap: 0.0002, fap_extrapolated: true, null: "clusters".into(), llr: 80.0, cycles: 9, hits: 8,
            metric: Metric::Latency, stream: "shop".into(), by: "service".into(), hop: hop.clone(),
            cause: "Each onset follows a stop of shop (pid 4711, SIGSTOP) by 0.4 ms; 8 of 8, never elsewhere.".into(),
            sql: "SELECT time, kind, process_id\nFROM events\nWHERE kind = 'stopped' AND time BETWEEN '2026' AND '2027' -- \"x\" <b>".into(),
            jitter_s: 0.0007, first_tooth_ns: first, clock: "free-running".into(), boundary: Some(Boundary { every_s: 60.0, offset_s: 1.2, chance: 0.04 }),
            affected_requests: 530.0, affected_per_cycle: Interval { mean: 66.1, low: 63.0, high: 69.2 }, excess_s_per_cycle: Interval { mean: 13.2, low: 12.9, high: 13.6 },
            share_of_bad: 0.71, cycle_table: table,
            hops: vec![HopShare { hop: hop.clone(), part: "server".into(), process: "shop".into(), excess_s: 112.3, share: 0.96, positive_cycles: 8 }, HopShare { hop: "edge-envoy -> inner-envoy:8001".into(), part: "network".into(), process: "inner-envoy".into(), excess_s: 4.1, share: 0.04, positive_cycles: 5 }],
            dimensions: vec![DimensionShare { dimension: "process".into(), value: "shop".into(), share: 1.0, share_of_ordinary: 1.0, positive_cycles: 8 }, DimensionShare { dimension: "route".into(), value: "GET /items\" onload=\"x\u{202e}".into(), share: 0.6, share_of_ordinary: 0.3, positive_cycles: 8 }],
            causes: vec![Cause { kind: "stopped".into(), claim: "shop was stopped 0.4 ms before each onset".into(), subject: "shop".into(), coincidences: 8, hits: 8, elsewhere: 0, absent_in_misses: 1, misses: 1, chance: 3e-9, lead_s: 0.0004, lead_sd_s: 0.0001, dose: Some(0.9), sql: "SELECT 1".into() }],
            also: vec![Also { stream: "edge-envoy".into(), by: "service".into(), metric: Metric::Latency, hits: 8 }],
            typical_traces: ids(&batch2), slow_traces: ids(&batch),
        });
        findings.searched = Searched {
            spans: 50000,
            streams: 12,
            tests: 7,
            min_period_s: 1.0,
            max_period_s: 15.0,
            fap: 0.01,
            begin_ns: 0,
            end_ns: 0,
            utc_offset_s: 0,
        };
        findings.unexplained.push(Unexplained {
            stream: "x".into(),
            metric: Metric::Errors,
            episodes: 3,
            onset_ns: vec![first],
            affected: 12.0,
            fap: Some(0.3),
            needed: Some("4 cycles needed at this jitter: record 50 min".into()),
        });
    }
    let report = runtime.block_on(async {
        let context = catalog::open(&capture).unwrap();
        report::gather::report(&context, &capture, findings).await.unwrap()
    });
    std::fs::write("/tmp/rt/report.html", report::page::html(&report)).unwrap();
    for fold in &report.folds {
        println!("{}", report::text::fold(fold, false));
        println!("{}", report::text::fold(fold, true));
    }
    for (name, what) in report::plot::names(&report) {
        println!("{name} {what}");
        let scene = report::plot::scene(&report, &name).unwrap();
        std::fs::write(
            format!("/tmp/rt/{name}.svg"),
            report::svg::draw(&scene, report::svg::Place::Alone(report::colour::Theme::Light), "")
                .into_string(),
        )
        .unwrap();
        std::fs::write(
            format!("/tmp/rt/{name}.png"),
            report::raster::png(&scene, report::colour::Theme::Light),
        )
        .unwrap();
    }
}
