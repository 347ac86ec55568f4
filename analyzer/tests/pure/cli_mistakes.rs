//! Mistakes in SQL: what is said, and that the place is the user's own.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::cli_support::*;

/// The first line without the program's name, and the rest.
fn said(directory: &std::path::Path, arguments: &[&str]) -> (String, Vec<String>) {
    let error = mistake(directory, arguments);
    let mut lines = error.lines().map(str::to_owned);
    let first = lines.next().unwrap();
    (first.trim_start_matches("retrospan: ").to_owned(), lines.collect())
}

#[test]
fn the_place_is_marked_and_candidates_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    for (query, headline, marked) in [
        (
            "SELECT duratoin_ns FROM spans",
            "no column duratoin_ns in spans: did you mean duration_ns?",
            "duratoin_ns",
        ),
        ("SELECT s.pth FROM spans s", "no column pth in s: did you mean path?", "s.pth"),
        (
            "SELECT path FROM spans ORDER BY duration",
            "no column duration in spans: did you mean duration_ns?",
            "duration",
        ),
        ("SELECT * FROM span", "no table span: did you mean spans?", "span"),
        ("SELECT coutn(*) FROM spans", "no function coutn: did you mean count or cot?", "coutn"),
        ("SELECT * FROM epsiodes()", "no table function epsiodes: did you mean episodes?", "epsiodes"),
        ("SELEKT 1", "expected an SQL statement, found SELEKT: did you mean SELECT?", "SELEKT"),
        ("SELECT * FORM spans", "expected the end of the statement, found FORM: did you mean FROM?", "FORM"),
        (
            "SELECT * FROM spans WHERE status = 'ok'",
            "status is a number, and 'ok' is not one: how a request ended is outcome = 'ok'",
            "status",
        ),
        (
            "SELECT * FROM spans WHERE status LIKE '5%'",
            "status is a number, and LIKE compares texts: compare it with >= and <",
            "status",
        ),
        (
            "SELECT path, count(*) FROM spans",
            "path is neither in GROUP BY nor in an aggregate such as max(path)",
            "path",
        ),
        (
            "SELECT 1 FROM spans a JOIN processes b ON a.pid = b.pid WHERE pid = 1",
            "pid is a column of more than one table here: write TABLE.pid",
            "pid",
        ),
        ("SELECT max(path, 1, 2) FROM spans", "no function max(Utf8View, Int64, Int64): there is", "max"),
        (
            "SELECT * FROM spans WHERE kind = client",
            "no column client in spans; a text is written in single quotes: 'client'",
            "client",
        ),
        (
            "SELECT 1 FROM spans GROUP BY name HAVING count(1) > 'x'",
            "count(*) is a number, and 'x' is not one",
            "'x'",
        ),
    ] {
        let (first, rest) = said(directory.path(), &["sql", path.to_str().unwrap(), query]);
        assert!(first.starts_with(headline), "{query}: {first}");
        assert_eq!(rest[0], format!("  {query}"));
        let at = if marked == "path" || marked == "pid" { query.rfind(marked) } else { query.find(marked) };
        let at = if query.starts_with("SELECT path,") { query.find(marked) } else { at };
        assert_eq!(rest[1], format!("  {}{}", " ".repeat(at.unwrap()), "^".repeat(marked.len())), "{query}");
    }
}

#[test]
fn an_unknown_table_lists_those_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let (first, rest) = said(directory.path(), &["sql", path, "SELECT * FROM requests"]);
    assert_eq!(first, "no table requests: did you mean spans?");
    let tables = stdout(directory.path(), &["sql", path, "SHOW TABLES", "--format", "csv"]);
    for table in tables.lines().filter(|line| line.contains(",public,")) {
        let name = table.split(',').nth(2).unwrap();
        let line = rest.iter().find(|line| line.split_whitespace().next() == Some(name));
        assert!(
            line.is_some_and(|line| line.trim_end().ends_with(['.', ':']) && line.len() > 30),
            "{name}: {rest:?}"
        );
    }
}

#[test]
fn only_the_users_own_text_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    for command in [&["spans", path][..], &["export", path, "--otlp", "http://127.0.0.1:1"]] {
        for (condition, headline, mark) in [
            ("foo = 1", "--where: no column foo in spans", "  ^^^"),
            (
                "path = 'a' AND staus = 1",
                "--where: no column staus in spans: did you mean status?",
                "                 ^^^^^",
            ),
            ("status = 'ok'", "--where: status is a number", "  ^^^^^^"),
            ("path = ", "--where: expected an expression, but it ends here", "        ^"),
            ("(path = 'a'", "--where: expected ), but it ends here", "             ^"),
        ] {
            let (first, rest) = said(directory.path(), &[command, &["--where", condition]].concat());
            assert!(first.starts_with(headline), "{first}");
            assert_eq!(rest[..2], [format!("  {condition}"), mark.to_owned()], "{condition}");
        }
        let (first, rest) =
            said(directory.path(), &[command, &["--where", "path = 'a'\n  AND foo = 1"]].concat());
        assert!(first.starts_with("--where, line 2: no column foo"), "{first}");
        assert_eq!(rest[..2], ["    AND foo = 1", "        ^^^"]);
    }
}

#[test]
fn a_file_and_standard_input_are_named_with_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let query = "SELECT path\nFROM spans\nWHERE\tpth = 'é'";
    fs::write(directory.path().join("q.sql"), query).unwrap();
    let (first, rest) = said(directory.path(), &["sql", path.to_str().unwrap(), "--file", "q.sql"]);
    assert_eq!(first, "q.sql, line 3: no column pth in spans: did you mean path?");
    assert_eq!(rest, ["  WHERE pth = 'é'", "        ^^^"]);
    let mut child = command(directory.path())
        .args(["sql", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
    let error = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(error.starts_with("retrospan: standard input, line 3: no column pth"), "{error}");
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let query = format!(
        "SELECT {} FROM spans WHERE {} AND foo = 1",
        "path, ".repeat(60) + "path",
        "true AND ".repeat(40) + "true"
    );
    let (_, rest) = said(directory.path(), &["sql", path.to_str().unwrap(), &query]);
    assert!(rest[0].starts_with("  ... ") && rest[0].len() < 140, "{rest:?}");
    let at = rest[1].find('^').unwrap();
    assert_eq!(&rest[0][at..at + rest[1].trim().len()], "foo");
}

#[test]
fn headers_are_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let query =
        "SELECT count(1), count(*) * 100, date_trunc('hour', start_time), sum(1.5) FROM spans GROUP BY 3";
    let csv = stdout(directory.path(), &["sql", path.to_str().unwrap(), query, "--format", "csv"]);
    assert_eq!(
        csv.lines().next(),
        Some("count(*),count(*) * 100,\"date_trunc('hour',spans.start_time)\",sum(1.5)")
    );
}
