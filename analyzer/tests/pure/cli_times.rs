//! Times: shown and read in the zone of the recording host, written in UTC. The made capture's host is at +01:00, it begins
//! at 18:00 there and takes a second.

use crate::cli_support::*;

fn answer(directory: &std::path::Path, query: &str, more: &[&str]) -> String {
    let text = stdout(directory, &[&["sql", "a [b] %20 ü.cap", query, "--format", "csv"], more].concat());
    text.lines().nth(1).unwrap().to_owned()
}

#[test]
fn what_was_copied_from_a_table_finds_its_row() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let table =
        stdout(directory.path(), &["sql", "a [b] %20 ü.cap", "SELECT max(start_time) AS t FROM spans"]);
    let copied = table.lines().nth(2).unwrap();
    assert!(copied.starts_with("2026-11-20 18:00:00.9") && copied.ends_with("+01:00"), "{copied}");
    // With the offset, and without it.
    for text in [copied, &copied[..29]] {
        let count = format!("SELECT count(*) AS n FROM spans WHERE start_time = '{text}'");
        assert_eq!(answer(directory.path(), &count, &[]), "1", "{text}");
    }
    let utc = format!(
        "SELECT count(*) AS n FROM spans WHERE start_time = '{}'",
        copied[..29].replace(" 18:", " 17:")
    );
    assert_eq!(answer(directory.path(), &utc, &["--utc"]), "1");
    assert_eq!(answer(directory.path(), &utc, &[]), "0");
}

#[test]
fn a_time_of_day_is_that_of_the_recording() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let count = |condition: &str| {
        answer(directory.path(), &format!("SELECT count(*) AS n FROM spans WHERE {condition}"), &[])
    };
    assert_eq!(count("start_time >= '18:00'"), "20");
    assert_eq!(count("start_time >= '18:00:00.9'"), "2");
    assert_eq!(count("start_time BETWEEN '18:00' AND '18:00:00.05'"), "2");
    assert_eq!(count("'18:01' > start_time AND NOT start_time < '17:59'"), "20");
    assert_eq!(count("date_trunc('minute', start_time) IN ('18:00', '18:01')"), "20");
    assert_eq!(count("trace_id IN (SELECT trace_id FROM traces WHERE start_time >= '18:00:00.9')"), "2");
    assert_eq!(count("duration_ns > '400ms'"), "2");
    let raw = "SELECT count(*) AS n FROM events WHERE time >= '18:00:00.9'";
    assert_eq!(answer(directory.path(), raw, &[]), "4");
    let shown =
        stdout(directory.path(), &["spans", "a [b] %20 ü.cap", "--where", "start_time >= '18:00:00.9'"]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let error = mistake(
        directory.path(),
        &["sql", "a [b] %20 ü.cap", "SELECT * FROM spans WHERE start_time > 'noon'"],
    );
    assert!(error.contains("'noon' is not a time such as '2026-11-20 18:00:00' or '18:00:00'"), "{error}");
}

#[test]
fn functions_of_time_are_in_the_zone_and_data_in_utc() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let of = |query: &str| answer(directory.path(), query, &[]);
    assert_eq!(of("SELECT extract(hour FROM min(start_time)) AS h FROM spans"), "18");
    assert_eq!(of("SELECT to_char(min(start_time), '%H:%M') AS h FROM spans"), "18:00");
    assert_eq!(of("SELECT date_trunc('day', min(start_time)) AS d FROM spans"), "2026-11-19T23:00:00Z");
    assert_eq!(of("SELECT date_bin('1 day', min(start_time)) AS d FROM spans"), "2026-11-19T23:00:00Z");
    assert_eq!(of("SELECT CAST(min(start_time) AS DATE) AS d FROM spans"), "2026-11-20");
    assert_eq!(of("SELECT min(time) >= TIMESTAMP '2026-11-20 18:00:00' AS x FROM events"), "true");
    assert_eq!(of("SELECT to_timestamp('2026-11-20 18:00:00') <= min(time) AS x FROM events"), "true");
    assert_eq!(of("SELECT wall_time(min(boot_ns)) = min(time) AS x FROM events"), "true");
    let json = stdout(
        directory.path(),
        &[
            "sql",
            "a [b] %20 ü.cap",
            "SELECT array_agg(start_time ORDER BY start_time) AS t FROM spans",
            "--format",
            "json",
        ],
    );
    assert!(
        json.contains("\"2026-11-20T17:00:00.") && !json.contains("+01:00") && !json.contains("18:00"),
        "{json}"
    );
    assert_eq!(
        answer(directory.path(), "SELECT extract(hour FROM min(start_time)) AS h FROM spans", &["--utc"]),
        "17"
    );
}

#[test]
fn info_names_the_zone() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let info = |more: &[&str]| stdout(directory.path(), &[&["info", "a [b] %20 ü.cap"], more].concat());
    let (host, utc) = (info(&[]), info(&["--utc"]));
    assert!(
        host.contains("zone      +01:00, of the host")
            && host.contains("started   2026-11-20 18:00:00.000+01:00"),
        "{host}"
    );
    assert!(
        utc.contains("zone      +00:00; the host's is +01:00")
            && utc.contains("2026-11-20 17:00:00.000+00:00"),
        "{utc}"
    );
}
