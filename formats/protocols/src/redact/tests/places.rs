//! Places where a secret may stand: none of them reaches the disk, however the bytes come.

use super::*;

/// A secret in lower case: it is looked for in any case.
const SECRET: &str = "s3cret-canary";

/// Calls of one connection, seen from its client: what it sends and what it receives.
type Calls = Vec<(Kind, Vec<u8>)>;

fn send(text: impl Into<Vec<u8>>) -> (Kind, Vec<u8>) {
    (Kind::Send, text.into())
}

fn receive(text: impl Into<Vec<u8>>) -> (Kind, Vec<u8>) {
    (Kind::Receive, text.into())
}

/// Header lines of a request or response that hold the secret, and may follow any other line.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for name in [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "X-Auth-Token",
        "X-Forwarded-For",
        "Referer",
        "Location",
        "Origin",
        "From",
        "Forwarded",
        "ETag",
        "If-Match",
        "WWW-Authenticate",
        "Content-Disposition",
        "Link",
        "Signature",
        "X-Hub-Signature",
        "X-My-Token",
        "Sec-WebSocket-Key",
        "Authentication-Info",
        "X-Csrf-Token",
        "DPoP",
        "tracestate",
        "baggage",
        "X-Secret",
        "X",
    ] {
        lines.push(format!("{name}: {SECRET}"));
    }
    for (name, rest) in [
        // A fold goes on with a value, or is a field for some.
        ("Accept: a\r\n ", ""),
        ("Accept: a\r\n\t", ""),
        ("Host: h\r\n ", ""),
        ("Host: h\r\n Authorization: ", ""),
        ("Accept: a\r\n Authorization: Basic ", ""),
        ("Accept:\r\n ", ""),
        ("Accept: a\r\n b\r\n ", ""),
        ("Cookie: a\r\n ", ""),
        ("Content-Length: 0\r\n ", ""),
        ("Transfer-Encoding: chunked\r\n ", ""),
        ("User-Agent: u\r\n ", "\r\n x"),
        // A CR that ends no line.
        ("Accept: a\rAuthorization: ", ""),
        ("Accept: \r", ""),
        ("Accept: a\r\r", ""),
        ("User-Agent: a\r b\r", ""),
        ("Host: h\rAuthorization: ", ""),
        ("Connection: close\rCookie: ", ""),
        ("Accept: a\r ", ""),
        // Lines that end otherwise than the others.
        ("X-A: b\nHost: ", ""),
        ("Accept: b\nUser-Agent: ", ""),
        ("Cookie: a\nAccept: ", ""),
        ("Accept: a\nAuthorization: ", ""),
        // Names that only look harmless.
        ("Accept : ", ""),
        ("Accept\t: ", ""),
        ("\tAccept: ", ""),
        (" Accept: ", ""),
        ("Accep\u{074}\u{0301}: ", ""),
        ("Acc ept: ", ""),
        ("Accept;: ", ""),
        ("(Accept): ", ""),
        ("Accept/: ", ""),
        ("Accept\0: ", ""),
        ("Accept: a\0", ""),
        ("Acceptx: ", ""),
        ("X-Accept: ", ""),
        ("Accept-: ", ""),
        ("Accept_Encoding: ", ""),
        ("Hosts: ", ""),
        (": ", ""),
        ("", ""),
        ("", " : v"),
        ("Accept\r: ", ""),
        ("\rAccept: ", ""),
        ("\0Accept: ", ""),
        ("Accept\u{a0}: ", ""),
        ("\u{feff}Accept: ", ""),
        // A second host, and one that is none.
        ("Host: h\r\nHost: ", ""),
        ("Host: h\r\nhost: ", ""),
        ("Host: user:", "@h"),
        ("Host: h/", ""),
        ("Host: h, ", ""),
        ("Host: h ", ""),
    ] {
        lines.push(format!("{name}{SECRET}{rest}"));
    }
    let long_name = "x".repeat(300);
    lines.push(format!("{long_name}: {SECRET}"));
    lines.push(format!("{}: {SECRET}", "Accept".repeat(9)));
    lines
}

/// Request lines that hold the secret where it must not be kept.
fn request_lines() -> Vec<String> {
    [
        "GET /?a=§ HTTP/1.1",
        "GET /?§ HTTP/1.1",
        "GET /?a=b&§ HTTP/1.1",
        "GET /?a=b;§ HTTP/1.1",
        "GET /?a=b&c=§&d=e HTTP/1.1",
        "GET /#§ HTTP/1.1",
        "GET /?a#§ HTTP/1.1",
        "GET /p;§ HTTP/1.1",
        "GET /p;m=§/q HTTP/1.1",
        "GET /p;m=§?q HTTP/1.1",
        "GET http://§@h/ HTTP/1.1",
        "GET http://u:§@h/ HTTP/1.1",
        "GET HTTPS://u:§@h/p HTTP/1.1",
        "GET http://h?a=§ HTTP/1.1",
        "GET http://§/ HTTP/1.1",
        "GET http://h#§ HTTP/1.1",
        "CONNECT u:§@h:443 HTTP/1.1",
        "CONNECT § HTTP/1.1",
        "CONNECT h:443/§ HTTP/1.1",
        "GET § HTTP/1.1",
        "GET  /§ HTTP/1.1",
        "GET /a /§ HTTP/1.1",
        "GET / §",
        "GET /§",
        "GET / HTTP/1.1 §",
        "GET / HTTP/2.0 §",
        "GET /§ HTTP/2.0",
        "GET /§ HTTP/3",
        "GET /§ HTP/1.1",
        "GET /§ http/1.1",
        "GET\t/§ HTTP/1.1",
        "§",
        "§ / HTTP/2.0",
        "§ /",
        "GET ftp://u:§@h/ HTTP/1.1",
        "GET mailto:§ HTTP/1.1",
        "GET //§@h/ HTTP/0.9",
        "*§ / HTTP/1",
        "{\"a\":\"§\"}",
        "GET /§\rHTTP/1.1",
        "GET /\0§ HTTP/1.1",
        "OPTIONS *§ HTTP/1.1",
        "a=§&b=c",
        "<xml>§</xml>",
    ]
    .map(|line| line.replace('§', SECRET))
    .to_vec()
}

/// First bytes of connections of other protocols.
fn foreign() -> Vec<Vec<u8>> {
    let texts = [
        "AUTH PLAIN §\r\n",
        "AUTH LOGIN\r\n§\r\n",
        "EHLO §\r\nMAIL FROM:<§@h>\r\n",
        "USER §\r\nPASS §\r\n",
        "PASS §\r\n",
        "a1 LOGIN bob §\r\n",
        "*2\r\n$4\r\nAUTH\r\n$13\r\n§\r\n",
        "AUTH §\r\n",
        "SET k §\r\n",
        "GET §\r\n",
        "get §\r\n",
        "set § 0 0 5\r\n§\r\n",
        "gets §\r\n",
        "CONNECT {\"user\":\"bob\",\"pass\":\"§\"}\r\nPING\r\n",
        "CONNECT\nlogin:bob\npasscode:§\n\n\0",
        "PUB a 5\r\n§\r\n",
        "SUB a 1 §\r\n",
        "INVITE sip:§@h SIP/2.0\r\nFrom: §\r\n\r\n",
        "OPTIONS rtsp://§/ RTSP/1.0\r\n\r\n",
        "DESCRIBE /§ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        "RESPMOD icap://h/§ ICAP/1.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n§",
        "NICK §\r\nUSER § 0 * :§\r\n",
        "SSH-2.0-§\r\n",
        "stats §\r\n",
        "SELECT '§'\n",
        "{\"method\":\"§\"}\n",
        "GET_§ / X\r\n",
        "HELO §\r\n",
        "LIST §\r\n",
        "RETR /§\r\n",
        "VRFY §\r\n",
        "gemini://h/§\r\n",
        "PROXY §\r\n",
        "PROXY TCP4 § 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWN §\r\n",
        "PROXY TCP5 §\r\n",
        "HEAD §",
        "POST §\r\n",
        "PUT\r\n§",
        "DELETE §\n",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.replace('§', SECRET).into_bytes()).collect();
    for binary in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\0\0\0\x30\0\x03\0\0user\0",
        b"\x10\x20\0\x04MQTT\x04",
        b"\x03\0\0\x13",
        b"\xff\xfb",
    ] {
        all.push([binary, SECRET.as_bytes(), b"\r\n"].concat());
    }
    let mut signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0d".to_vec();
    signature.extend_from_slice(SECRET.as_bytes());
    all.push(signature);
    all
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n";
/// What begins like a message.
const FALSE: &str = "GET /s3cret-canary HTTP/1.1\r\nHost: s3cret-canary\r\nUser-Agent: s3cret-canary\r\n\r\n";
const FALSE_ANSWER: &str = "HTTP/1.1 200 s3cret-canary\r\nServer: s3cret-canary\r\n\r\n";

/// Bodies and whatever else is no head.
fn elsewhere() -> Vec<Calls> {
    let post = |fields: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let length = |text: &str| format!("Content-Length: {}\r\n", text.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let answer = |fields: &str| format!("HTTP/1.1 200 Fine\r\n{fields}\r\n");
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let multipart =
        format!("--b\r\nContent-Type: text/plain\r\nAccept: {SECRET}\r\n\r\n{SECRET}\r\n--b--\r\n");
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    let upgrade = "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n";
    let connect = "CONNECT h:443 HTTP/1.1\r\n\r\n";
    let twice = |text: &str| text.repeat(2);
    vec![
        vec![send(post(&length(FALSE))), send(FALSE)],
        vec![send(post(&length(FALSE)) + FALSE)],
        vec![send(post(&length(&multipart))), send(multipart.clone())],
        vec![send(post(&length(SECRET)) + SECRET + GET)],
        vec![send(post(&format!("Expect: 100-continue\r\n{}", length(FALSE)))), receive(go_on), send(FALSE)],
        vec![send(post(&format!("Expect: 100-continue\r\n{}", length(FALSE)))), send(FALSE)],
        vec![
            send(post(&format!("Expect: 100-continue\r\n{}", length(&twice(FALSE))))),
            send(FALSE),
            receive(OK),
            send(FALSE),
        ],
        vec![send(post(chunked)), send(chunk(FALSE))],
        vec![send(post(chunked) + &chunk(FALSE) + GET)],
        vec![send(post(chunked) + &format!("1;x={SECRET}\r\na\r\n0\r\n\r\n"))],
        vec![send(post(chunked) + &format!("1;{SECRET}\r\na\r\n0;{SECRET}=\"{SECRET}\"\r\n\r\n"))],
        vec![send(
            post(chunked)
                + &format!("1\r\na\r\n0\r\nX-Sum: {SECRET}\r\nAccept: {SECRET}\r\n{SECRET}: a\r\n\r\n"),
        )],
        vec![send(post(chunked) + &format!("1\r\na\r\n0\r\nA: b\r\n {SECRET}\r\n\r\n"))],
        vec![send(post(chunked) + "z\r\n" + FALSE), send(FALSE)],
        vec![send(post("Content-Length: 1\r\nContent-Length: 2\r\n") + SECRET), send(FALSE)],
        vec![send(post("Content-Length: 1, 2\r\n")), send(FALSE)],
        vec![send(post("Content-Length: x\r\n")), send(FALSE)],
        vec![send(post("Transfer-Encoding: gzip\r\n")), send(FALSE)],
        vec![send(post("Transfer-Encoding: chunked, gzip\r\n")), send(FALSE)],
        vec![send(post("Transfer-Encoding: xchunked\r\n")), send(FALSE)],
        vec![send(GET), receive(answer(&length(FALSE_ANSWER))), receive(FALSE_ANSWER)],
        vec![send(GET), receive(answer(&length(FALSE_ANSWER)) + FALSE_ANSWER)],
        vec![send(GET), receive(answer("")), receive(FALSE_ANSWER)],
        vec![send(GET), receive(answer(chunked) + &chunk(FALSE_ANSWER))],
        vec![send(GET), receive(answer(chunked)), receive(chunk(FALSE_ANSWER))],
        vec![send(GET), receive(answer("Transfer-Encoding: gzip\r\n")), receive(FALSE_ANSWER)],
        vec![send(GET), receive(answer("Content-Length: 1\r\nContent-Length: 2\r\n")), receive(FALSE_ANSWER)],
        vec![send(GET), receive(format!("HTTP/1.1 200 {SECRET}\r\n\r\n"))],
        vec![send(GET), receive(format!("HTTP/1.1 200 a\r{SECRET}\r\n\r\n"))],
        vec![send(GET), receive(format!("HTTP/1.0 200\r\n{SECRET}\r\n\r\n"))],
        vec![send(GET), receive(format!("HTTP/1.1 {SECRET}\r\n\r\n"))],
        vec![send(GET), receive(format!("HTTP/1.1 2{SECRET}\r\n\r\n"))],
        vec![send(GET), receive(format!("<html>{SECRET}</html>"))],
        vec![send(GET), receive(OK), receive(SECRET)],
        vec![send(upgrade), receive(switching), send(FALSE), receive(FALSE_ANSWER)],
        vec![send(upgrade), receive(format!("{switching}{FALSE_ANSWER}"))],
        vec![send(connect), receive(OK), send(FALSE), receive(FALSE_ANSWER)],
        vec![
            send(connect),
            send(FALSE),
            receive("HTTP/1.1 200 Fine\r\n\r\n"),
            send(FALSE),
            receive(FALSE_ANSWER),
        ],
        vec![send(format!("{connect}{FALSE}"))],
        vec![send("GET /a HTTP/1.1\r\nBad line\r\n"), send(FALSE)],
        vec![send(format!("{GET}{SECRET}\r\n{GET}"))],
        vec![send(format!("\r\n\r\n{SECRET}\r\n"))],
    ]
}

/// Every connection with the secret somewhere.
fn places() -> Vec<Calls> {
    let mut places = elsewhere();
    for line in lines() {
        for first in ["", "Accept: a\r\n", "X-A: b\r\n"] {
            places.push(vec![send(format!("GET /a HTTP/1.1\r\n{first}{line}\r\nVia: v\r\n\r\n"))]);
        }
        places.push(vec![
            send(GET),
            receive(format!("HTTP/1.1 200 Fine\r\n{line}\r\nContent-Length: 0\r\n\r\n")),
        ]);
    }
    for line in request_lines() {
        places.push(vec![send(format!("{line}\r\nHost: h\r\n\r\n"))]);
    }
    places.extend(foreign().into_iter().map(|bytes| vec![send(bytes)]));
    places
}

/// What is left of the calls, what is not kept as blanks. `piece`: how a call is divided into shorter ones.
fn left(calls: &Calls, role: u8, piece: impl Fn(usize, &[u8]) -> Vec<usize>) -> Vec<u8> {
    left_where(calls, Recording::of(role), piece)
}

fn left_where(
    calls: &Calls,
    mut recording: Recording,
    piece: impl Fn(usize, &[u8]) -> Vec<usize>,
) -> Vec<u8> {
    let role = recording.role;
    let mut all = Vec::new();
    for (index, (kind, bytes)) in calls.iter().enumerate() {
        let kind = match (role, kind) {
            (role::SERVER, Kind::Send) => Kind::Receive,
            (role::SERVER, _) => Kind::Send,
            (_, kind) => *kind,
        };
        let mut rest = &bytes[..];
        for length in piece(index, bytes) {
            let (first, others) = rest.split_at(length.min(rest.len()));
            if !first.is_empty() {
                let mut kept = recording.call(kind, first).0;
                kept.resize(first.len(), BLANK);
                all.extend(kept);
            }
            rest = others;
        }
        all.push(b'\n');
    }
    all
}

fn assert_blank(left: &[u8], calls: &Calls, how: &str) {
    let text = || calls.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect::<String>();
    assert!(!holds(left, SECRET), "{how}: {:?} is left of {:?}", String::from_utf8_lossy(left), text());
}

/// Whether a part of the line, up to the secret's end, is a path as any other: it is known not to be one only at its end.
fn is_path_so_far(bytes: &[u8], split: usize) -> bool {
    let seen = &bytes[..split];
    let target = seen.split(|&b| b == b' ').nth(1).unwrap_or_default();
    let begins = target.starts_with(b"/")
        && !target.contains(&b'?')
        && !target.contains(&b';')
        && !target.contains(&b'#');
    begins && !seen.contains(&b'\n') && holds(target, SECRET)
}

#[test]
fn no_place_for_a_secret_is_kept() {
    let places = places();
    assert!(places.len() > 178, "{}", places.len());
    for calls in &places {
        let holding = calls.iter().any(|(_, bytes)| holds(bytes, SECRET));
        assert!(holding, "{calls:?}");
        for role in [role::CLIENT, role::SERVER, role::UNKNOWN] {
            assert_blank(&left(calls, role, |_, bytes| vec![bytes.len()]), calls, "whole");
            for stored in [0, 7, 20, 30] {
                let recording = Recording { stored, ..Recording::of(role) };
                assert_blank(&left_where(calls, recording, |_, bytes| vec![bytes.len()]), calls, "long");
            }
        }
        for index in 0..calls.len() {
            for split in 1..calls[index].1.len() {
                if is_path_so_far(&calls[index].1, split) {
                    continue;
                }
                let pieces = |at: usize, bytes: &[u8]| {
                    if at == index { vec![split, bytes.len()] } else { vec![bytes.len()] }
                };
                assert_blank(&left(calls, role::CLIENT, pieces), calls, &format!("split at {split}"));
            }
        }
    }
}
