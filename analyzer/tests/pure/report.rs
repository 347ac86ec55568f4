//! `retrospan report`: what the page says, and single pictures.

use retrospan_analyzer::report;
use retrospan_analyzer::report::page;
use retrospan_analyzer::report::pictures::{plot, terminal};
use retrospan_analyzer::session;
use retrospan_formats::reader::Capture;

use crate::cli_support::{failure, stdout};
use crate::report_support::{CYCLES, beating_capture, gathered};

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
        "<span class=\"number\">1.</span> Every 1.00 s about one request takes 300 ms",
        "5 of 6 times; odds that this is chance: 1 in 5",
        "jitter 1.00 ms",
        "clock-locked is favoured; about 10 cycles hit would tell; near no wall-clock boundary",
        "own time of /&lt;/style&gt;",
        // In the row of a cycle that is hit.
        "; events are missing</",
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
    assert_eq!((&fold.series, fold.cycles), (&report.findings.spikes[0].stream, CYCLES as usize + 1));
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

/// The values of an attribute in a page.
fn values(page: &str, attribute: &str) -> Vec<String> {
    let unescaped = |value: &str| {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        entities.iter().fold(value.to_owned(), |text, (entity, c)| text.replace(entity, c))
    };
    let begin = format!(" {attribute}=\"");
    let parts = page.split(&begin).skip(1);
    parts.map(|rest| unescaped(rest.split('"').next().unwrap())).collect()
}

#[test]
fn every_number_opens_the_rows_that_it_was_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = beating_capture(directory.path());
    let report = gathered(&path, true);
    let page = report::page::html(&report);
    let statements: std::collections::BTreeSet<String> = values(&page, "data-sql").into_iter().collect();
    assert!(statements.len() > 5 + CYCLES as usize - 1, "{statements:#?}");
    let capture = Capture::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = session::open(&capture).unwrap();
        let rows = async |sql: &str| context.sql(sql).await.expect(sql).count().await.expect(sql) as u64;
        for statement in &statements {
            rows(statement).await;
        }
        let edge = &report.edges[0];
        assert_eq!(rows(&report::page::statements::edge(edge)).await, edge.requests);
        let spike = &report.findings.spikes[0];
        let of_cycle = report::page::statements::cycle(spike, &spike.cycle_table[0]).unwrap();
        assert!(rows(&of_cycle).await >= 1, "{of_cycle}");
        assert!(rows(&report::page::statements::hop_in_spikes(spike, &spike.hop)).await >= CYCLES as u64 - 1);
    });
}
