//! A message that is not understood does not shift those after it.

use super::*;

const HEAD: &[u8] = b"HEAD /h HTTP/1.1\r\n\r\n";
const GET: &[u8] = b"GET /g HTTP/1.1\r\n\r\n";
/// The answer to a HEAD, which has a length and no body.
const BARE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Calls in this order, one every ten nanoseconds; of each answer the number of its request.
fn answers(
    framing: &mut Connection,
    sent: Direction,
    calls: &[(Direction, &[u8])],
) -> (Vec<Part>, Vec<Option<u64>>) {
    let mut parts = Vec::new();
    for (index, (direction, bytes)) in calls.iter().enumerate() {
        let now_ns = 10 * index as i64;
        let call = Call { sent: *direction == sent, times_ns: [now_ns, now_ns + 5], ..whole(bytes) };
        framing.call(*direction, call, None, &mut parts);
    }
    let answers = parts.iter().filter_map(|part| match &part.what {
        What::HeadEnd(info) if info.status.code.is_some_and(|status| status >= 200) => Some(info.answers),
        _ => None,
    });
    let answers = answers.collect();
    (parts, answers)
}

#[test]
fn methods_are_any_token() {
    for method in ["A-B", "get", "Patch", "X", "VERSION-CONTROL", "!#$%&'*+.^_`|~9"] {
        let odd = format!("{method} /x HTTP/1.1\r\n\r\n");
        for at in 0..odd.len() {
            let (first, second) = odd.as_bytes().split_at(at);
            let calls = [
                (Requests, first),
                (Requests, second),
                (Responses, OK),
                (Requests, HEAD),
                (Responses, BARE),
                (Requests, GET),
                (Responses, OK),
            ];
            let (parts, answers) = answers(&mut Connection::new(), Requests, &calls[usize::from(at == 0)..]);
            assert_eq!(answers, [Some(0), Some(1), Some(2)], "{method} split at {at}");
            assert_eq!(ends(&parts).len(), 6, "{method} split at {at}");
        }
    }
}

#[test]
fn what_is_no_request_shifts_nothing() {
    for unknown in
        [&b"\x16\x03\x01\x02\x00"[..], b"hello\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /old\r\n"]
    {
        let then = [(Requests, HEAD), (Responses, BARE), (Requests, GET), (Responses, OK)];
        // With an answer, and without one.
        let answered = [&[(Requests, unknown), (Responses, OK)], &then[..]].concat();
        let (parts, numbers) = answers(&mut Connection::new(), Requests, &answered);
        assert_eq!(numbers, [None, Some(0), Some(1)], "{unknown:?}");
        assert_eq!(ends(&parts).len(), 5, "{unknown:?}: {parts:?}");
        let alone = [&[(Requests, unknown)], &then[..]].concat();
        let (parts, numbers) = answers(&mut Connection::new(), Requests, &alone);
        assert_eq!(numbers, [None, Some(1)], "{unknown:?}");
        assert_eq!(ends(&parts).last(), Some(&((BARE.len() + OK.len()) as u64, true)), "{unknown:?}");
    }
}

#[test]
fn an_answer_to_a_request_before_the_recording_takes_no_other() {
    let calls = [(Responses, OK), (Requests, HEAD), (Responses, BARE), (Requests, GET), (Responses, OK)];
    for sent in [Requests, Responses] {
        let (parts, numbers) = answers(&mut Connection::starting_at(0, 0), sent, &calls);
        assert_eq!(numbers, [None, Some(0), Some(1)]);
        assert_eq!(ends(&parts).len(), 5);
    }
}

#[test]
fn an_answer_before_its_request_is_its_own_where_that_can_be() {
    // A server that answers before it reads.
    let calls = [
        (Responses, OK),
        (Requests, GET),
        (Requests, HEAD),
        (Responses, BARE),
        (Requests, GET),
        (Responses, OK),
    ];
    let (parts, numbers) = answers(&mut Connection::new(), Responses, &calls);
    assert_eq!(numbers, [None, Some(1), Some(2)], "the first went on without another answer: it had one");
    assert_eq!(ends(&parts).len(), 6);
    // A client asks after it took something: that was no answer to this.
    let calls = [(Responses, OK), (Requests, HEAD), (Responses, BARE), (Requests, GET), (Responses, OK)];
    let (_, numbers) = answers(&mut Connection::new(), Requests, &calls);
    assert_eq!(numbers, [None, Some(0), Some(1)]);
}

#[test]
fn an_answer_before_its_request_is_found_behind_chunks_that_were_not_seen() {
    for (received, found) in [(true, true), (false, false)] {
        let mut framing = Connection::new();
        let mut parts = Vec::new();
        let mut tell = |direction, call, at_ns: i64| {
            let call =
                Call { sent: (direction == Requests) == received, times_ns: [at_ns, at_ns + 5], ..call };
            framing.call(direction, call, None, &mut parts);
        };
        tell(Requests, whole(GET), 0);
        tell(Responses, whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 10);
        let chunks = [&b"3\r\nabc\r\n".repeat(100)[..], b"0\r\n\r\n"].concat();
        tell(Responses, cut(&chunks, 64, 8), 20);
        tell(Responses, whole(OK), 40);
        // Its call began before.
        tell(Requests, whole(GET), 38);
        tell(Requests, whole(HEAD), 50);
        tell(Responses, whole(BARE), 60);
        let statuses = parts
            .iter()
            .filter(|part| matches!(&part.what, What::HeadEnd(info) if info.status.code.is_some()));
        assert_eq!(statuses.count(), if found { 3 } else { 2 }, "{parts:?}");
        let end = 2 * GET.len() + HEAD.len();
        assert_eq!(ends(&parts).iter().filter(|(at, _)| *at == end as u64).count(), 1, "{parts:?}");
    }
}

#[test]
fn a_body_after_an_answer_to_an_unknown_request_is_told_by_its_bytes() {
    let unknown = (Requests, &b"\0"[..]);
    let (first, second) = OK.split_at(OK.len() - 2);
    let (parts, _) =
        answers(&mut Connection::new(), Requests, &[unknown, (Responses, first), (Responses, second)]);
    assert_eq!(ends(&parts), [(OK.len() as u64, true)]);
    let may_end: Vec<_> =
        parts.iter().filter(|part| part.what == What::MayEnd).map(|part| part.offset).collect();
    assert_eq!(may_end, [first.len() as u64]);
    let (parts, _) =
        answers(&mut Connection::new(), Requests, &[unknown, (Responses, BARE), (Responses, OK)]);
    assert_eq!(ends(&parts)[0], (BARE.len() as u64, true));
    // Nobody asked for a second answer.
    let (parts, _) = answers(&mut Connection::new(), Requests, &[(Responses, BARE), (Responses, OK)]);
    assert!(ends(&parts).is_empty());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let both = [HEAD, GET].concat();
    let calls = [(Requests, &both[..]), (Responses, BARE), (Responses, OK), (Requests, GET), (Responses, OK)];
    let (parts, numbers) = answers(&mut Connection::new(), Requests, &calls);
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    assert_eq!(ends(&parts).len(), 6);
}

#[test]
fn addresses_in_front_of_a_request_are_skipped_and_blank() {
    let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 33333 80\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2, 0x82, 0x35, 0, 80]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for preamble in [v1, unknown, v2, local] {
        let bytes = [&preamble, GET].concat();
        for at in 1..bytes.len() {
            let (first, second) = bytes.split_at(at);
            let calls =
                [(Requests, first), (Requests, second), (Responses, OK), (Requests, HEAD), (Responses, BARE)];
            let (parts, numbers) = answers(&mut Connection::new(), Requests, &calls);
            assert_eq!(numbers, [Some(0), Some(1)], "{preamble:?} split at {at}");
            assert_eq!(begins_at(&parts)[0], preamble.len() as u64, "{preamble:?} split at {at}");
            assert!(!kept(&bytes, &parts[..1]).contains("192"), "{preamble:?} split at {at}");
            assert!(parts.iter().all(|part| part.what != What::Lost), "{preamble:?} split at {at}");
        }
        assert!(begins_head(Requests, &bytes));
    }
    let parts = frame(&[(Requests, b"PROXY /x HTTP/1.1\r\n\r\n")]);
    assert_eq!(begins_at(&parts), [0], "a method as any other");
}

/// A body may look like a request wherever a call begins.
#[test]
fn a_body_is_no_request_as_long_as_it_may_be_one() {
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let long =
        format!("POST / HTTP/1.1\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n", "c".repeat(5000), GET.len());
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    framing.call(Requests, cut(long.as_bytes(), 1024, 8), None, &mut parts);
    framing.call(Responses, whole(go_on), None, &mut Vec::new());
    framing.call(Requests, whole(GET), None, &mut parts);
    assert_eq!(begins_at(&parts), [0]);
    framing.call(Responses, whole(OK), None, &mut Vec::new());
    framing.call(Requests, whole(GET), None, &mut parts);
    assert_eq!(begins_at(&parts), [0, (long.len() + GET.len()) as u64]);
}

#[test]
fn the_answer_after_a_flood_of_interim_ones_is_found() {
    let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(300);
    for known in [1024, 1030, 1035] {
        let mut framing = Connection::new();
        let mut parts = Vec::new();
        framing.call(Requests, whole(GET), None, &mut Vec::new());
        framing.call(Responses, cut(&flood[..4096], known, 8), None, &mut parts);
        framing.call(Responses, cut(&flood[4096..], 64, 8), None, &mut parts);
        framing.call(Responses, whole(OK), None, &mut parts);
        assert_eq!(ends(&parts).last(), Some(&((flood.len() + OK.len()) as u64, true)), "{known}");
    }
}

/// What comes after a message whose end was not seen comes in single bytes.
#[test]
fn a_head_in_single_bytes_is_found_behind_a_message_that_was_cut() {
    let chunked =
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &b"3\r\nabc\r\n".repeat(300)]
            .concat();
    let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(5000));
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    framing.call(Requests, cut(long.as_bytes(), 1024, 8), None, &mut parts);
    framing.call(Responses, cut(&chunked, 1024, 8), None, &mut parts);
    for (direction, bytes) in [(Requests, GET), (Responses, OK)] {
        for byte in bytes.chunks(1) {
            framing.call(direction, whole(byte), None, &mut parts);
        }
    }
    let exact: Vec<_> = ends(&parts).into_iter().filter(|(_, exact)| *exact).map(|(at, _)| at).collect();
    assert_eq!(exact, [(long.len() + GET.len()) as u64, (chunked.len() + OK.len()) as u64]);
}
