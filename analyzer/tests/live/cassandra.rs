//! Cassandra as its clients use it, in every version of its protocol: every request is one span on each side, as the server's
//! audit log has them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::clients::{Counts, KINDS, Waiting, client, count, is_whole, run_client, spans_by};
use crate::lab::java::java;
use crate::lab::process::Program;
use crate::lab::recording::Recording;
use crate::lab::{cache, ebpf_or_skip, folder, free_port, wait_for};

/// What of Java's own parts the server looks into.
const EXPORTS: [&str; 8] = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
];
const OPENS: [&str; 15] = [
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.io",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/sun.nio.ch",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
];

/// A node alone, which asks for passwords and logs what it is asked.
struct Cassandra {
    port: u16,
    program: Program,
    _home: TempDir,
}

impl Cassandra {
    fn start() -> Cassandra {
        let (home, port, storage) = (folder(), free_port(), free_port());
        let at = home.path().display();
        let settings = format!(
            "cluster_name: lab\nnum_tokens: 1\npartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
             commitlog_sync: periodic\ncommitlog_sync_period: 10000ms\ndata_file_directories: [{at}/data]\n\
             commitlog_directory: {at}/log\nhints_directory: {at}/hints\nsaved_caches_directory: {at}/saved\n\
             cdc_raw_directory: {at}/cdc\nlisten_address: 127.0.0.1\nrpc_address: 127.0.0.1\n\
             native_transport_port: {port}\nstorage_port: {storage}\nendpoint_snitch: SimpleSnitch\n\
             authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\nseed_provider:\n  \
             - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n    \
             parameters: [{{seeds: \"127.0.0.1:{storage}\"}}]\n\
             audit_logging_options:\n  enabled: true\n  logger: [{{class_name: FileAuditLogger}}]\n"
        );
        let logs = "<configuration><appender name=\"out\" class=\"ch.qos.logback.core.ConsoleAppender\"><encoder>\
                    <pattern>%logger{0} %msg%n</pattern></encoder></appender><root level=\"WARN\"><appender-ref ref=\"out\"/>\
                    </root><logger name=\"org.apache.cassandra.audit\" level=\"INFO\"/></configuration>";
        fs::write(home.path().join("cassandra.yaml"), settings).expect("settings");
        fs::write(home.path().join("logback.xml"), logs).expect("settings");
        let mut command = Cassandra::command();
        for setting in [
            format!("config=file://{at}/cassandra.yaml"),
            format!("storagedir={at}"),
            // Alone, it waits for nobody.
            "superuser_setup_delay_ms=0".into(),
            "skip_wait_for_gossip_to_settle=0".into(),
            "ring_delay_ms=0".into(),
        ] {
            command.arg(format!("-Dcassandra.{setting}"));
        }
        command.arg(format!("-Dlogback.configurationFile=file://{at}/logback.xml"));
        command.args(["-Dcassandra-foreground=yes", "org.apache.cassandra.service.CassandraDaemon"]);
        let mut program = Program::start("cassandra", home.path(), &mut command);
        program.wait_listening(port);
        Cassandra { port, program, _home: home }
    }

    fn command() -> Command {
        let mut command = java("cassandra", 256);
        let all = |kind: &str, name: &&str| format!("--add-{kind}={name}=ALL-UNNAMED");
        command.args(EXPORTS.iter().map(|name| all("exports", name)));
        command.args(OPENS.iter().map(|name| all("opens", name)));
        let agent = cache().join("java/cassandra/jamm-0.4.0.jar");
        command.arg(format!("-javaagent:{}", agent.display())).arg("-Djdk.attach.allowAttachSelf=true");
        command
    }

    /// What it has logged so far.
    fn logged(&self) -> Vec<String> {
        let log = self.program.printed();
        let lines = log.lines().filter_map(|line| line.strip_prefix("FileAuditLogger "));
        lines.map(str::to_owned).collect()
    }
}

/// Requests that are answered well by their operations, and how many others, in lines of the audit log. `old`: what is prepared
/// was prepared before.
fn answered(lines: &[String], old: bool) -> (Counts, i64) {
    let (mut counts, mut failed) = (Counts::new(), 0);
    for line in lines {
        let field = |name: &str| line.split('|').find_map(|field| field.strip_prefix(name));
        let kind = field("type:").expect("a type");
        let (_, text) = line.split_once("|operation:").expect("an operation");
        let word = text.split(' ').next().unwrap_or_default();
        let operation = match kind {
            "REQUEST_FAILURE" | "LOGIN_ERROR" => {
                failed += 1;
                continue;
            }
            "LOGIN_SUCCESS" => "AUTH_RESPONSE",
            "PREPARE_STATEMENT" => "PREPARE",
            "BATCH" => "BATCH",
            // A statement of a batch.
            _ if field("batch:").is_some() => continue,
            _ if old && text.contains('?') => "EXECUTE",
            _ => word,
        };
        count(&mut counts, operation, 1);
    }
    (counts, failed)
}

/// Of what the log has: it has neither how sessions begin nor what drivers ask about the cluster.
const LOGGED: &str = "outcome = 'ok' AND operation NOT IN ('OPTIONS', 'STARTUP', 'REGISTER')
    AND (COALESCE(target, '') NOT LIKE 'system%' OR target = 'system_views.clients')";

/// Compares spans with the log and with what the driver counts.
fn works(server: &Cassandra, version: &str) {
    let before = server.logged().len();
    // As much of what a server answers at once.
    let recording = Recording::start(&["--port", &server.port.to_string(), "--snaplen", "4096"]);
    let told = run_client("cassandra", server.port, &["work", version]);
    let capture = recording.finish();
    is_whole(&capture, "cassandra", "FALSE");
    let (expected, failed) = answered(&server.logged()[before..], false);
    let codes: Counts = serde_json::from_value(told["codes"].clone()).expect("codes");
    let counts: Counts = serde_json::from_value(told["counts"].clone()).expect("counts");
    assert_eq!(codes.values().sum::<i64>(), failed, "{codes:?}");
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "operation", LOGGED), expected, "{version} {kind}");
        assert_eq!(spans_by(&capture, kind, "status", "outcome = 'error'"), codes, "{version} {kind}");
        // The server does not count what comes before a session begins.
        let mut connections = spans_by(&capture, kind, "src_port", "operation <> 'OPTIONS'");
        connections.retain(|port, _| counts.contains_key(port));
        assert_eq!(connections, counts, "{version} {kind}");
    }
    eprintln!("Cassandra {version}: {expected:?}, {codes:?}, {counts:?}");
}

/// Of compressed messages only the requests are known, and which have failed.
fn works_compressed(server: &Cassandra) {
    let recording = Recording::start(&["--port", &server.port.to_string(), "--snaplen", "4096"]);
    let told = run_client("cassandra", server.port, &["work", "4", "lz4"]);
    let capture = recording.finish();
    is_whole(&capture, "cassandra", "FALSE");
    let codes: Counts = serde_json::from_value(told["codes"].clone()).expect("codes");
    let counts: Counts = serde_json::from_value(told["counts"].clone()).expect("counts");
    for kind in KINDS {
        let errors = spans_by(&capture, kind, "outcome", "outcome = 'error'").values().sum::<i64>();
        assert_eq!(errors, codes.values().sum::<i64>(), "{kind}");
        // The server does not count what comes before a session begins.
        let mut connections = spans_by(&capture, kind, "src_port", "operation <> 'OPTIONS'");
        connections.retain(|port, _| counts.contains_key(port));
        assert_eq!(connections, counts, "{kind}");
    }
}

fn sessions_are_older(server: &Cassandra, version: &str) {
    let waiting = Waiting::of(&mut client("cassandra", server.port, &["stay", version, "old"]));
    let before = server.logged().len();
    let recording = Recording::start(&["--port", &server.port.to_string(), "--snaplen", "4096"]);
    waiting.work();
    let capture = recording.finish();
    is_whole(&capture, "cassandra", "FALSE");
    let (expected, failed) = answered(&server.logged()[before..], true);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "operation", LOGGED), expected, "{version} {kind}");
        let codes = spans_by(&capture, kind, "status", "outcome = 'error'");
        assert_eq!(codes.values().sum::<i64>(), failed, "{version} {kind} {codes:?}");
    }
}

/// The server is kept from answering for good, so this comes last.
fn a_client_is_killed(server: &Cassandra) {
    let recording = Recording::of_ports(&[server.port]);
    let mut killed = Waiting::of(&mut client("cassandra", server.port, &["ask", "5"]));
    server.program.signal(libc::SIGSTOP);
    killed.go();
    wait_for("a request in the server's socket", || has_unread(server.port));
    killed.kill();
    let capture = recording.finish();
    let asked = "outcome = 'client_closed' AND operation = 'SELECT' AND target = 'shop.asked'";
    is_whole(&capture, "cassandra", asked);
    let found = BTreeMap::from(KINDS.map(|kind| {
        let spans = spans_by(&capture, kind, "outcome", asked).values().sum::<i64>();
        (kind, spans)
    }));
    // The server never read it.
    assert_eq!(found, BTreeMap::from([("client", 1), ("server", 0)]));
}

/// Whether a connection to this port has bytes that its server has not read.
fn has_unread(port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let rows = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        rows.lines().skip(1).any(|row| {
            let columns: Vec<_> = row.split_whitespace().collect();
            let unread = columns.get(4).and_then(|queues| queues.split(':').nth(1));
            let local = columns.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
            local && columns.get(3) == Some(&"01") && unread.is_some_and(|bytes| bytes != "00000000")
        })
    })
}

#[test]
fn cassandra_requests_of_every_version_are_spans_as_the_server_logs_them() {
    let Some(_turn) = ebpf_or_skip("cassandra_requests_of_every_version_are_spans_as_the_server_logs_them")
    else {
        return;
    };
    // One server for all: it needs some seconds and 700 MB.
    let server = Cassandra::start();
    for version in ["3", "4", "5"] {
        works(&server, version);
    }
    works_compressed(&server);
    for version in ["4", "5"] {
        sessions_are_older(&server, version);
    }
    a_client_is_killed(&server);
}
