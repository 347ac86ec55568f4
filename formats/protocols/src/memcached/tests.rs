use super::*;
use crate::testing::{self, Exchange, Reader};
use Direction::{Requests, Responses};

mod binary;
mod recognition;

/// What must be in nothing that is kept.
const CANARY: &str = "Hunter2-Canary";

fn talk(calls: &[(Direction, &str)]) -> Vec<(Direction, Vec<u8>)> {
    calls.iter().map(|(direction, text)| (*direction, text.as_bytes().to_vec())).collect()
}

/// Operation, status, and how it ended.
fn ends(exchanges: &[Exchange]) -> Vec<(Option<&str>, Option<&str>, &'static str)> {
    let end = |exchange: &Exchange| match (exchange.end, exchange.one_way) {
        (Some(_), _) if exchange.status.failed => "failed",
        (Some(_), _) => "answered",
        (None, true) => "one way",
        (None, false) => "open",
    };
    exchanges.iter().map(|e| (e.operation.name.as_deref(), e.status.text, end(e))).collect()
}

/// The same in every cut.
fn check(calls: &[(Direction, &str)], expected: &[(Option<&str>, Option<&str>, &str)]) {
    let conversation = talk(calls);
    let reader = testing::read(&Memcached, &conversation, &[]);
    assert_eq!(ends(reader.exchanges()), expected);
    assert_eq!(reader.lost_bytes, 0);
    testing::check_any_cut(&Memcached, &conversation);
}

#[test]
fn every_command_of_text() {
    let commands = [
        ("set k 0 0 3\r\nfoo\r\n", "STORED\r\n", "set", Some("STORED")),
        ("set k 1 -1 0\r\n\r\n", "STORED\r\n", "set", Some("STORED")),
        ("add k 0 0 3\r\nfoo\r\n", "NOT_STORED\r\n", "add", Some("NOT_STORED")),
        ("replace k 0 0 8\r\nget a\r\n\0\r\n", "STORED\r\n", "replace", Some("STORED")),
        ("append k 0 0 1\r\n1\r\n", "STORED\r\n", "append", Some("STORED")),
        ("prepend k 0 0 1\r\n1\r\n", "STORED\r\n", "prepend", Some("STORED")),
        ("cas k 0 0 1 99\r\n1\r\n", "EXISTS\r\n", "cas", Some("EXISTS")),
        ("get k\r\n", "VALUE k 0 5\r\nEND\r\n\r\nEND\r\n", "get", Some("VALUE")),
        ("get  a b\n", "VALUE a 0 1\r\n1\r\nVALUE b 7 0\r\n\r\nEND\r\n", "get", Some("VALUE")),
        ("gets k\r\n", "VALUE k 0 1 12\r\n1\r\nEND\r\n", "gets", Some("VALUE")),
        ("get noreply\r\n", "END\r\n", "get", Some("END")),
        ("gat 10 k\r\n", "END\r\n", "gat", Some("END")),
        ("gats 10 k l\r\n", "END\r\n", "gats", Some("END")),
        ("touch k 10\r\n", "TOUCHED\r\n", "touch", Some("TOUCHED")),
        ("incr n 5\r\n", "12\r\n", "incr", None),
        ("decr n 5\r\n", "7 \r\n", "decr", None),
        ("incr n 5\r\n", "NOT_FOUND\r\n", "incr", Some("NOT_FOUND")),
        ("delete k\r\n", "DELETED\r\n", "delete", Some("DELETED")),
        ("delete k 0\r\n", "NOT_FOUND\r\n", "delete", Some("NOT_FOUND")),
        ("flush_all\r\n", "OK\r\n", "flush_all", Some("OK")),
        ("verbosity 1\r\n", "OK\r\n", "verbosity", Some("OK")),
        ("version\r\n", "VERSION 1.6.18\r\n", "version", None),
        ("stats\r\n", "STAT pid 1\r\nSTAT version 1.6\r\nEND\r\n", "stats", None),
        ("stats reset\r\n", "RESET\r\n", "stats", Some("RESET")),
        ("stats cachedump 1 2\r\n", "ITEM k [3 b; 0 s]\r\nEND\r\n", "stats", None),
        ("stats detail dump\r\n", "PREFIX a get 1\r\nEND\r\n", "stats", None),
        ("slabs reassign 1 2\r\n", "NOSPARE source class has no spare pages\r\n", "slabs", Some("NOSPARE")),
        ("lru mode flat\r\n", "OK\r\n", "lru", Some("OK")),
        ("lru_crawler metadump all\r\n", "key=a exp=-1\r\nkey=b exp=-1\r\nEND\r\n", "lru_crawler", None),
        ("lru_crawler mgdump all\r\n", "mg a\r\nmg b\r\nEN\r\n", "lru_crawler", None),
        ("config get cluster\r\n", "CONFIG cluster 0 4\r\nab\nc\r\nEND\r\n", "config", None),
        ("mg k v t\r\n", "VA 3 t-1\r\nfoo\r\n", "mg", Some("VA")),
        ("mg k\r\n", "HD\r\n", "mg", Some("HD")),
        ("mg k v\r\n", "EN\r\n", "mg", Some("EN")),
        ("ms k 3 T0\r\nfoo\r\n", "HD\r\n", "ms", Some("HD")),
        ("ms k S3 T0\r\nfoo\r\n", "NS\r\n", "ms", Some("NS")),
        ("md k\r\n", "NF\r\n", "md", Some("NF")),
        ("ma k v\r\n", "VA 2\r\n12\r\n", "ma", Some("VA")),
        ("me k\r\n", "ME k exp=-1 la=0 cas=5\r\n", "me", Some("ME")),
        ("mn\r\n", "MN\r\n", "mn", Some("MN")),
    ];
    let mut calls = Vec::new();
    for (request, answer, ..) in &commands {
        calls.extend([(Requests, *request), (Responses, *answer)]);
    }
    let expected: Vec<_> =
        commands.iter().map(|(_, _, name, status)| (Some(*name), *status, "answered")).collect();
    check(&calls, &expected);
    // The same sent ahead.
    let [mut requests, mut answers] = [String::new(), String::new()];
    for (request, answer, ..) in &commands {
        requests.push_str(request);
        answers.push_str(answer);
    }
    check(&[(Requests, &requests), (Responses, &answers)], &expected);
}

#[test]
fn what_wants_no_answer_gets_none() {
    let asked = "set a 0 0 1 noreply\r\n1\r\nincr a 1 noreply\r\ndelete a noreply\r\nflush_all noreply\r\n\
                 verbosity 1 noreply\r\nget a\r\nquit\r\n";
    let names = ["set", "incr", "delete", "flush_all", "verbosity"];
    let mut expected: Vec<_> = names.iter().map(|name| (Some(*name), None, "one way")).collect();
    expected.extend([(Some("get"), Some("END"), "answered"), (Some("quit"), None, "one way")]);
    check(&[(Requests, asked), (Responses, "END\r\n")], &expected);
}

#[test]
fn errors_by_their_lines() {
    let unknown = format!("SERVER_ERROR {CANARY}\r\n");
    let too_late = "VALUE a 0 1\r\n1\r\nSERVER_ERROR out of memory writing get response\r\n";
    let calls = [
        (Requests, "incr k 1\r\n"),
        (Responses, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
        (Requests, "bogus\r\n"),
        (Responses, "ERROR\r\n"),
        (Requests, "get a\r\n"),
        (Responses, &unknown),
        (Requests, "get a\r\n"),
        (Responses, too_late),
        // A server does not wait for the value of a command that it does not understand.
        (Requests, "set k x 0 3\r\nabc\r\n"),
        (Responses, "CLIENT_ERROR bad command line format\r\nERROR\r\n"),
        // It takes as much for a value as was announced.
        (Requests, "set k 0 0 3\r\nabcdef\r\nget k\r\n"),
        (Responses, "CLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n"),
        (Requests, "\r\n"),
        (Responses, "ERROR\r\n"),
        (Requests, "shutdown\r\n"),
        (Responses, "ERROR: shutdown not enabled\r\n"),
    ];
    let expected = [
        (Some("incr"), Some("CLIENT_ERROR cannot increment or decrement non-numeric value"), "failed"),
        (None, Some("ERROR"), "failed"),
        (Some("get"), Some("SERVER_ERROR"), "failed"),
        (Some("get"), Some("SERVER_ERROR out of memory writing get response"), "failed"),
        (Some("set"), Some("CLIENT_ERROR bad command line format"), "failed"),
        (None, Some("ERROR"), "failed"),
        (Some("set"), Some("CLIENT_ERROR bad data chunk"), "failed"),
        (None, Some("ERROR"), "failed"),
        (Some("get"), Some("END"), "answered"),
        (None, Some("ERROR"), "failed"),
        (Some("shutdown"), Some("ERROR: shutdown not enabled"), "failed"),
    ];
    check(&calls, &expected);
}

#[test]
fn quiet_commands_say_what_is_not_ordinary() {
    // One that could have said it, and one that could not.
    let calls = [(Requests, "ms a 1 q\r\n1\r\nmg b v q\r\nmn\r\n"), (Responses, "VA 1\r\n1\r\nMN\r\n")];
    let expected = [
        (Some("ms"), None, "one way"),
        (Some("mg"), Some("VA"), "answered"),
        (Some("mn"), Some("MN"), "answered"),
    ];
    check(&calls, &expected);
    // Which of two said it is not known.
    let calls = [(Requests, "mg a v q\r\nmg b v q\r\nmn\r\n"), (Responses, "VA 1\r\n1\r\nMN\r\n")];
    let expected =
        [(Some("mg"), None, "one way"), (Some("mg"), None, "one way"), (Some("mn"), Some("MN"), "answered")];
    check(&calls, &expected);
    // Of both it is, and with an opaque.
    let calls =
        [(Requests, "mg a v q\r\nmg b v q\r\nmn\r\n"), (Responses, "VA 1\r\n1\r\nVA 1\r\n1\r\nMN\r\n")];
    let reader = testing::read(&Memcached, &talk(&calls), &[]);
    assert_eq!(ends(reader.exchanges())[1], (Some("mg"), Some("VA"), "answered"));
    let calls = [
        (Requests, "mg a v q O1\r\nmg b v q O2\r\nmg c v q O3\r\nmn\r\n"),
        (Responses, "VA 1 O2\r\n1\r\nMN\r\n"),
    ];
    let expected = [
        (Some("mg"), None, "one way"),
        (Some("mg"), Some("VA"), "answered"),
        (Some("mg"), None, "one way"),
        (Some("mn"), Some("MN"), "answered"),
    ];
    check(&calls, &expected);
}

#[test]
fn quiet_commands_end_with_the_connection() {
    let mut reader = testing::read(&Memcached, &talk(&[(Requests, "mg a v q\r\nmg b v\r\n")]), &[]);
    reader.close(Responses, 9);
    assert_eq!(ends(reader.exchanges()), [(Some("mg"), None, "one way"), (Some("mg"), None, "open")]);
}

#[test]
fn a_log_answers_nothing() {
    let calls = [
        (Requests, "watch fetchers\r\n"),
        (Responses, "OK\r\nts=1795.1 gid=1 type=item_get key=Hunter2-Canary\r\n"),
        (Responses, "ts=1795.2 gid=2 type=item_get key=a\r\n[skipped: 4]\r\n"),
    ];
    check(&calls, &[(Some("watch"), Some("OK"), "answered")]);
}

#[test]
fn lines_may_be_long_if_they_have_many_keys() {
    let keys: String = (0..4000).map(|n| format!(" key{n}")).collect();
    let get = format!("get{keys}\r\n");
    let calls = [(Requests, get.as_str()), (Responses, "END\r\n")];
    let reader = testing::read(&Memcached, &talk(&calls), &[1460]);
    assert_eq!(ends(reader.exchanges()), [(Some("get"), Some("END"), "answered")]);
    let set = format!("set{keys}\r\n");
    let reader = testing::read(&Memcached, &talk(&[(Requests, &set)]), &[1460]);
    assert_eq!((reader.exchanges().len(), reader.lost_bytes > 0), (0, true));
}

#[test]
fn after_a_loss_nothing_is_paired_that_may_be_wrong() {
    let mut reader = Reader::new(&Memcached, None);
    let call = |reader: &mut Reader, direction, text: &str, now| {
        reader.call(direction, text.as_bytes(), now);
    };
    call(&mut reader, Requests, "get a\r\n", 0);
    call(&mut reader, Responses, "END\r\n", 1);
    reader.gap(Requests, 20, 2);
    // The answer to what was missed.
    call(&mut reader, Requests, "get b\r\n", 3);
    call(&mut reader, Responses, "STORED\r\n", 4);
    call(&mut reader, Responses, "END\r\n", 5);
    call(&mut reader, Requests, "get c\r\n", 6);
    call(&mut reader, Responses, "END\r\n", 7);
    call(&mut reader, Requests, "get d\r\n", 8);
    reader.gap(Responses, 30, 9);
    call(&mut reader, Requests, "set e 0 0 1\r\n1\r\n", 10);
    call(&mut reader, Responses, "STORED\r\n", 11);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [Some(1), None, Some(7), None, Some(11)]);
}

#[test]
fn a_connection_that_was_there_before() {
    let mut reader = Reader::new(&Memcached, Some([100, 200]));
    reader.call(Responses, b"rest of a value\r\nEND\r\n", 0);
    reader.call(Requests, b"get a\r\n", 1);
    reader.call(Responses, b"VALUE a 0 3\r\nfoo\r\nEND\r\n", 2);
    reader.call(Requests, b"get b\r\n", 3);
    reader.call(Responses, b"END\r\n", 4);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    // The first one may have answered something that was asked before.
    assert_eq!(ends, [None, Some(4)]);
}

/// The canary in every place where a secret may stand.
fn secrets() -> Vec<(Direction, String)> {
    let value = format!("{}\r\n{CANARY}\r\n", CANARY.len());
    let asked = [
        format!("get {CANARY} {CANARY}\r\n"),
        format!("gat {CANARY} {CANARY}\r\n"),
        format!("set {CANARY} 0 0 {value}"),
        format!("set {CANARY} {CANARY} {CANARY} {CANARY}\r\n"),
        format!("cas {CANARY} 0 0 1 {CANARY}\r\n1\r\n"),
        format!("incr {CANARY} {CANARY}\r\n"),
        format!("touch {CANARY} {CANARY} noreply\r\n"),
        format!("delete {CANARY} {CANARY}\r\n"),
        format!("mg {CANARY} k {CANARY} O={CANARY}\r\n"),
        format!("ms {CANARY} {value}"),
        format!("ms {CANARY} S{CANARY} T{CANARY}\r\n"),
        format!("mn {CANARY}\r\n"),
        format!("stats {CANARY}\r\n"),
        format!("watch {CANARY}\r\n"),
        format!("{CANARY} {CANARY}\r\n"),
        format!("get{CANARY} {CANARY}\r\n"),
        format!("getz{CANARY}\r\n"),
        CANARY.to_owned(),
    ];
    let answers = [
        format!("VALUE {CANARY} 0 {value}END\r\n"),
        format!("VALUE {CANARY} {CANARY} {value}END\r\n"),
        format!("VALUE {CANARY} 0 {CANARY}\r\n"),
        format!("VA {} k{CANARY} s{CANARY}\r\n{CANARY}\r\n", CANARY.len()),
        format!("HD k{CANARY} O={CANARY}\r\n"),
        format!("STAT {CANARY} {CANARY}\r\nEND\r\n"),
        format!("key={CANARY} exp=1\r\nEND\r\n"),
        format!("ME {CANARY} exp=1\r\n"),
        format!("mg {CANARY}\r\nEN\r\n"),
        format!("VERSION {CANARY}\r\n"),
        format!("SERVER_ERROR {CANARY}\r\n"),
        format!("SERVER_ERROR out of memory {CANARY}\r\n"),
        format!("ERROR{CANARY} {CANARY}\r\n"),
        format!("{CANARY} {CANARY}\r\n"),
        CANARY.to_owned(),
    ];
    let asked = asked.into_iter().map(|text| (Requests, text));
    asked.chain(answers.into_iter().map(|text| (Responses, text))).collect()
}

#[test]
fn no_secret_is_kept_however_it_is_cut() {
    let canary = CANARY.to_lowercase();
    for (direction, secret) in secrets() {
        let conversation = talk(&[
            (Requests, "get k\r\n"),
            (Responses, "END\r\n"),
            (Requests, "get k\r\n"),
            (direction, &secret),
        ]);
        for cuts in [&[][..], &[1], &[3, 1], &[7, 2, 5], &[16]] {
            let reader = testing::read(&Memcached, &conversation, cuts);
            let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
            let kept = String::from_utf8_lossy(&kept).to_lowercase();
            for at in 0..canary.len() - 3 {
                assert!(!kept.contains(&canary[at..at + 4]), "{secret:?}: {kept:?}");
            }
        }
        testing::check_any_cut(&Memcached, &conversation);
    }
    // Nor a count.
    let reader = testing::read(
        &Memcached,
        &talk(&[(Requests, "incr k 4111111111\r\n"), (Responses, "4111111112\r\n")]),
        &[],
    );
    assert!(reader.kept().iter().all(|(_, bytes)| !bytes.windows(3).any(|run| run == b"411")));
}

#[test]
fn a_value_of_which_little_is_known() {
    let mut reader = Reader::new(&Memcached, None);
    reader.call(Requests, b"set k 0 0 5000\r\nxyz", 0);
    reader.gap(Requests, 4999, 0);
    reader.call(Responses, b"STORED\r\n", 1);
    reader.call(Requests, b"get k\r\n", 2);
    reader.call(Responses, b"VALUE k 0 5000\r\nxy", 3);
    reader.gap(Responses, 4998, 3);
    reader.call(Responses, b"\r\nEND\r\n", 4);
    let found: Vec<_> =
        reader.exchanges().iter().map(|e| (e.end, e.request_bytes, e.response_bytes)).collect();
    assert_eq!(found, [(Some(1), 5018, 8), (Some(4), 7, 5023)]);
    assert_eq!(reader.lost_bytes, 0);
}
