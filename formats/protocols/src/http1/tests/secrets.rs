//! What must not be kept, however it comes.

use super::*;

/// What is kept of bytes that come in these pieces, and the parts.
fn kept_of(pieces: &[&[u8]]) -> String {
    let calls: Vec<_> = pieces.iter().map(|piece| (Requests, *piece)).collect();
    kept(&pieces.concat(), &frame(&calls))
}

/// Whole, in two pieces split at every byte, in single bytes, and in three pieces.
fn every_split(text: &str, mut each: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    each(&kept_of(&[bytes]));
    each(&kept_of(&bytes.chunks(1).collect::<Vec<_>>()));
    for at in 1..bytes.len() {
        each(&kept_of(&[&bytes[..at], &bytes[at..]]));
        for size in [2, 5, 9] {
            let rest = bytes[at..].chunks(size);
            each(&kept_of(&[&bytes[..at]].into_iter().chain(rest).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn commands_of_other_protocols_are_no_heads() {
    let nats = format!("CONNECT {{\"user\":\"bob\",\"pass\":\"{}\"}}\r\nPING\r\n", "hunter2".repeat(200));
    every_split(&nats[..60], |kept| assert_is_constant(kept, &nats));
    assert_is_constant(&kept_of(&nats.as_bytes().chunks(512).collect::<Vec<_>>()), &nats);
    for other in [
        "CONNECT hunter2\r\n",
        "CONNECT\nlogin:bob\npasscode:hunter2\n\n\0",
        "CONNECT bob:hunter2@h:443 HTTP/1.1\r\n\r\n",
        "CONNECT bob:hunter2:443 HTTP/1.1\r\n\r\n",
        "AUTH PLAIN aGh1bnRlcjI=\r\n",
        "PASS hunter2\r\nSTAT\r\n",
        "USER bob\r\nPASS hunter2\r\n",
        "LOGIN bob hunter2\r\n",
        "GET hunter2\r\n",
        "GET hhunter2\r\n",
        "GET http://\r\n",
        "OPTIONS hunter2\r\n",
        "OPTIONS *hunter2\r\n",
        "PUT httphunter2 HTTP/1.1\r\n",
        "PUT http:hunter2 HTTP/1.1\r\n",
        "GET ftp://u:hunter2@h/ HTTP/1.1\r\n",
        "SET key hunter2\r\n",
        "TRACE hunter2\r\n",
        "SECRETTOKEN\r\n",
        "HTTP/hunter2\r\n",
    ] {
        every_split(other, |kept| assert_is_constant(kept, other));
    }
}

/// Nothing is kept but spaces, line ends, what the beginning of a method, `HTTP/1.`, `http://` or `*` would be as well, and
/// a sign that shows that a line is none, or a short word before a space.
fn assert_is_constant(kept: &str, of: &str) {
    let text: String = kept.chars().filter(|&c| !"* \r\n".contains(c)).collect();
    let text = text.strip_suffix(|c: char| c.is_ascii_punctuation()).unwrap_or(&text);
    let text = text.trim_end_matches("http:/").trim_end_matches("http:").trim_end_matches(['h', 't', 'p']);
    let is_word = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_alphabetic());
    assert!(is_word || names::may_become_method(text.as_bytes()), "{kept:?} of {of:?}");
}

#[test]
fn a_part_of_a_request_line_begins_a_head_where_it_says_so() {
    for request in [
        "G",
        "GET",
        "GET ",
        "GET /",
        "OPTIONS *",
        "PUT http://a",
        "f-O / HTTP/1.1\r\n",
        "PUT HTTP://a/ HTTP/1.0\r\n",
    ] {
        assert!(begins_head(Requests, request.as_bytes()), "{request}");
    }
    for host in ["h", "a.b-c_d", "10.0.0.1", "[::1]"] {
        assert!(begins_head(Requests, format!("CONNECT {host}:443 HTTP/1.1\r\n").as_bytes()), "{host}");
    }
    for other in ["FOO /", "CONNECT h", "PUT ht", "CONNECT :443 HTTP/1.1\r\n", "PASS"] {
        assert!(!begins_head(Requests, other.as_bytes()), "{other}");
    }
}

#[test]
fn a_line_that_turns_out_to_be_none_is_blanked_from_there() {
    // What was kept of the first call is on its way to the disk.
    assert_eq!(kept_of(&[b"GET /a", b"bc\r\nsecret"]), "GET /a**\r*******");
    assert_eq!(
        kept_of(&[b"GET /a HT", b"TP/1.1\r\nse cret\r\n"]),
        format!("GET /a HTTP/1.1\r\n{}", "*".repeat(9))
    );
}

#[test]
fn values_of_queries_end_at_an_ampersand_only() {
    for (target, expected) in [
        ("/?a=1;b=2&c=3", "/?a=*****&c=*"),
        ("/?a=1#t=x&y=z", "/?a=*#*******"),
        ("/?secret", "/?******"),
        ("/?secret&a=b&secret", "/?******&a=*&******"),
        ("/?secret;a=b&c=d", "/?******;***&c=*"),
        ("/?a==b=", "/?a=***"),
        ("/#t=x", "/#***"),
        ("/\u{1b}[31m?a=\u{7}", "/\u{1b}[31m?a=*"),
        ("/p?na#t=x", "/p?**#***"),
        ("/p;secret/q;m=a;n=b/r;s", "/p;******/q;m=*****/r;*"),
        ("http://u:p@h/x?y=z", "http://*****/x?y=*"),
        ("https://h#x", "https://*#*"),
    ] {
        let (request, expected) =
            (format!("GET {target} HTTP/1.1\r\n\r\n"), format!("GET {expected} HTTP/1.1\r\n\r\n"));
        assert_eq!(kept_of(&[request.as_bytes()]), expected);
    }
}

#[test]
fn a_name_is_kept_once_its_colon_is_there() {
    let start = "GET / HTTP/1.1\r\n";
    let colonless = format!("{start}Host: h\r\nhunter2\r\nHost: h\r\n\r\n");
    let blank = "*".repeat("hunter2\r\nHost: h\r\n\r\n".len());
    assert_eq!(kept_of(&[colonless.as_bytes()]), format!("{start}Host: h\r\n{blank}"));
    every_split(&colonless, |kept| assert!(!kept.contains("hu") && !kept.contains("nt"), "{kept}"));
    let split = [start.as_bytes(), b"X-Sec", b"ret: a\r\nTrace", b"Parent: b\r\n\r\n"];
    assert_eq!(kept_of(&split), format!("{start}*****ret: *\r\nTraceParent: b\r\n\r\n"));
}

#[test]
fn the_length_of_a_body_is_found_however_the_head_is_split() {
    let request = "POST /a?b=c&d HTTP/1.1\r\nX-A: b\r\nCONTENT-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
    let second = request.find("GET").map(|at| at as u64);
    for at in 1..request.len() {
        let (first, rest) = request.as_bytes().split_at(at);
        let parts = frame(&[(Requests, first), (Requests, rest)]);
        assert_eq!(begins_at(&parts), [0, second.unwrap()], "split at {at}");
    }
}
