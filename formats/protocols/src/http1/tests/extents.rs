//! Where a message ends, by what its head says.

use super::*;

/// What a head with these fields says.
fn info(direction: Direction, version: &str, fields: &str) -> HeadInfo {
    let start = match direction {
        Requests => format!("POST / {version}\r\n"),
        Responses => format!("{version} 200 OK\r\n"),
    };
    let text = format!("{start}{fields}\r\n");
    let infos = |pieces: &[&[u8]]| {
        let mut framing = Connection::new();
        let mut parts = Vec::new();
        framing.call(Requests, whole(b"GET / HTTP/1.1\r\n\r\n"), None, &mut Vec::new());
        for piece in pieces {
            framing.call(direction, whole(piece), None, &mut parts);
        }
        parts.iter().find_map(|part| match &part.what {
            What::HeadEnd(info) => Some(HeadInfo { answers: None, ..info.clone() }),
            _ => None,
        })
    };
    let whole_info = infos(&[text.as_bytes()]).expect(fields);
    for at in 1..text.len() {
        let (first, second) = text.as_bytes().split_at(at);
        assert_eq!(infos(&[first, second]).as_ref(), Some(&whole_info), "{text:?} split at {at}");
    }
    whole_info
}

#[test]
fn the_fields_of_a_head_say_how_long_a_message_is_or_contradict_each_other() {
    let length = |length| HeadInfo { content_length: Some(length), ..HeadInfo::default() };
    let chunked = HeadInfo { chunked: true, ..HeadInfo::default() };
    let until_close = HeadInfo { until_close: true, ..HeadInfo::default() };
    let unclear = HeadInfo { unclear: true, ..HeadInfo::default() };
    let nothing = HeadInfo::default();
    // Of a request, and of a response.
    for (fields, request, response) in [
        ("", &nothing, &until_close),
        ("Content-Length: 5\r\n", &length(5), &length(5)),
        ("content-length:\t005 \r\n", &length(5), &length(5)),
        ("Content-Length: 5, 5\r\n", &length(5), &length(5)),
        ("Content-Length: 5\r\nA: b\r\nContent-Length: 5\r\n", &length(5), &length(5)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", &unclear, &unclear),
        ("Content-Length: 5,6\r\n", &unclear, &unclear),
        ("Content-Length: 5,\r\n", &unclear, &unclear),
        ("Content-Length:\r\n", &unclear, &unclear),
        ("Content-Length: +5\r\n", &unclear, &unclear),
        ("Content-Length: 0x5\r\n", &unclear, &unclear),
        ("Content-Length: 1 0\r\n", &unclear, &unclear),
        ("Content-Length: 1\r\n 0\r\n", &unclear, &unclear),
        ("Content-Length: 1\r0\r\n", &unclear, &unclear),
        ("Content-Length: 99999999999999999999\r\n", &unclear, &unclear),
        ("A: b\nContent-Length: 5\r\n", &unclear, &unclear),
        ("Transfer-Encoding: chunked\r\n", &chunked, &chunked),
        ("Transfer-Encoding: Chunked \r\n", &chunked, &chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", &chunked, &chunked),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", &chunked, &chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &chunked, &chunked),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &chunked, &chunked),
        ("Transfer-Encoding: gzip\r\n", &unclear, &until_close),
        ("Transfer-Encoding: chunked, gzip\r\n", &unclear, &until_close),
        ("Transfer-Encoding: xchunked\r\n", &unclear, &until_close),
        ("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", &unclear, &until_close),
        ("Transfer-Encoding: chunked, chunked\r\n", &unclear, &unclear),
        ("Transfer-Encoding: chunked;a=b\r\n", &unclear, &unclear),
        ("Transfer-Encoding: gzip chunked\r\n", &unclear, &unclear),
        ("Transfer-Encoding:\r\n chunked\r\n", &unclear, &unclear),
        ("A: b\nTransfer-Encoding: chunked\r\n", &unclear, &unclear),
        ("X-Content-Length: 5\r\n", &nothing, &until_close),
    ] {
        let status = |info: &HeadInfo| HeadInfo { status: Status::of_code(200), ..info.clone() };
        assert_eq!(&info(Requests, "HTTP/1.1", fields), request, "{fields}");
        assert_eq!(info(Responses, "HTTP/1.1", fields), status(response), "{fields}");
    }
    assert_eq!(info(Requests, "HTTP/1.0", "Transfer-Encoding: chunked\r\n"), unclear);
    assert_eq!(info(Requests, "HTTP/1.0", "Content-Length: 5\r\n"), length(5));
}

#[test]
fn a_head_that_contradicts_itself_may_be_all_of_its_message() {
    let request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n";
    let answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
    let next = b"GET /next HTTP/1.1\r\n\r\n";
    let parts = frame(&[(Requests, request), (Requests, next)]);
    let at = parts.iter().find(|part| part.what == What::MayEnd).map(|part| part.offset);
    assert_eq!(at, Some(request.len() as u64));
    assert_eq!(begins_at(&parts), [0], "this may be its body");
    let parts = frame(&[(Requests, request), (Responses, answer), (Requests, next)]);
    assert_eq!(begins_at(&parts), [0, 0, request.len() as u64]);
}

#[test]
fn a_chunked_body_ends_with_its_last_chunk_however_that_is_written() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for end in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "0;ext\r\n\r\n",
        "0 ;a=\"b\"\r\n\r\n",
        "0\r\nA: b\r\nC: d\r\n\r\n",
        "0\n\n",
    ] {
        let text = format!("{head}{end}");
        for at in 1..text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            let parts =
                frame(&[(Requests, b"GET / HTTP/1.1\r\n\r\n"), (Responses, first), (Responses, second)]);
            assert_eq!(ends(&parts)[1..], [(text.len() as u64, true)], "{end:?} split at {at}");
            let body: u64 = parts.iter().filter(|part| part.what == What::Body).map(|part| part.length).sum();
            assert_eq!(body, 5, "extensions and trailers are no body");
        }
    }
}

#[test]
fn chunks_that_are_none_make_the_extent_unknown() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in
        ["5\rhello", "x\r\n", "\r\n", "5\r\nhelloX", "5 5\r\n", "0\r\n\rX", "fffffffffffffffff\r\n", "-5\r\n"]
    {
        let text = format!("{head}{bad}");
        let parts = frame(&[(Requests, b"GET / HTTP/1.1\r\n\r\n"), (Responses, text.as_bytes())]);
        assert_eq!(ends(&parts).len(), 1, "{bad:?}");
        assert_eq!(parts.last().map(|part| &part.what), Some(&What::Lost), "{bad:?}");
    }
}

/// The last chunk in a call of its own, or in two, behind chunks that were not seen.
#[test]
fn what_looks_like_the_end_of_chunks_may_be_it() {
    for end in [
        &["0\r\n\r\n"][..],
        &["0\r\n", "\r\n"],
        &["000\r\n\r\n"],
        &["0\r\nX-Sum: a\r\n\r\n"],
        &["0\r\nX: y\r\n", "\r\n"],
    ] {
        let mut framing = Connection::new();
        let mut parts = Vec::new();
        framing.call(Requests, whole(b"GET / HTTP/1.1\r\n\r\n"), None, &mut parts);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        framing.call(Responses, whole(head), None, &mut parts);
        let chunks = b"3\r\nabc\r\n".repeat(100);
        framing.call(Responses, cut(&chunks, 64, 8), None, &mut parts);
        let may_end = |parts: &[Part]| parts.last().is_some_and(|part| part.what == What::MayEnd);
        assert!(!may_end(&parts));
        for piece in end {
            framing.call(Responses, whole(piece.as_bytes()), None, &mut parts);
        }
        assert!(may_end(&parts), "{end:?}");
        assert_eq!(ends(&parts).len(), 1);
        // Another request shows that it was.
        framing.call(Requests, whole(b"GET / HTTP/1.1\r\n\r\n"), None, &mut parts);
        framing.call(Responses, whole(b"HTTP/1.1 204 No\r\n\r\n"), None, &mut parts);
        assert_eq!(begins_at(&parts).len(), 4);
    }
}
