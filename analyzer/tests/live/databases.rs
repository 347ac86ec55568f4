//! Databases as their clients use them: every statement is one span on each side, with the outcome that the server logged or
//! counted, and nothing of values, passwords and rows is in the capture.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::clients::{Counts, KINDS, Waiting, client, count, is_whole, run_client, spans_by};
use crate::lab::process::{Program, run, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for};

struct PostgreSql {
    port: u16,
    program: Program,
    home: TempDir,
}

/// A program of the server's, which are not in PATH.
fn postgresql_tool(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|file| file.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("`{name}` of PostgreSQL is not installed: run .ci/setup"))
}

/// A command of the user `postgres`: the server refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl PostgreSql {
    fn start() -> PostgreSql {
        let (home, port) = (folder(), free_port());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).expect("a folder for all");
        let data = home.path().join("data");
        run_ok(
            as_postgres(&postgresql_tool("initdb"))
                .args(["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-U", "postgres", "-D"])
                .arg(&data),
        );
        let settings = format!(
            "port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{}'\nfsync=off\n\
             log_line_prefix='@@%e@@'\nlog_min_duration_statement=0\nlog_error_verbosity=terse\n",
            home.path().display()
        );
        fs::write(home.path().join("settings"), settings).expect("settings");
        let mut command = as_postgres(&postgresql_tool("postgres"));
        command.arg("-D").arg(&data).arg(format!("--config_file={}", home.path().join("settings").display()));
        let mut program = Program::start("postgres", home.path(), &mut command);
        program.wait_listening(port);
        PostgreSql { port, program, home }
    }

    /// What it logged so far: statements that it has executed by their first word, errors by their state.
    fn logged(&self) -> [Counts; 2] {
        let [mut done, mut failed] = [Counts::new(), Counts::new()];
        for line in self.program.printed().lines() {
            let Some((state, text)) = line.strip_prefix("@@").and_then(|line| line.split_once("@@")) else {
                continue;
            };
            if text.starts_with("ERROR:") || text.starts_with("FATAL:") {
                count(&mut failed, state, 1);
            } else if let Some((_, what)) =
                text.strip_prefix("LOG:  duration: ").and_then(|t| t.split_once(" ms  "))
                && let Some((step, statement)) = what.split_once(": ")
                && (step == "statement" || step.starts_with("execute "))
            {
                let word = statement.split([' ', ';']).next().unwrap_or_default();
                count(&mut done, word.to_uppercase(), 1);
            }
        }
        [done, failed]
    }

    /// The one number that a query yields, asked through a Unix socket, which is not recorded.
    fn number(&self, query: &str) -> i64 {
        let mut command = Command::new(tool("psql"));
        let port = self.port.to_string();
        command.args(["-XAtq", "-U", "postgres", "-p", &port, "-h"]).arg(self.home.path());
        run_ok(command.args(["-c", query])).trim().parse().expect("a number")
    }
}

/// Spans of what was executed by their operation, and of what failed by their status.
fn told(capture: &Capture, kind: &str) -> [Counts; 2] {
    let statements = "status_text IS NULL AND operation NOT IN ('startup', 'cancel')";
    [spans_by(capture, kind, "operation", statements), spans_by(capture, kind, "status_text", "TRUE")]
}

fn less(all: &Counts, before: &Counts) -> Counts {
    let left = all.iter().map(|(name, n)| (name.clone(), n - before.get(name).unwrap_or(&0)));
    left.filter(|(_, n)| *n > 0).collect()
}

#[test]
fn postgresql_statements_pipelines_copies_and_errors_are_as_the_server_logs_them() {
    let Some(_turn) =
        ebpf_or_skip("postgresql_statements_pipelines_copies_and_errors_are_as_the_server_logs_them")
    else {
        return;
    };
    let server = PostgreSql::start();
    // As much of a pipeline as its client sends at once.
    let recording = Recording::start(&["--port", &server.port.to_string(), "--snaplen", "4096"]);
    run_client("postgresql", server.port, &["work"]);
    let logged = server.logged();
    let capture = recording.finish();
    is_whole(&capture, "postgresql", "FALSE");
    for kind in KINDS {
        assert_eq!(told(&capture, kind), logged, "{kind}");
        // A session for each connection but the one that was refused, and one that cancels.
        let sessions = "operation IN ('startup', 'cancel') AND outcome = 'ok'";
        assert_eq!(spans_by(&capture, kind, "operation", sessions).values().sum::<i64>(), 17, "{kind}");
    }
    eprintln!("PostgreSQL: {logged:?}");
}

#[test]
fn postgresql_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are() {
    let Some(_turn) =
        ebpf_or_skip("postgresql_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are")
    else {
        return;
    };
    let server = PostgreSql::start();
    run_ok(
        Command::new(tool("psql")).args(["-XAtq", "-U", "postgres", "-h"]).arg(server.home.path()).args([
            "-p",
            &server.port.to_string(),
            "-c",
            "CREATE TABLE items (id int PRIMARY KEY, name text)",
        ]),
    );
    let waiting = Waiting::start("postgresql", server.port);
    let recording = Recording::of_ports(&[server.port]);
    let before = server.logged();
    waiting.work();
    let after = server.logged();
    let mut command = client("postgresql", server.port, &["sleep"]);
    let killed = Program::start("killed", server.home.path(), &mut command);
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(6%'";
    wait_for("a statement that sleeps", || server.number(asleep) == 1);
    killed.signal(libc::SIGKILL);
    drop(killed);
    let capture = recording.finish();
    let slept = "outcome = 'client_closed' AND operation = 'SELECT'";
    is_whole(&capture, "postgresql", slept);
    for kind in KINDS {
        let mut logged = [less(&after[0], &before[0]), less(&after[1], &before[1])];
        count(&mut logged[0], "SELECT", 1);
        assert_eq!(told(&capture, kind), logged, "{kind}");
        let slept = format!("SELECT count(*) AS n FROM spans WHERE kind = '{kind}' AND {slept}");
        assert_eq!(capture.number(&slept), 1, "{kind}");
    }
}

struct MariaDb {
    port: u16,
    home: TempDir,
    _program: Program,
}

impl MariaDb {
    fn start() -> MariaDb {
        let (home, port) = (folder(), free_port());
        let data = format!("--datadir={}", home.path().join("data").display());
        let mut install = Command::new(tool("mariadb-install-db"));
        install.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"]);
        // Servers that start at once remove each other's temporary tables where they share a folder.
        run_ok(install.args(["--skip-test-db", &data]).env("TMPDIR", home.path()));
        let mut command = Command::new(tool("mariadbd"));
        command.env("TMPDIR", home.path());
        command.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", &data]);
        command.arg(format!("--port={port}"));
        command.arg(format!("--socket={}", home.path().join("socket").display()));
        command.arg(format!("--pid-file={}", home.path().join("pid").display()));
        let mut program = Program::start("mariadbd", home.path(), &mut command);
        program.wait_listening(port);
        MariaDb { port, home, _program: program }
    }

    /// What a query yields, asked through a Unix socket, which is not recorded.
    fn asked(&self, query: &str) -> String {
        let socket = self.home.path().join("socket");
        let mut command = Command::new(tool("mariadb"));
        let output = run(command.args(["--no-defaults", "-uroot", "-N", "-e", query, "-S"]).arg(socket));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Its own counts of statements.
    fn counted(&self) -> Counts {
        let printed = self.asked("SHOW GLOBAL STATUS");
        let rows = printed.lines().filter_map(|line| line.split_once('\t'));
        rows.filter_map(|(name, n)| Some((name.to_owned(), n.parse().ok()?))).collect()
    }
}

/// Names of its counts, and the operations that they count.
const COUNTED: [(&str, &str); 17] = [
    ("Com_select", "SELECT"),
    ("Com_insert", "INSERT"),
    ("Com_replace", "REPLACE"),
    ("Com_update", "UPDATE"),
    ("Com_delete", "DELETE"),
    ("Com_set_option", "SET"),
    ("Com_begin", "BEGIN"),
    ("Com_rollback", "ROLLBACK"),
    ("Com_create_db", "CREATE"),
    ("Com_create_table", "CREATE"),
    ("Com_change_db", "USE"),
    ("Com_prepare_sql", "PREPARE"),
    ("Com_dealloc_sql", "DEALLOCATE"),
    ("Com_stmt_prepare", "PREPARE"),
    ("Com_stmt_close", "CLOSE"),
    ("Com_stmt_reset", "RESET"),
    ("Com_admin_commands", "PING"),
];

/// Compares spans with the server's counts, and failed ones with those that the client met.
fn are_counted(capture: &Capture, counted: &Counts, failed: &[(i64, i64)]) {
    is_whole(capture, "mysql", "outcome = 'client_closed'");
    let mut expected = Counts::new();
    for (name, operation) in COUNTED {
        count(&mut expected, operation, counted.get(name).copied().unwrap_or_default());
    }
    // It counts what SQL prepares and executes as such, as statements of the protocol, and as what they are.
    let by_sql = |name: &str| counted.get(name).copied().unwrap_or_default();
    count(&mut expected, "PREPARE", -by_sql("Com_prepare_sql"));
    count(&mut expected, "CLOSE", -by_sql("Com_dealloc_sql"));
    count(&mut expected, "SELECT", -by_sql("Com_execute_sql"));
    count(&mut expected, "EXECUTE", by_sql("Com_execute_sql"));
    expected.retain(|_, n| *n > 0);
    let failed: BTreeMap<_, _> = failed.iter().map(|(number, n)| (number.to_string(), *n)).collect();
    for kind in KINDS {
        let mut found =
            spans_by(capture, kind, "CASE operation WHEN 'INIT_DB' THEN 'USE' ELSE operation END", "TRUE");
        // It has no counts of these: what it cannot parse has no word.
        for operation in ["QUIT", "QUERY"] {
            found.remove(operation);
        }
        assert_eq!(found, expected, "{kind}");
        assert_eq!(spans_by(capture, kind, "status", "TRUE"), failed, "{kind}");
    }
    eprintln!("MariaDB: {expected:?}, {failed:?}");
}

#[test]
fn mariadb_statements_prepared_and_not_are_counted_as_the_server_counts() {
    let Some(_turn) = ebpf_or_skip("mariadb_statements_prepared_and_not_are_counted_as_the_server_counts")
    else {
        return;
    };
    let server = MariaDb::start();
    let before = server.counted();
    let recording = Recording::of_ports(&[server.port]);
    run_client("mysql", server.port, &["work"]);
    let counted = less(&server.counted(), &before);
    let capture = recording.finish();
    are_counted(&capture, &counted, &[(1062, 2), (1064, 1), (1146, 1), (1054, 1), (1969, 1)]);
}

#[test]
fn mariadb_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are() {
    let Some(_turn) =
        ebpf_or_skip("mariadb_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are")
    else {
        return;
    };
    let server = MariaDb::start();
    server.asked("CREATE DATABASE test; CREATE TABLE test.items (id INT PRIMARY KEY, name LONGTEXT)");
    let waiting = Waiting::start("mysql", server.port);
    let recording = Recording::of_ports(&[server.port]);
    let before = server.counted();
    waiting.work();
    let mut command = client("mysql", server.port, &["sleep"]);
    let killed = Program::start("killed", server.home.path(), &mut command);
    let asleep = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = 'SELECT SLEEP(600)'";
    let mut asked = 0;
    wait_for("a statement that sleeps", || {
        asked += 1;
        server.asked(asleep).trim() == "1"
    });
    killed.signal(libc::SIGKILL);
    drop(killed);
    let mut counted = less(&server.counted(), &before);
    count(&mut counted, "Com_select", -asked);
    let capture = recording.finish();
    are_counted(&capture, &counted, &[(1062, 1), (1064, 1), (1146, 1), (1054, 1), (1969, 1)]);
    for kind in KINDS {
        let slept =
            format!("SELECT count(*) AS n FROM spans WHERE kind = '{kind}' AND outcome = 'client_closed'");
        assert_eq!(capture.number(&slept), 1, "{kind}");
    }
}
