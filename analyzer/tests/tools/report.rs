//! `retrospan report`: the page in a real browser, hostile text in it, and single pictures.

use crate::browser;
use std::path::{Path, PathBuf};

use crate::cli_support::*;
use retrospan_analyzer::findings::{
    Also, Cause, Cycle, DimensionShare, Findings, HopShare, Interval, Metric, Searched, Spike, Unexplained,
};
use retrospan_analyzer::report;
use retrospan_analyzer::report::data::load;
use retrospan_analyzer::report::page;
use retrospan_analyzer::report::pictures::{plot, terminal};
use retrospan_analyzer::session;
use retrospan_analyzer::tables::columns;
use retrospan_formats::manifest::Loss;
use retrospan_formats::reader::Capture;
use serde_json::json;

/// What would act in a page if any of it became markup.
const HOSTILE: &str = "/</style></title></svg><script>window.hostile=1</script><img/src=x/onerror=window.hostile=2>\"onload='x'&amp;\u{202e}";
/// Period of the slow requests, ms.
const PERIOD_MS: i64 = 1_000;
const CYCLES: i64 = 6;

/// Ten requests a second, of which one in each second takes 300 ms and has a hostile path; a loss in the third second.
fn beating_capture(directory: &Path) -> PathBuf {
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
fn gathered(path: &Path, with_findings: bool) -> report::data::Report {
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

/// Writes a page into the folder.
fn written(directory: &Path, report: &report::data::Report) -> PathBuf {
    let file = directory.join("report.html");
    std::fs::write(&file, page::html(report)).unwrap();
    file
}

#[test]
fn the_page_opens_and_hostile_text_stays_text() {
    if !browser::browser_or_skip("the_page_opens_and_hostile_text_stays_text") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let page = written(directory.path(), &gathered(&beating_capture(directory.path()), true));
    let shown = browser::open(
        &page,
        &[
            "--eval=String(window.hostile)",
            "--eval=document.scripts.length + ' ' + document.querySelectorAll('img, iframe, object, link').length",
            "--eval=[...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some(n => n.startsWith('on'))).length",
            "--eval=document.title",
            "--eval=[...document.querySelectorAll('[data-tip]')].filter(e => e.dataset.tip.includes('<script>')).length > 0",
            "--eval=document.querySelector('article code').textContent",
        ],
    );
    let values = shown["values"].as_array().unwrap();
    assert_eq!(values[0], "undefined");
    assert_eq!(values[1], "1 0");
    assert_eq!(values[2], 0);
    assert_eq!(values[3], "beat <b>.cap · Retrospan");
    assert_eq!(values[4], true);
    assert_eq!(values[5], "SELECT *\nFROM spans\nWHERE path < 'b' AND path > 'a'");
    assert_eq!(shown["errors"], json!([]));
    assert_eq!(shown["fetched"], json!([]));
    let text = shown["text"].as_str().unwrap();
    assert!(text.contains("Every 1.000 s: waiting in curl -> server:8080"), "{text}");
    assert!(text.contains("<script>window.hostile=1</script>"), "{text}");
    assert!(text.contains("\\u{202e}") && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains("7 events in 1 interval"), "{text}");
}

#[test]
fn a_phone_and_a_keyboard_are_enough() {
    if !browser::browser_or_skip("a_phone_and_a_keyboard_are_enough") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let page = written(directory.path(), &gathered(&beating_capture(directory.path()), true));
    let phone = browser::open(&page, &["--width=360", "--height=740", "--dark"]);
    assert_eq!((&phone["width"], &phone["errors"]), (&json!(360), &json!([])));
    // Help opens; closes; the theme changes; the first finding has the focus.
    let cases = [
        (&["?"][..], "document.querySelector('#help').open", json!(true)),
        (&["?", "?"], "document.querySelector('#help').open", json!(false)),
        (&["d"], "document.documentElement.dataset.theme", json!("dark")),
        (&["1"], "document.activeElement.id", json!("finding-1")),
    ];
    for (keys, expression, expected) in cases {
        let eval = format!("--eval={expression}");
        let mut arguments = vec![eval.as_str(), "--keys"];
        arguments.extend(keys);
        assert_eq!(browser::open(&page, &arguments)["values"][0], expected, "{keys:?}");
    }
    // Arrow keys walk through traces, and a heat map says what its cells hold.
    let walk = "(() => { const group = document.querySelector('.traces'); \
        group.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true })); \
        return [...group.querySelectorAll('.trace')].map(trace => trace.hidden).join(); })()";
    let cell = "(async () => { const cells = document.querySelector('article svg.wide image.cells[tabindex]'); cells.focus(); \
        const press = key => cells.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })); \
        press('ArrowUp'); await new Promise(done => setTimeout(done, 200)); press('ArrowDown'); \
        return document.querySelector('#tip').textContent; })()";
    let shown = browser::open(&page, &[&format!("--eval={walk}"), &format!("--eval={cell}")]);
    assert_eq!(shown["values"][0], "true,false,true");
    let tip = shown["values"][1].as_str().unwrap();
    assert!(tip.contains("cycle ") && tip.contains("from the tooth"), "{tip}");
}

#[test]
fn without_a_spike_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let page = page::html(&gathered(&beating_capture(directory.path()), false));
    assert!(page.contains("No periodic spike.") && page.contains("Nothing comes back."));
    assert!(page.contains("Of the whole recording") && page.contains("Typical"));
}

#[test]
fn a_finding_is_told_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let page = page::html(&gathered(&beating_capture(directory.path()), true));
    for words in [
        "<span class=\"number\">1.</span> Every 1.000 s",
        "jitter 1.00 ms",
        "clock-locked is favoured; about 10 cycles hit would tell; near no wall-clock boundary",
        "own time of /&lt;/style&gt;",
        // In the row of a cycle that is hit.
        "; events are missing</td>",
        "a kernel event meanwhile",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let hop_table = page.find("Where the excess is").unwrap();
    let [share, hop] =
        ["96 %", "own time of"].map(|words| hop_table + page[hop_table..].find(words).unwrap());
    assert!(share < hop, "the main number is what a phone shows");
}

#[test]
fn a_recording_too_short_for_any_period_says_no_range() {
    let directory = tempfile::tempdir().unwrap();
    let mut report = gathered(&beating_capture(directory.path()), true);
    assert!(page::html(&report).contains("periods from 500 ms to 2.00 s"));
    report.findings.searched.min_period_s = 10.0;
    let page = page::html(&report);
    assert!(!page.contains("periods from"), "10 s to 2 s is no range");
}

#[test]
fn figures_are_those_of_the_spans() {
    let directory = tempfile::tempdir().unwrap();
    let report = gathered(&beating_capture(directory.path()), true);
    let requests = 10 * CYCLES as u64;
    let all = &report.timeline.series[0];
    // Both ends were recorded: the sum counts each request once, each side has its own series.
    assert_eq!(
        report.timeline.series.iter().map(|series| series.requests).collect::<Vec<_>>(),
        [requests; 3]
    );
    assert_eq!(all.cells.iter().map(|&count| u64::from(count)).sum::<u64>(), requests);
    assert_eq!(
        (report.edges.len(), report.edges[0].requests, report.edges[0].connections),
        (1, requests, requests)
    );
    assert!(
        (report.edges[0].p99_ns / 302e6 - 1.0).abs() < 0.05
            && (report.edges[0].p50_ns / 7e6 - 1.0).abs() < 0.05
    );
    let fold = &report.folds[0];
    assert_eq!((fold.series.as_str(), fold.cycles), ("curl -> server:8080", CYCLES as usize + 1));
    // Every cycle has its slowest request at the tooth, a quarter of the period from its begin.
    // What came before the first tooth has a column too.
    for cycle in 1..=CYCLES as usize {
        let phases = &fold.values[cycle * report::data::PHASES..][..report::data::PHASES];
        let slowest = (0..phases.len()).max_by(|&a, &b| phases[a].total_cmp(&phases[b])).unwrap();
        assert!(slowest.abs_diff(report::data::PHASES / 4) <= 1, "{cycle} {slowest}");
        assert!((phases[slowest] / 302e6 - 1.0).abs() < 0.02);
    }
    // A column has the number of its cycle; one that begins before the end of the recording, but has no tooth in it, has none.
    for cycle in &report.findings.spikes[0].cycle_table {
        let (column, _) = fold.place(cycle.expected_ns).unwrap();
        assert_eq!(fold.number(column), Some(cycle.number));
    }
    assert_eq!(fold.number(0), None);
    let last = report::data::Fold { last_cycle: 4, ..fold.clone() };
    assert_eq!((last.number(4), last.number(5)), (Some(4), None));
    assert_eq!(fold.lossy.iter().filter(|&&lossy| lossy).count(), 29);
    let slow = &report.traces[0].slow;
    assert_eq!((slow.len(), slow[0].spans.len(), slow[0].spans[1].depth), (3, 2, 1));
    let shown = terminal::fold(fold, false);
    // The third spike hides behind the loss.
    assert_eq!(shown.lines().filter(|line| line.contains('█')).count(), CYCLES as usize - 1, "{shown}");
    assert!(shown.contains('/'), "{shown}");
}

#[test]
fn every_picture_can_be_had_alone() {
    let directory = tempfile::tempdir().unwrap();
    let report = gathered(&beating_capture(directory.path()), true);
    let names: Vec<String> = plot::names(&report).into_iter().map(|(name, _)| name).collect();
    for name in ["latency", "latency-2", "map", "fold-1", "shape-1", "cycles-1", "trace-3"] {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
    for name in &names {
        let scene = plot::scene(&report, name).unwrap();
        let place = report::draw::svg::Place::Alone(report::draw::colour::Theme::Light);
        let svg = report::draw::svg::draw(&scene, place, "").into_string();
        assert!(svg.starts_with("<svg ") && svg.contains("xmlns=") && !svg.contains("<script"), "{name}");
        assert!(!svg.contains("class="), "{name}: colours of its own");
    }
    for wrong in ["", "fold", "fold-0", "fold-2", "map-1", "trace-99", "latency-99", "latency-x"] {
        assert!(plot::scene(&report, wrong).is_none(), "{wrong}");
    }
}

#[test]
fn the_command_writes_what_the_name_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = beating_capture(directory.path());
    let path = path.to_str().unwrap();
    let file = |name: &str| directory.path().join(name);
    let run = |arguments: &[&str]| stdout(directory.path(), &[&["report", path], arguments].concat());
    assert_eq!(run(&["-o", "a.html"]), "");
    let page = std::fs::read_to_string(file("a.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    run(&["--plot", "map", "-o", "a.svg"]);
    assert!(std::fs::read_to_string(file("a.svg")).unwrap().starts_with("<svg "));
    run(&["--plot", "latency", "-o", "a.png"]);
    assert!(std::fs::read(file("a.png")).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    let wrong = |arguments: &[&str]| failure(directory.path(), &[&["report", path], arguments].concat(), 2);
    let error = wrong(&["--plot", "nothing", "-o", "b.svg"]);
    assert!(error.contains("latency") && error.contains("map"), "{error}");
    for arguments in [&["-o", "b.pdf"][..], &["--plot", "map", "-o", "b.html"], &["-o", "no/such/b.html"]] {
        wrong(arguments);
    }
    assert!(!file("b.svg").exists());
}
