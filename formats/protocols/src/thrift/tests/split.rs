//! Recordings see calls as programs make them, and read what was kept of them.

use super::*;
use crate::parts::Call;
use crate::protocol::Memory;
use crate::{Part, blank};

/// Frames of each encoding.
fn frames(kind: u8, name: &str) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for writer in [Writer::Strict, Writer::Old, Writer::Compact] {
        frames.push(framed(message(writer, kind, name, 1)));
        if writer != Writer::Old {
            frames.push(theader(message(writer, kind, name, 1)));
        }
    }
    frames
}

/// What is kept of calls, each by itself: nothing is told of an earlier one any more.
fn stored(calls: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut framing = Thrift.framing(None);
    let (mut memory, mut parts) = (Memory::default(), Vec::<Part>::new());
    let store = |bytes: &&[u8]| {
        parts.clear();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        framing.call(Requests, call, &mut memory, &mut parts);
        let mut kept = Vec::new();
        if !blank::copy(&parts, bytes, 0, &mut kept).any {
            kept.clear();
        }
        kept
    };
    calls.iter().map(store).collect()
}

#[test]
fn what_is_kept_of_a_frame_is_recognised() {
    for (direction, kind) in [(Requests, CALL), (Responses, REPLY)] {
        for frame in frames(kind, "getUser") {
            let reader = testing::read(&Thrift, &[(direction, frame.clone())], &[]);
            let (_, kept) = &reader.kept()[0];
            let end = kept.iter().rposition(|&byte| byte != b'*').expect("something is kept") + 1;
            assert!(end < frame.len());
            let told = detect::surely(&kept[..end], true).expect("thrift");
            assert_eq!((told.protocol.name(), told.direction), ("thrift", direction), "{kept:?}");
        }
    }
}

#[test]
fn the_length_of_a_frame_that_is_read_before_the_rest_is_kept() {
    for frame in frames(CALL, "getUser") {
        let (length, rest) = frame.split_at(4);
        let calls = [length, rest, length, rest];
        let kept = stored(&calls);
        assert_eq!([&kept[0][..], &kept[2]], [length; 2]);
        let mut reader = Reader::new(&Thrift, None);
        for (at, (kept, call)) in kept.iter().zip(calls).enumerate() {
            reader.stored_call(Requests, kept, call.len() as u64, at as i64);
        }
        let found = reader.exchanges();
        let names: Vec<_> = found.iter().map(|e| (e.start, e.operation.name.as_deref())).collect();
        assert_eq!(names, [(0, Some("getUser")), (2, Some("getUser"))]);
    }
}

#[test]
fn lengths_that_are_read_alone_are_found_once_frames_were_seen() {
    let mut calls = frames(CALL, "getUser");
    calls.push(compressed(1));
    for call in calls {
        let mut reader = Reader::new(&Thrift, Some([0, 0]));
        reader.call(Responses, &framed(message(Writer::Strict, REPLY, "getUser", 1)), 0);
        reader.call(Requests, b"the end of something", 1);
        reader.call(Requests, &call[..4], 2);
        reader.call(Requests, &call[4..], 3);
        assert_eq!(reader.exchanges().iter().map(|e| e.start).collect::<Vec<_>>(), [2]);
    }
}
