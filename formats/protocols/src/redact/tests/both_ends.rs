//! Both ends of a connection are recorded: each byte is kept once.

use proptest::prelude::*;

use retrospan_formats::marks;

use super::*;

/// A connection as it is seen from its client.
pub(super) struct Both {
    pub(super) redactor: Redactor,
    stream: Stream,
}

/// Sequence number of the first byte of either direction.
const FIRST: u32 = u32::MAX - 40;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

impl Both {
    pub(super) fn new() -> Both {
        Both { redactor: Redactor::default(), stream: Stream::default() }
    }

    /// Bytes from `at` on of what the client sent, or else received, moved by one of the ends.
    pub(super) fn call(
        &mut self,
        from_client: bool,
        by_client: bool,
        at: usize,
        bytes: &[u8],
    ) -> (Vec<u8>, u32) {
        let seq = Some(FIRST.wrapping_add(at as u32));
        self.call_at(from_client, by_client, seq, bytes)
    }

    /// The same of bytes that could not be read.
    fn length(&mut self, from_client: bool, by_client: bool, at: u64, length: u64) -> (Vec<u8>, u32) {
        let tcp_seq = Some(FIRST.wrapping_add(at as u32));
        self.keep(from_client, by_client, Data { tcp_seq, done_bytes: length, ..DATA })
    }

    fn call_at(
        &mut self,
        from_client: bool,
        by_client: bool,
        tcp_seq: Option<u32>,
        bytes: &[u8],
    ) -> (Vec<u8>, u32) {
        let data = Data { tcp_seq, done_bytes: bytes.len() as u64, head: bytes, ..DATA };
        self.keep(from_client, by_client, data)
    }

    fn keep(&mut self, from_client: bool, by_client: bool, data: Data<'_>) -> (Vec<u8>, u32) {
        let sent = from_client == by_client;
        let kind = if sent { Kind::Send } else { Kind::Receive };
        let role = if by_client { role::CLIENT } else { role::SERVER };
        let data = Data { kind, role, sent, shared: true, ..data };
        let data = if by_client { data } else { data.mirrored() };
        let mut out = Vec::new();
        let bits = self.redactor.keep(Payload::Heads, &mut self.stream, &data, true, &mut out);
        (out, bits & !marks::MARKS)
    }
}

#[test]
fn what_one_end_moved_the_other_has_a_flag_for() {
    let mut both = Both::new();
    let sent = request();
    let (kept, bits) = both.call(true, true, 0, sent.as_bytes());
    assert!(kept.starts_with(b"POST /login?user=*") && bits & flags::PAYLOAD_AT_PEER == 0);
    assert!(!holds(&kept, CANARY));
    let (kept, bits) = both.call(true, false, 0, sent.as_bytes());
    assert_eq!((kept.len(), bits), (0, flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT));
    // Of the answer the server's call is reported last.
    assert_eq!(both.call(false, true, 0, OK).0, b"HTTP/1.1 200 **\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(both.call(false, false, 0, OK).1, flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT);
}

#[test]
fn a_call_that_goes_beyond_keeps_what_is_new() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let two = [&get[..], get].concat();
    let mut both = Both::new();
    both.call(true, true, 0, get);
    // The server takes both requests before the client's second call is reported.
    let (kept, bits) = both.call(true, false, 0, &two);
    assert_eq!(kept, [&vec![b'*'; get.len()][..], get].concat());
    assert_eq!(bits, flags::PAYLOAD_AT_PEER);
    assert_eq!(both.call(true, true, get.len(), get).1, flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT);
}

#[test]
fn the_end_of_a_call_that_goes_beyond_is_kept_by_it() {
    let mut both = Both::new();
    both.call(true, true, 0, b"GET / HTTP/1.1\r\n\r\n");
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n";
    let length = head.len() as u64 + 0xfff + 2 + 5;
    let first = Data { tcp_seq: Some(FIRST), done_bytes: 100, head, ..DATA };
    assert!(!both.keep(false, true, first).0.is_empty());
    let whole = Data { tcp_seq: Some(FIRST), done_bytes: length, head, tail: b"\r\n0\r\n\r\n", ..DATA };
    let (kept, bits) = both.keep(false, false, whole);
    assert!(kept.ends_with(b"0\r\n\r\n"), "{kept:?}");
    let both = flags::PAYLOAD_TAIL | flags::PAYLOAD_AT_PEER;
    assert_eq!(bits & both, both);
}

#[test]
fn what_is_missing_at_one_end_comes_from_the_other() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut both = Both::new();
    both.call(true, true, 0, get);
    // Two threads of the client, reported in the wrong order.
    let at = get.len();
    assert_eq!(both.call(true, true, at + 10, &get[10..]), (vec![], flags::PAYLOAD_CUT));
    assert_eq!(both.call(true, false, at, get).0, get, "the server took all of it");
    assert_eq!(both.call(true, true, at, &get[..10]).1, flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT);
    // The client's next request is lost, and the server's call too: after some more it goes on.
    let mut at = 500;
    let kept: Vec<_> = (0..4)
        .map(|_| {
            let (kept, _) = both.call(true, true, at, get);
            at += get.len();
            kept.len()
        })
        .collect();
    assert_eq!(kept, [0, 0, get.len(), get.len()]);
}

#[test]
fn a_call_of_uncertain_place_moves_nothing() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut both = Both::new();
    assert_eq!(both.call_at(true, true, None, get), (vec![], flags::PAYLOAD_CUT));
    assert_eq!(both.call(true, false, 0, get).0, get);
}

#[test]
fn bytes_that_one_end_cannot_read_are_left_to_the_other() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut both = Both::new();
    both.call(true, true, 0, get);
    // The server sends a head, and by sendfile, in two calls, a body above 4 GiB: the client throws it away unseen, and asks again.
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n";
    both.call(false, false, 0, head);
    let (mut sent, mut taken) = (head.len() as u64, head.len() as u64);
    let end = sent + 5_000_000_000;
    while taken < end {
        if sent < end && taken.is_multiple_of(3) {
            let length = (end - sent).min(900_000_000);
            assert_eq!(both.length(false, false, sent, length).0, b"");
            sent += length;
        }
        let length = (end - taken).min(10_000_001);
        assert_eq!(both.length(false, true, taken, length).0, b"");
        taken += length;
    }
    assert_eq!(both.call(true, true, get.len(), get).0, get);
    let kept = both.call(false, false, end as usize, OK).0;
    assert_eq!(kept, b"HTTP/1.1 200 **\r\nContent-Length: 5\r\n\r\n");
}

#[test]
fn what_one_end_moved_unseen_in_two_calls_the_other_end_still_shows() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome body";
    let mut both = Both::new();
    both.call(true, true, 0, get);
    // A proxy splices.
    let (at, half) = (get.len(), post.len() as u64 - 9);
    both.length(true, true, at as u64, half);
    both.length(true, true, at as u64 + half, 9);
    assert_eq!(both.call(true, false, at, post).0, post[..post.len() - 9]);
}

#[test]
fn a_request_that_is_sent_while_the_body_before_it_is_taken_is_kept() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n";
    let mut both = Both::new();
    both.call(true, true, 0, post);
    // The server takes the begin before the client's call returns, of which only the first bytes are known.
    let body = post.len();
    both.call(true, false, body, &[b'b'; 1_000]);
    let seq = Some(FIRST.wrapping_add(body as u32));
    both.keep(true, true, Data { tcp_seq: seq, done_bytes: 4_000_000, head: &[b'b'; 64], ..DATA });
    both.call(true, false, body + 1_000, &[b'b'; 1_000]);
    assert_eq!(both.call(true, true, body + 4_000_000, get).0, get);
    let at_peer = flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT;
    assert_eq!(both.call(true, false, body + 2_000, &[b'b'; 1_000]).1, at_peer);
    assert_eq!(both.call(true, false, body + 4_000_000, get).1, at_peer);
}

#[test]
fn a_call_that_begins_before_a_gap_has_the_flag_for_what_follows_it() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut both = Both::new();
    both.call(true, true, 0, get);
    // One of the client's calls is lost, and the server is slow.
    let kept: Vec<_> =
        (0..3).map(|call| both.call(true, true, 100 + call * get.len(), get).0.len()).collect();
    assert_eq!(kept, [0, 0, get.len()]);
    let all = [b"x".repeat(100 - get.len()), get.repeat(3)].concat();
    assert_eq!(both.call(true, false, get.len(), &all).1, flags::PAYLOAD_AT_PEER | flags::PAYLOAD_CUT);
    assert_eq!(both.call(true, false, get.len(), &all[..4]).1, flags::PAYLOAD_CUT);
}

/// Where messages begin and end.
fn messages(bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
    Connection::new().call(Direction::Requests, call, None, &mut parts);
    parts.retain(|part| matches!(part.what, What::Begin | What::HeadEnd(_) | What::End { .. }));
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However the ends cut what they move, and whoever is reported first: together they keep what one end alone keeps.
    #[test]
    fn nothing_is_lost_and_nothing_leaks(
        cuts in prop::array::uniform2(prop::collection::vec(1usize..200, 0..8)),
        order in prop::collection::vec(any::<bool>(), 32),
    ) {
        let text = [request(), request()].concat();
        let bytes = text.as_bytes();
        let mut alone = Recording::of(role::CLIENT);
        let whole = alone.call(Kind::Send, bytes).0;
        let ends = cuts.map(|mut places| {
            places.retain(|&place| place < bytes.len());
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            places.dedup();
            places
        });
        let mut both = Both::new();
        let (mut next, mut order) = ([0, 0], order.into_iter());
        let mut known = vec![b'*'; bytes.len()];
        while next.iter().zip(&ends).any(|(next, places)| next + 1 < places.len()) {
            let mut end = usize::from(order.next().unwrap_or(false));
            if next[end] + 1 >= ends[end].len() {
                end = 1 - end;
            }
            let (from, to) = (ends[end][next[end]], ends[end][next[end] + 1]);
            next[end] += 1;
            let (kept, _) = both.call(true, end == 0, from, &bytes[from..to]);
            prop_assert!(!holds(&kept, CANARY));
            for (place, byte) in known[from..].iter_mut().zip(kept) {
                if byte != b'*' {
                    *place = byte;
                }
            }
        }
        // A value that came in pieces is blank.
        prop_assert!(known.iter().zip(&whole).all(|(known, whole)| known == whole || *known == b'*'));
        prop_assert_eq!(messages(&known), messages(bytes));
    }
}
