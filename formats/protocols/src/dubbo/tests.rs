use Direction::{Requests, Responses};

use super::*;
use crate::testing::{self, Conversation, Reader};
use crate::{PROTOCOLS, What, detect};

/// What must be in nothing that is kept.
const CANARY: &str = "Hunter2!Canary";

/// A frame.
fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&[0xda, 0xbb, flags, status], &id.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
}

fn hessian(text: &str) -> Vec<u8> {
    let length = text.len();
    let prefix =
        if length < 32 { vec![length as u8] } else { vec![0x30 + (length >> 8) as u8, length as u8] };
    [&prefix, text.as_bytes()].concat()
}

fn line(text: &str) -> Vec<u8> {
    format!("\"{text}\"\n").into_bytes()
}

fn jsonb(text: &str) -> Vec<u8> {
    let mut value = match text.len() {
        length @ 0..48 => vec![0x49 + length as u8],
        length => vec![0x79, 0x38, length as u8],
    };
    value.extend(text.as_bytes());
    [&(value.len() as u32).to_be_bytes(), &value[..]].concat()
}

/// A request's body: names, then arguments and attachments that are secret.
fn body(text: fn(&str) -> Vec<u8>, service: &str, method: &str) -> Vec<u8> {
    let names = ["2.0.2", service, "1.0.0", method, "Ljava/lang/String;"].map(text).concat();
    [&names[..], CANARY.as_bytes(), b"H\x04path", CANARY.as_bytes(), b"Z"].concat()
}

fn call(id: u64, service: &str, method: &str) -> Vec<u8> {
    frame(0xc2, 0, id, &body(hessian, service, method))
}

fn answer(id: u64, kind: u8) -> Vec<u8> {
    frame(2, 20, id, &[&[kind], CANARY.as_bytes()].concat())
}

/// Every feature.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let long = "com.example.shop.".repeat(6) + "Orders";
    let asked = [
        call(1, "com.example.Orders", "get"),
        call(2, "com.example.Orders", "get"),
        frame(0x82, 0, 3, &body(hessian, "com.example.Orders", "fire")),
        frame(0xe2, 0, 4, b"N"),
        call(5, &long, "$invoke"),
        frame(0xc6, 0, 6, &body(line, "Users", "find")),
        frame(0xd7, 0, 7, &body(jsonb, &long, "find")),
        frame(0xc8, 0, 8, CANARY.as_bytes()),
        call(9, "com.example.Orders", "unknown"),
        call(10, "no name!", "get"),
    ];
    let threw = [[0x93].as_slice(), CANARY.as_bytes()].concat();
    let answered = [
        answer(2, 0x94),
        frame(0x22, 20, 4, b"N"),
        answer(5, 0x90),
        answer(1, 0x92),
        frame(6, 20, 6, b"3\n{}\n"),
        frame(23, 20, 7, &[0, 0, 0, 1, 3, 0]),
        frame(8, 20, 8, &[0, 1, 2]),
        frame(2, 60, 9, &hessian(CANARY)),
        frame(2, 20, 10, &threw),
        answer(99, 0x91),
    ];
    vec![
        (Requests, asked.concat()),
        (Responses, answered.concat()),
        // The provider calls its consumer.
        (Responses, call(1, "com.example.Listener", "changed")),
        (Requests, [call(11, "com.example.Orders", "get"), answer(1, 0x95)].concat()),
        (Responses, answer(11, 0x91)),
    ]
}

#[test]
fn any_cut_gives_the_same_exchanges() {
    testing::check_any_cut(&Dubbo, &conversation());
    let reader = testing::read(&Dubbo, &conversation(), &[]);
    let of = |e: &testing::Exchange| (e.key.unwrap(), e.turned, e.status.code, e.status.failed, e.one_way);
    let found: Vec<_> = reader.exchanges().iter().map(of).collect();
    assert_eq!(
        found,
        [
            (1, false, Some(20), false, false),
            (2, false, Some(20), false, false),
            (3, false, None, false, true),
            (5, false, Some(20), true, false),
            (6, false, Some(20), true, false),
            (7, false, Some(20), true, false),
            (8, false, Some(20), true, false),
            (9, false, Some(60), true, false),
            (10, false, Some(20), true, false),
            (1, true, Some(20), false, false),
            (11, false, Some(20), false, false),
        ]
    );
    let texts: Vec<_> = reader.exchanges().iter().filter_map(|e| e.status.text).collect();
    assert_eq!(texts[..3], ["OK", "OK", "RESPONSE_WITH_EXCEPTION"]);
    assert!(texts.contains(&"SERVICE_NOT_FOUND"));
    let titles: Vec<_> = reader.exchanges().iter().map(|e| e.operation.title.as_deref()).collect();
    assert_eq!(titles[0], Some("com.example.Orders/get"));
    assert!(titles[3].is_some_and(|title| title.ends_with(".Orders/$invoke")));
    assert_eq!(titles[4], Some("Users/find"));
    assert!(titles[5].is_some_and(|title| title.ends_with(".Orders/find")));
    assert_eq!(titles[6..9], [None, Some("com.example.Orders/unknown"), None]);
    assert_eq!(reader.exchanges()[0].operation.target.as_deref(), Some("com.example.Orders"));
    assert_eq!(reader.exchanges()[0].operation.name.as_deref(), Some("get"));
}

#[test]
fn a_result_in_fastjson2_is_told_however_its_number_is_written() {
    for (kind, failed) in [(3, true), (0, true), (4, false), (5, false)] {
        for value in [&[0, 0, 0, 1, kind][..], &[0, 0, 0, 2, 0xbd, kind]] {
            let answer = frame(0x17, 20, 1, &[value, CANARY.as_bytes()].concat());
            let conversation =
                [(Requests, frame(0xd7, 0, 1, &body(jsonb, "Orders", "get"))), (Responses, answer)];
            testing::check_any_cut(&Dubbo, &conversation);
            let reader = testing::read(&Dubbo, &conversation, &[]);
            assert_eq!(reader.exchanges()[0].status.failed, failed, "{value:?}");
        }
    }
}

fn kept(conversation: &Conversation, cuts: &[usize]) -> Vec<u8> {
    testing::read(&Dubbo, conversation, cuts).kept().into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[test]
fn no_argument_result_or_message_is_kept() {
    for cuts in [&[][..], &[1], &[7], &[40, 3]] {
        let kept = kept(&conversation(), cuts);
        for part in [&CANARY.as_bytes()[..4], b"2!Ca", b"nary", b"no name", b"path"] {
            assert!(!kept.windows(part.len()).any(|window| window == part), "{cuts:?}");
        }
    }
    // A name that is none, in each place; a version that is none hides what follows.
    for at in 0..4 {
        let mut names = ["2.0.2", "Orders", "1.0.0", "get"];
        names[at] = CANARY;
        let bytes = frame(0xc2, 0, 1, &names.map(hessian).concat());
        let kept = kept(&[(Requests, bytes)], &[]);
        assert!(!kept.windows(4).any(|window| window == b"Hunt"), "{at}");
    }
}

#[test]
fn a_cut_request_has_the_names_that_are_there() {
    let bytes = call(1, "com.example.Orders", "get");
    for (known, service, method) in [
        (30, None, None),
        (46, Some("com.example.Orders"), None),
        (60, Some("com.example.Orders"), Some("get")),
    ] {
        let mut reader = Reader::new(&Dubbo, None);
        reader.call(Requests, &bytes[..known], 0);
        reader.gap(Requests, (bytes.len() - known) as u64, 0);
        reader.call(Requests, &call(2, "Users", "find"), 1);
        let [cut, next] = reader.exchanges() else { panic!("two requests") };
        assert_eq!(
            (cut.operation.target.as_deref(), cut.operation.name.as_deref()),
            (service, method),
            "{known}"
        );
        assert_eq!(next.operation.name.as_deref(), Some("find"));
    }
}

#[test]
fn what_was_lost_shifts_nothing() {
    let mut reader = Reader::new(&Dubbo, None);
    reader.call(Requests, &[call(1, "Orders", "get"), call(2, "Orders", "put")].concat(), 0);
    reader.gap(Requests, 100, 1);
    reader.call(Requests, b"rest of something", 1);
    reader.call(Requests, &call(4, "Orders", "get"), 2);
    reader.gap(Responses, 10, 3);
    reader.call(Responses, &[answer(3, 0x91), answer(4, 0x91), answer(2, 0x91)].concat(), 4);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| (e.key.unwrap(), e.end)).collect();
    assert_eq!(ends, [(1, None), (2, Some(4)), (4, Some(4))]);
}

#[test]
fn only_frames_that_fit_are_recognised() {
    let (asked, answered) = (call(1, "Orders", "get"), answer(1, 0x94));
    assert_eq!(Dubbo.recognise(Requests, &asked, false), Verdict::Surely);
    assert_eq!(Dubbo.recognise(Responses, &answered, false), Verdict::Surely);
    assert_eq!(Dubbo.recognise(Requests, &asked[..16], false), Verdict::Surely);
    assert_eq!(Dubbo.recognise(Requests, &asked[..15], false), Verdict::No);
    assert_eq!(Dubbo.recognise(Requests, &asked[..15], true), Verdict::Maybe);
    assert_eq!(Dubbo.recognise(Responses, &asked, true), Verdict::No);
    assert_eq!(Dubbo.recognise(Requests, &answered, true), Verdict::No);
    let told = detect::surely(&answered, false).expect("dubbo");
    assert_eq!((told.protocol.name(), told.direction), ("dubbo", Responses));
    // Events tell nothing unless they are the first of a connection.
    for event in [frame(0xe2, 0, 1, b"N"), frame(0x22, 20, 1, b"N")] {
        for direction in [Requests, Responses] {
            assert_eq!(Dubbo.recognise(direction, &event, true), Verdict::Maybe);
            assert_eq!(Dubbo.recognise(direction, &event, false), Verdict::No);
        }
    }
    // A request with a status, a status that there is not, no serialization, a body too long, another
    // body.
    let wrong = [
        frame(0xc2, 20, 1, b"\x052.0.2"),
        frame(2, 21, 1, b"\x91"),
        frame(0xc0, 0, 1, b"\x052.0.2"),
        [&[0xda, 0xbb, 0xc2, 0], &[0; 8][..], &[0xff; 4]].concat(),
        frame(0xc2, 0, 1, b"GET / HTTP"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
    ];
    for bytes in wrong {
        for direction in [Requests, Responses] {
            assert_eq!(Dubbo.recognise(direction, &bytes, true), Verdict::No, "{bytes:?}");
        }
    }
    for other in PROTOCOLS.into_iter().filter(|other| other.name() != "dubbo") {
        assert_eq!(other.recognise(Requests, &asked, true), Verdict::No, "{other:?}");
    }
}

#[test]
fn heads_are_small() {
    let bytes = call(1, "Orders", "get");
    let mut parts = Vec::new();
    let call = crate::Call { length: bytes.len() as u64, head: &bytes, ..crate::Call::default() };
    Dubbo.framing(None).call(Requests, call, &mut crate::Memory::default(), &mut parts);
    let heads: u64 = parts.iter().filter(|part| part.what == What::Head).map(|part| part.length).sum();
    assert_eq!(heads, 16 + 6 + 7 + 6 + 4);
}
