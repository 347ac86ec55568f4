//! `spans`, `trace`, `query` and `sql` over derived tables.

use crate::cli_support::*;

#[test]
fn spans_are_one_line_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let text = stdout(directory.path(), &["spans", path]);
    assert_eq!(text.lines().count(), 20, "{text}");
    assert!(!acts_on_a_terminal(&text), "{text:?}");
    assert!(text.lines().is_sorted(), "{text}");
    snapshot("spans", &text.lines().skip(6).take(2).collect::<Vec<_>>().join("\n"));
    let slow = stdout(directory.path(), &["spans", path, "--where", "duration_ns > 400000000 -- slow"]);
    assert_eq!(slow.lines().count(), 2, "{slow}");
    assert_eq!(stdout(directory.path(), &["spans", path, "--limit", "3"]).lines().count(), 3);
    mistake(directory.path(), &["spans", path, "--where", "nonsense"]);
    mistake(directory.path(), &["spans", path, "--where", "true) ; DROP TABLE spans --"]);
}

#[test]
fn a_trace_is_a_tree() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let query = "SELECT trace_id FROM spans WHERE path = '/item/3' AND kind = 'client'";
    let id = stdout(directory.path(), &["sql", path, query, "--format", "csv"]);
    let id = id.lines().nth(1).unwrap();
    snapshot("trace", &stdout(directory.path(), &["trace", path, &id.to_uppercase(), "--why"]));
    // The begin of an id that is no other's; and the slowest.
    let whole = stdout(directory.path(), &["trace", path, id]);
    assert_eq!(stdout(directory.path(), &["trace", path, &id[..12]]), whole);
    assert_eq!(stdout(directory.path(), &["trace", path]), whole, "the fourth request took the longest");
    let several = failure(directory.path(), &["trace", path, &shared_prefix(directory.path(), path)], 2);
    assert!(several.contains("more than one trace begins with"), "{several}");
    let missing = "0".repeat(32);
    let error = failure(directory.path(), &["trace", path, &missing], 1);
    assert!(error.contains(&missing), "{error}");
    assert!(failure(directory.path(), &["trace", path, "000000000000"], 1).contains("no trace 000000000000"));
    for bad in ["", "xyz", "' OR 1=1 --", &"0".repeat(33)] {
        failure(directory.path(), &["trace", path, bad], 2);
    }
}

/// A digit with which more than one of the ten ids begin, or two ids' common begin where there is none.
fn shared_prefix(directory: &std::path::Path, path: &str) -> String {
    let query =
        "SELECT left(trace_id, 1) AS d, count(*) AS n FROM traces GROUP BY 1 ORDER BY n DESC, d LIMIT 1";
    let csv = stdout(directory, &["sql", path, query, "--format", "csv"]);
    let (digit, n) = csv.lines().nth(1).unwrap().split_once(',').unwrap();
    assert!(n.parse::<u32>().unwrap() > 1, "{csv}");
    digit.to_owned()
}

#[test]
fn the_slowest_spans_come_first_and_programs_get_all_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let slowest = stdout(directory.path(), &["spans", path, "--slowest", "3"]);
    assert_eq!(slowest.lines().count(), 3, "{slowest}");
    assert!(slowest.lines().take(2).all(|line| line.contains("/item/3")), "{slowest}");
    assert_eq!(stdout(directory.path(), &["spans", path, "--slowest"]).lines().count(), 20);
    let json = stdout(
        directory.path(),
        &["spans", path, "--format", "json", "--slowest", "1", "--where", "kind = 'server'"],
    );
    let row: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!((row["path"].as_str(), row["kind"].as_str()), (Some("/item/3"), Some("server")));
    assert!(
        row["start_time"].as_str().unwrap().ends_with('Z') && row.get("link_evidence").is_some(),
        "{row}"
    );
    let csv = stdout(directory.path(), &["spans", path, "--format", "csv"]);
    assert_eq!(csv.lines().count(), 21, "{csv}");
}

#[test]
fn a_capture_alone_is_one_screen() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let name = path.file_name().unwrap().to_str().unwrap();
    let page = stdout(directory.path(), &[name]);
    assert_eq!(page, stdout(directory.path(), &["overview", name]));
    assert!(!acts_on_a_terminal(&page), "{page:?}");
    snapshot("overview", &page);
    let shown = in_terminal(
        directory.path(),
        &[name],
        (40, 60),
        &[("LC_ALL", "C"), ("NO_COLOR", "1"), ("TERM", "dumb")],
    );
    let described = shown.split("Next").next().unwrap();
    assert!(described.lines().all(|line| line.chars().count() <= 60), "{shown}");
    // Names of others stay as they are.
    assert!(described.replace(name, "").is_ascii(), "{shown}");
    // A mistyped command is no capture.
    let error = String::from_utf8(retrospan(directory.path(), &["spkies", name]).stderr).unwrap();
    assert!(error.contains("spikes"), "{error}");
}

/// The first word of each line.
fn names(list: &str) -> Vec<&str> {
    list.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_query_runs_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let list = stdout(directory.path(), &["query", "list"]);
    let names = names(list.split("\nViews, for retrospan sql:\n").next().unwrap());
    assert_eq!(names.len(), 17, "{list}");
    let mut tables = String::new();
    for name in names {
        let table = stdout(directory.path(), &["query", "run", name, path]);
        let csv = stdout(directory.path(), &["query", "run", name, path, "--format", "csv"]);
        let json = stdout(directory.path(), &["query", "run", name, path, "--format=json"]);
        assert_eq!(table.lines().count(), csv.lines().count() + 1, "{name}");
        assert_eq!(json.lines().count(), csv.lines().count() - 1, "{name}");
        // A second of traffic holds no episode, its connections are older, and no evidence was recorded; other tests have some.
        let needs_more = [
            "connect_waits",
            "episodes",
            "periods",
            "slow_connects",
            "stalled_connections",
            "unread_requests",
        ]
        .contains(&name);
        assert!(needs_more || csv.lines().count() > 1, "{name}: {csv}");
        for text in [&table, &csv, &json] {
            assert!(!acts_on_a_terminal(text), "{name}: {text:?}");
        }
        let help = stdout(directory.path(), &["query", "run", name, "--help"]);
        assert!(help.contains("\nEXAMPLES\n") && help.contains("Columns:"), "{help}");
        let sql = stdout(directory.path(), &["query", "show", name]);
        assert!(sql.starts_with("-- "), "{sql}");
        tables.push_str(&format!("{name}\n\n{table}\n"));
    }
    snapshot("queries", &tables);
}

/// Views are listed beside queries and tables, shown, and read as tables; without their evidence they are empty.
#[test]
fn every_view_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let list = stdout(directory.path(), &["query", "list"]);
    let names = names(list.split("\nViews, for retrospan sql:\n").nth(1).unwrap());
    assert_eq!(names.len(), 19, "{list}");
    let tables = stdout(directory.path(), &["sql", path, "SHOW TABLES", "--format", "csv"]);
    for name in names {
        assert!(tables.contains(&format!(",{name},VIEW\n")), "{tables}");
        let sql = stdout(directory.path(), &["query", "show", name]);
        let columns = sql.lines().filter_map(|line| line.strip_prefix("-- @column ")?.split(' ').next());
        let header = columns.collect::<Vec<_>>().join(",");
        let rows =
            stdout(directory.path(), &["sql", path, &format!("SELECT * FROM {name}"), "--format", "csv"]);
        assert_eq!(rows.lines().next(), Some(header.as_str()));
        // This capture has processes, and its connections were opened in it; nothing else that a view holds is in it.
        let expected = match name {
            "opened_connections" => 10,
            "process_places" => 2,
            _ => 0,
        };
        assert_eq!(rows.lines().count(), 1 + expected, "{name}: {rows}");
        let error = failure(directory.path(), &["query", "run", name, path], 2);
        assert!(error.contains(&format!("SELECT * FROM {name}")), "{error}");
    }
    // A name that a query gives itself goes before that of a view.
    let own = "WITH stopped AS (SELECT 7 AS n) SELECT n FROM stopped";
    assert_eq!(stdout(directory.path(), &["sql", path, own, "--format", "csv"]), "n\n7\n");
    failure(directory.path(), &["sql", path, "DROP VIEW stopped"], 2);
}

#[test]
fn queries_take_parameters() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [&["query", "run", "slowest_requests", path, "--format", "csv"], arguments].concat();
        stdout(directory.path(), &arguments).lines().count() - 1
    };
    assert_eq!(run(&[]), 10);
    assert_eq!(run(&["--limit", "3"]), 3);
    assert_eq!(run(&["--min-duration", "400ms"]), 1);
    assert_eq!(run(&["--min_duration=400ms", "--hop", "all"]), 2);
    assert_eq!(run(&["--process", "nobody"]), 0);
    for bad in [&["--limit", "x"] as &[&str], &["--min-duration", "1y"], &["--nothing", "1"]] {
        let arguments = [&["query", "run", "slowest_requests", path], bad].concat();
        assert_eq!(retrospan(directory.path(), &arguments).status.code(), Some(2), "{bad:?}");
    }
    for (query, bad, allowed) in [
        ("episodes", ["--metric", "foo"], "one of latency, errors, client_closed, missing"),
        ("episodes", ["--grouping", "foo"], "one of hop, service, route, peer, connection"),
        ("slowest_requests", ["--hop", "first"], "one of root, client, server, all"),
        ("phase", ["--bins", "0"], "at least 1"),
        ("phase", ["--period", "0ns"], "more than 0"),
        ("phase", ["--period", "60"], "write 60s"),
        ("periods", ["--min-period", "-5s"], "is not a time"),
    ] {
        let error = failure(directory.path(), &[&["query", "run", query, path][..], &bad].concat(), 2);
        assert!(error.contains(bad[0]) && error.contains(allowed), "{query} {bad:?}: {error}");
    }
    stdout(directory.path(), &["query", "run", "periods", path, "--min-period", "200ms"]);
    failure(directory.path(), &["query", "run", "nonsense", path], 2);
    failure(directory.path(), &["query", "show", "nonsense"], 2);
}

#[test]
fn functions_refuse_what_is_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let run = |sql: &str| stdout(directory.path(), &["sql", path, sql, "--format", "csv"]);
    let error = |sql: &str| failure(directory.path(), &["sql", path, sql], 2);
    assert_eq!(run("SELECT fold_phase(7500000000, 10, 0) AS p"), "p\n0.75\n");
    assert!(error("SELECT fold_phase(true, 10.0, 0)").contains("Boolean is no time"));
    assert!(error("SELECT fold_phase(0, '10 s', 0)").contains("no number of seconds"));
    for shortest in ["-5", "0", "CAST('NaN' AS DOUBLE)"] {
        let error = error(&format!("SELECT comb(start_time, {shortest}) FROM spans"));
        assert!(error.contains("is no period"), "{shortest}: {error}");
    }
    for shortest in ["", "'200ms'", "0.2", "1"] {
        assert_eq!(run(&format!("SELECT count(*) AS n FROM episodes({shortest})")), "n\n0\n");
    }
    error("SELECT count(*) FROM episodes(0)");
}

#[test]
fn a_range_of_periods_that_does_not_fit_is_said_to_be_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let told = |longest: &str| {
        let arguments = ["spikes", path, "--min-period", "100ms", "--max-period", longest];
        String::from_utf8(retrospan(directory.path(), &arguments).stderr).unwrap()
    };
    let cut = told("1h");
    assert!(
        cut.contains("too short for periods of 3600 s: looked for up to") && cut.lines().count() == 1,
        "{cut}"
    );
    assert_eq!(told("200ms"), "");
    let short = stdout(directory.path(), &["spikes", path]);
    assert!(short.contains("too short for any period of 10.0 s or more"), "{short}");
    assert!(!short.contains("periods of 10.0 s to"), "{short}");
}

#[test]
fn derived_tables_join_raw_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let query =
        "SELECT p.comm, count(*) AS n FROM spans s JOIN processes p USING (process_id) GROUP BY 1 ORDER BY 1";
    let rows = stdout(directory.path(), &["sql", path, query, "--format", "csv"]);
    assert_eq!(rows, "comm,n\ncurl,10\nserver,10\n");
    let query = "SELECT min(time) = wall_time(min(boot_ns)) AS same FROM events";
    assert_eq!(stdout(directory.path(), &["sql", path, query, "--format", "csv"]), "same\ntrue\n");
    let query = "SELECT min(start_time) = (SELECT min(time) FROM events WHERE kind = 'send') - INTERVAL '20 microseconds' \
                 AS same FROM spans";
    assert_eq!(stdout(directory.path(), &["sql", path, query, "--format", "csv"]), "same\ntrue\n");
    let tables = stdout(directory.path(), &["sql", path, "SHOW TABLES", "--format", "csv"]);
    for table in
        ["events", "sockets", "processes", "clock", "loss", "spans", "traces", "connections", "messages"]
    {
        assert!(tables.contains(&format!(",{table},")), "{tables}");
    }
}

#[test]
fn a_recording_under_way_can_be_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut live = writer(&directory.path().join("live.cap"));
    let rows = |k: i64| {
        let events = exchange(
            2 * k,
            2 * k + 1,
            100 * k,
            5,
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        );
        Rows {
            processes: processes(),
            sockets: sockets(2 * k, 2 * k + 1, 40_000 + k as i32, 100 * k),
            events: events.iter().map(|data| data.row(0)).collect(),
            ..Rows::default()
        }
    };
    let spans = || {
        stdout(directory.path(), &["sql", "live.cap", "SELECT count(*) AS n FROM spans", "--format", "csv"])
    };
    part(&mut live, &rows(0), 100, Vec::new());
    assert_eq!(spans(), "n\n2\n");
    part(&mut live, &rows(1), 200, Vec::new());
    assert_eq!(spans(), "n\n4\n");
}
