use super::*;
use crate::assembly::events::StateChange;

const CALL: Event<'static> = Event {
    boot_ns: 1_000,
    duration_ns: 10,
    pid: 1,
    tid: 1,
    cpu: 0,
    process_id: 1,
    socket_id: 1,
    kind: Kind::Send,
    asked_bytes: 0,
    done_bytes: 0,
    tcp_seq: None,
    errno: 0,
    flags: 0,
    queued_us: None,
    state: None,
    head: b"",
    tail: b"",
    secret_hashes: b"",
};
const FIRST: u32 = u32::MAX - 3;
const ENDS: [SocketIndex; 2] = [0, 1];

fn call(kind: Kind, at: u32, done_bytes: u64, head: &'static [u8]) -> Event<'static> {
    Event { kind, tcp_seq: Some(FIRST.wrapping_add(at)), done_bytes, head, ..CALL }
}

fn flagged(event: Event<'_>) -> Event<'_> {
    Event { flags: flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT, ..event }
}

/// What comes out: of each piece where it begins, how long it is, and its first and last bytes.
fn out(payloads: &mut Payloads, event: &Event<'_>, ends: [SocketIndex; 2]) -> Vec<(u32, u64, String)> {
    let mut pieces = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let taken = payloads.complete(event, Some(ends), |piece| {
        assert_eq!(piece.flags & flags::PAYLOAD_AT_PEER, 0);
        let known = [text(piece.head), text(piece.tail)].join("|");
        pieces.push((piece.tcp_seq.map_or(0, |seq| seq.wrapping_sub(FIRST)), piece.done_bytes, known));
        Ok::<_, ()>(())
    });
    assert!(taken.is_ok());
    pieces
}

fn piece(at: u32, length: u64, known: &str) -> (u32, u64, String) {
    (at, length, known.to_owned())
}

#[test]
fn a_call_gets_back_what_the_other_end_moved() {
    let mut payloads = Payloads::default();
    let sent = Event { tail: b"xyz", ..call(Kind::Send, 0, 100, b"abcdef") };
    assert_eq!(out(&mut payloads, &sent, ENDS), [piece(0, 100, "abcdef|xyz")]);
    let taken = flagged(call(Kind::Receive, 0, 100, b""));
    assert_eq!(out(&mut payloads, &taken, [1, 0]), [piece(0, 100, "abcdef|xyz")]);
    // In three calls.
    for (at, length, known) in [(0, 4, "abcd|"), (4, 6, "ef|"), (10, 90, "|xyz")] {
        let taken = flagged(call(Kind::Receive, at, length, b""));
        assert_eq!(out(&mut payloads, &taken, [1, 0]), [piece(at, length, known)]);
    }
    // A length that could not be read, and may not be taken for one now.
    let taken = flagged(call(Kind::Receive, 0, 2, b""));
    let taken = Event { flags: taken.flags | flags::LENGTH_ONLY, ..taken };
    let mut bits = 0;
    let _ = payloads.complete(&taken, Some([1, 0]), |piece| {
        bits = piece.flags;
        Ok::<_, ()>(())
    });
    assert_eq!(bits, flags::PAYLOAD_CUT);
}

#[test]
fn a_call_that_moved_several_comes_in_pieces() {
    let mut payloads = Payloads::default();
    for event in [call(Kind::Send, 0, 4, b"abcd"), call(Kind::Send, 4, 10, b"efg")] {
        out(&mut payloads, &event, ENDS);
    }
    // Of eight bytes nothing was kept, and then come some that are its own.
    let own = Event { tail: b"yz", ..flagged(call(Kind::Receive, 0, 30, b"**********************uv")) };
    assert_eq!(
        out(&mut payloads, &own, [1, 0]),
        [piece(0, 4, "abcd|"), piece(4, 10, "efg|"), piece(14, 16, "********uv|yz")]
    );
    // What was its own the sender gets back, when its call is reported.
    let sent = flagged(call(Kind::Send, 14, 16, b""));
    assert_eq!(out(&mut payloads, &sent, ENDS), [piece(14, 16, "********uv|yz")]);
    let mut payloads = Payloads::default();
    for event in [call(Kind::Send, 0, 4, b"abcd"), call(Kind::Send, 4, 10, b"efg")] {
        out(&mut payloads, &event, ENDS);
    }
    // Between two.
    out(&mut payloads, &call(Kind::Send, 20, 4, b"mnop"), ENDS);
    let both = flagged(call(Kind::Receive, 12, 12, b""));
    assert_eq!(
        out(&mut payloads, &both, [1, 0]),
        [piece(12, 2, "|"), piece(14, 6, "|"), piece(20, 4, "mnop|")]
    );
}

#[test]
fn nothing_is_held_for_ever() {
    let mut payloads = Payloads::default();
    for index in 0..1_000 {
        out(&mut payloads, &call(Kind::Send, index * 4, 4, b"abcd"), ENDS);
        out(&mut payloads, &flagged(call(Kind::Receive, index * 4, 4, b"")), [1, 0]);
    }
    assert_eq!(payloads.held_bytes, KEPT_PIECES * (4 + size_of::<Piece>()));
    // An answer that its reader takes when both ends have closed.
    out(&mut payloads, &call(Kind::Receive, 0, 3, b"xyz"), ENDS);
    let change =
        StateChange { sk_err: 0, write_seq: 0, snd_una: 0, copied_seq: 0, rcv_nxt: 0, old: 1, new: CLOSE };
    let closes = |boot_ns| Event { kind: Kind::State, state: Some(change), boot_ns, ..CALL };
    for ends in [ENDS, [1, 0]] {
        let _ = payloads.complete(&closes(2_000), Some(ends), |_| Ok::<_, ()>(()));
    }
    let late = flagged(call(Kind::Send, 0, 3, b""));
    assert_eq!(out(&mut payloads, &late, [1, 0]), [piece(0, 3, "xyz|")]);
    let _ = payloads.complete(&closes(2_000 + TAKEN_LATE_NS), None, |_| Ok::<_, ()>(()));
    assert_eq!(payloads.held_bytes, 0);
    assert!(payloads.streams.is_empty() && payloads.closed.is_empty());
    assert_eq!(out(&mut payloads, &late, [1, 0]), [piece(0, 3, "|")]);
    // Nobody takes anything.
    for index in 0..2 * MAX_PIECES as u32 {
        out(&mut payloads, &call(Kind::Send, index * 4, 4, b"abcd"), ENDS);
    }
    assert_eq!(payloads.held_bytes, MAX_PIECES * (4 + size_of::<Piece>()));
}
