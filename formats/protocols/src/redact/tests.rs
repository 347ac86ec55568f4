use retrospan_formats::marks;

use super::*;
use crate::http1::Connection;

mod both_ends;
mod hashed;
mod places;
mod ruled;

/// A secret that must be found nowhere.
const CANARY: &str = "hunter2-canary";

/// One connection seen from one end: what is kept of each call.
struct Recording {
    redactor: Redactor,
    stream: Stream,
    role: u8,
    seqs: [u32; 2],
    /// First bytes of a call that may be stored.
    stored: usize,
}

impl Recording {
    fn of(role: u8) -> Recording {
        Recording {
            redactor: Redactor::default(),
            stream: Stream::default(),
            role,
            seqs: [u32::MAX - 20, 1000],
            stored: usize::MAX,
        }
    }

    fn seq(&mut self, kind: Kind) -> &mut u32 {
        &mut self.seqs[usize::from(kind == Kind::Receive)]
    }

    /// Bytes that were moved but never reported.
    fn lose(&mut self, kind: Kind, bytes: u32) {
        let seq = self.seq(kind);
        *seq = seq.wrapping_add(bytes);
    }

    fn call(&mut self, kind: Kind, bytes: &[u8]) -> (Vec<u8>, u32) {
        self.cut_call(kind, bytes.len() as u64, bytes, b"")
    }

    fn cut_call(&mut self, kind: Kind, done_bytes: u64, head: &[u8], tail: &[u8]) -> (Vec<u8>, u32) {
        let tcp_seq = Some(*self.seq(kind));
        self.lose(kind, done_bytes as u32);
        let mut bits = 0;
        if !tail.is_empty() {
            bits |= flags::PAYLOAD_TAIL;
        }
        if ((head.len() + tail.len()) as u64) < done_bytes {
            bits |= flags::PAYLOAD_CUT;
        }
        let data = Data { kind, role: self.role, done_bytes, tcp_seq, flags: bits, head, tail, ..DATA };
        let data = Data { stored: self.stored, ..data };
        let mut out = Vec::new();
        let bits = self.redactor.keep(Payload::Heads, &mut self.stream, &data, true, &mut out);
        (out, bits & !marks::MARKS)
    }
}

/// Some data.
const DATA: Data<'_> = Data {
    kind: Kind::Send,
    role: role::CLIENT,
    sent: true,
    shared: false,
    done_bytes: 0,
    tcp_seq: Some(1),
    flags: 0,
    head: b"",
    stored: usize::MAX,
    tail: b"",
    times_ns: [0, 0],
    discovered: false,
    ports: [40_000, 8080],
};

fn holds(kept: &[u8], secret: &str) -> bool {
    kept.windows(secret.len()).any(|w| w.eq_ignore_ascii_case(secret.as_bytes()))
}

fn request() -> String {
    format!(
        "POST /login?user={CANARY}&next=/ HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {CANARY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n1e\r\npassword={CANARY}&ok=yes\r\n0\r\nX-Sum: {CANARY}\r\n\r\n\
         GET /next?{CANARY}=1&k={CANARY} HTTP/1.1\r\nCookie: {CANARY}\r\n\r\n"
    )
    .replace(&format!("?{CANARY}="), "?name=")
}

#[test]
fn what_is_kept_is_the_same_without_a_body() {
    let head = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {CANARY}\r\nContent-Length: 900\r\n\r\n");
    let body = [b'x'; 900];
    let whole = [head.as_bytes(), &body].concat();
    for (role, asks, answers) in
        [(role::CLIENT, Kind::Send, Kind::Receive), (role::SERVER, Kind::Receive, Kind::Send)]
    {
        for tail in [&b""[..], b"xxxxxxxx"] {
            let kept = |known: &[u8]| {
                let mut recording = Recording::of(role);
                let exchange = |recording: &mut Recording| {
                    recording.call(asks, b"GET / HTTP/1.1\r\n\r\n");
                    recording.cut_call(answers, whole.len() as u64, known, tail)
                };
                [exchange(&mut recording), exchange(&mut recording)]
            };
            let all = &whole[..whole.len() - tail.len()];
            assert_eq!(kept(all), kept(&whole[..head.len() + 64]));
        }
    }
}

#[test]
fn no_part_of_a_secret_survives_a_split_at_any_byte() {
    let request = request();
    assert_eq!(request.matches(CANARY).count(), 6);
    for split in 0..=request.len() {
        let mut recording = Recording::of(role::CLIENT);
        let (first, second) = request.as_bytes().split_at(split);
        let mut all = recording.call(Kind::Send, first).0;
        all.resize(first.len(), BLANK); // What was cut off.
        all.extend(recording.call(Kind::Send, second).0);
        // Whatever was kept stands where it stood, or is blank.
        for (kept, original) in all.iter().zip(request.bytes()) {
            assert!(*kept == original || *kept == BLANK);
        }
        for part in ["hunter2", "canary", "unter"] {
            assert!(!holds(&all, part), "split at {split}: {}", String::from_utf8_lossy(&all));
        }
        // A name that is split is not kept whole.
        assert!(holds(&all, "POST /login?") && holds(&all, "GET /next?"), "split at {split}");
        let names = ["?user=*", "&next=*", "?name=*", "&k=*", "authorization: *", "Cookie: *"];
        let missing = names.iter().filter(|name| !holds(&all, name)).count();
        assert!(missing <= 1, "split at {split}: {}", String::from_utf8_lossy(&all));
    }
}

/// The header names that are not known to be harmless are blank, as nobody can tell where they end.
#[test]
fn every_byte_in_a_call_of_its_own_is_the_same_but_for_names() {
    let request = request();
    let mut recording = Recording::of(role::SERVER);
    let mut all = Vec::new();
    for byte in request.bytes() {
        let (mut kept, _) = recording.call(Kind::Receive, &[byte]);
        kept.resize(1, BLANK);
        all.extend(kept);
    }
    let mut whole = Recording::of(role::SERVER).call(Kind::Receive, request.as_bytes()).0;
    whole.resize(all.len(), BLANK);
    let mut whole = String::from_utf8_lossy(&whole).into_owned();
    for (name, split) in [
        ("Host: a", "Host: "),
        ("authorization", "a"),
        ("Cookie", "Co"),
        ("user=", "****="),
        ("next=", "****="),
        ("name=", "****="),
        ("&k=", "&*="),
    ] {
        assert!(whole.contains(name), "{name} in {whole}");
        whole = whole.replace(name, &format!("{split:*<width$}", width = name.len()));
    }
    assert_eq!(String::from_utf8_lossy(&all), whole);
}

#[test]
fn a_body_is_cut_off_and_said_so() {
    let mut recording = Recording::of(role::CLIENT);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nSet-Cookie: ";
    recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n");
    let response = format!("{head}{CANARY}\r\n\r\n{CANARY}");
    let (kept, bits) = recording.call(Kind::Receive, response.as_bytes());
    let stars = "*".repeat(CANARY.len());
    let text = String::from_utf8(kept).unwrap();
    assert_eq!(text, format!("{}{stars}\r\n\r\n", head.replace("OK", "**")));
    assert_eq!(bits, flags::REDACTED | flags::PAYLOAD_CUT);
}

#[test]
fn only_what_framing_needs_is_left_of_what_may_not_be_stored() {
    let head =
        "POST /path?a=b HTTP/1.1\r\nHost: a\r\nX-Y: z:z\r\ncontent-LENGTH: 17\r\nAccept: y\r\n fold\r\n\r\n";
    let blank =
        "POST /******** HTTP/1.1\r\n****: *\r\n***: ***\r\ncontent-LENGTH: 17\r\n******: *\r\n ****\r\n\r\n";
    let answer = "HTTP/1.1 200 Very Fine\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\nServer: x\r\n\r\n";
    let blank_answer =
        "HTTP/1.1 200 *********\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n******: *\r\n\r\n";
    for (kind, head, blank) in [(Kind::Send, head, blank), (Kind::Receive, answer, blank_answer)] {
        for stored in [0, 2, 5, 20, 30, 42, 49, 60, head.len()] {
            let mut recording = Recording { stored, ..Recording::of(role::CLIENT) };
            let kept = recording.call(kind, head.as_bytes()).0;
            assert_eq!(kept.len(), head.len());
            let plain = Recording::of(role::CLIENT).call(kind, head.as_bytes()).0;
            assert_eq!(kept[..stored], plain[..stored], "{stored}");
            assert_eq!(String::from_utf8_lossy(&kept[stored..]), blank[stored..], "{stored}");
        }
    }
}

/// A head that goes on in a call of which nothing may be stored.
#[test]
fn a_long_head_in_several_calls_is_read_to_its_end() {
    let calls = [
        "HTTP/1.1 200 Fine\r\nX-Long: aaa",
        "aaa: a b\r\nContent-Len",
        "gth: 2",
        "5\r\nConnection: close\r\n\r\n",
    ];
    let mut recording = Recording::of(role::CLIENT);
    recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n");
    let mut framing = Connection::new();
    let mut parts = Vec::new();
    for (index, text) in calls.iter().enumerate() {
        recording.stored = if index == 0 { usize::MAX } else { 0 };
        let (kept, _) = recording.call(Kind::Receive, text.as_bytes());
        assert!(index == 0 || !holds(&kept, "a b"), "{}", String::from_utf8_lossy(&kept));
        let call = Call { length: text.len() as u64, head: &kept, ..Call::default() };
        framing.call(Direction::Responses, call, None, &mut parts);
    }
    let length = parts.iter().find_map(|part| match &part.what {
        What::HeadEnd(info) => Some(info.content_length),
        _ => None,
    });
    assert_eq!(length, Some(Some(25)));
}

#[test]
fn of_a_chunked_body_that_may_not_be_stored_its_sizes_are_left() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "5;e=secret\r\nhello\r\n1B\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\nX-Sum: secret\r\n\r\n";
    let blank = "5;********\r\n*****\r\n1B\r\n***************************\r\n0\r\n*************\r\n\r\n";
    for stored in [10, head.len(), head.len() + 4, head.len() + 30] {
        let mut recording = Recording { stored, ..Recording::of(role::CLIENT) };
        recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n");
        let (kept, _) = recording.call(Kind::Receive, [head, body].concat().as_bytes());
        assert_eq!(String::from_utf8_lossy(&kept[head.len()..]), blank, "{stored}");
    }
}

#[test]
fn a_head_without_secrets_is_left_as_it_is() {
    let mut recording = Recording::of(role::CLIENT);
    let request = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(recording.call(Kind::Send, request), (request.to_vec(), 0));
}

#[test]
fn after_a_loss_everything_is_blank_up_to_the_next_head() {
    let mut recording = Recording::of(role::CLIENT);
    recording.call(Kind::Send, b"POST / HTTP/1.1\r\nX-Key: ");
    recording.lose(Kind::Send, 10);
    let (kept, bits) = recording.call(Kind::Send, CANARY.as_bytes());
    assert_eq!((kept.as_slice(), bits), (&b""[..], flags::PAYLOAD_CUT));
    // This may be of the body, up to an answer.
    let (kept, _) = recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(kept, b"");
    recording.call(Kind::Receive, b"HTTP/1.1 204 No Content\r\n\r\n");
    let (kept, _) = recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(kept, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn the_tail_is_kept_where_it_is_framing() {
    let mut recording = Recording::of(role::SERVER);
    recording.call(Kind::Receive, b"GET / HTTP/1.1\r\n\r\n");
    recording.call(Kind::Send, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (kept, bits) = recording.cut_call(Kind::Send, 998, b"3da\r\nsecret secret", b"t\r\n0\r\n\r\n");
    assert_eq!(String::from_utf8(kept).unwrap(), "3da\r\n*\r\n0\r\n\r\n");
    assert_eq!(bits, flags::PAYLOAD_TAIL | flags::REDACTED | flags::PAYLOAD_CUT);
    let (kept, bits) =
        recording.cut_call(Kind::Send, 1000, b"HTTP/1.1 200 OK\r\nContent-Length: 961\r\n\r\n", b"secret!!");
    assert!(!holds(&kept, "secret"));
    assert_eq!(bits & flags::PAYLOAD_TAIL, 0);
}

#[test]
fn an_unknown_role_is_told_by_the_first_head() {
    let mut recording = Recording::of(role::UNKNOWN);
    let (kept, bits) = recording.call(Kind::Send, CANARY.as_bytes());
    assert_eq!((kept.as_slice(), bits), (&b""[..], flags::PAYLOAD_CUT));
    recording.call(Kind::Receive, b"GET /a?b=c HTTP/1.1\r\n\r\n");
    let (kept, _) = recording.call(Kind::Send, b"HTTP/1.1 204 No\r\n\r\n");
    assert_eq!(kept, b"HTTP/1.1 204 **\r\n\r\n");
}

#[test]
fn another_protocol_is_a_length() {
    let mut recording = Recording::of(role::CLIENT);
    let (kept, bits) = recording.call(Kind::Send, b"\x07\x20\0\x04WHAT\x04\xc2\0\x3c\0\x0ehunter2-canary");
    assert_eq!((kept.as_slice(), bits), (&b""[..], flags::PAYLOAD_CUT));
}

#[test]
fn of_commands_names_and_lengths_are_kept() {
    let auth = b"*2\r\n$4\r\nAUTH\r\n$14\r\nhunter2-canary\r\n";
    let kept_auth = b"*2\r\n$4\r\nAUTH\r\n$14\r\n**************\r\n";
    for role in [role::CLIENT, role::SERVER, role::UNKNOWN] {
        let (asks, answers) = match role {
            role::SERVER => (Kind::Receive, Kind::Send),
            _ => (Kind::Send, Kind::Receive),
        };
        let mut recording = Recording::of(role);
        // What comes before tells nothing, as on a connection that was open already.
        assert_eq!(recording.call(answers, b"$14\r\nhunter2-canary\r\n").0, b"");
        assert_eq!(recording.call(asks, auth), (kept_auth.to_vec(), flags::REDACTED), "{role}");
        let (kept, _) = recording.call(answers, b"-WRONGPASS hunter2-canary\r\n");
        assert_eq!(kept, b"-WRONGPASS **************\r\n");
        // Whatever comes now, the connection speaks as it did.
        assert!(!holds(&recording.call(asks, b"GET /hunter2-canary HTTP/1.1\r\n\r\n").0, "hunter2"));
    }
}

#[test]
fn bytes_whose_place_is_uncertain_are_not_kept() {
    let mut recording = Recording::of(role::CLIENT);
    let data = Data {
        done_bytes: 18,
        tcp_seq: None,
        flags: flags::OFFSET_UNCERTAIN,
        head: b"GET / HTTP/1.1\r\n\r\n",
        ..DATA
    };
    let mut out = Vec::new();
    let bits = recording.redactor.keep(Payload::Heads, &mut recording.stream, &data, true, &mut out);
    assert_eq!((out.as_slice(), bits), (&b""[..], flags::OFFSET_UNCERTAIN | flags::PAYLOAD_CUT));
    // The next call whose place is sure begins anew.
    assert_eq!(recording.call(Kind::Send, b"GET / HTTP/1.1\r\n\r\n").0, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn the_other_modes_keep_all_or_nothing() {
    let data = Data {
        done_bytes: 100,
        flags: flags::PAYLOAD_TAIL | flags::PAYLOAD_CUT,
        head: b"secret",
        tail: b"12345678",
        ..DATA
    };
    let (mut redactor, mut stream, mut out) = (Redactor::default(), Stream::default(), Vec::new());
    let bits = redactor.keep(Payload::Full, &mut stream, &data, true, &mut out);
    assert_eq!((out.as_slice(), bits & !marks::READ), (&b"secret12345678"[..], data.flags));
    out.clear();
    let bits = redactor.keep(Payload::None, &mut stream, &data, true, &mut out);
    assert_eq!((out.as_slice(), bits), (&b""[..], flags::PAYLOAD_CUT));
    let bits = redactor.keep(Payload::Heads, &mut stream, &data, false, &mut out);
    assert_eq!((out.as_slice(), bits), (&b""[..], flags::PAYLOAD_CUT));
}

/// What a reader of the capture finds must not depend on the blanks: the same messages, at the same places.
#[test]
fn blanking_does_not_move_a_message() {
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", 3000, "b".repeat(3000));
    let calls: Vec<(Kind, String)> = vec![
        (Kind::Send, request()),
        (
            Kind::Receive,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        ),
        (Kind::Receive, long.clone()),
        (Kind::Receive, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".into()),
        (Kind::Receive, "secret".repeat(833) + "xx"),
        (Kind::Send, "GET /lost HTTP/1.1\r\n\r\n".into()),
        (Kind::Receive, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        (Kind::Receive, long.clone() + &long),
        (Kind::Send, "GET / HTTP/1.1\r\nX: y\r\n\r\n".into()),
        (Kind::Receive, "HTTP/1.1 404 Not\r\nContent-Length: 0\r\n\r\n".into()),
    ];
    for snap in [64, 256, 1024] {
        let mut recording = Recording::of(role::CLIENT);
        let (mut original, mut redacted) = (Connection::new(), Connection::new());
        for (kind, bytes) in &calls {
            let bytes = bytes.as_bytes();
            let (head, tail) = if bytes.len() > snap + 8 {
                (&bytes[..snap], &bytes[bytes.len() - 8..])
            } else {
                (bytes, &b""[..])
            };
            let (kept, bits) = recording.cut_call(*kind, bytes.len() as u64, head, tail);
            let tail_bytes = if bits & flags::PAYLOAD_TAIL != 0 { 8 } else { 0 };
            let (kept_head, kept_tail) = kept.split_at(kept.len() - tail_bytes);
            let markers = |framing: &mut Connection, head: &[u8], tail: &[u8]| {
                let direction = if *kind == Kind::Send { Direction::Requests } else { Direction::Responses };
                let mut parts = Vec::new();
                framing.call(
                    direction,
                    Call { length: bytes.len() as u64, head, tail, ..Call::default() },
                    None,
                    &mut parts,
                );
                parts.retain(|p| p.length == 0);
                parts
            };
            let expected = markers(&mut original, head, tail);
            assert_eq!(markers(&mut redacted, kept_head, kept_tail), expected, "snap length {snap}");
        }
    }
}

/// Calls as they come when a head is split at any two bytes: the reader finds what the recorder found.
#[test]
fn blanking_a_split_head_does_not_move_a_message() {
    let text = format!(
        "POST /a?{CANARY}&b=c HTTP/1.1\r\nX-A: {CANARY}\r\nContent-Length: 3\r\nCookie: {CANARY}\r\n\r\nabc\
         GET http://u:p@h/ HTTP/1.1\r\n{CANARY}\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
    );
    for first in 1..text.len() {
        for second in (first..text.len()).step_by(7) {
            let pieces = [&text[..first], &text[first..second], &text[second..], "HEAD / HTTP/1.1\r\n\r\n"];
            let mut recording = Recording::of(role::CLIENT);
            let (mut original, mut redacted) = (Connection::new(), Connection::new());
            for piece in pieces {
                let (kept, _) = recording.call(Kind::Send, piece.as_bytes());
                assert!(
                    !["hunter2", "canary"].iter().any(|part| holds(&kept, part)),
                    "split at {first}, {second}"
                );
                let markers = |framing: &mut Connection, head: &[u8]| {
                    let call = Call { length: piece.len() as u64, head, ..Call::default() };
                    let mut parts = Vec::new();
                    framing.call(Direction::Requests, call, None, &mut parts);
                    parts.retain(|p| p.length == 0);
                    parts
                };
                let expected = markers(&mut original, piece.as_bytes());
                assert_eq!(markers(&mut redacted, &kept), expected, "split at {first}, {second}: {piece}");
            }
        }
    }
}

#[test]
fn a_long_command_of_another_protocol_leaves_nothing_of_its_values() {
    let connect = format!("CONNECT {{\"user\":\"bob\",\"pass\":\"{}\"}}\r\n", CANARY.repeat(80));
    let mut recording = Recording::of(role::UNKNOWN);
    for piece in connect.as_bytes().chunks(512) {
        let (kept, _) = recording.call(Kind::Receive, piece);
        let kept = String::from_utf8(kept).expect("text and blanks");
        assert!(!kept.contains("bob") && !kept.contains("hunter") && !kept.contains("canary"), "{kept}");
    }
    let mut recording = Recording::of(role::CLIENT);
    // So far an URL may follow.
    assert_eq!(recording.call(Kind::Send, b"GET h").0, b"GET h");
    assert_eq!(recording.call(Kind::Send, b"unter2-canary\r\n").0, b"*");
}
