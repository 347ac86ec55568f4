//! What the user's rules change.

use super::*;
use crate::redact::rules::Rules;

fn rules(redact: &[&str], reveal: &[&str]) -> Rules {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Rules::new(read(redact), read(reveal)).unwrap()
}

const REQUEST: &str = "GET /list?page=12&user=hunter2 HTTP/1.1\r\nHost: a\r\nUser-Agent: someone/1\r\nX-Tenant: blue\r\n\
                       Cookie: hunter2\r\n\r\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn of_heads_more_or_less_is_kept() {
    let mut recording = Recording::of(role::CLIENT);
    recording
        .redactor
        .follow(rules(&["header=user-agent"], &["query=page", "header=X-Tenant@8080", "header=cookie@81"]));
    let (kept, bits) = recording.call(Kind::Send, REQUEST.as_bytes());
    assert_eq!(
        text(&kept),
        "GET /list?page=12&user=******* HTTP/1.1\r\nHost: a\r\nUser-Agent: *********\r\nX-Tenant: blue\r\n\
         Cookie: *******\r\n\r\n"
    );
    assert!(bits & flags::REDACTED != 0);
}

#[test]
fn a_value_that_a_rule_blanks_survives_no_cut() {
    let at = REQUEST.find("someone").unwrap();
    for cut in at..at + "someone/1\r\n".len() {
        let mut recording = Recording::of(role::SERVER);
        recording.redactor.follow(rules(&["header=User-Agent"], &[]));
        let (first, second) = REQUEST.as_bytes().split_at(cut);
        let kept = [recording.call(Kind::Receive, first).0, recording.call(Kind::Receive, second).0].concat();
        assert!(!holds(&kept, "some") && !holds(&kept, "one/1"), "cut at {cut}: {}", text(&kept));
        assert!(holds(&kept, "Host: a"), "cut at {cut}: {}", text(&kept));
    }
}

#[test]
fn where_everything_is_kept_what_looks_like_a_secret_is_blank() {
    let (mut redactor, mut stream, mut out) = (Redactor::default(), Stream::default(), Vec::new());
    let body = b"{\"user\":\"me\",\"password\":\"hunter2-";
    let rest = b"canary\",\"card\":\"4111111111111111\",\"note\":\"paid by 5555555555554444\"}";
    let first = Data { done_bytes: body.len() as u64, head: body, ..DATA };
    let bits = redactor.keep(Payload::Full, &mut stream, &first, true, &mut out);
    assert!(bits & flags::REDACTED != 0);
    let tcp_seq = Some(1 + body.len() as u32);
    let second = Data { done_bytes: rest.len() as u64, head: rest, tcp_seq, ..DATA };
    redactor.keep(Payload::Full, &mut stream, &second, true, &mut out);
    let blanks = |count| "*".repeat(count);
    let wanted = format!(
        "{{\"user\":\"me\",\"password\":\"{}\",\"card\":\"{}\",\"note\":\"paid by {}\"}}",
        blanks(14),
        blanks(16),
        blanks(16)
    );
    assert_eq!(text(&out), wanted);
}

#[test]
fn of_datagrams_that_are_kept_whole_secrets_are_blank_too() {
    let mut redactor = Redactor::default();
    let (datagram, mut out) = (b"user=me&password=hunter2", b"before".to_vec());
    assert!(redactor.keep_datagram(datagram, [40_000, 514], &mut out));
    assert_eq!(text(&out), "beforeuser=me&password=*******");
    redactor.follow(rules(&[], &["query=password@514"]));
    out.clear();
    assert!(!redactor.keep_datagram(datagram, [40_000, 514], &mut out));
    assert_eq!(out, datagram);
}
