//! Whatever comes: what was kept is read as what came.

use proptest::prelude::*;

use super::made::{END_HEADERS, PADDED, Way, data, frame, headers, reset};
use super::talk::{CANARY, Talk};
use super::*;
use crate::http2::frame::kind;

/// What happens in a direction.
#[derive(Clone, Debug)]
enum Event {
    /// Frames by number, of a stream, without the first and the last bytes.
    Call {
        frames: Vec<(u8, u8)>,
        cut: (u8, u8),
    },
    Gap(u16),
}

fn events() -> impl Strategy<Value = Vec<(bool, Event)>> {
    let frames = proptest::collection::vec((0u8..14, 0u8..6), 1..4);
    let cut = prop_oneof![4 => Just((0, 0)), 1 => (0u8..30, 0u8..30)];
    let call = (frames, cut).prop_map(|(frames, cut)| Event::Call { frames, cut });
    let event = prop_oneof![8 => call, 1 => (1u16..200).prop_map(Event::Gap)];
    proptest::collection::vec((any::<bool>(), event), 1..40)
}

fn made(talk: &mut Talk, answers: bool, number: u8, stream: u32) -> Vec<u8> {
    let path = format!("/s{}/m?x={CANARY}", stream % 3);
    let fields = [
        (":method", "POST", Way::Indexed),
        (":scheme", "http", Way::Indexed),
        (":path", &path, Way::Indexed),
        ("x-own", CANARY, Way::Indexed),
    ];
    let block = match (answers, number) {
        (_, 4..) => Vec::new(),
        (false, _) => talk.client.block(&fields[..usize::from(number % 2) + 3]),
        (true, 0) => talk.server.block(&[(":status", "200", Way::Indexed), ("server", "x", Way::Added)]),
        (true, 1) => {
            talk.server.block(&[(":status", "503", Way::Indexed), ("set-cookie", CANARY, Way::Added)])
        }
        (true, _) => {
            talk.server.block(&[("grpc-status", "2", Way::Coded), ("grpc-message", CANARY, Way::Coded)])
        }
    };
    match number {
        0..2 => headers(stream, number & 1, &block),
        2 => frame(kind::HEADERS, 1, stream, &block[..block.len() / 2]),
        3 => [
            frame(kind::HEADERS, 0, stream, &block[..2]),
            frame(kind::CONTINUATION, END_HEADERS, stream, &block[2..]),
        ]
        .concat(),
        4 => data(stream, 1, CANARY.as_bytes()),
        5 => data(stream, PADDED, &[&[2], CANARY.as_bytes()].concat()),
        6 => reset(stream, 8),
        7 => frame(kind::PING, 0, 0, &CANARY.as_bytes()[..8]),
        8 => frame(kind::SETTINGS, 1, 0, b""),
        9 => frame(kind::GOAWAY, 0, 0, &[&stream.to_be_bytes()[..], &[0; 4], CANARY.as_bytes()].concat()),
        10 => frame(kind::WINDOW_UPDATE, 0, stream, b"\0\0\x10\0"),
        11 => frame(kind::PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\x02\x82\x84"),
        12 => frame(kind::HEADERS, PADDED | END_HEADERS, stream, b"\xff\x82"),
        _ => b"something else that is no frame".to_vec(),
    }
}

/// Bytes of a direction, or how many are missing.
type Calls = Vec<(Direction, Result<Vec<u8>, u64>)>;

fn calls(events: &[(bool, Event)]) -> Calls {
    let (mut talk, mut calls) = (Talk::default(), Calls::new());
    for (answers, event) in events {
        let direction = if *answers { Direction::Responses } else { Direction::Requests };
        let (frames, cut) = match event {
            Event::Gap(length) => {
                calls.push((direction, Err(u64::from(*length))));
                continue;
            }
            Event::Call { frames, cut } => (frames, cut),
        };
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(number, stream)| made(&mut talk, *answers, *number, 1 + 2 * u32::from(*stream)))
            .collect();
        let front = usize::from(cut.0).min(bytes.len() - 1);
        let back = usize::from(cut.1).min(bytes.len() - front - 1);
        calls.push((direction, Err(front as u64)));
        calls.push((direction, Ok(bytes[front..bytes.len() - back].to_vec())));
        calls.push((direction, Err(back as u64)));
    }
    calls.retain(|(_, call)| *call != Err(0));
    calls
}

fn read(before: Option<[u64; 2]>, calls: &Calls) -> Reader {
    let mut reader = Reader::new(&Http2, before);
    for (now, (direction, call)) in calls.iter().enumerate() {
        match call {
            Ok(bytes) => reader.call(*direction, bytes, now as i64),
            Err(gap) => reader.gap(*direction, *gap, now as i64),
        }
    }
    reader
}

/// Whose the bytes are that were lost is not told.
fn without_bytes(reader: &Reader) -> Vec<Exchange> {
    let without = |exchange: &Exchange| Exchange { request_bytes: 0, response_bytes: 0, ..exchange.clone() };
    reader.exchanges().iter().map(without).collect()
}

proptest! {
    #[test]
    fn what_was_kept_is_read_as_what_came(events in events(), fresh: bool) {
        let before = if fresh { None } else { Some([7, 9]) };
        let came = calls(&events);
        let reader = read(before, &came);
        let mut stored = reader.kept().into_iter();
        let kept: Calls = came
            .iter()
            .map(|(direction, call)| match call {
                Ok(_) => (*direction, Ok(stored.next().unwrap().1)),
                Err(gap) => (*direction, Err(*gap)),
            })
            .collect();
        let again = read(before, &kept);
        prop_assert_eq!(without_bytes(&again), without_bytes(&reader));
        let canary = |(_, bytes): &(Direction, Vec<u8>)| {
            bytes.windows(5).any(|part| CANARY.as_bytes().starts_with(part))
        };
        prop_assert!(!reader.kept().iter().any(canary));
    }
}
