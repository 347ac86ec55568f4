//! Hashes of secrets: equal for equal values, however they come, and of nothing else.

use std::collections::BTreeMap;

use proptest::prelude::*;
use retrospan_formats::secrets::{MAX_ENTRIES, entries};

use super::*;

const KEY: [u8; 16] = *b"0123456789abcdef";

/// SipHash-2-4 of `x:two` under it, the lower half, by another implementation.
const X_TWO: u32 = 0xe60f_d40c;

fn hashed(recording: Recording) -> Recording {
    Recording { redactor: Redactor::with_hashes(Hashes::with_key(KEY)), ..recording }
}

/// The hashes of the call before, by place; each stands where the payload shows a blank.
fn told(redactor: &Redactor, kept: &[u8]) -> BTreeMap<usize, u32> {
    let all: Vec<_> = entries(redactor.hashes()).collect();
    assert!(all.is_sorted_by_key(|secret| secret.offset));
    assert!(all.iter().all(|secret| kept[usize::from(secret.offset)] == BLANK));
    all.into_iter().map(|secret| (secret.offset.into(), secret.hash)).collect()
}

/// Those of one call of a client.
fn hashes(text: &str) -> Vec<u32> {
    let mut recording = hashed(Recording::of(role::CLIENT));
    let kept = recording.call(Kind::Send, text.as_bytes()).0;
    told(&recording.redactor, &kept).into_values().collect()
}

fn get(query: &str, lines: &str) -> String {
    format!("GET /a?q={query} HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

#[test]
fn equal_values_of_a_name_have_equal_hashes_wherever_they_stand() {
    let [query, cookie] = hashes(&get("one", "Cookie: two"))[..] else { panic!("two values") };
    assert_ne!(query, cookie);
    assert_eq!(hashes(&get("two", "X-Forwarded-For: ten\r\nx-Key:one\r\nCOOKIE:\ttwo ")).len(), 4);
    let again = hashes(&get("two", "x-key:one\r\nCOOKIE:\ttwo \r\nX: Two"));
    assert_eq!(again[2], cookie, "whatever the case of its name");
    let distinct: std::collections::BTreeSet<u32> = again.into_iter().chain([query]).collect();
    assert_eq!(distinct.len(), 5, "under another name it is another");
    assert!(hashes(&get("", "Accept: two")).is_empty());
    assert_eq!(hashes("GET / HTTP/1.1\r\nX: two\r\n\r\n"), [X_TWO]);
    let mut other = Redactor::with_hashes(Hashes::with_key([7; 16]));
    let text = get("one", "Cookie: two");
    let data = Data { done_bytes: text.len() as u64, head: text.as_bytes(), ..DATA };
    other.keep(Payload::Heads, &mut Stream::default(), &data, true, &mut Vec::new());
    let others: Vec<_> = entries(other.hashes()).map(|secret| secret.hash).collect();
    assert!(others.len() == 2 && !others.contains(&query) && !others.contains(&cookie));
    assert_eq!(format!("{:?}", Hashes::with_key([7; 16])), "Hashes { .. }");
}

#[test]
fn only_requests_and_only_their_heads_have_hashes() {
    let mut recording = hashed(Recording::of(role::CLIENT));
    let post = get("one", "Content-Length: 20\r\nCookie: two");
    let (kept, _) = recording.call(Kind::Send, [&post, "GET /?a=b HTTP/1.1\r\n"].concat().as_bytes());
    assert_eq!(told(&recording.redactor, &kept).len(), 2);
    recording.call(Kind::Receive, b"HTTP/1.1 200 OK\r\nSet-Cookie: two\r\nContent-Length: 0\r\n\r\n");
    assert!(recording.redactor.hashes().is_empty());
    // After a loss, too.
    recording.lose(Kind::Send, 10);
    recording.call(Kind::Send, b"X: y\r\nCookie: two\r\nX: y\r\n\r\n");
    assert!(recording.redactor.hashes().is_empty());
    let mut plain = Recording::of(role::CLIENT);
    plain.call(Kind::Send, post.as_bytes());
    assert!(plain.redactor.hashes().is_empty());
    let mut redis = hashed(Recording::of(role::CLIENT));
    redis.call(Kind::Send, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\na: b\r\r\n");
    assert!(redis.redactor.hashes().is_empty());
}

#[test]
fn what_is_not_read_has_no_hashes_of_the_call_before() {
    let mut recording = hashed(Recording::of(role::CLIENT));
    let text = get("one", "Cookie: two");
    recording.call(Kind::Send, text.as_bytes());
    assert_eq!(entries(recording.redactor.hashes()).count(), 2);
    let data = Data { done_bytes: 5, head: b"hello", ..DATA };
    let Recording { redactor, stream, .. } = &mut recording;
    redactor.keep(Payload::Heads, stream, &data, false, &mut Vec::new());
    assert!(redactor.hashes().is_empty());
}

#[test]
fn of_many_values_the_first_have_hashes() {
    let lines: Vec<_> = (0..100).map(|line| format!("X-{line}: {line}")).collect();
    assert_eq!(hashes(&get("a", &lines.join("\r\n"))).len(), MAX_ENTRIES);
}

/// Beyond what may be stored, too; of a target it is blank as one.
#[test]
fn a_long_head_has_the_same_hashes() {
    let text = get("one", &format!("X-Long: {}\r\nCookie: two", "x".repeat(100)));
    let whole = hashes(&text);
    for stored in 0..text.len() {
        let mut recording = hashed(Recording { stored, ..Recording::of(role::CLIENT) });
        let kept = recording.call(Kind::Send, text.as_bytes()).0;
        let found: Vec<_> = told(&recording.redactor, &kept).into_values().collect();
        assert!(found.ends_with(&whole[1..]), "{stored}");
        assert_eq!(found.contains(&whole[0]), stored >= "GET /a?q=one".len(), "{stored}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Both ends recorded, each with its own cuts, in any order: a value has one hash or none, which is that of one call.
    #[test]
    fn however_both_ends_cut_it_a_value_has_its_hash_or_none(
        cuts in prop::array::uniform2(prop::collection::vec(1usize..600, 0..5)),
        order in prop::collection::vec(any::<bool>(), 16),
    ) {
        let text = [request(), request()].concat();
        let bytes = text.as_bytes();
        let mut alone = hashed(Recording::of(role::CLIENT));
        let kept = alone.call(Kind::Send, bytes).0;
        let whole = told(&alone.redactor, &kept);
        prop_assert_eq!(whole.len(), 12);
        let mut both = both_ends::Both::new();
        both.redactor = Redactor::with_hashes(Hashes::with_key(KEY));
        let (mut next, mut order, mut found) = ([0, 0], order.into_iter(), BTreeMap::new());
        let cuts = cuts.map(|mut places| {
            places.retain(|&place| place < bytes.len());
            places.push(bytes.len());
            places.sort_unstable();
            places
        });
        while next != [bytes.len(); 2] {
            let mut end = usize::from(order.next().unwrap_or(false));
            if next[end] == bytes.len() {
                end = 1 - end;
            }
            let from = next[end];
            next[end] = *cuts[end].iter().find(|&&place| place > from).unwrap();
            let (kept, _) = both.call(true, end == 0, from, &bytes[from..next[end]]);
            for (place, hash) in told(&both.redactor, &kept) {
                prop_assert_eq!(found.insert(from + place, hash), None);
                prop_assert_eq!(whole.get(&(from + place)), Some(&hash));
            }
        }
        if cuts[0].len() == 1 && cuts[1].len() == 1 {
            prop_assert_eq!(found, whole);
        }
    }

    #[test]
    fn hashes_are_equal_where_values_are(a in "[a-c]{1,3}", b in "[a-c]{1,3}", space in "[ \t]{0,3}") {
        let [of_a, of_b] = [&a, &b].map(|value| hashes(&get("q", &format!("X-Key:{space}{value}")))[1]);
        prop_assert_eq!(of_a == of_b, a == b);
    }
}
