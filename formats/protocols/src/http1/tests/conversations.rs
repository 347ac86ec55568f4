//! Whole conversations: the messages found are the same however the bytes are divided over calls, and where calls are cut or
//! lost they are the same or said to be unknown. What redaction leaves says the same again.

use super::*;

/// One request and its answer, with all that the answer consists of.
#[derive(Clone, Debug)]
struct Exchange {
    request: String,
    /// Interim answers before the final one.
    interim: usize,
    answer: String,
}

/// A body that looks like messages.
const FALSE_HEADS: &str =
    "GET /false HTTP/1.1\r\nHost: f\r\n\r\nHTTP/1.1 500 False\r\nContent-Length: 0\r\n\r\n0\r\n\r\n";

fn request() -> impl Strategy<Value = (String, String)> {
    let method = prop_oneof![
        Just("GET"),
        Just("HEAD"),
        Just("POST"),
        Just("A-B"),
        Just("get"),
        Just("X"),
        Just("MKCALENDAR"),
        Just("!#$%&'*+.^_`|~9")
    ];
    let target = prop_oneof![
        Just("/a".to_owned()),
        "/[a-z]{1,5}\\?k=[a-z]{1,9}&z",
        Just("http://u:p@host.example/p;m=1/q".to_owned()),
        Just("*".to_owned()),
        "/p{900,1400}",
    ];
    let body = prop_oneof![
        3 => Just("\r\n".to_owned()),
        1 => Just(format!("Content-Length: {}\r\n\r\n{FALSE_HEADS}", FALSE_HEADS.len())),
        1 => Just(format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{FALSE_HEADS}", FALSE_HEADS.len())),
        1 => Just(format!("Transfer-Encoding: chunked\r\n\r\n{:x};e=x\r\n{FALSE_HEADS}\r\n0\r\n\r\n", FALSE_HEADS.len())),
    ];
    (method, target, header(), body).prop_map(|(method, target, header, body)| {
        (method.to_owned(), format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{header}{body}"))
    })
}

fn header() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("Accept: a\r\n folded\r\n".to_owned()),
        Just("Cookie: c\r\n".to_owned()),
        (0usize..3000).prop_map(|n| format!("X-Long: {}\r\n", "v".repeat(n))),
    ]
}

/// An answer to a request that is not HEAD, and to one that is.
fn answer() -> impl Strategy<Value = [String; 2]> {
    let chunk = |text: &str| format!("{:X}\r\n{text}\r\n", text.len());
    let trailer = prop_oneof![Just("0\r\n\r\n"), Just("000\r\n\r\n"), Just("0;last\r\nX-Sum: a\r\n\r\n")];
    let bodies = prop_oneof![
        (0usize..3000).prop_map(|n| (format!("Content-Length: {n}\r\n\r\n"), "b".repeat(n))),
        Just((format!("Content-Length: {}\r\n\r\n", FALSE_HEADS.len()), FALSE_HEADS.to_owned())),
        (proptest::collection::vec(1usize..900, 0..6), trailer).prop_map(move |(sizes, end)| {
            let body: String = sizes.iter().map(|&n| chunk(&"c".repeat(n))).collect();
            ("Transfer-Encoding: chunked\r\n\r\n".to_owned(), body + end)
        }),
        Just(("Transfer-Encoding: chunked\r\n\r\n".to_owned(), chunk(FALSE_HEADS) + "0\r\n\r\n")),
    ];
    (header(), bodies, any::<bool>()).prop_map(|(header, (head, body), empty)| {
        if empty {
            return [(); 2].map(|()| "HTTP/1.1 204 None\r\n\r\n".to_owned());
        }
        let head = format!("HTTP/1.1 200 Fine\r\n{header}{head}");
        [format!("{head}{body}"), head]
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    (request(), answer(), 0usize..3).prop_map(|((method, request), [answer, bare], interim)| Exchange {
        request,
        interim: interim.saturating_sub(1),
        answer: if method == "HEAD" { bare } else { answer },
    })
}

/// Without bodies that look like messages.
fn harmless(mut exchanges: Vec<Exchange>) -> Vec<Exchange> {
    let body = "x".repeat(FALSE_HEADS.len());
    for exchange in &mut exchanges {
        for text in [&mut exchange.request, &mut exchange.answer] {
            *text = text.replace(FALSE_HEADS, &body);
        }
    }
    exchanges
}

const INTERIM: &str = "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n";

/// What is certain about messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    begins: [Vec<u64>; 2],
    ends: [Vec<u64>; 2],
    /// Where a final answer begins, and its request.
    answers: Vec<(u64, u64)>,
}

impl Found {
    /// Where each message begins and ends.
    fn truth(exchanges: &[Exchange]) -> Found {
        let mut found = Found::default();
        let mut at = [0, 0];
        let mut message = |found: &mut Found, way: usize, length: usize| {
            found.begins[way].push(at[way]);
            at[way] += length as u64;
            found.ends[way].push(at[way]);
        };
        for exchange in exchanges {
            message(&mut found, 0, exchange.request.len());
            for _ in 0..exchange.interim {
                message(&mut found, 1, INTERIM.len());
            }
            message(&mut found, 1, exchange.answer.len());
            let last = [1, 0].map(|way: usize| found.begins[way].last().copied().unwrap_or_default());
            found.answers.push(last.into());
        }
        found
    }

    fn add(&mut self, way: usize, parts: &[Part]) {
        for part in parts {
            match &part.what {
                What::Begin => self.begins[way].push(part.offset),
                What::End { exact: true } => self.ends[way].push(part.offset),
                What::HeadEnd(HeadInfo { answers: Some(number), .. }) => {
                    let begin = self.begins[1].last().copied().unwrap_or_default();
                    self.answers.push((begin, self.begins[0][*number as usize]));
                }
                _ => {}
            }
        }
    }

    /// All of this is also in `truth`.
    fn is_within(&self, truth: &Found) -> bool {
        let within = |some: &[Vec<u64>; 2], all: &[Vec<u64>; 2]| {
            (0..2).all(|way| some[way].iter().all(|at| all[way].contains(at)))
        };
        within(&self.begins, &truth.begins)
            && within(&self.ends, &truth.ends)
            && self.answers.iter().all(|answer| truth.answers.contains(answer))
    }
}

/// Some bytes of one direction in one call.
struct Piece<'a> {
    way: usize,
    bytes: &'a [u8],
}

/// The conversation in calls of these lengths, again and again.
fn pieces<'a>(exchanges: &'a [Exchange], lengths: &[usize]) -> Vec<Piece<'a>> {
    let mut lengths = lengths.iter().copied().cycle();
    let mut pieces = Vec::new();
    let mut add = |way, text: &'a str| {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            let (first, rest) = bytes.split_at(lengths.next().unwrap_or(usize::MAX).min(bytes.len()));
            pieces.push(Piece { way, bytes: first });
            bytes = rest;
        }
    };
    for exchange in exchanges {
        add(0, &exchange.request);
        for _ in 0..exchange.interim {
            add(1, INTERIM);
        }
        add(1, &exchange.answer);
    }
    pieces
}

const DIRECTIONS: [Direction; 2] = [Requests, Responses];

/// A call at this time.
fn call<'a>(piece: &Piece<'_>, head: &'a [u8], tail: &'a [u8], now_ns: i64) -> Call<'a> {
    let times_ns = [now_ns, now_ns + 1];
    Call {
        spare: 0,
        begins: false,
        length: piece.bytes.len() as u64,
        head,
        tail,
        sent: piece.way == 0,
        times_ns,
    }
}

/// What is left of some bytes after redaction; they begin at this offset.
fn redacted(bytes: &[u8], at: u64, parts: &[Part]) -> Vec<u8> {
    let mut kept = Vec::new();
    for part in parts.iter().filter(|part| part.length > 0) {
        let place = |offset: u64| offset.saturating_sub(at).min(bytes.len() as u64) as usize;
        let run = place(part.offset)..place(part.offset + part.length);
        match part.what {
            _ if run.is_empty() => {}
            What::Head | What::Framing => {
                kept.resize(run.start, b'*');
                kept.extend_from_slice(&bytes[run]);
            }
            What::Secret => kept.resize(run.end, b'*'),
            _ => {}
        }
    }
    kept
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![1usize..4, 1usize..80, 200usize..2000, Just(usize::MAX)];
    proptest::collection::vec(length, 1..6)
}

proptest! {
    #[test]
    fn however_the_bytes_are_divided_the_messages_are_the_same(
        exchanges in proptest::collection::vec(exchange(), 1..5),
        lengths in lengths(),
    ) {
        let (mut framing, mut found) = (Connection::new(), Found::default());
        for (now_ns, piece) in pieces(&exchanges, &lengths).iter().enumerate() {
            let mut parts = Vec::new();
            framing.call(DIRECTIONS[piece.way], call(piece, piece.bytes, &[], 2 * now_ns as i64), None, &mut parts);
            found.add(piece.way, &parts);
        }
        prop_assert_eq!(found, Found::truth(&exchanges));
    }

    /// Calls that are cut as the kernel programs cut them, some lost: nothing is said that is not so. What redaction left,
    /// with only some of it stored as it is, says the same. Where the head of a message is lost, nobody can tell a head in
    /// its body from the next one.
    #[test]
    fn what_is_cut_or_lost_is_unknown_and_not_wrong(
        (exchanges, lossy) in prop_oneof![
            (proptest::collection::vec(exchange(), 1..6), Just(false)),
            (proptest::collection::vec(exchange(), 1..6).prop_map(harmless), Just(true)),
        ],
        lengths in lengths(),
        cuts in proptest::collection::vec((any::<bool>(), prop_oneof![Just(64usize), Just(1024), Just(4096)], 0usize..14), 1..8),
        stored in prop_oneof![Just(usize::MAX), 0usize..300, Just(1024)],
    ) {
        let (mut framing, mut found) = (Connection::new(), Found::default());
        let (mut again, mut found_again) = (Connection::new(), Found::default());
        let mut familiar = Familiar::default();
        let mut at = [0, 0];
        for (now, (piece, &(short, most, fate))) in
            pieces(&exchanges, &lengths).iter().zip(cuts.iter().cycle()).enumerate()
        {
            let (direction, bytes) = (DIRECTIONS[piece.way], piece.bytes);
            let (mut parts, mut parts_again) = (Vec::new(), Vec::new());
            if fate == 0 && lossy {
                framing.gap(direction, bytes.len() as u64, &mut parts);
                again.gap(direction, bytes.len() as u64, &mut parts_again);
            } else {
                let most = if short { most } else { 16 * 1024 };
                let (head, tail) = if bytes.len() > most + 8 {
                    (&bytes[..most], &bytes[bytes.len() - 8..])
                } else {
                    (bytes, &bytes[..0])
                };
                let spare = head.len().saturating_sub(stored);
                let this = Call { spare, ..call(piece, head, tail, 2 * now as i64) };
                framing.call(direction, this, Some(&mut familiar), &mut parts);
                let tail_at = at[piece.way] + (bytes.len() - tail.len()) as u64;
                let kept_head = redacted(head, at[piece.way], &parts);
                let mut kept_tail = redacted(tail, tail_at, &parts);
                if !kept_tail.is_empty() {
                    kept_tail.resize(tail.len(), b'*');
                }
                let this = call(piece, &kept_head, &kept_tail, 2 * now as i64);
                again.call(direction, this, None, &mut parts_again);
            }
            at[piece.way] += bytes.len() as u64;
            found.add(piece.way, &parts);
            found_again.add(piece.way, &parts_again);
            let markers = |parts: Vec<Part>| parts.into_iter().filter(|part| part.what.is_marker()).collect::<Vec<_>>();
            prop_assert_eq!(markers(parts_again), markers(parts), "call {}: {}", now, String::from_utf8_lossy(bytes));
        }
        prop_assert!(found.is_within(&Found::truth(&exchanges)), "{:?} of {:?}", found, Found::truth(&exchanges));
    }
}
