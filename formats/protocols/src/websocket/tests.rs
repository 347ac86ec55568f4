use proptest::prelude::*;

use super::*;
use crate::tunnel;
use crate::{Call, Memory, Part, What, blank};
use Direction::{Requests, Responses};

const CANARY: &str = "Hunter2-Canary";
const ASKED: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ANSWERED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n";

fn frame(direction: Direction, first: u8, content: &[u8]) -> Vec<u8> {
    let mask = if direction == Requests { MASK } else { 0 };
    let mut bytes = vec![first];
    match content.len() {
        short @ ..=125 => bytes.push(mask | short as u8),
        middle @ ..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(mask | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    if direction == Requests {
        bytes.extend(b"MASK");
    }
    bytes.extend(content);
    bytes
}

/// The name of a message, and the bytes from where it begins, later to where it ends.
type Message = (String, u64);

/// Reads a connection that becomes a WebSocket, a call a piece.
struct Reader {
    framing: Box<dyn Framing>,
    memory: Memory,
    kept: Vec<u8>,
    /// Messages under way and those that are complete, by direction.
    open: [Vec<(Option<u64>, Message)>; 2],
    done: [Vec<Message>; 2],
    lost: u64,
}

impl Reader {
    fn switched() -> Reader {
        let framing = tunnel::framing(&crate::http1::Http1, None);
        let (open, done) = Default::default();
        let mut reader = Reader { framing, memory: Memory::default(), kept: Vec::new(), open, done, lost: 0 };
        reader.call(Requests, ASKED);
        reader.call(Responses, ANSWERED);
        (reader.open, reader.done) = Default::default();
        reader
    }

    fn call(&mut self, direction: Direction, bytes: &[u8]) {
        let mut parts = Vec::new();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        self.framing.call(direction, call, &mut self.memory, &mut parts);
        parts.retain(|part| !matches!(part.what, What::Earlier(_)));
        assert_eq!(parts.iter().map(|part| part.length).sum::<u64>(), bytes.len() as u64);
        let length = self.kept.len() + bytes.len();
        blank::copy(&parts, bytes, 0, &mut self.kept);
        // What is blank at the end is left out.
        self.kept.resize(length, blank::BLANK);
        self.take(direction, parts);
    }

    fn take(&mut self, direction: Direction, parts: Vec<Part>) {
        let open = &mut self.open[direction as usize];
        for part in parts {
            match part.what {
                What::Begin => open.push((None, (String::new(), part.offset))),
                What::HeadEnd(info) => {
                    let (key, message) = open.last_mut().expect("a message");
                    *key = info.key;
                    if let Some(name) = info.operation.and_then(|operation| operation.name.clone()) {
                        message.0 = name.to_string();
                    }
                }
                What::Resume(key) => open.sort_by_key(|(other, _)| *other == Some(key)),
                What::End { .. } => {
                    let (_, (name, begin)) = open.pop().expect("a message");
                    self.done[direction as usize].push((name, part.offset - begin));
                }
                What::Lost => self.lost += part.length,
                _ => {}
            }
        }
    }
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn messages_are_told_and_nothing_of_them_is_kept() {
    let mut reader = Reader::switched();
    for (direction, first, length) in [
        (Requests, 0x81, 20),
        (Responses, 0x82, 300),
        (Responses, 0x89, 4),
        (Requests, 0x8a, 4),
        (Requests, 0xc1, 70_000),
        (Responses, 0x88, 2),
    ] {
        let content = CANARY.as_bytes().iter().copied().cycle().take(length).collect::<Vec<_>>();
        reader.call(direction, &frame(direction, first, &content));
    }
    assert_eq!(names(&reader.done[0]), ["text", "pong", "text"]);
    assert_eq!(names(&reader.done[1]), ["binary", "ping", "close"]);
    assert!(!reader.kept.windows(6).any(|window| CANARY.as_bytes().starts_with(window)));
    assert!(!reader.kept.windows(4).any(|window| window == b"MASK"));
    assert_eq!(reader.lost, 0);
}

#[test]
fn a_message_of_several_frames_goes_on_behind_a_ping() {
    let mut reader = Reader::switched();
    for (first, content) in [(0x01, "one"), (0x89, "ping"), (0x00, "two"), (0x80, "three"), (0x81, "next")] {
        reader.call(Responses, &frame(Responses, first, content.as_bytes()));
    }
    assert_eq!(names(&reader.done[1]), ["ping", "text", "text"]);
}

#[test]
fn what_no_server_sends_is_lost() {
    for bytes in [[0x83, 0].to_vec(), frame(Requests, 0x81, b"masked"), vec![0x09, 0], vec![0xb1, 0]] {
        let mut reader = Reader::switched();
        reader.call(Responses, &bytes);
        assert_eq!(reader.lost, bytes.len() as u64, "{}", bytes.escape_ascii());
        assert_eq!(reader.done[1], []);
    }
}

#[test]
fn another_upgrade_is_none() {
    let mut framing = tunnel::framing(&crate::http1::Http1, None);
    let mut parts = Vec::new();
    let other =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocketx\r\nConnection: Upgrade\r\n\r\n\x81\x01a";
    for (direction, bytes) in [(Requests, ASKED), (Responses, &other[..])] {
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        framing.call(direction, call, &mut Memory::default(), &mut parts);
    }
    assert!(!parts.iter().any(|part| matches!(part.what, What::Spoken(_))));
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_messages_are_the_same(
        cuts in prop::collection::vec(1usize..40, 1..60),
        frames in prop::collection::vec((prop::sample::select(vec![0x81u8, 0x82, 0x89, 0x8a]), 0usize..200), 1..12),
    ) {
        let all: Vec<u8> = frames
            .iter()
            .flat_map(|&(first, length)| frame(Requests, first, &vec![b'x'; length.min(125)]))
            .collect();
        let mut whole = Reader::switched();
        whole.call(Requests, &all);
        let mut cut = Reader::switched();
        let (mut rest, mut cuts) = (&all[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (call, behind) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            cut.call(Requests, call);
            rest = behind;
        }
        prop_assert_eq!(&whole.done, &cut.done);
        prop_assert_eq!(whole.done[0].len(), frames.len());
        // What was stored says the same again.
        let mut again = Reader::switched();
        let stored = whole.kept[ASKED.len() + ANSWERED.len()..].to_vec();
        again.call(Requests, &stored);
        prop_assert_eq!(&whole.done, &again.done);
    }
}
