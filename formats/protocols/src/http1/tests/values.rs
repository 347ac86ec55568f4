//! Which values of heads are told as whole ones.

use std::collections::BTreeMap;

use super::*;

/// The values in calls of requests of which as many bytes may be `stored`, by their place in the stream.
fn values_of(pieces: &[&[u8]], stored: usize) -> BTreeMap<usize, String> {
    named_values_of(pieces, stored).1
}

/// The same with their names before them.
fn named_values_of(pieces: &[&[u8]], stored: usize) -> (BTreeMap<usize, String>, BTreeMap<usize, String>) {
    let (mut framing, mut names, mut values, mut at) =
        (Connection::new(), BTreeMap::new(), BTreeMap::new(), 0);
    for piece in pieces {
        let mut parts = Vec::new();
        let spare = piece.len().saturating_sub(stored);
        framing.call(Requests, Call { spare, ..whole(piece) }, None, &mut parts);
        Http1.secret_values(&parts, piece, stored, &mut |name, value| {
            names.insert(at + value.start, String::from_utf8_lossy(name).into_owned());
            let blank = |at: &usize| {
                parts.iter().any(|part| {
                    part.what == What::Secret
                        && (part.offset..part.offset + part.length).contains(&(*at as u64))
                })
            };
            assert!(value.clone().all(|place| blank(&(at + place))));
            values.insert(at + value.start, String::from_utf8_lossy(&piece[value]).into_owned());
        });
        at += piece.len();
    }
    (names, values)
}

fn texts_of(text: &str) -> Vec<String> {
    values_of(&[text.as_bytes()], usize::MAX).into_values().collect()
}

const REQUESTS: &str = "POST /a;s=1/b;t?q=2&r&=3&u=a/b?c;d&e=&f=x%20y HTTP/1.1\r\nHost: h\r\nauthorization:Basic eA== \r\n\
                        Cookie: \t a=b; c=d\t \r\nX-Empty:\r\nX-None: \r\nX-Star: *\r\nAccept: */*\r\nContent-Length: 33\r\n\r\n\
                        a=b&c=d\r\nCookie: body\r\nX: y\r\n\r\n\n\
                        GET http://u:pw@h/p?k=v HTTP/1.1\r\nX-Last: last\r\n\r\n";

#[test]
fn values_are_whole_and_nothing_else_is_one() {
    let expected = ["1", "t", "2", "r", "3", "a/b?c;d", "x%20y", "Basic eA==", "a=b; c=d", "*", "v", "last"];
    assert_eq!(texts_of(REQUESTS), expected);
    let names = named_values_of(&[REQUESTS.as_bytes()], usize::MAX).0.into_values().collect::<Vec<_>>();
    let expected =
        ["s=", "", "q=", "", "=", "u=", "f=", "authorization:", "Cookie:", "X-Star:", "k=", "X-Last:"];
    assert_eq!(names, expected);
}

#[test]
fn what_may_be_something_else_is_no_value() {
    for (text, expected) in [
        // Folded lines, and the line before.
        ("GET / HTTP/1.1\r\nA: b\r\n c: d\r\nE: f\r\n\r\n", &["f"][..]),
        ("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", &[]),
        // Line ends that not everybody takes for one, and what follows them.
        ("GET / HTTP/1.1\r\nA: b\nC: d\r\nE: f\r\n\r\n", &["f"]),
        ("GET / HTTP/1.1\nA: b\nC: d\n\n", &[]),
        ("GET / HTTP/1.1\r\nA: b\rC: d\r\nE: f\r\r\nG: h\r\n\r\n", &[]),
        // Users with passwords.
        ("GET http://u=1:pw&x@h/ HTTP/1.1\r\n\r\n", &[]),
        ("GET http://u:pw@h?k=v HTTP/1.1\r\n\r\n", &["v"]),
        // Of a parameter of a path `&` may part several.
        ("GET /;a=b&c=d/e HTTP/1.1\r\n\r\n", &[]),
        ("GET /?a=b#c HTTP/1.1\r\n\r\n", &["b"]),
        // No head, or none that is whole.
        ("GET /?a=b HTTP/2\r\nA: b\r\n\r\n", &[]),
        ("GET /?a=b&", &[]),
        ("GET /?a=b HTTP/1.1\r\nA: c\r\n", &["b"]),
        ("GET /?a=b HTTP/1.1\r\nA: c", &["b"]),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /?a=b HTTP/1.1\r\nA: c\r\n\r\n", &["b", "c"]),
        // Bodies, chunk extensions and trailers.
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5;c=d\r\nE: f\n\r\n0;g=h\r\nI: j\r\nK: l\r\n\r\n",
            &["b"],
        ),
        ("POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nX\r\nA: b\r\nC: d\r\n\r\n\r\n", &[]),
    ] {
        assert_eq!(texts_of(text), expected, "{text:?}");
    }
}

#[test]
fn answers_of_other_protocols_have_none() {
    let redis = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\na: b\r\r\n";
    let mut parts = Vec::new();
    let mut framing = crate::redis::Redis.framing(None);
    framing.call(Requests, whole(redis), &mut Memory::default(), &mut parts);
    crate::redis::Redis.secret_values(&parts, redis, usize::MAX, &mut |_, value| panic!("{value:?}"));
}

/// Cut at any byte, in two pieces or many: each value is the same, or is left out.
#[test]
fn however_the_bytes_come_a_value_is_the_same_or_none() {
    let bytes = REQUESTS.as_bytes();
    let all = values_of(&[bytes], usize::MAX);
    let assert_same = |found: BTreeMap<usize, String>, by: &str| {
        for (place, value) in &found {
            assert_eq!(all.get(place), Some(value), "{by}: {found:?}");
        }
        found.len()
    };
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        let found = assert_same(values_of(&[first, second], usize::MAX), &format!("split at {at}"));
        // Those of one start line, and the lines on both sides of the cut.
        assert!(found + 9 >= all.len(), "{at}");
    }
    for size in [1, 2, 3, 7, 20, 64, 200] {
        let pieces: Vec<_> = bytes.chunks(size).collect();
        assert_same(values_of(&pieces, usize::MAX), &format!("chunks of {size}"));
    }
}

/// Of what may not be stored other values are blank, too; those that are told elsewhere are the same.
#[test]
fn wherever_a_head_is_cut_off_a_value_is_the_same_or_none() {
    let bytes = REQUESTS.as_bytes();
    let all = values_of(&[bytes], usize::MAX);
    let harmless = ["h", "*/*", "33"];
    for stored in 0..bytes.len() {
        let found = values_of(&[bytes], stored);
        for (place, value) in &found {
            let same = all.get(place) == Some(value) || harmless.contains(&value.as_str());
            assert!(same, "{stored}: {value:?}");
        }
        // A target beyond it is blank as one.
        let lines =
            found.values().filter(|value| ["Basic eA==", "a=b; c=d", "*", "last"].contains(&value.as_str()));
        assert_eq!(lines.count(), 4, "{stored}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A header's value is told whatever it is, without the space around it, and again if only that space is another.
    #[test]
    fn a_value_is_told_without_the_space_around_it(
        value in "[!-~]([ -~]{0,40}[!-~])?", before in "[ \t]{0,4}", after in "[ \t]{0,4}",
    ) {
        let text = format!("GET / HTTP/1.1\r\nX-Key:{before}{value}{after}\r\n\r\n");
        prop_assert_eq!(texts_of(&text), [value]);
    }

    /// Nothing panics, and what is told is blank (see `values_of`).
    #[test]
    fn pieces_of_heads_in_any_order(
        words in prop::collection::vec(prop::sample::select(vec![
            "GET /", "?a=", "&", ";", "b", " HTTP/1.1\r\n", "X: ", "\r\n", "\n", "\r", " ", ":", "=", "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n", "5\r\n", "\0", "http://u:p@h", "PROXY ",
        ]), 0..40),
        size in 1usize..30, stored in 0usize..60,
    ) {
        let text = words.concat();
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        values_of(&pieces, stored);
        values_of(&[text.as_bytes()], stored);
    }
}
