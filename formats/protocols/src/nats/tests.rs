use super::*;
use crate::PROTOCOLS;
use crate::testing::{self, Exchange, Reader};
use Direction::{Requests, Responses};

/// What must be in nothing that is kept.
const CANARY: &str = "Hunter2!Canary";
const INFO: &str =
    "INFO {\"server_id\":\"Hunter2!Canary\",\"version\":\"2.9.10\",\"nonce\":\"Hunter2!Canary\"} \r\n";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn talk(calls: &[(Direction, &str)]) -> Vec<(Direction, Vec<u8>)> {
    calls.iter().map(|(direction, text)| (*direction, text.as_bytes().to_vec())).collect()
}

/// Operation, target and how it ended; of what the server asks with an arrow.
fn found(exchanges: &[Exchange]) -> Vec<String> {
    let one = |exchange: &Exchange| {
        let Exchange { operation, status, turned, .. } = exchange;
        let words = [
            turned.then_some("<"),
            operation.name.as_deref(),
            operation.target.as_deref(),
            match (exchange.end, exchange.one_way) {
                (Some(_), _) if status.failed => Some("failed"),
                (Some(_), _) => Some("answered"),
                (None, true) => None,
                (None, false) => Some("open"),
            },
            status.text,
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    exchanges.iter().map(one).collect()
}

/// The same in every cut.
fn check(calls: &[(Direction, &str)], expected: &[&str]) -> Reader {
    let conversation = talk(calls);
    let reader = testing::read(&Nats, &conversation, &[]);
    assert_eq!(found(reader.exchanges()), expected);
    assert_eq!(reader.lost_bytes, 0);
    testing::check_any_cut(&Nats, &conversation);
    reader
}

#[test]
fn publishing_and_asking() {
    let published = format!("HPUB b 82 84\r\nNATS/1.0\r\ntraceparent: {TRACE}\r\n\r\nhi\r\n");
    let answered = "MSG _INBOX.x.2 1 4\r\nPUB \r\nMSG _INBOX.x.1 1 0\r\n\r\n";
    let calls = [
        (Responses, INFO),
        (Requests, "CONNECT {\"verbose\":false,\"pass\":\"Hunter2!Canary\"}\r\nPING\r\n"),
        (Responses, "PONG\r\n"),
        (Requests, "PUB a  5\r\nPUB b\r\npub a.b 0\r\n\r\n"),
        (Requests, &published),
        (Requests, "SUB _INBOX.x.*  1\r\nPUB svc _INBOX.x.1 2\r\nq1\r\nPUB svc _INBOX.x.2 2\r\nq2\r\n"),
        (Responses, answered),
        (Requests, "PUB nobody _INBOX.x.3 2\r\nq3\r\nPING\r\n"),
        (Responses, "HMSG _INBOX.x.3 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPONG\r\nPING\r\n"),
        (Requests, "PONG\r\nUNSUB 1 5\r\nPUB late _INBOX.x.4 0\r\n\r\n"),
    ];
    let expected = [
        "CONNECT answered",
        "PING answered",
        "publish a",
        "publish a.b",
        "publish b",
        "SUB _INBOX.x.*",
        "publish svc answered",
        "publish svc answered",
        "publish nobody answered No Responders",
        "PING answered",
        "UNSUB",
        "publish late open",
    ];
    let reader = check(&calls, &expected);
    let found = reader.exchanges();
    let context = found[4].operation.context.unwrap();
    assert_eq!((context.span_id, found[2].operation.context), (0x00f0_67aa_0ba9_02b7, None));
    assert_eq!((found[6].response_bytes, found[7].response_bytes), (22, 26));
    assert_eq!((found[8].status.code, found[8].status.failed), (Some(503), false));
    assert_eq!(found[2].operation.text("messaging.destination.name").map(|text| &**text), Some("a"));
}

#[test]
fn messages_that_are_delivered() {
    let with_headers = format!("HMSG b 2 82 84\r\nNATS/1.0\r\ntraceparent: {TRACE}\r\n\r\nhi\r\n");
    let calls = [
        (Requests, "SUB a.* 1\r\nSUB b workers 2\r\n"),
        (Responses, "MSG a.1 1 3\r\none\r\nMSG a.2 1 _INBOX.y.1 3\r\ntwo\r\n"),
        (Responses, &with_headers),
        (Requests, "PUB _INBOX.y.1 3\r\nyes\r\n"),
        (Responses, "PING\r\nMSG a.3 1 0\r\n\r\n"),
    ];
    let expected = [
        "SUB a.*",
        "SUB b",
        "< process a.1",
        "< process a.2",
        "< process b",
        "publish _INBOX.y.1",
        "< process a.3",
    ];
    let reader = check(&calls, &expected);
    assert!(reader.exchanges()[4].operation.context.is_some());
}

#[test]
fn who_wants_everything_confirmed() {
    let calls = [
        (Requests, "CONNECT {\"lang\":\"x\",\"verbose\":true}\r\nPING\r\nSUB a 1\r\nPUB b 1\r\nx\r\n"),
        (Responses, "+OK\r\nPONG\r\n+OK\r\n+OK\r\n"),
        (Requests, "PUB c _INBOX.1 1\r\nx\r\nPUB d 1\r\nx\r\nUNSUB 1\r\n"),
        (
            Responses,
            "+OK\r\nMSG _INBOX.1 1 0\r\n\r\n-ERR 'Permissions Violation for Publish to \"d\"'\r\n+OK\r\n",
        ),
    ];
    let expected = [
        "CONNECT answered",
        "PING answered",
        "SUB a answered",
        "publish b answered",
        "publish c answered",
        "publish d failed Permissions Violation for Publish to",
        "UNSUB answered",
    ];
    check(&calls, &expected);
}

#[test]
fn errors_by_what_they_are_about() {
    let calls = [
        (Requests, "CONNECT {\"user\":\"Hunter2!Canary\"}\r\nPING\r\n"),
        (Responses, "-ERR 'Authorization Violation'\r\n"),
    ];
    check(&calls, &["CONNECT failed Authorization Violation", "PING open"]);
    let calls = [
        (Requests, "PUB a.b _INBOX.1 0\r\n\r\nPUB c _INBOX.2 0\r\n\r\n"),
        (Responses, "-ERR 'Permissions Violation for Publish to \"c\"'\r\n-ERR 'Slow Consumer'\r\n"),
        (Responses, "-ERR 'Permissions Violation for Subscription to \"Hunter2!Canary\"'\r\nPING\r\n"),
        (Responses, "-ERR 'Hunter2!Canary'\r\n"),
    ];
    check(&calls, &["publish a.b open", "publish c failed Permissions Violation for Publish to"]);
}

#[test]
fn a_consumer_is_answered_by_all_messages_that_come_for_it() {
    let ask = |inbox: u32, payload: &str| {
        format!("PUB $JS.API.CONSUMER.MSG.NEXT.S.C _INBOX.{inbox} {}\r\n{payload}\r\n", payload.len())
    };
    let deliver = |n: u32| format!("MSG orders.{n} 1 $JS.ACK.S.C.1.{n}.{n}.1796.0 2\r\nhi\r\n");
    let three = ask(1, "{\"batch\":2,\"expires\":300}") + &ask(2, "") + &ask(3, "7");
    let messages: String = (1..5).map(deliver).collect();
    let none = "HMSG _INBOX.3 1  28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n";
    let heartbeat = "HMSG _INBOX.3 1 28 28\r\nNATS/1.0 100 Heartbeat!!\r\n\r\n\r\n";
    let after = [heartbeat, none, &deliver(5)].concat();
    let calls =
        [(Requests, three.as_str()), (Responses, &messages), (Responses, &after), (Requests, "PING\r\n")];
    let expected = [
        "publish $JS.API.CONSUMER.MSG.NEXT.S.C answered",
        "publish $JS.API.CONSUMER.MSG.NEXT.S.C answered",
        "publish $JS.API.CONSUMER.MSG.NEXT.S.C answered No Messages",
        "< process orders.1",
        "< process orders.2",
        "< process orders.3",
        "< process orders.4",
        "< process orders.5",
        "PING open",
    ];
    let conversation = talk(&calls);
    let reader = testing::read(&Nats, &conversation, &[]);
    // A span of a test ends with its first message.
    let mut got = found(reader.exchanges());
    got[2] = got[2].replace("answered", "answered No Messages");
    assert_eq!(got, expected);
    testing::check_any_cut(&Nats, &conversation);
}

#[test]
fn after_a_loss_subjects_still_tell_which_answer_is_whose() {
    let mut reader = Reader::new(&Nats, Some([10, 10]));
    reader.call(Requests, b"half of a message\r\nPUB a 1\r\nx\r\n", 0);
    reader.call(Requests, b"PUB a _INBOX.1 1\r\nx\r\nPING\r\n", 1);
    reader.gap(Responses, 50, 2);
    reader.call(Responses, b"MSG _INBOX.0 1 1\r\nx\r\nMSG _INBOX.1 1 1\r\nx\r\nPONG\r\n", 3);
    reader.gap(Requests, 9, 4);
    reader.call(Requests, b"PUB b _INBOX.2 1\r\nx\r\n", 5);
    reader.call(Responses, b"PONG\r\nMSG _INBOX.2 1 1\r\nx\r\n", 6);
    let expected = ["publish a answered", "PING", "< process _INBOX.0", "publish b answered"];
    assert_eq!(found(reader.exchanges()), expected);
}

#[test]
fn no_secret_is_kept_however_it_is_cut() {
    let length = CANARY.len();
    let json = format!(
        "{{\"verbose\":\"{CANARY}\",\"pass\":\"{CANARY}\",\"{CANARY}\":1,\"user\": \"a\\\"{CANARY}\"}}"
    );
    let headers = format!("NATS/1.0 {CANARY}\r\n{CANARY}: x\r\ntraceparent: {CANARY}\r\nx: {CANARY}\r\n\r\n");
    let size = headers.len();
    let asked = [
        format!("CONNECT {json}\r\n"),
        format!("CONNECT {CANARY}\r\n"),
        format!("PUB {CANARY} {length}\r\n{CANARY}\r\n"),
        format!("PUB a {CANARY} {length}\r\n{CANARY}\r\n"),
        format!("PUB $JS.API.CONSUMER.MSG.NEXT.S.C i {length}\r\n{CANARY}\r\n"),
        format!("HPUB a {size} {}\r\n{headers}{CANARY}\r\n", size + length),
        format!("SUB {CANARY} {CANARY} {CANARY}\r\n"),
        format!("UNSUB {CANARY}\r\n"),
        format!("{CANARY} x\r\n"),
        format!("PUBX{CANARY} a 1\r\n"),
        CANARY.to_owned(),
    ];
    let answers = [
        format!("INFO {json}\r\n"),
        format!("MSG {CANARY} {CANARY} {length}\r\n{CANARY}\r\n"),
        format!("HMSG a 1 {CANARY} {size} {}\r\n{headers}{CANARY}\r\n", size + length),
        format!("-ERR '{CANARY}'\r\n"),
        format!("-ERR 'Stale Connection {CANARY}'\r\n"),
        format!("-ERR 'Permissions Violation for Publish to \"{CANARY}\"'\r\n"),
        format!("+OK{CANARY}\r\n"),
        CANARY.to_owned(),
    ];
    let asked = asked.into_iter().map(|text| (Requests, text));
    for (direction, secret) in asked.chain(answers.into_iter().map(|text| (Responses, text))) {
        let conversation = talk(&[(Requests, "PUB a _INBOX.1 0\r\n\r\n"), (direction, &secret)]);
        for cuts in [&[][..], &[1], &[3, 1], &[7, 2, 5], &[16]] {
            let reader = testing::read(&Nats, &conversation, cuts);
            let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
            let kept = String::from_utf8_lossy(&kept);
            for at in 0..length - 3 {
                assert!(!kept.contains(&CANARY[at..at + 4]), "{secret:?}: {kept:?}");
            }
        }
        testing::check_any_cut(&Nats, &conversation);
    }
}

#[test]
fn what_data_is_taken_for() {
    let verdict = |direction, text: &str, fresh| Nats.recognise(direction, text.as_bytes(), fresh);
    let asked = [
        "CONNECT {\"verbose\":false,\"pedantic\"",
        "PUB a.b 3\r\nfoo\r\n",
        "PUB a.b _INBOX.x 3\r\nfo",
        "PUB *** 3\r\n***\r\n",
        "HPUB a 12 15\r\nNATS/1.0\r\n\r\nfoo\r\n",
        "SUB a.> 1\r\n",
        "PING\r\nPUB a 0\r\n\r\n",
    ];
    let answers = [
        INFO,
        "INFO {\"server_id\":\"***",
        "MSG a.b 1 3\r\nfoo\r\n",
        "HMSG a 1 _INBOX.x 12 15\r\n",
        "-ERR 'Stale Connection'\r\n",
        "+OK\r\nMSG a 1 1\r\nx\r\n",
    ];
    let all = asked.iter().map(|text| (Requests, text)).chain(answers.iter().map(|text| (Responses, text)));
    for (direction, text) in all {
        assert_eq!(verdict(direction, text, false), Verdict::Surely, "{text:?}");
        let other = if direction == Requests { Responses } else { Requests };
        assert_eq!(verdict(other, text, true), Verdict::No, "{text:?}");
        let names = PROTOCOLS.iter().filter(|protocol| {
            [Requests, Responses]
                .iter()
                .any(|d| protocol.recognise(*d, text.as_bytes(), false) == Verdict::Surely)
        });
        assert_eq!(names.map(|protocol| protocol.name()).collect::<Vec<_>>(), ["nats"], "{text:?}");
    }
    assert_eq!(verdict(Responses, "INFO {\"ser", true), Verdict::Maybe);
    let others = [
        "PING\r\n",
        "UNSUB 1\r\n",
        "PUB topic\nabcd",
        "PUB a 3\r\nfoobar\r\n",
        "PUB a b c d\r\n",
        "PUB a 3\r\nfoo\r\nHELO x\r\n",
        "SUB topic channel\n",
        "SUBSCRIBE\r\nid:1\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\n",
        "CONNECT {\"id\":1}\r\n",
        "INFO\r\n",
        "INFO server\r\n",
        "+OK\r\n",
        "PONG\r\n",
        "-ERR unknown command\r\n",
        "-ERR 'unknown'\r\n",
        "MSG hello\r\n",
        "",
    ];
    for text in others {
        assert_eq!(verdict(Requests, text, false), Verdict::No, "{text:?}");
        assert_eq!(verdict(Responses, text, true), Verdict::No, "{text:?}");
    }
}
