use proptest::prelude::*;

use super::*;
use crate::parts::{HeadInfo, What};

mod conversations;
mod extents;
mod pairing;
mod secrets;
mod values;

/// Feeds whole calls and returns the parts of both directions.
fn frame(calls: &[(Direction, &[u8])]) -> Vec<Part> {
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    for (direction, bytes) in calls {
        framing.call(*direction, whole(bytes), None, &mut parts);
    }
    parts
}

fn whole(bytes: &[u8]) -> Call<'_> {
    Call { length: bytes.len() as u64, head: bytes, ..Call::default() }
}

/// A call of which only `head` first and `tail` last bytes are known.
fn cut(bytes: &[u8], head: usize, tail: usize) -> Call<'_> {
    let (head, tail) = (&bytes[..head], &bytes[bytes.len() - tail..]);
    Call { length: bytes.len() as u64, head, tail, ..Call::default() }
}

fn ends(parts: &[Part]) -> Vec<(u64, bool)> {
    let end = |p: &Part| match p.what {
        What::End { exact } => Some((p.offset, exact)),
        _ => None,
    };
    parts.iter().filter_map(end).collect()
}

fn begins_at(parts: &[Part]) -> Vec<u64> {
    parts.iter().filter(|p| p.what == What::Begin).map(|p| p.offset).collect()
}

fn statuses(parts: &[Part]) -> Vec<Option<u16>> {
    let status = |p: &Part| match &p.what {
        What::HeadEnd(info) => Some(info.status.code),
        _ => None,
    };
    parts.iter().filter_map(status).collect()
}

/// What would be kept of the bytes; everything else as `*`.
fn kept(bytes: &[u8], parts: &[Part]) -> String {
    let mut text = vec![b'*'; bytes.len()];
    for part in parts.iter().filter(|p| matches!(p.what, What::Head | What::Framing)) {
        let run = part.offset as usize..(part.offset + part.length) as usize;
        text[run.clone()].copy_from_slice(&bytes[run]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What is kept of split calls is also kept of whole ones. It may be less: of a name that is split.
fn assert_within(split: &str, whole: &str) {
    assert_eq!(split.len(), whole.len());
    assert!(split.bytes().zip(whole.bytes()).all(|(s, w)| s == w || s == b'*'), "{split} of {whole}");
}

use Direction::{Requests, Responses};

#[test]
fn harmless_values_are_kept_whatever_the_case_of_their_names() {
    let request = "GET / HTTP/1.1\r\nVia: a\r\nx-request-id: b\r\nAccept: c\r\nX-Request-Idx: d\r\n\r\n";
    let parts = frame(&[(Requests, request.as_bytes())]);
    let expected = "GET / HTTP/1.1\r\nVia: a\r\nx-request-id: b\r\nAccept: c\r\nX-Request-Idx: *\r\n\r\n";
    assert_eq!(kept(request.as_bytes(), &parts), expected);
}

#[test]
fn secrets_of_a_request_are_blanked() {
    let request = "POST http://u:pw@h/a;s=1/b?q=2&r HTTP/1.1\r\nauthorization: Basic eA==\r\nCookie: a=b;\r\n\tc=d\r\n\
                   Content-Length: 4\r\n\r\nbody";
    let parts = frame(&[(Requests, request.as_bytes())]);
    let expected = "POST http://******/a;s=*/b?q=*&* HTTP/1.1\r\nauthorization: **********\r\nCookie: ****\r\n\t***\r\n\
                    Content-Length: 4\r\n\r\n****";
    assert_eq!(kept(request.as_bytes(), &parts), expected);
    assert_eq!(ends(&parts), [(request.len() as u64, true)]);
}

#[test]
fn pipelined_requests_are_told_apart() {
    let one = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";
    let two = b"POST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.0\r\n\r\n";
    let both = [one.as_slice(), two].concat();
    let parts = frame(&[(Requests, &both)]);
    let (first, third) = (one.len() as u64, (both.len() - b"GET /3 HTTP/1.0\r\n\r\n".len()) as u64);
    assert_eq!(begins_at(&parts), [0, first, third]);
    assert_eq!(ends(&parts), [(first, true), (third, true), (both.len() as u64, true)]);
}

#[test]
fn responses_to_head_and_without_body_end_with_their_head() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let none = b"HTTP/1.1 204 No Content\r\n\r\n";
    let parts = frame(&[
        (Requests, b"HEAD / HTTP/1.1\r\n\r\n"),
        (Responses, head),
        (Requests, b"GET / HTTP/1.1\r\n\r\n"),
        (Responses, none),
    ]);
    let response_ends = [(head.len() as u64, true), ((head.len() + none.len()) as u64, true)];
    assert_eq!([ends(&parts)[1], ends(&parts)[3]], response_ends);
}

#[test]
fn informational_responses_are_not_the_answer() {
    let parts = frame(&[
        (Requests, b"HEAD / HTTP/1.1\r\n\r\n"),
        (Responses, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (Responses, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ]);
    assert_eq!(statuses(&parts), [None, Some(103), Some(200)]);
    assert_eq!(ends(&parts).len(), 3, "the 200 answers the HEAD and has no body: {parts:?}");
}

#[test]
fn a_refused_expectation_may_skip_the_body() {
    let request = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let next = b"GET / HTTP/1.1\r\n\r\n";
    let refused = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let parts = frame(&[(Requests, request), (Responses, refused), (Requests, next)]);
    assert_eq!(ends(&parts)[1], (request.len() as u64, true));
    assert_eq!(begins_at(&parts), [0, 0, request.len() as u64]);
    // Nothing else says that the body was skipped: it may be anything.
    let parts = frame(&[(Requests, request), (Requests, b"GET /"), (Requests, next)]);
    assert_eq!(begins_at(&parts), [0, request.len() as u64 + 5]);
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let parts = frame(&[(Requests, request), (Responses, go_on), (Requests, b"GET /"), (Requests, next)]);
    assert_eq!(begins_at(&parts), [0, 0, request.len() as u64 + 5]);
}

#[test]
fn an_upgrade_turns_both_directions_into_tunnels() {
    let parts = frame(&[
        (Requests, b"GET / HTTP/1.1\r\nUpgrade: echo\r\n\r\n"),
        (Responses, b"HTTP/1.1 101 Switching Protocols\r\n\r\nGET "),
        (Requests, b"GET / secret"),
    ]);
    let tunnels: Vec<u64> = parts.iter().filter(|p| p.what == What::Tunnel).map(|p| p.length).collect();
    assert_eq!(tunnels, [4, 12]);
}

#[test]
fn a_body_without_length_lasts_until_the_close() {
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    let response = b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 is a fine protocol";
    framing.call(Responses, whole(response), None, &mut parts);
    assert!(ends(&parts).is_empty());
    framing.close(Responses, &mut parts);
    assert_eq!(ends(&parts), [(response.len() as u64, true)]);
}

#[test]
fn chunked_bodies_with_extension_and_trailer() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;x=secret\r\nabcd\r\n0\r\nX-Sum: s\r\n\r\n";
    let parts = frame(&[(Responses, response.as_bytes())]);
    let expected = "HTTP/1.1 200 **\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;********\r\n****\r\n0\r\n********\r\n\r\n";
    assert_eq!(kept(response.as_bytes(), &parts), expected);
    assert_eq!(ends(&parts), [(response.len() as u64, true)]);
}

#[test]
fn a_chunked_body_that_we_are_lost_in_may_end_with_its_last_chunk() {
    let body = [b"a".repeat(500), b"\r\n0\r\n\r\n".to_vec()].concat();
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n";
    framing.call(Requests, whole(b"GET / HTTP/1.1\r\n\r\n"), None, &mut Vec::new());
    framing.call(Responses, whole(head), None, &mut parts);
    framing.call(Responses, cut(&body, 64, 8), None, &mut parts);
    assert!(ends(&parts).is_empty());
    let last = parts.last().map(|p| (p.offset, &p.what));
    assert_eq!(last, Some(((head.len() + body.len()) as u64, &What::MayEnd)));
}

#[test]
fn a_get_with_a_cut_head_may_end_with_its_call() {
    let request = format!("GET /long HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(5000));
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    framing.call(Requests, cut(request.as_bytes(), 1024, 8), None, &mut parts);
    let last = parts.last().map(|p| (p.offset, &p.what));
    assert_eq!(last, Some((request.len() as u64, &What::MayEnd)));
    // Its body may be anything, until it is answered.
    framing.call(Requests, whole(b"GET /next HTTP/1.1\r\n\r\n"), None, &mut parts);
    assert_eq!(ends(&parts), []);
    framing.call(Responses, whole(b"HTTP/1.1 204 No\r\n\r\n"), None, &mut Vec::new());
    framing.call(Requests, whole(b"GET /next HTTP/1.1\r\n\r\n"), None, &mut parts);
    assert_eq!(ends(&parts).len(), 2);
}

#[test]
fn a_gap_in_a_counted_body_does_no_harm_but_elsewhere_it_does() {
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    framing.call(Responses, whole(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), None, &mut parts);
    framing.gap(Responses, 8, &mut parts);
    assert_eq!(ends(&parts).len(), 1);
    framing.gap(Responses, 1, &mut parts);
    framing.call(Responses, whole(b"secret"), None, &mut parts);
    assert_eq!(parts.last().map(|p| &p.what), Some(&What::Lost));
    framing.call(Responses, whole(b"HTTP/1.1 204 No Content\r\n\r\n"), None, &mut parts);
    assert_eq!(ends(&parts).len(), 2);
}

#[test]
fn other_protocols_are_lost() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET key\r\n",
    ] {
        let parts = frame(&[(Requests, bytes)]);
        assert!(parts.iter().all(|p| p.what == What::Lost), "{bytes:?}: {parts:?}");
    }
}

const CANARY: &str = "kAnArY-7";

/// An exchange with the canary wherever a secret may stand.
fn exchange() -> (Vec<u8>, Vec<u8>) {
    let request = format!(
        "POST /p;m={CANARY}/x?token={CANARY}&k={CANARY} HTTP/1.1\r\nHost: h\r\nauthorization: Bearer {CANARY}\r\n\
         X-Other: {CANARY}\r\n {CANARY}\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{CANARY}\r\n0\r\nT: {CANARY}\r\n\r\n"
    );
    let response =
        format!("HTTP/1.1 200 {CANARY}\r\nSet-Cookie: {CANARY}\r\nContent-Length: 8\r\n\r\n{CANARY}");
    (request.into_bytes(), response.into_bytes())
}

#[test]
fn no_split_over_two_calls_lets_the_canary_through() {
    let (request, response) = exchange();
    for (direction, bytes) in [(Requests, &request), (Responses, &response)] {
        let whole_text = kept(bytes, &frame(&[(direction, bytes)]));
        assert!(!whole_text.contains(CANARY));
        for split in 1..bytes.len() {
            let parts = frame(&[(direction, &bytes[..split]), (direction, &bytes[split..])]);
            assert_within(&kept(bytes, &parts), &whole_text);
            assert_eq!(ends(&parts), [(bytes.len() as u64, true)]);
        }
    }
}

proptest! {
    /// Whatever comes, the parts cover every byte of each direction once and in order.
    #[test]
    fn parts_cover_the_bytes(calls in proptest::collection::vec((any::<bool>(), 0usize..4, 0usize..300, 0usize..64, 0usize..8), 0..20)) {
        let (request, response) = exchange();
        let mut framing = Connection::new();
        let mut fed = [0u64; 2];
        for (responses, kind, length, head, tail) in calls {
            let direction = if responses { Responses } else { Requests };
            let source: Vec<u8> = if responses { response.iter().cycle().skip(head).take(length).copied().collect() } else { request.iter().cycle().skip(tail).take(length).copied().collect() };
            let mut parts = Vec::new();
            match kind {
                0 => framing.gap(direction, length as u64, &mut parts),
                1 => framing.call(direction, cut(&source, head.min(length), tail.min(length - head.min(length))), None, &mut parts),
                2 => framing.call(direction, whole(&source), None, &mut parts),
                _ => { framing.close(direction, &mut parts); prop_assert!(parts.iter().all(|p| p.length == 0)); continue; }
            }
            let fed = &mut fed[usize::from(responses)];
            for part in &parts {
                if part.what == What::Begin {
                    prop_assert!(part.offset <= *fed);
                    continue;
                }
                prop_assert_eq!(part.offset, *fed);
                *fed += part.length;
            }
            let sum: u64 = parts.iter().map(|p| p.length).sum();
            prop_assert_eq!(sum, length as u64);
        }
    }

    /// Reading by lines and reading byte by byte keep the same bytes and find the same messages.
    #[test]
    fn lines_and_single_bytes_say_the_same(
        responses in any::<bool>(),
        target in "/[a-z]{0,4}(;[a-z]=[a-z/]{0,3})?(\\?[a-z]{1,2}=[a-z/;&]{0,6})?",
        headers in proptest::collection::vec(
            (
                prop_oneof![
                    "(host|Server|DATE|content-length|Content-Length|transfer-encoding|EXPECT|x-b3-spanid)",
                    "[a-zA-Z-]{1,12}",
                    "[a-z]{30,36}",
                ],
                "[ \t]{0,2}",
                prop_oneof!["[0-9]{1,3}", "[!-~]{0,12}", "[!-~ \t]{0,40}", "chunked", "a\r\n [!-~]{0,9}"],
                "(\r\n|\n)",
            ),
            0..6,
        ),
        splits in proptest::collection::vec(0usize..300, 0..4),
    ) {
        let (direction, mut text) = if responses {
            (Responses, "HTTP/1.1 200 Fine and secret\r\n".to_owned())
        } else {
            (Requests, format!("GET {target} HTTP/1.1\r\n"))
        };
        for (name, space, value, end) in &headers {
            text += &format!("{name}:{space}{value}{end}");
        }
        text += "\r\nbody";
        let bytes = text.as_bytes();
        let whole_text = kept(bytes, &frame(&[(direction, bytes)]));
        let single: Vec<_> = bytes.chunks(1).map(|byte| (direction, byte)).collect();
        assert_within(&kept(bytes, &frame(&single)), &whole_text);
        let mut places: Vec<_> = splits.iter().map(|split| split % bytes.len()).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<_> =
            places.windows(2).filter(|p| p[0] < p[1]).map(|p| (direction, &bytes[p[0]..p[1]])).collect();
        let parts = frame(&pieces);
        assert_within(&kept(bytes, &parts), &whole_text);
        let markers = |parts: &[Part]| (begins_at(parts), ends(parts), statuses(parts));
        prop_assert_eq!(markers(&parts), markers(&frame(&[(direction, bytes)])));
        prop_assert_eq!(markers(&frame(&single)), markers(&parts));
        // What is doubtful is blank from where that is seen.
        let doubtful = |name: &str, value: &str| name.eq_ignore_ascii_case("host") || value.contains('\r');
        let harmless = |(name, _, value, _): &(String, String, String, String)| {
            names::header(name.as_bytes(), name.len()).0 && !doubtful(name, value)
        };
        if headers.iter().all(harmless) && !target.contains(['?', ';']) {
            prop_assert_eq!(&whole_text, &kept(bytes, &frame(&single)));
        }
    }

    /// Header lines seen before change nothing: heads of few kinds, whole and cut, one after the other.
    #[test]
    fn familiar_lines_say_the_same(
        heads in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(0usize..LINES.len(), 0..5), 0usize..200),
            1..12,
        ),
    ) {
        let mut familiar = [Familiar::default(), Familiar::default()];
        let (mut plain, mut quick) = (Connection::new(), Connection::new());
        for (responses, lines, cut_at) in heads {
            let (direction, start) = if responses {
                (Responses, "HTTP/1.1 200 secret\r\n")
            } else {
                (Requests, "POST /a?b=secret HTTP/1.1\r\n")
            };
            let headers: String = lines.iter().map(|&line| LINES[line]).collect();
            let text = format!("{start}{headers}\r\n");
            let (first, second) = text.as_bytes().split_at(cut_at.min(text.len()));
            for bytes in [first, second] {
                let (mut of_plain, mut of_quick) = (Vec::new(), Vec::new());
                plain.call(direction, whole(bytes), None, &mut of_plain);
                quick.call(direction, whole(bytes), Some(&mut familiar[direction as usize]), &mut of_quick);
                prop_assert_eq!(of_plain, of_quick);
            }
        }
    }

    /// Bytes of any kind never panic.
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let parts = frame(&[(Requests, &bytes), (Responses, &bytes)]);
        let sum: u64 = parts.iter().map(|p| p.length).sum();
        prop_assert_eq!(sum, 2 * bytes.len() as u64);
    }
}

/// Lines that heads of one side have in common, and some that tell about bodies.
const LINES: [&str; 11] = [
    "Host: h\r\n",
    "Host: other\r\n",
    "host: h\n",
    "Accept: */*\r\n",
    " folded\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: x\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Cookie: secret\r\n",
    "Connection:\r\n",
];

#[test]
fn in_the_middle_of_a_connection_only_known_methods_begin_a_request() {
    let verdict = |bytes: &[u8], fresh| Http1.recognise(Requests, bytes, fresh);
    for rest in
        ["ET /x HTTP/1.1\r\n\r\n", "ET /x HTT", "OST /a?b HTTP/1.1\r\nHost: a\r\n", "X / HTTP/1.1\r\n\r\n"]
    {
        assert_eq!(verdict(rest.as_bytes(), false), Verdict::No, "{rest}");
    }
    assert_eq!(verdict(b"ET /x HTTP/1.1\r\n", true), Verdict::Surely, "any word is a method");
    for request in ["GET /x HTTP/1.1\r\n\r\n", "PROPFIND /x HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n"] {
        assert_eq!(verdict(request.as_bytes(), false), Verdict::Surely, "{request}");
    }
}
