//! Brokers of messages as their clients use them: what they take and deliver are spans on each side, as many as they logged.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::clients::{
    Counts, KINDS, client, count, has_all, holds_hardly_any_canary, is_whole, run_client, spans_by,
};
use crate::lab::process::{Program, send_signal};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool};

struct Broker {
    port: u16,
    program: Program,
    _names: Option<Epmd>,
    _home: TempDir,
}

/// What RabbitMQ's runtime starts to be found by, and leaves behind.
struct Epmd {
    port: u16,
}

impl Drop for Epmd {
    /// Ends the one that was started for this port, and no other.
    fn drop(&mut self) {
        let mark = format!("ERL_EPMD_PORT={}", self.port);
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            let is_ours = || read("environ").split(|&byte| byte == 0).any(|set| set == mark.as_bytes());
            if let Some(pid) = pid
                && read("comm") == b"epmd\n"
                && is_ours()
            {
                send_signal(pid, libc::SIGKILL);
            }
        }
    }
}

impl Broker {
    fn mosquitto() -> Broker {
        let (home, port) = (folder(), free_port());
        let file = home.path().join("mosquitto.conf");
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             log_type all\nlog_dest stderr\n"
        );
        fs::write(&file, settings).expect("settings");
        let mut command = Command::new(tool("mosquitto"));
        let mut program = Program::start("mosquitto", home.path(), command.arg("-c").arg(&file));
        program.wait_listening(port);
        Broker { port, program, _names: None, _home: home }
    }

    fn nats() -> Broker {
        let (home, port) = (folder(), free_port());
        let mut command = Command::new(tool("nats-server"));
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-V", "-js", "-sd"]).arg(home.path());
        let mut program = Program::start("nats-server", home.path(), &mut command);
        program.wait_listening(port);
        Broker { port, program, _names: None, _home: home }
    }

    /// RabbitMQ, with everything that it keeps in a folder of its own, and nothing that listens elsewhere.
    fn rabbitmq() -> Broker {
        let (home, port, names) = (folder(), free_port(), Epmd { port: free_port() });
        let plugins = home.path().join("plugins");
        fs::write(&plugins, "[].").expect("a list of plugins");
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        assert!(fs::exists(command.get_program()).unwrap_or_default(), "no RabbitMQ: run .ci/setup");
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1} -setcookie lab";
        command
            .env("HOME", home.path())
            .env("RABBITMQ_NODENAME", format!("lab{port}@localhost"))
            .env("RABBITMQ_MNESIA_BASE", home.path().join("data"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names.port.to_string())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
        let mut program = Program::start("rabbitmq-server", home.path(), &mut command);
        let listens = |program: &mut Program| program.wait_listening(port);
        listens(&mut program);
        Broker { port, program, _names: Some(names), _home: home }
    }

    /// How many lines of its log have all of these words.
    fn logged(&self, words: &[&str]) -> i64 {
        let log = self.program.printed();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        i64::try_from(log.lines().filter(has_all).count()).expect("a count")
    }
}

#[test]
fn mqtt_packets_are_spans_as_the_broker_logs_them() {
    let Some(_turn) = ebpf_or_skip("mqtt_packets_are_spans_as_the_broker_logs_them") else { return };
    let broker = Broker::mosquitto();
    let recording = Recording::of_ports(&[broker.port]);
    let told = run_client("mqtt", broker.port, &[]);
    let capture = recording.finish();
    is_whole(&capture, "mqtt", "FALSE");
    let mut logged = Counts::new();
    // PUBLISH goes both ways; a connection is logged as what it is answered with.
    for (name, words) in [
        ("CONNECT", "Sending CONNACK"),
        ("PUBLISH", "Received PUBLISH"),
        ("PUBLISH", "Sending PUBLISH"),
        ("SUBSCRIBE", "Received SUBSCRIBE"),
        ("UNSUBSCRIBE", "Received UNSUBSCRIBE"),
        ("DISCONNECT", "Received DISCONNECT"),
        ("PINGREQ", "Received PINGREQ"),
    ] {
        count(&mut logged, name, broker.logged(&[words]));
    }
    logged.retain(|_, n| *n > 0);
    let answered = broker.logged(&["PUBACK"]) + broker.logged(&["PUBCOMP"]);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "operation", "TRUE"), logged, "{kind}");
        let acknowledged = format!(
            "SELECT count(*) AS n FROM spans
             WHERE kind = '{kind}' AND operation = 'PUBLISH' AND response_bytes > 0"
        );
        assert_eq!(capture.number(&acknowledged), answered, "{kind}");
    }
    assert_eq!(told["delivered"].as_i64(), Some(broker.logged(&["Sending PUBLISH"])));
    eprintln!("mosquitto: {logged:?}, {answered} acknowledged");
}

#[test]
fn nats_messages_are_spans_as_the_server_traces_them() {
    let Some(_turn) = ebpf_or_skip("nats_messages_are_spans_as_the_server_traces_them") else { return };
    let broker = Broker::nats();
    // As much of what a client sends at once.
    let recording = Recording::start(&["--port", &broker.port.to_string(), "--snaplen", "4096"]);
    let told = run_client("nats", broker.port, &[]);
    let capture = recording.finish();
    // After an answer of which not all is kept, PONG is counted no more.
    has_all(&capture, "nats", "operation = 'PING'");
    // Clients make up names of inboxes.
    holds_hardly_any_canary(&capture);
    let taken = |verb: &str| {
        broker.logged(&["cid:", &format!("<<- [{verb} ")])
            + broker.logged(&["cid:", &format!("<<- [{verb}]")])
    };
    let published = taken("PUB") + taken("HPUB");
    for kind in KINDS {
        let found = spans_by(&capture, kind, "operation", "TRUE");
        let n = |name: &str| found.get(name).copied().unwrap_or_default();
        assert_eq!(n("publish"), published, "{kind}");
        assert_eq!(n("SUB"), taken("SUB"), "{kind}");
        assert_eq!(n("UNSUB"), taken("UNSUB"), "{kind}");
        assert_eq!(n("CONNECT"), taken("CONNECT"), "{kind}");
        let refused = spans_by(&capture, kind, "status", "operation = 'publish'");
        assert_eq!(refused.get("503").copied(), told["refused"].as_i64(), "{kind}");
        // Each message that is no answer to a request.
        let delivered = told["delivered"].as_i64().unwrap() + told["stream"].as_i64().unwrap();
        // The server sends as many at once as there are: one that begins beyond what is kept of a call is missed.
        let of_them = n("process");
        assert!(of_them <= delivered && 20 * of_them >= 19 * delivered, "{kind}: {of_them} of {delivered}");
        eprintln!("nats-server: {found:?}");
    }
}

#[test]
fn amqp_methods_are_spans_and_refusals_what_the_broker_logs() {
    let Some(_turn) = ebpf_or_skip("amqp_methods_are_spans_and_refusals_what_the_broker_logs") else {
        return;
    };
    let broker = Broker::rabbitmq();
    let recording = Recording::of_ports(&[broker.port]);
    let told = run_client("amqp", broker.port, &[]);
    let capture = recording.finish();
    is_whole(&capture, "amqp", "FALSE");
    let refused = ["not_found", "precondition_failed"]
        .map(|reason| broker.logged(&["caused a channel exception", reason]));
    for kind in KINDS {
        let found = spans_by(&capture, kind, "operation", "TRUE");
        for operation in ["basic.publish", "basic.deliver", "basic.return"] {
            assert_eq!(found.get(operation).copied(), told[operation].as_i64(), "{kind} {operation}");
        }
        let answered = spans_by(&capture, kind, "operation", "outcome = 'ok'");
        assert_eq!(answered.get("basic.get").copied(), told["basic.get"].as_i64(), "{kind}");
        // Who was refused has one, and so has the channel that was closed for it.
        let statuses = spans_by(&capture, kind, "status", "operation <> 'channel.close'");
        let expected: Counts =
            [("404", refused[0]), ("406", refused[1])].map(|(code, n)| (code.to_owned(), n)).into();
        assert_eq!(statuses, expected, "{kind}");
        assert_eq!(spans_by(&capture, kind, "status", "operation = 'channel.close'"), expected, "{kind}");
        eprintln!("RabbitMQ: {found:?}");
    }
}

#[test]
fn kafka_requests_are_spans_as_their_clients_count_them() {
    let Some(_turn) = ebpf_or_skip("kafka_requests_are_spans_as_their_clients_count_them") else { return };
    let home = folder();
    let mut broker = Program::start("broker", home.path(), &mut client("kafka", 0, &[]));
    let log = home.path().join("broker.out");
    let port = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().find_map(|line| line.parse::<u16>().ok())
    };
    broker.wait("its port", || port().is_some());
    let port = port().expect("just seen");
    let recording = Recording::of_ports(&[port]);
    let told = run_client("kafka", port, &[]);
    let capture = recording.finish();
    // Older clients' versions are asked for first; a client that leaves does not wait for what it has asked for.
    is_whole(
        &capture,
        "kafka",
        "outcome = 'client_closed' AND operation IN ('Fetch', 'Metadata', 'FindCoordinator')",
    );
    let told = |operation: &str| {
        let requests = ["producer", "consumer"].map(|client| told["requests"][client][operation].as_i64());
        requests.into_iter().flatten().sum::<i64>()
    };
    for kind in KINDS {
        let found = spans_by(&capture, kind, "operation", "TRUE");
        for operation in ["Produce", "ListOffsets", "JoinGroup", "SyncGroup", "OffsetFetch"] {
            assert_eq!(found.get(operation).copied(), Some(told(operation)), "{kind} {operation}");
        }
        // Each message is fetched alone or with others, and each tenth confirmed.
        assert!(found["Fetch"] >= told("Fetch"), "{kind} {found:?}");
        assert!(found["OffsetCommit"] >= 10, "{kind} {found:?}");
        let failed = spans_by(&capture, kind, "operation || ' ' || status_text", "outcome = 'error'");
        let other: Vec<_> = failed.keys().filter(|name| *name != "ApiVersions UNSUPPORTED_VERSION").collect();
        assert!(other.is_empty(), "{failed:?}");
        eprintln!("Kafka: {found:?}");
    }
}
