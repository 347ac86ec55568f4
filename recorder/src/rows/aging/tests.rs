use retrospan_formats::manifest::{File, Host, State};

use super::*;

fn manifest(files: Vec<File>) -> Manifest {
    Manifest {
        format_version: 1,
        capture_id: String::new(),
        state: State::Recording,
        host: Host::default(),
        options: serde_json::Map::new(),
        probe_set: String::new(),
        probe_set_reason: None,
        recorder_version: String::new(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: 0,
        started_wall_ns: 0,
        whole_until_boot_ns: 0,
        files,
        losses: Vec::new(),
        cost: None,
    }
}

fn file(table: &str, parts: (u32, u32), rows: u64) -> File {
    File {
        table: table.to_owned(),
        part: parts.1,
        first_part: (parts.0 != parts.1).then_some(parts.0),
        path: String::new(),
        rows,
        bytes: 0,
        first_boot_ns: None,
        last_boot_ns: None,
        xxh3: String::new(),
    }
}

fn join(manifest: &mut Manifest, (table, run): Run) {
    let rows = run.iter().map(|f| f.rows).sum();
    let joined = file(table.name, (run[0].first_part(), run[run.len() - 1].part), rows);
    manifest.files.retain(|f| !run.contains(f));
    manifest.files.push(joined);
}

/// Files of a table after that many parts with so many rows each, and how often a row was written.
fn recorded(table: &str, parts: u32, rows: u64) -> (usize, f64) {
    let (mut capture, mut written) = (manifest(Vec::new()), 0);
    for part in 0..parts {
        capture.files.push(file(table, (part, part), rows));
        written += rows;
        while let Some(run) = due(&capture, u64::MAX) {
            written += run.1.iter().map(|f| f.rows).sum::<u64>();
            join(&mut capture, run);
        }
    }
    assert_eq!(capture.files.iter().map(|f| f.rows).sum::<u64>(), u64::from(parts) * rows);
    (capture.files.len(), written as f64 / (u64::from(parts) * rows) as f64)
}

#[test]
fn an_hour_is_dozens_of_files_and_a_row_is_written_a_few_times() {
    assert_eq!(recorded("clock", 493, 1).0, 7 + 5 + 5, "493 is 755 in octal digits");
    for (rows, most_files, most_writes) in [(1, 21, 4.0), (11_000, 70, 2.0), (GROWN_ROWS, 493, 1.0)] {
        let (files, writes) = recorded("events", 493, rows);
        assert!(files <= most_files && writes <= most_writes, "{rows} rows: {files} files, {writes} times");
    }
}

#[test]
fn only_neighbours_of_one_size_are_put_together() {
    let mut files: Vec<File> = (0..7).map(|part| file("events", (part, part), 10)).collect();
    files.push(file("events", (7, 7), GROWN_ROWS));
    files.extend((8..15).map(|part| file("events", (part, part), 10)));
    files.extend((0..7).map(|part| file("clock", (part, part), 1)));
    assert!(due(&manifest(files.clone()), u64::MAX).is_none());
    files.push(file("clock", (7, 7), 1));
    let (table, run) = due(&manifest(files), u64::MAX).unwrap();
    assert_eq!((table.name, run.len()), ("clock", 8));
}

#[test]
fn at_the_end_what_is_small_and_what_has_a_key_becomes_one() {
    let sizes = [10, 20, GROWN_ROWS, 5, 6, GROWN_ROWS - 1, 7];
    let of = |table: &'static str| (0..).zip(sizes).map(move |(part, rows)| file(table, (part, part), rows));
    let manifest = manifest(of("events").chain(of("sockets")).collect());
    let runs: Vec<_> = rest(&manifest)
        .into_iter()
        .map(|(table, run)| (table.name, run.iter().map(|f| f.part).collect::<Vec<_>>()))
        .collect();
    assert_eq!(runs, [("sockets", (0..7).collect()), ("events", vec![0, 1]), ("events", vec![3, 4, 5])]);
}
