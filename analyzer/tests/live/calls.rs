//! Calls of HTTP/2, gRPC and FastCGI: each is one span on each side, with the status that its server logged or counted.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::clients::{
    CANARY, Counts, KINDS, Waiting, client, count, holds_no_canary, is_whole, run_client, spans_by,
};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::servers::FILE_SIZES;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for};

/// A gRPC server that counts what it answered.
struct Grpc {
    port: u16,
    program: Program,
    _home: TempDir,
}

impl Grpc {
    fn start() -> Grpc {
        let (home, port) = (folder(), free_port());
        let mut program = Program::start("grpc", home.path(), &mut client("grpc", port, &["serve"]));
        program.wait_listening(port);
        Grpc { port, program, _home: home }
    }

    /// Its counts by method and status, at its end.
    fn counted(mut self) -> Counts {
        self.program.signal(libc::SIGTERM);
        self.program.ended();
        serde_json::from_str(&self.program.printed()).expect("its counts")
    }
}

/// Method and status of calls. Which method it was is not known where header fields came behind bytes that were not kept.
const CALL: &str = "split_part(operation, '/', 2) || ' ' || status_text";

/// Calls of one method that their client makes at once. Of those that go out with one send the heads beyond what is kept
/// of it are missed: then their method, their status or their end is not known, or nothing of them.
const AT_ONCE: i64 = 50;
/// They may be among them.
const ONE: &str = "(operation IS NULL OR operation LIKE '%/One')";

/// Calls that have failed or that their client has given up are as many as the server counted. Of the others none is too
/// many, and no more are not known than were made at once.
fn are_counted(capture: &crate::lab::capture::Capture, mut counted: Counts) {
    let given_up = "outcome = 'client_closed' AND operation LIKE '%/Slow'";
    is_whole(capture, "grpc", &format!("{given_up} OR outcome = 'lost' AND {ONE}"));
    let slow = counted.remove("Slow given up").unwrap_or_default();
    count(&mut counted, "Nothing UNIMPLEMENTED", 1);
    for kind in KINDS {
        let mut found = spans_by(capture, kind, CALL, &format!("NOT ({given_up})"));
        // The server may be quicker to say that the deadline has passed.
        let late = found.remove("Slow DEADLINE_EXCEEDED").unwrap_or_default();
        let number = |condition: &str| {
            capture.number(&format!("SELECT count(*) AS n FROM spans WHERE kind = '{kind}' AND {condition}"))
        };
        assert_eq!(late + number(given_up), slow, "{kind}");
        let unknown = number(&format!("{ONE} AND (operation IS NULL OR status IS NULL)"));
        let of = |counts: &Counts| counts.get("One OK").copied().unwrap_or_default();
        let missed = of(&counted) - of(&found) - unknown;
        assert!(missed >= 0 && missed + unknown <= AT_ONCE, "{kind}: {missed} missed, {unknown} not known");
        count(&mut found, "One OK", unknown + missed);
        assert_eq!(found, counted, "{kind}");
    }
    eprintln!("gRPC: {counted:?}");
}

#[test]
fn grpc_calls_are_counted_as_the_server_counts() {
    let Some(_turn) = ebpf_or_skip("grpc_calls_are_counted_as_the_server_counts") else { return };
    let server = Grpc::start();
    let recording = Recording::of_ports(&[server.port]);
    run_client("grpc", server.port, &["work"]);
    let capture = recording.finish();
    are_counted(&capture, server.counted());
}

#[test]
fn large_messages_of_grpc_are_calls_all_the_same() {
    let Some(_turn) = ebpf_or_skip("large_messages_of_grpc_are_calls_all_the_same") else { return };
    let server = Grpc::start();
    let recording = Recording::of_ports(&[server.port]);
    run_client("grpc", server.port, &["large"]);
    let capture = recording.finish();
    let counted = server.counted();
    holds_no_canary(&capture);
    for kind in KINDS {
        let found = spans_by(&capture, kind, "split_part(operation, '/', 2) || ' OK'", "TRUE");
        assert_eq!(found, counted, "{kind}");
        // Where the end of an answer is not kept, it is not known how it went; nobody is accused.
        let odd = spans_by(&capture, kind, "outcome", "outcome NOT IN ('ok', 'lost')");
        assert_eq!(odd, Counts::new(), "{kind}");
    }
}

/// nginx with these lines in its `server`, and what it logs as `STATUS METHOD PATH`.
fn nginx(dir: &Path, port: u16, how: &str, lines: &str) -> Program {
    let at = dir.display();
    let files = dir.join("files");
    fs::create_dir_all(&files).expect("a folder for files");
    for size in FILE_SIZES {
        fs::write(files.join(format!("size-{size}")), vec![b'a'; size]).expect("a file");
    }
    let settings = format!(
        "daemon off; user root; worker_processes 2; pid {at}/nginx.pid; error_log {at}/nginx.err;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n\
         log_format truth '$status $request_method $uri'; access_log {at}/nginx.log truth;\n\
         client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4;\n\
         scgi_temp_path {at}/t5; client_max_body_size 10m; keepalive_requests 10000000; sendfile on;\n\
         {lines}\nserver {{ listen 127.0.0.1:{port} {how}; root {at}/files;\n\
         location = /s/404 {{ return 404; }} location = /s/503 {{ return 503; }} include {at}/more; }} }}\n"
    );
    if !fs::exists(dir.join("more")).unwrap_or_default() {
        fs::write(dir.join("more"), "").expect("a file");
    }
    fs::write(dir.join("nginx.conf"), settings).expect("settings");
    let mut command = Command::new(tool("nginx"));
    command.arg("-c").arg(dir.join("nginx.conf")).arg("-p").arg(dir).arg("-e").arg(dir.join("nginx.err"));
    let mut program = Program::start("nginx", dir, &mut command);
    program.wait_listening(port);
    program
}

/// Its log's rows, once there are that many.
fn logged(dir: &Path, rows: i64) -> Counts {
    let read = || {
        let mut counts = Counts::new();
        let log = fs::read_to_string(dir.join("nginx.log")).unwrap_or_default();
        log.lines().for_each(|line| count(&mut counts, line, 1));
        counts
    };
    wait_for(&format!("{rows} rows in nginx.log"), || read().values().sum::<i64>() >= rows);
    read()
}

#[test]
fn http2_requests_of_any_size_are_spans_as_nginx_logs_them() {
    let Some(_turn) = ebpf_or_skip("http2_requests_of_any_size_are_spans_as_nginx_logs_them") else { return };
    let (home, port) = (folder(), free_port());
    let _nginx = nginx(home.path(), port, "http2", "");
    let recording = Recording::of_ports(&[port]);
    for size in FILE_SIZES {
        let url = format!("http://127.0.0.1:{port}/size-{size}");
        // One at a time: a head that goes out behind another answer may lie beyond what is kept of that send.
        run_ok(Command::new(tool("h2load")).args(["-n", "60", "-c", "3", "-m", "1", &url]));
    }
    for path in ["s/404", "s/503", "size-8191?token="] {
        let url = format!("http://127.0.0.1:{port}/{path}{}", if path.ends_with('=') { CANARY } else { "" });
        let secret = format!("X-Secret: {CANARY}");
        for _ in 0..5 {
            run_ok(Command::new(tool("curl")).args([
                "-s",
                "--http2-prior-knowledge",
                "-o",
                "/dev/null",
                "-H",
                &secret,
                &url,
            ]));
        }
    }
    let logged = logged(home.path(), 60 * FILE_SIZES.len() as i64 + 15);
    let capture = recording.finish();
    is_whole(&capture, "http2", "FALSE");
    for kind in KINDS {
        assert_eq!(
            spans_by(&capture, kind, "status || ' ' || operation || ' ' || target", "TRUE"),
            logged,
            "{kind}"
        );
        let failed = spans_by(&capture, kind, "outcome", "status >= 500 AND outcome = 'error'");
        assert_eq!(failed.values().sum::<i64>(), 5, "{kind}");
    }
}

const PAGE: &str = "<?php
parse_str($_SERVER['QUERY_STRING'] ?? '', $q);
if (isset($q['status'])) http_response_code((int)$q['status']);
if (isset($q['log'])) error_log('qzxjqzxjqzxjqzxj');
if (isset($q['sleep'])) sleep((int)$q['sleep']);
echo str_repeat('qzxjqzxjqzxjqzxj', (int)($q['size'] ?? 1)), strlen(file_get_contents('php://input'));
";

fn php(dir: &Path, port: u16) -> Program {
    let at = dir.display();
    fs::write(dir.join("page.php"), PAGE).expect("a page");
    let settings = format!(
        "[global]\nerror_log = {at}/fpm.err\ndaemonize = no\n[lab]\nlisten = 127.0.0.1:{port}\nuser = root\n\
         pm = static\npm.max_children = 3\ncatch_workers_output = no\n"
    );
    fs::write(dir.join("fpm.conf"), settings).expect("settings");
    let found = (0..20)
        .map(|minor| format!("php-fpm8.{minor}"))
        .find(|name| Path::new("/usr/sbin").join(name).is_file());
    let program = tool(&found.unwrap_or_else(|| "php-fpm".to_owned()));
    let mut command = Command::new(program);
    let mut program =
        Program::start("php-fpm", dir, command.args(["-R", "-n", "-y"]).arg(dir.join("fpm.conf")));
    program.wait_listening(port);
    program
}

#[test]
fn fastcgi_requests_are_spans_as_nginx_logs_them() {
    let Some(_turn) = ebpf_or_skip("fastcgi_requests_are_spans_as_nginx_logs_them") else { return };
    let (home, port, behind) = (folder(), free_port(), free_port());
    let at = home.path().display();
    let pass = format!(
        "location / {{ fastcgi_pass php; fastcgi_keep_conn on; include /etc/nginx/fastcgi_params;\n\
         fastcgi_param SCRIPT_FILENAME {at}/page.php; }}"
    );
    fs::write(home.path().join("more"), pass).expect("settings");
    let _php = php(home.path(), behind);
    let upstream = format!("upstream php {{ server 127.0.0.1:{behind}; keepalive 4; }}");
    let _nginx = nginx(home.path(), port, "", &upstream);
    let recording = Recording::of_ports(&[behind]);
    let curl = |path: &str, more: &[&str]| {
        let url = format!("http://127.0.0.1:{port}/{path}");
        run_ok(Command::new(tool("curl")).args(["-s", "-o", "/dev/null", &url]).args(more));
    };
    let body = home.path().join("body");
    fs::write(&body, CANARY.repeat(20_000)).expect("a body");
    let body = format!("@{}", body.display());
    let secret = format!("{CANARY}:{CANARY}");
    for _ in 0..20 {
        curl(&format!("orders?token={CANARY}"), &["-u", &secret]);
        curl("large?size=20000", &[]);
        curl("missing?status=404", &[]);
        curl("broken?status=503&log=1", &[]);
        curl("posted", &["--data-binary", &body]);
    }
    let logged = logged(home.path(), 100);
    let capture = recording.finish();
    is_whole(&capture, "fastcgi", "FALSE");
    for kind in KINDS {
        assert_eq!(
            spans_by(&capture, kind, "status || ' ' || operation || ' ' || target", "TRUE"),
            logged,
            "{kind}"
        );
        let failed = spans_by(&capture, kind, "target", "outcome = 'error'");
        assert_eq!(failed, Counts::from([("/broken".to_owned(), 20)]), "{kind}");
    }
}

#[test]
fn a_grpc_channel_that_is_older_than_the_recording_has_its_calls() {
    let Some(_turn) = ebpf_or_skip("a_grpc_channel_that_is_older_than_the_recording_has_its_calls") else {
        return;
    };
    let server = Grpc::start();
    let waiting = Waiting::start("grpc", server.port);
    let recording = Recording::of_ports(&[server.port]);
    waiting.work();
    let capture = recording.finish();
    let counted = server.counted();
    holds_no_canary(&capture);
    // One more than before the recording, and one of a method that is not there.
    let calls: i64 = counted.values().sum();
    for kind in KINDS {
        let found = spans_by(&capture, kind, "kind", "protocol = 'grpc' OR protocol = 'http2'");
        let missed = calls - found.values().sum::<i64>();
        assert!((0..=AT_ONCE).contains(&missed), "{kind}: {missed} of {calls} missed");
    }
}
