use super::*;
use crate::testing::{self, Exchange, Reader};
use Direction::{Requests, Responses};

/// What must be in nothing that is kept.
const CANARY: &str = "Hunter2-Canary";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let padding = content.len().wrapping_neg() % 8;
    let mut bytes = vec![1, kind];
    bytes.extend(id.to_be_bytes());
    bytes.extend((content.len() as u16).to_be_bytes());
    bytes.extend([padding as u8, 0]);
    bytes.extend(content);
    bytes.extend(vec![0; padding]);
    bytes
}

fn begin(id: u16) -> Vec<u8> {
    record(1, id, &[0, 1, 1, 0, 0, 0, 0, 0])
}

fn end(id: u16, status: u8) -> Vec<u8> {
    record(3, id, &[0, 0, 0, 9, status, 0, 0, 0])
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| match text.len() {
        short @ ..=127 => vec![short as u8],
        long => (long as u32 | 1 << 31).to_be_bytes().to_vec(),
    };
    let pair = |(name, value): &(&str, &str)| {
        [length(name), length(value), name.as_bytes().to_vec(), value.as_bytes().to_vec()].concat()
    };
    pairs.iter().flat_map(pair).collect()
}

/// A request for that path, in as many records as usual.
fn ask(id: u16, method: &str, uri: &str) -> Vec<u8> {
    let params = pairs(&[("REQUEST_METHOD", method), ("REQUEST_URI", uri)]);
    [begin(id), record(4, id, &params), record(4, id, b""), record(5, id, b"")].concat()
}

fn answer(id: u16, page: &str) -> Vec<u8> {
    [record(6, id, page.as_bytes()), record(6, id, b""), end(id, 0)].concat()
}

/// Operation, target, status and how it ended.
fn found(exchanges: &[Exchange]) -> Vec<String> {
    let one = |exchange: &Exchange| {
        let Exchange { operation, status, .. } = exchange;
        let code = status.code.map(|code| code.to_string());
        let state = match (exchange.end, exchange.cancelled) {
            (_, Some(_)) => Some("cancelled"),
            (Some(_), _) => None,
            (None, _) => Some("open"),
        };
        let words =
            [operation.name.as_deref(), operation.target.as_deref(), code.as_deref(), status.text, state];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    exchanges.iter().map(one).collect()
}

fn check(conversation: &[(Direction, Vec<u8>)], expected: &[&str]) -> Reader {
    let reader = testing::read(&FastCgi, conversation, &[]);
    assert_eq!(found(reader.exchanges()), expected);
    assert_eq!(reader.lost_bytes, 0);
    testing::check_any_cut(&FastCgi, conversation);
    reader
}

fn kept(reader: &Reader) -> String {
    let bytes: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_request_and_its_page() {
    let params = pairs(&[
        ("QUERY_STRING", "token=Hunter2-Canary"),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_LENGTH", "3"),
        ("SCRIPT_NAME", "/index.php"),
        ("REQUEST_URI", "/a/b?token=Hunter2-Canary&n=1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_HOST", "shop.example"),
        ("HTTP_USER_AGENT", "curl/8"),
        ("HTTP_TRACEPARENT", TRACE),
        ("HTTP_X_REQUEST_ID", "r-17"),
        ("HTTP_COOKIE", &"Hunter2-Canary".repeat(20)),
        ("HTTP_AUTHORIZATION", "Hunter2-Canary"),
    ]);
    let asked = [
        begin(1),
        record(4, 1, &params),
        record(4, 1, b""),
        record(5, 1, b"a=Hunter2-Canary"),
        record(5, 1, b""),
    ];
    let page =
        "Set-Cookie: Hunter2-Canary\r\nStatus: 404 Hunter2-Canary\r\n\r\nStatus: 500\r\nHunter2-Canary";
    let answered = [record(7, 1, b"PHP: Hunter2-Canary"), answer(1, page)];
    let conversation = [(Requests, asked.concat()), (Responses, answered.concat())];
    let reader = check(&conversation, &["POST /a/b 404"]);
    let Exchange { operation, .. } = &reader.exchanges()[0];
    let text = |key| operation.text(key).map(|text| text.to_string());
    assert_eq!(text("url.query").as_deref(), Some("token=**************&n=*"));
    assert_eq!(text("http.request.header.host").as_deref(), Some("shop.example"));
    assert_eq!(text("user_agent.original").as_deref(), Some("curl/8"));
    assert_eq!(operation.request_id.as_deref(), Some("r-17"));
    assert_eq!(operation.context.map(|context| context.span_id), Some(0x00f0_67aa_0ba9_02b7));
    for cuts in [&[][..], &[1], &[3, 1], &[7, 2, 5], &[16]] {
        let kept = kept(&testing::read(&FastCgi, &conversation, cuts));
        for at in 0..CANARY.len() - 3 {
            assert!(!kept.contains(&CANARY[at..at + 4]), "{kept:?}");
        }
        assert!(kept.contains("HTTP_AUTHORIZATION") && kept.contains("Status: 404*"));
    }
}

#[test]
fn what_is_reserved_is_not_kept() {
    let mut page = answer(1, "Status: 404\r\n\r\nbody");
    page.extend(record(3, 1, b"\0\0\0\0\0key"));
    let mut asked = ask(1, "GET", "/");
    asked[11..16].copy_from_slice(b"words");
    let conversation = [(Direction::Requests, asked), (Direction::Responses, page)];
    let reader = testing::read(&FastCgi, &conversation, &[3]);
    assert_eq!(reader.exchanges()[0].status.code, Some(404));
    let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, kept)| kept).collect();
    assert!(!kept.windows(2).any(|pair| pair == b"ke" || pair == b"ey" || pair == b"wo" || pair == b"ds"));
}

#[test]
fn what_answers_say() {
    let calls = [
        (ask(1, "GET", "/ok"), answer(1, "Content-type: text/html\r\n\r\nhi")),
        (ask(1, "GET", "/error"), answer(1, "Content-type: text/html\r\nstatus:500\r\n\r\n")),
        (ask(1, "GET", "/none"), [record(7, 1, b"no"), end(1, 0)].concat()),
        (ask(1, "GET", "/full"), end(1, 2)),
        (ask(1, "GET", "/two"), [record(6, 1, b"X: y\r\nSta"), answer(1, "tus: 404\r\n\r\n")].concat()),
        (ask(1, "GET", "/more"), [record(6, 1, b"Status: 201\r\n"), answer(1, "X: y\r\n\r\n")].concat()),
        (ask(1, "BREW", "/pot"), answer(1, "\r\n")),
    ];
    let conversation: Vec<_> =
        calls.into_iter().flat_map(|(ask, answer)| [(Requests, ask), (Responses, answer)]).collect();
    let expected = [
        "GET /ok 200",
        "GET /error 500",
        "GET /none",
        "GET /full OVERLOADED",
        "GET /two",
        "GET /more 201",
        "/pot 200",
    ];
    let reader = check(&conversation, &expected);
    let failed: Vec<_> = reader.exchanges().iter().map(|exchange| FastCgi.failed(exchange.status)).collect();
    assert_eq!(failed, [false, true, false, true, false, false, false]);
}

#[test]
fn variables_over_several_records() {
    let params = pairs(&[
        ("SCRIPT_NAME", "/script"),
        ("REQUEST_METHOD", "GET"),
        ("HTTP_HOST", "a.example"),
        ("HTTP_X", "y"),
        ("HTTP_USER_AGENT", "curl"),
    ]);
    for at in 0..params.len() {
        let records = [begin(3), record(4, 3, &params[..at]), record(4, 3, &params[at..])];
        // An empty record would end them.
        let records = if at == 0 { [begin(3), record(4, 3, &params), Vec::new()] } else { records };
        let rest = [record(4, 3, b""), record(5, 3, b"")].concat();
        let conversation =
            [(Requests, [records.concat(), rest].concat()), (Responses, answer(3, "A: b\r\n\r\n"))];
        let reader = testing::read(&FastCgi, &conversation, &[]);
        let Exchange { operation, status, .. } = &reader.exchanges()[0];
        assert_eq!(status.code, Some(200));
        // What is cut is not known, everything else is.
        let known = [
            operation.name.as_deref() == Some("GET"),
            operation.target.as_deref() == Some("/script"),
            operation.text("http.request.header.host").is_some_and(|host| &**host == "a.example"),
            operation.text("user_agent.original").is_some_and(|agent| &**agent == "curl"),
        ];
        assert!(known.iter().filter(|known| !**known).count() <= 1, "{at}: {operation:?}");
        testing::check_any_cut(&FastCgi, &conversation);
    }
    // A value of another form, for want of the better one.
    let only = pairs(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", ""), ("DOCUMENT_URI", "/doc")]);
    let asked = [begin(1), record(4, 1, &only), record(4, 1, b""), record(5, 1, b"")].concat();
    check(&[(Requests, asked)], &["GET /doc open"]);
}

#[test]
fn requests_in_turns() {
    let [one, two] =
        [1, 2].map(|id| pairs(&[("REQUEST_METHOD", "PUT"), ("REQUEST_URI", ["/1", "/2"][id - 1])]));
    let asked = [
        begin(1),
        record(4, 1, &one),
        record(4, 1, b""),
        begin(2),
        record(4, 2, &two),
        record(4, 2, b""),
        record(5, 1, b"some"),
        record(5, 2, b""),
        record(5, 1, b"more"),
        record(5, 1, b""),
        record(9, 0, &pairs(&[("FCGI_MAX_CONNS", "")])),
    ];
    let answered = [
        record(6, 2, b"Status: 500\r\n"),
        record(6, 1, b"X: y\r\n\r\n"),
        record(6, 2, b"\r\n"),
        end(1, 0),
        record(10, 0, &pairs(&[("FCGI_MAX_CONNS", "1")])),
        end(2, 0),
    ];
    let conversation = [
        (Requests, asked.concat()),
        (Responses, answered.concat()),
        (Requests, ask(1, "GET", "/again")),
        (Responses, answer(1, "A: b\r\n\r\n")),
    ];
    let reader = check(&conversation, &["PUT /1 200", "PUT /2 500", "GET /again 200"]);
    // Of the record about the server every byte is counted to the message before it, or to none.
    let bytes: Vec<_> = reader.exchanges().iter().map(|e| (e.request_bytes, e.response_bytes)).collect();
    assert_eq!(bytes[2], (ask(1, "GET", "/again").len() as u64, answer(1, "A: b\r\n\r\n").len() as u64));
    // Variables of two at once: those of the first are read as far as they came.
    let asked = [
        begin(1),
        record(4, 1, &one),
        begin(2),
        record(4, 2, &two),
        record(4, 1, b""),
        record(4, 2, b""),
        record(5, 1, b""),
        record(5, 2, b""),
    ];
    let answered = [answer(2, "A: b\r\n\r\n"), answer(1, "Status: 201\r\n\r\n")];
    check(&[(Requests, asked.concat()), (Responses, answered.concat())], &["PUT /1 201", "PUT /2 200"]);
}

#[test]
fn who_gives_up() {
    let asked = ask(1, "GET", "/slow");
    let conversation = [
        (Requests, asked),
        (Responses, record(6, 1, b"X: y\r\n\r\n")),
        (Requests, record(2, 1, b"")),
        (Responses, end(1, 0)),
        (Requests, ask(1, "GET", "/next")),
        (Responses, answer(1, "X: y\r\n\r\n")),
    ];
    let reader = testing::read(&FastCgi, &conversation, &[]);
    assert_eq!(found(reader.exchanges())[1], "GET /next 200");
    assert_eq!(reader.exchanges()[0].cancelled, Some(Requests));
    testing::check_any_cut(&FastCgi, &conversation);
}

#[test]
fn after_a_loss_nothing_is_told_that_may_be_wrong() {
    let mut reader = Reader::new(&FastCgi, Some([5, 5]));
    reader.call(Responses, &answer(1, "X: y\r\n\r\n"), 0);
    reader.call(Requests, b"rest of a body", 1);
    reader.call(Requests, &ask(1, "GET", "/a"), 2);
    let page = record(6, 1, &[b"Status: 500\r\n\r\n".as_slice(), &[b'x'; 500]].concat());
    reader.call(Responses, &page[..100], 3);
    reader.gap(Responses, page.len() as u64 - 100, 3);
    reader.call(Responses, &end(1, 0), 4);
    // The status is in what was missed.
    reader.call(Requests, &ask(1, "GET", "/b"), 5);
    reader.gap(Responses, 80, 6);
    reader.call(Responses, &[record(6, 1, b"text"), end(1, 0)].concat(), 7);
    // The end of one and the begin of the next.
    reader.call(Requests, &ask(1, "GET", "/c"), 8);
    reader.gap(Responses, 80, 9);
    reader.gap(Requests, 80, 10);
    reader.call(Responses, &answer(1, "X: y\r\n\r\n"), 11);
    reader.call(Requests, &ask(1, "GET", "/d"), 12);
    reader.call(Responses, &answer(1, "X: y\r\n\r\n"), 13);
    assert_eq!(found(reader.exchanges()), ["GET /a 500", "GET /b", "GET /c open", "GET /d 200"]);
}

#[test]
fn what_data_is_taken_for() {
    let ask = ask(1, "GET", "/");
    let page = answer(1, "Content-type: text/html\r\n\r\nhi");
    let surely = |direction, bytes: &[u8]| FastCgi.recognise(direction, bytes, false) == Verdict::Surely;
    for (direction, other, bytes) in [(Requests, Responses, &ask), (Responses, Requests, &page)] {
        assert!(surely(direction, bytes) && surely(direction, &bytes[..64.min(bytes.len())]));
        assert_eq!(FastCgi.recognise(other, bytes, true), Verdict::No);
        for name in crate::PROTOCOLS.iter().filter(|protocol| {
            [Requests, Responses].iter().any(|d| protocol.recognise(*d, bytes, true) == Verdict::Surely)
        }) {
            assert_eq!(name.name(), "fastcgi");
        }
    }
    assert!(surely(Requests, &ask[..16]) && surely(Responses, &end(7, 2)));
    assert_eq!(FastCgi.recognise(Requests, &ask[..12], true), Verdict::Maybe);
    assert_eq!(FastCgi.recognise(Requests, &ask[..12], false), Verdict::No);
    let kept = [record(6, 1, b"**************\r\n\r\n"), end(1, 0)].concat();
    assert!(surely(Responses, &kept));
    // Each byte that has to be what it is.
    for (at, byte) in [(0, 2), (1, 4), (5, 9), (6, 9), (7, 1), (9, 4), (10, 2), (15, 1), (16, 0), (19, 2)] {
        let mut other = ask.clone();
        other[at] = byte;
        assert_eq!(FastCgi.recognise(Requests, &other, true), Verdict::No, "{at}");
    }
    for other in [&record(6, 1, b"no head at all")[..], &record(7, 1, b"X: y\r\n"), b"\x01\x06\x00\x01", b""]
    {
        assert_eq!(FastCgi.recognise(Responses, other, true), Verdict::No);
    }
}
