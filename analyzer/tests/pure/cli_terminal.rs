//! What somebody at a terminal sees, and that a pipe gets everything.

use crate::cli_support::*;

const NAME: &str = "a [b] %20 ü.cap";
const MANY: &str = "SELECT n, 'a text that is longer than its column' AS t, 'x' AS u FROM (SELECT value AS n FROM generate_series(1, 100))";

/// Columns that a line takes, without codes.
fn columns(line: &str) -> usize {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default().chars().count();
    first
        + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, text)| text.chars().count())).sum::<usize>()
}

#[test]
fn a_table_fits_the_window_and_says_what_it_left_out() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let shown = in_terminal(directory.path(), &["sql", NAME, MANY], (50, 30), &[]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| columns(line) <= 30), "{shown}");
    assert_eq!(lines.iter().filter(|line| line.contains("a text that is long")).count(), 40, "{shown}");
    assert!(shown.contains("the first 40 of 100 rows:") && shown.contains("--all shows all"), "{shown}");
    assert!(shown.contains('…') && shown.contains("\x1b["), "{shown}");
    let all = in_terminal(directory.path(), &["sql", NAME, MANY, "--all"], (50, 30), &[]);
    assert_eq!(all.matches("a text that is longer than its column").count(), 100, "{all}");
    let wide = in_terminal(directory.path(), &["sql", NAME, "SELECT * FROM spans"], (50, 100), &[]);
    // After the progress of assembling, which was on the first line.
    let wide = wide.rsplit("\x1b[2K").next().unwrap();
    assert!(wide.lines().all(|line| columns(line) <= 100), "{wide}");
    let words = wide.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(" columns (") && words.contains("--format vertical shows every column"), "{wide}");
    let piped = stdout(directory.path(), &["sql", NAME, MANY]);
    assert_eq!(piped.matches("a text that is longer than its column").count(), 100);
    assert!(!piped.contains("--all") && !piped.contains('\x1b'), "{piped}");
}

#[test]
fn one_column_a_line() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let query = "SELECT method, path, status FROM spans WHERE kind = 'client' ORDER BY start_time LIMIT 2";
    let text = stdout(directory.path(), &["sql", NAME, query, "--format", "vertical"]);
    let expected = "-- row 1\nmethod  GET\npath    /item/0\nstatus  200\n\n-- row 2\nmethod  GET\npath    /item/1\nstatus  200\n\n";
    assert_eq!(text, expected);
}

#[test]
fn colours_and_symbols_follow_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let wrong = |env: &[(&str, &str)]| {
        in_terminal(directory.path(), &["sql", NAME, "SELECT foo FROM spans"], (50, 60), env)
    };
    assert!(wrong(&[]).contains("\x1b[1;31mretrospan:\x1b[0m"), "{}", wrong(&[]));
    for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!wrong(&[env]).contains('\x1b'), "{env:?}: {}", wrong(&[env]));
    }
    assert!(wrong(&[]).lines().all(|line| columns(line) <= 60), "{}", wrong(&[]));
    let cut = in_terminal(
        directory.path(),
        &["sql", NAME, MANY],
        (50, 30),
        &[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")],
    );
    assert!(cut.is_ascii() && cut.contains("a text that is longe..."), "{cut}");
}

#[test]
fn a_pager_is_started_only_for_what_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let pager = ("PAGER", "sed 's/^/paged /'");
    let run = |query: &str, more: &[&str], env: &[(&str, &str)]| {
        in_terminal(directory.path(), &[&["sql", NAME, query], more].concat(), (20, 80), env)
    };
    let long = run(MANY, &[], &[pager]);
    assert!(long.lines().all(|line| line.starts_with("paged ")) && long.lines().count() > 40, "{long}");
    assert!(!run("SELECT 1", &[], &[pager]).contains("paged"));
    assert!(!run(MANY, &["--no-pager"], &[pager]).contains("paged"));
    assert!(!run(MANY, &[], &[("PAGER", "")]).contains("paged"));
    assert!(!run(MANY, &[], &[pager, ("TERM", "dumb")]).contains("paged"));
    // One that ends early is no error, and one that cannot be started keeps nothing back for ever.
    let early = run(MANY, &["--all"], &[("PAGER", "head -n 1")]);
    assert_eq!(early.lines().count(), 1, "{early}");
    let piped = command(directory.path()).args(["sql", NAME, MANY]).env("PAGER", "false").output().unwrap();
    assert!(piped.status.success() && piped.stdout.len() > 4000);
}

#[test]
fn help_fits_the_window_and_ends_with_examples() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["info", "sql", "spans", "trace", "spikes", "report", "export", "overview"] {
        let help = in_terminal(directory.path(), &[command, "--help"], (50, 60), &[]);
        let described = help.split("EXAMPLES").next().unwrap();
        assert!(described.lines().all(|line| columns(line) <= 60), "{help}");
        assert!(help.find("Options:") < help.find("EXAMPLES"), "{help}");
    }
}

#[test]
fn nothing_is_left_of_the_progress() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let shown = in_terminal(directory.path(), &["spikes", NAME], (50, 80), &[]);
    let after = shown.rsplit("searching").next().unwrap();
    assert!(!shown.contains("searching") || after.contains("\x1b[2K"), "{shown:?}");
    let dumb = in_terminal(directory.path(), &["spikes", NAME], (50, 80), &[("TERM", "dumb")]);
    assert!(!dumb.contains("searching") && !dumb.contains('\x1b'), "{dumb:?}");
}
