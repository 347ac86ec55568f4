//! Other readers find in our files what we find: old ones too, which know fewer encodings and take some for others.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use retrospan_formats::table::{Table, Type};
use retrospan_testkit::capture::{Plan, write};
use retrospan_testkit::skip;

use crate::cli_support::stdout;
use crate::lab::process::run_ok;
use crate::lab::{cache, workspace};

/// The environment of `.ci/setup` and the reader in it: of `readers` the oldest ones that must do, of `venv` a new DuckDB.
const READERS: [(&str, &str); 4] =
    [("readers", "duckdb"), ("readers", "pyarrow"), ("readers", "polars"), ("venv", "duckdb")];

#[test]
fn readers_old_and_new_find_the_same_values() {
    let lacking = READERS.iter().find(|(environment, _)| !python(environment).is_file());
    if let Some((environment, _)) = lacking {
        return skip::lacks(
            "readers_old_and_new_find_the_same_values",
            &format!("no {environment}: run .ci/setup"),
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = folder.path().join("made.cap");
    write(&capture, &Plan { length_s: 60.0, ..Plan::default() }).expect("a made capture");
    let expected = ours(&capture);
    assert!(expected.lines().count() > 90, "{expected}");
    for (environment, reader) in READERS {
        let script = workspace().join("analyzer/tests/lab/readers.py");
        let found = run_ok(Command::new(python(environment)).arg(script).arg(reader).arg(&capture));
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "{reader} of {environment}");
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{reader} of {environment}");
    }
}

#[test]
fn the_programs_of_the_page_find_what_we_find() {
    let python = python("readers");
    let has_all = python.is_file()
        && Command::new(&python)
            .args(["-c", "import duckdb, pandas, polars"])
            .output()
            .is_ok_and(|o| o.status.success());
    if !has_all {
        return skip::lacks("the_programs_of_the_page_find_what_we_find", "no readers: run .ci/setup");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = folder.path().join("friday.cap");
    write(&capture, &Plan { length_s: 60.0, ..Plan::default() }).expect("a made capture");
    stdout(&capture, &["spans", ".", "--limit", "1"]);
    let query = "SELECT outcome, count(*) AS requests, max(duration_ns) FROM spans WHERE kind = 'client' \
                 GROUP BY outcome ORDER BY requests DESC, outcome";
    let rows = stdout(&capture, &["sql", ".", query, "--format", "csv"]);
    let expected: Vec<String> = rows
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            let worst_ns: f64 = cells[2].parse().expect("a number");
            format!("{} {} {:.3}", cells[0], cells[1], worst_ns / 1e6)
        })
        .collect();
    assert!(!expected.is_empty());
    let page = std::fs::read_to_string(workspace().join("docs/reading.md")).expect("the page");
    let programs: Vec<&str> =
        page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 3);
    for program in programs {
        let found = run_ok(Command::new(&python).arg("-c").arg(program).current_dir(folder.path()));
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{program}");
    }
}

fn python(environment: &str) -> std::path::PathBuf {
    cache().join(environment).join("bin/python")
}

/// What we find, as `readers.py` prints it.
fn ours(capture: &Path) -> String {
    let raw = retrospan_formats::tables::ALL;
    let mut tables: Vec<&Table> = raw.into_iter().chain(retrospan_analyzer::tables::ALL).collect();
    tables.sort_by_key(|table| table.name);
    tables.into_iter().map(|table| values(capture, table)).collect()
}

fn values(capture: &Path, table: &Table) -> String {
    let is_number = |ty| matches!(ty, Type::U8 | Type::U16 | Type::U32 | Type::I32 | Type::I64 | Type::Time);
    let mut columns: Vec<_> = table.columns.iter().filter(|column| is_number(column.ty)).collect();
    columns.sort_unstable_by_key(|column| column.name);
    let cells = columns.iter().map(|column| {
        let us = if column.ty == Type::Time { " / 1000" } else { "" };
        let value = format!("CAST({} AS BIGINT){us}", column.name);
        format!("count({value}), min({value}), max({value})")
    });
    let query = format!("SELECT {} FROM {}", cells.collect::<Vec<_>>().join(", "), table.name);
    let found = stdout(capture, &["sql", ".", &query, "--format", "csv"]);
    let line = found.lines().nth(1).expect("a row").to_owned();
    let cells: Vec<&str> = line.split(',').collect();
    columns.iter().zip(cells.chunks(3)).filter(|(_, cells)| cells[0] != "0").fold(
        String::new(),
        |mut lines, (column, cells)| {
            writeln!(lines, "{} {} {}", table.name, column.name, cells.join(" "))
                .expect("a String takes everything");
            lines
        },
    )
}
