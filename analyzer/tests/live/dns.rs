//! DNS over TCP as resolvers, servers of zones and their clients speak it: every question is one span on each side, whatever
//! order the answers come in, and no record is in the capture.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::process::{Program, run, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{self, duck, ebpf_or_skip, folder, free_port, tool};

/// Any three bytes of it betray it: it is made of letters that hardly meet otherwise.
const CANARY: &str = "qzxjqzxjqzxjqzxj";
/// Finds pieces of it in any case.
const TRACES: &str = "qzx|zxj|xjq|jqz";
const KINDS: [&str; 2] = ["client", "server"];

/// A server and how it is asked for what it counted.
struct Server {
    port: u16,
    statistics: Command,
    _program: Program,
    _home: TempDir,
}

impl Server {
    /// A resolver that knows some names, and asks somebody slow for others.
    fn unbound() -> Server {
        let (home, port) = (folder(), free_port());
        let (file, socket) = (home.path().join("unbound.conf"), home.path().join("control"));
        let configuration = format!(
            "server:\n directory: '{home}'\n username: ''\n chroot: ''\n pidfile: '{home}/pid'\n\
             interface: 127.0.0.1\n port: {port}\n do-daemonize: no\n use-syslog: no\n\
             do-not-query-localhost: no\n extended-statistics: yes\n module-config: 'iterator'\n\
             local-zone: 'fast.test.' static\n local-data: 'a.fast.test. A 192.0.2.1'\n\
             local-data: 'a.fast.test. TXT {CANARY}'\n local-zone: 'refused.test.' refuse\n\
             local-zone: 'slow.test.' transparent\n\
             stub-zone:\n name: 'slow.test.'\n stub-addr: 127.0.0.1@{slow}\n\
             remote-control:\n control-enable: yes\n control-interface: '{socket}'\n control-use-cert: no\n",
            home = home.path().display(),
            socket = socket.display(),
            slow = slow_zone(),
        );
        fs::write(&file, configuration).expect("a configuration");
        let mut command = Command::new(tool("unbound"));
        let mut program = Program::start("unbound", home.path(), command.arg("-d").arg("-c").arg(&file));
        program.wait_listening(port);
        let mut statistics = Command::new(tool("unbound-control"));
        statistics.arg("-c").arg(&file).arg("stats_noreset");
        Server { port, statistics, _program: program, _home: home }
    }

    /// A server of a zone that is larger than a message.
    fn knot() -> Server {
        let (home, port) = (folder(), free_port());
        let (file, socket) = (home.path().join("knot.conf"), home.path().join("knot.sock"));
        let configuration = format!(
            "server:\n  rundir: {home}\n  listen: 127.0.0.1@{port}\n  tcp-workers: 2\n\
             database:\n  storage: {home}\n\
             log:\n  - target: stderr\n    any: info\n\
             mod-stats:\n  - id: all\n    response-code: on\n    query-type: on\n    server-operation: on\n    \
             request-bytes: on\n    response-bytes: on\n\
             template:\n  - id: default\n    storage: {home}\n    global-module: mod-stats/all\n\
             acl:\n  - id: all\n    address: 127.0.0.0/8\n    action: transfer\n\
             zone:\n  - domain: big.test\n    file: big.zone\n    acl: all\n",
            home = home.path().display(),
        );
        let mut zone =
            "$ORIGIN big.test.\n$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n".to_owned();
        for number in 0..3_000 {
            zone += &format!("h{number} TXT \"{CANARY}\"\n");
        }
        fs::write(&file, configuration).expect("a configuration");
        fs::write(home.path().join("big.zone"), zone).expect("a zone");
        let mut command = Command::new(tool("knotd"));
        let mut program = Program::start("knotd", home.path(), command.arg("-c").arg(&file));
        program.wait_listening(port);
        let mut statistics = Command::new(tool("knotc"));
        statistics.arg("-s").arg(socket).arg("stats");
        Server { port, statistics, _program: program, _home: home }
    }

    /// What it counted under names that begin so, by the rest of the name; what it did not count is left out.
    fn counted(&mut self, prefix: &str) -> BTreeMap<String, i64> {
        let printed = run_ok(&mut self.statistics);
        let rows = printed.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once('='));
        let number = |text: &str| text.trim().parse::<i64>().expect("a count");
        let rows = rows.map(|(name, count)| (name.trim_end_matches([' ', ']']).to_owned(), number(count)));
        rows.filter(|(_, count)| *count > 0).collect()
    }

    /// What `kdig` prints, failed questions included.
    fn kdig(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = run(Command::new(tool("kdig")).args(["@127.0.0.1", "-p", &port, "+tcp"]).args(words));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Answers every question about a zone late, or that it failed. Returns its UDP port.
fn slow_zone() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let (asked, socket) = (buffer[..length].to_vec(), socket.try_clone().expect("a socket"));
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(150));
                let name_end = 12 + asked[12..].iter().position(|&byte| byte == 0).expect("a name");
                let question = &asked[12..name_end + 5];
                let fails = question.windows(4).any(|text| text == b"fail");
                let mut answer = [&asked[..2], &[0x84, if fails { 2 } else { 0 }, 0, 1, 0]].concat();
                answer.extend([u8::from(!fails), 0, 0, 0, 0]);
                answer.extend(question);
                if !fails {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 2]);
                }
                // It may be gone meanwhile.
                drop(socket.send_to(&answer, from));
            });
        }
    });
    port
}

/// A question with its length.
fn question(id: u16, name: &str, kind: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut bytes = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    [vec![0, bytes.len() as u8], bytes].concat()
}

/// Id and status of the next answer.
fn answer(stream: &mut impl Read) -> (u16, u8) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).expect("a message");
    (u16::from_be_bytes([message[0], message[1]]), message[3] & 0xf)
}

/// How many spans of a kind each value of a column has.
fn spans_by(capture: &Capture, column: &str, kind: &str) -> BTreeMap<String, i64> {
    let rows = capture.sql(&format!(
        "SELECT {column} AS name, count(*) AS n FROM spans
         WHERE kind = '{kind}' AND protocol = 'dns' GROUP BY 1"
    ));
    let text = |row: &serde_json::Value| row["name"].as_str().unwrap_or("none").to_owned();
    rows.iter().map(|row| (text(row), row["n"].as_i64().expect("a count"))).collect()
}

/// All is DNS, nothing is missing, every outcome is that of its status, and no secret is left.
fn is_whole(capture: &Capture) {
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    let odd = capture.sql(
        "SELECT kind, operation, target, stream_id, status_text, outcome, count(*) AS n FROM spans
         WHERE protocol <> 'dns' OR outcome <> CASE
            WHEN status_text IN ('SERVFAIL', 'NOTIMP', 'REFUSED', 'NOTAUTH') THEN 'error' ELSE 'ok' END
         GROUP BY 1, 2, 3, 4, 5, 6",
    );
    assert!(odd.is_empty(), "{odd:?}");
    let links = "SELECT count(*) AS n FROM spans WHERE kind = 'server' AND link_evidence IS DISTINCT FROM 'connection'";
    assert_eq!(capture.number(links), 0, "server spans without their client span");
    lab::check::none_of("traces of the canary", &duck::find(capture.dir(), TRACES));
}

#[test]
fn answers_in_another_order_are_paired_as_the_client_does_and_counted_as_the_resolver_does() {
    let Some(_turn) = ebpf_or_skip(
        "answers_in_another_order_are_paired_as_the_client_does_and_counted_as_the_resolver_does",
    ) else {
        return;
    };
    const ROUNDS: u16 = 40;
    let mut unbound = Server::unbound();
    let recording = Recording::of_ports(&[unbound.port]);
    let long = ["x".repeat(60), "y".repeat(60), "z".repeat(60)].join(".");
    let odd = format!("{CANARY}!{CANARY}.fast.test");
    let mut expected = BTreeMap::new();
    let mut overtaken = 0;
    for round in 0..ROUNDS {
        let mut stream = TcpStream::connect(("127.0.0.1", unbound.port)).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let names = [
            (format!("s{round}.slow.test"), 1, "NOERROR"),
            ("a.fast.test".to_owned(), 1, "NOERROR"),
            ("a.fast.test".to_owned(), 16, "NOERROR"),
            (format!("{long}.fast.test"), 28, "NXDOMAIN"),
            (format!("t{round}.slow.test"), 1, "NOERROR"),
            ("b.refused.test".to_owned(), 1, "REFUSED"),
            (odd.clone(), 1, "NXDOMAIN"),
            (if round % 10 == 0 { "fail.slow.test" } else { "a.fast.test" }.to_owned(), 1, "SERVFAIL"),
        ];
        let id = |index: usize| round.wrapping_mul(7_919) ^ (index as u16) << 3;
        let mut all = Vec::new();
        for (index, (name, kind, status)) in names.iter().enumerate() {
            let bytes = question(id(index), name, *kind);
            match round % 3 {
                // One by one, the lengths apart, or all at once.
                0 => stream.write_all(&bytes).expect("a write"),
                1 => [&bytes[..2], &bytes[2..]]
                    .iter()
                    .for_each(|part| stream.write_all(part).expect("a write")),
                _ => all.extend(bytes),
            }
            let status = if name == "a.fast.test" { "NOERROR" } else { status };
            let target = if *name == odd { "none" } else { name };
            *expected.entry((i64::from(id(index)), target.to_owned(), status.to_owned())).or_insert(0) += 1;
        }
        stream.write_all(&all).expect("a write");
        let order: Vec<_> = names.iter().map(|_| answer(&mut stream).0).collect();
        overtaken += usize::from(!order.is_sorted_by_key(|&got| (0..8).position(|index| id(index) == got)));
    }
    assert_eq!(overtaken, usize::from(ROUNDS), "the server answers out of order");
    unbound.kdig(&["+keepopen", "a.fast.test", "A", "nx.fast.test", "AAAA", "a.fast.test", "TXT"]);
    unbound.kdig(&["+edns=5", "+padding=400", "a.fast.test", "MX"]);
    let (types, mut codes) = (unbound.counted("num.query.type."), unbound.counted("num.answer.rcode."));
    // Those of NOERROR that have no record.
    codes.remove("nodata");
    let total = unbound.counted("num.query.tcp")[""];
    let capture = recording.finish();
    is_whole(&capture);
    for kind in KINDS {
        // One of an EDNS that it does not know it counts under no type ...
        let mut found = spans_by(&capture, "operation", kind);
        assert_eq!(found.remove("MX"), Some(1), "{kind}");
        assert_eq!(found, types, "{kind}");
        assert_eq!(types.values().sum::<i64>(), total, "{kind}");
        let mut found = spans_by(&capture, "status_text", kind);
        // ... and under the lower bits of its status.
        assert_eq!(found.remove("BADVERS"), Some(1), "{kind}");
        found.entry("NOERROR".to_owned()).and_modify(|count| *count += 1);
        assert_eq!(found, codes, "{kind}");
        let rows = capture.sql(&format!(
            "SELECT stream_id AS id, coalesce(target, 'none') AS target, status_text, count(*) AS n FROM spans s
             WHERE kind = '{kind}' AND (SELECT count(*) FROM spans o
                WHERE o.connection_id = s.connection_id AND o.kind = s.kind) = 8 GROUP BY 1, 2, 3"
        ));
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().expect("a text").to_owned();
        let found: BTreeMap<_, _> = rows
            .iter()
            .map(|row| {
                let key = (row["id"].as_i64().expect("an id"), text(row, "target"), text(row, "status_text"));
                (key, row["n"].as_i64().expect("a count"))
            })
            .collect();
        assert_eq!(found, expected, "{kind}");
        // Who was overtaken has waited.
        let slow = format!(
            "SELECT count(*) AS n FROM spans WHERE kind = '{kind}'
             AND duration_ns < 150000000 AND (target LIKE 's%.slow.test' OR target LIKE 't%.slow.test')"
        );
        assert_eq!(capture.number(&slow), 0, "{kind}");
    }
    eprintln!("unbound: {total} questions, {types:?}, {codes:?}");
}

#[test]
fn zone_transfers_are_one_answer_and_counted_to_the_byte() {
    let Some(_turn) = ebpf_or_skip("zone_transfers_are_one_answer_and_counted_to_the_byte") else { return };
    let mut knot = Server::knot();
    let recording = Recording::of_ports(&[knot.port]);
    let printed = knot.kdig(&["AXFR", "big.test"]);
    let received = printed.lines().find_map(|line| line.strip_prefix(";; Received ")).expect("a summary");
    let mut words = received.split([' ', '(']).filter_map(|word| word.parse::<i64>().ok());
    let (bytes, messages) = (words.next().expect("bytes"), words.next().expect("messages"));
    assert!(messages > 1, "{received}");
    knot.kdig(&[
        "+keepopen",
        "h1.big.test",
        "TXT",
        "ns.big.test",
        "A",
        "no.big.test",
        "A",
        "big.test",
        "IXFR=1",
    ]);
    knot.kdig(&["AXFR", "other.test"]);
    // A client that sends ahead, and transfers between questions.
    let mut stream = TcpStream::connect(("127.0.0.1", knot.port)).expect("a connection");
    for round in 0..20u16 {
        let asked = (0..10).flat_map(|index| question(10 * round + index, "h2.big.test", 16));
        stream.write_all(&asked.collect::<Vec<_>>()).expect("a write");
        for _ in 0..10 {
            assert_eq!(answer(&mut stream).1, 0);
        }
        if round % 10 == 5 {
            stream.write_all(&question(5_000, "big.test", 252)).expect("a write");
            for _ in 0..messages {
                assert_eq!(answer(&mut stream), (5_000, 0));
            }
        }
    }
    drop(stream);
    let types = knot.counted("mod-stats.query-type[");
    let operations = knot.counted("mod-stats.server-operation[");
    let codes = knot.counted("mod-stats.response-code[");
    let (asked, answered) =
        (knot.counted("mod-stats.request-bytes["), knot.counted("mod-stats.response-bytes["));
    let capture = recording.finish();
    is_whole(&capture);
    for kind in KINDS {
        let mut found = spans_by(&capture, "operation", kind);
        let transfers = ["AXFR", "IXFR"].map(|name| found.remove(name));
        assert_eq!(transfers, ["axfr", "ixfr"].map(|name| operations.get(name).copied()), "{kind}");
        assert_eq!(found, types, "{kind}");
        let sum =
            |what: &str| capture.number(&format!("SELECT sum({what}) AS n FROM spans WHERE kind = '{kind}'"));
        let spans = sum("1");
        // Each message has two bytes of its length.
        assert_eq!(sum("request_bytes - 2"), asked.values().sum::<i64>(), "{kind}");
        let several = 3 * (messages - 1) * 2;
        assert_eq!(sum("response_bytes") - 2 * spans - several, answered.values().sum::<i64>(), "{kind}");
        let whole = format!(
            "SELECT count(*) AS n FROM spans WHERE kind = '{kind}' AND operation = 'AXFR'
             AND response_bytes = {}",
            bytes + 2 * messages
        );
        assert_eq!(capture.number(&whole), 3, "{kind}");
        assert_eq!(spans_by(&capture, "status_text", kind), codes, "{kind}");
    }
    eprintln!(
        "knot: {types:?}, {operations:?}, {codes:?}, {asked:?}, {answered:?}, {messages} messages of {bytes} B"
    );
}

/// Records what goes over UDP from or to these ports, and over TCP.
fn recording_of(ports: &[u16]) -> Recording {
    let ports = ports.iter().flat_map(|port| ["--port".to_owned(), port.to_string()]);
    Recording::start(
        &["--sockets".to_owned(), "tcp,udp".to_owned()].into_iter().chain(ports).collect::<Vec<_>>(),
    )
}

/// A question as it goes over UDP.
fn datagram(id: u16, name: &str, kind: u8) -> Vec<u8> {
    question(id, name, kind).split_off(2)
}

fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).expect("a question");
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    assert_eq!(answer[..2], question[..2], "the answer to it");
    answer
}

#[test]
fn questions_over_udp_are_counted_as_the_resolver_counts_them() {
    let Some(_turn) = ebpf_or_skip("questions_over_udp_are_counted_as_the_resolver_counts_them") else {
        return;
    };
    let mut unbound = Server::unbound();
    let recording = recording_of(&[unbound.port]);
    let port = unbound.port.to_string();
    // A socket a question, connected and not.
    for round in 0..20 {
        let names = ["a.fast.test", "nx.fast.test", "b.refused.test", &format!("s{round}.slow.test")]
            .map(str::to_owned);
        for name in names {
            run(Command::new(tool("kdig")).args(["@127.0.0.1", "-p", &port, &name, "A"]));
        }
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.send_to(&datagram(round, "a.fast.test", 16), ("127.0.0.1", unbound.port)).expect("a question");
        socket.recv_from(&mut [0; 1000]).expect("an answer");
    }
    // One socket for many, in any order.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(("127.0.0.1", unbound.port)).expect("an address");
    for round in 0..200 {
        ask(&socket, &datagram(round, "a.fast.test", if round % 2 == 0 { 1 } else { 28 }));
    }
    for round in 0..40u16 {
        let name = if round % 4 == 0 { "b.slow.test" } else { "a.fast.test" };
        socket.send(&datagram(1000 + round, name, 1)).expect("a question");
    }
    let mut answered = Vec::new();
    for _ in 0..40 {
        let mut buffer = [0; 1000];
        socket.recv(&mut buffer).expect("an answer");
        answered.push(u16::from_be_bytes([buffer[0], buffer[1]]));
    }
    assert!(!answered.is_sorted(), "the server answers out of order");
    let (types, mut codes) = (unbound.counted("num.query.type."), unbound.counted("num.answer.rcode."));
    codes.remove("nodata");
    let capture = recording.finish();
    is_whole(&capture);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, "operation", kind), types, "{kind}");
        assert_eq!(spans_by(&capture, "status_text", kind), codes, "{kind}");
    }
    let transports = capture
        .number(r#"SELECT count(*) AS n FROM spans WHERE attributes NOT LIKE '%"network.transport":"udp"%'"#);
    assert_eq!(transports, 0);
}

/// Drops each question once, and answers the second; those about `long` with a message that is cut: over TCP it is whole.
fn reluctant() -> u16 {
    let port = free_port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a socket");
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a socket");
    let answer_to = |asked: &[u8], is_cut: bool| {
        let end = 12 + asked[12..].iter().position(|&byte| byte == 0).expect("a name") + 5;
        let mut answer =
            [&asked[..2], &[0x84 | u8::from(is_cut) << 1, 0, 0, 1, 0, u8::from(!is_cut), 0, 0, 0, 0]]
                .concat();
        answer.extend(&asked[12..end]);
        if !is_cut {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 3]);
        }
        answer
    };
    thread::spawn(move || {
        let (mut buffer, mut seen) = ([0; 1000], Vec::new());
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let asked = buffer[..length].to_vec();
            let is_long = asked.windows(4).any(|text| text == b"long");
            if !is_long && !seen.contains(&asked) {
                seen.push(asked);
                continue;
            }
            socket.send_to(&answer_to(&asked, is_long), from).expect("an answer");
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut asked).expect("a question");
            let answer = answer_to(&asked, false);
            stream
                .write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat())
                .expect("an answer");
        }
    });
    port
}

#[test]
fn a_question_that_is_dropped_is_asked_again_and_one_whose_answer_is_cut_over_tcp() {
    let Some(_turn) =
        ebpf_or_skip("a_question_that_is_dropped_is_asked_again_and_one_whose_answer_is_cut_over_tcp")
    else {
        return;
    };
    let port = reluctant();
    let recording = recording_of(&[port]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(("127.0.0.1", port)).expect("an address");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
    // The receive that waits when the recording begins is not seen.
    socket.send(&datagram(99, "first.test", 1)).expect("a question");
    for id in 0..10 {
        let asked = datagram(id, &format!("h{id}.drop.test"), 1);
        socket.send(&asked).expect("a question");
        assert!(socket.recv(&mut [0; 1000]).is_err(), "it was dropped");
        socket.set_read_timeout(None).expect("an option");
        ask(&socket, &asked);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
    }
    let text = port.to_string();
    run_ok(Command::new(tool("kdig")).args(["@127.0.0.1", "-p", &text, "long.test", "A"]));
    // Nobody answers there, and nobody waits for an answer.
    let given_up = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    given_up.connect(("127.0.0.1", port)).expect("an address");
    given_up.send(&datagram(77, "once.test", 1)).expect("a question");
    thread::sleep(Duration::from_millis(100));
    drop(given_up);
    thread::sleep(Duration::from_millis(100));
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    for kind in KINDS {
        let again = format!(
            "SELECT count(*) AS n FROM spans s WHERE kind = '{kind}' AND target LIKE 'h%.drop.test' AND outcome = 'ok'
             AND duration_ns >= 20000000"
        );
        assert_eq!(capture.number(&again), 10, "{kind}: each is one span from the first time it was asked");
        let long = capture.sql(&format!(
            r#"SELECT attributes LIKE '%"network.transport":"udp"%' AS udp FROM spans
               WHERE kind = '{kind}' AND target = 'long.test' ORDER BY start_time"#
        ));
        let over: Vec<_> = long.iter().map(|row| row["udp"].as_bool()).collect();
        assert_eq!(over, [Some(true), Some(false)], "{kind}");
    }
    let sent = capture.number(
        "SELECT count(*) AS n FROM events e JOIN sockets k ON k.socket_id = e.socket_id
         WHERE e.kind = 'send' AND k.protocol = 'udp' AND k.role = 'client'",
    );
    assert_eq!(sent, 1 + 10 * 2 + 1 + 1);
    let left = capture.sql("SELECT outcome FROM spans WHERE target = 'once.test' AND kind = 'client'");
    assert_eq!(left.iter().map(|row| row["outcome"].as_str()).collect::<Vec<_>>(), [Some("client_closed")]);
}
