//! The binary protocol.

use super::*;

struct Message {
    magic: u8,
    opcode: u8,
    status: u16,
    opaque: u32,
    extras: usize,
    key: &'static str,
    value: &'static str,
}

const EMPTY: Message =
    Message { magic: 0x80, opcode: 0, status: 0, opaque: 0, extras: 0, key: "", value: "" };

impl Message {
    fn bytes(&self) -> Vec<u8> {
        let body = (self.extras + self.key.len() + self.value.len()) as u32;
        let mut bytes = vec![self.magic, self.opcode];
        bytes.extend((self.key.len() as u16).to_be_bytes());
        bytes.extend([self.extras as u8, 0]);
        bytes.extend(self.status.to_be_bytes());
        bytes.extend(body.to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(vec![0; self.extras]);
        bytes.extend(self.key.bytes().chain(self.value.bytes()));
        bytes
    }
}

fn ask(opcode: u8, opaque: u32, extras: usize, key: &'static str, value: &'static str) -> Vec<u8> {
    Message { opcode, opaque, extras, key, value, ..EMPTY }.bytes()
}

fn answer(opcode: u8, opaque: u32, status: u16, key: &'static str, value: &'static str) -> Vec<u8> {
    Message { magic: 0x81, opcode, opaque, status, key, value, ..EMPTY }.bytes()
}

/// Every feature: sets and gets, a miss, an error, statistics of several messages, quiet ones, a code that
/// nobody knows.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let batch = [
        ask(0x11, 10, 8, "Hunter2-Canary", "Hunter2-Canary"),
        ask(0x0d, 11, 0, "Hunter2-Canary", ""),
        ask(0x0d, 12, 0, "k", ""),
        ask(0x1e, 13, 4, "k", ""),
        ask(0x0a, 14, 0, "", ""),
    ];
    let answers = [answer(0x0d, 12, 0, "Hunter2-Canary", "Hunter2-Canary"), answer(0x0a, 14, 0, "", "")];
    let statistics =
        [answer(0x10, 9, 0, "pid", "12"), answer(0x10, 9, 0, "uptime", "9"), answer(0x10, 9, 0, "", "")];
    vec![
        (Requests, ask(0x21, 0, 0, "PLAIN", "\0user\0Hunter2-Canary")),
        (Responses, answer(0x21, 0, 0x20, "", "Auth failure")),
        (Requests, ask(0x01, 1, 8, "Hunter2-Canary", "get k\r\n")),
        (Responses, answer(0x01, 1, 0, "", "")),
        (Requests, ask(0x00, 2, 0, "Hunter2-Canary", "")),
        (Responses, answer(0x00, 2, 0, "", "Hunter2-Canary")),
        (Requests, ask(0x00, 3, 0, "none", "")),
        (Responses, answer(0x00, 3, 1, "", "Not found")),
        (Requests, ask(0x77, 4, 0, "", "")),
        (Responses, answer(0x77, 4, 0x81, "", "Unknown command")),
        (Requests, ask(0x10, 9, 0, "", "")),
        (Responses, statistics.concat()),
        (Requests, batch.concat()),
        (Responses, answers.concat()),
        (Requests, ask(0x17, 15, 0, "", "")),
    ]
}

#[test]
fn messages_by_their_numbers() {
    let reader = testing::read(&Memcached, &conversation(), &[]);
    let expected = [
        (Some("sasl_auth"), Some("AUTH_ERROR"), "failed"),
        (Some("set"), Some("SUCCESS"), "answered"),
        (Some("get"), Some("SUCCESS"), "answered"),
        (Some("get"), Some("KEY_ENOENT"), "answered"),
        (Some("0x77"), Some("UNKNOWN_COMMAND"), "failed"),
        (Some("stats"), Some("SUCCESS"), "answered"),
        (Some("setq"), None, "one way"),
        (Some("getkq"), None, "one way"),
        (Some("getkq"), Some("SUCCESS"), "answered"),
        (Some("gatq"), None, "one way"),
        (Some("noop"), Some("SUCCESS"), "answered"),
        (Some("quitq"), None, "one way"),
    ];
    assert_eq!(ends(reader.exchanges()), expected);
    assert_eq!((reader.exchanges()[3].status.code, reader.lost_bytes), (Some(1), 0));
    let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(!kept.windows(4).any(|run| run == b"unte" || run == b"Cana"));
    testing::check_any_cut(&Memcached, &conversation());
}

#[test]
fn a_quiet_command_that_fails_may_be_called_by_the_ordinary_one() {
    let asked = [ask(0x11, 7, 8, "k", "v"), ask(0x0a, 8, 0, "", "")].concat();
    let answers = [answer(0x01, 7, 3, "", "Too large."), answer(0x0a, 8, 0, "", "")].concat();
    let reader = testing::read(&Memcached, &[(Requests, asked), (Responses, answers)], &[]);
    assert_eq!(ends(reader.exchanges())[0], (Some("setq"), Some("E2BIG"), "failed"));
}

#[test]
fn numbers_that_are_always_the_same_are_counted() {
    let three = [ask(0, 0, 0, "a", ""), ask(0, 0, 0, "b", ""), ask(0, 0, 0, "c", "")].concat();
    let mut reader = testing::read(&Memcached, &[(Requests, three)], &[]);
    for now in 1..4 {
        reader.call(Responses, &answer(0, 0, 0, "", "v"), now);
    }
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [Some(1), Some(2), Some(3)]);
}

#[test]
fn numbers_are_certain_after_a_loss_too() {
    let mut reader = Reader::new(&Memcached, Some([7, 7]));
    reader.call(Requests, &[ask(0, 5, 0, "a", ""), ask(0, 6, 0, "b", "")].concat(), 0);
    reader.call(Responses, &answer(0, 4, 0, "", "v"), 1);
    reader.call(Responses, &answer(0, 6, 0, "", "v"), 2);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [None, Some(2)]);
}

#[test]
fn headers_are_recognised_both_ways() {
    for (direction, bytes) in conversation() {
        let is_known = bytes[1] != 0x77;
        let verdict = Memcached.recognise(direction, &bytes, false);
        assert_eq!(verdict == Verdict::Surely, is_known, "{bytes:?}");
        let other = if direction == Requests { Responses } else { Requests };
        assert_eq!(Memcached.recognise(other, &bytes, true), Verdict::No);
    }
    let get = ask(0, 5, 0, "key", "");
    assert_eq!(Memcached.recognise(Requests, &get[..24], false), Verdict::Surely);
    assert_eq!(Memcached.recognise(Requests, &get[..20], true), Verdict::Maybe);
    assert_eq!(Memcached.recognise(Requests, &get[..20], false), Verdict::No);
    // Lengths that do not agree, extras of another command, a value that has no place.
    for (at, byte) in [(3, 9), (4, 4), (5, 1), (7, 1), (11, 9)] {
        let mut other = get.clone();
        other[at] = byte;
        assert_eq!(Memcached.recognise(Requests, &other, true), Verdict::No, "{at}");
    }
}
