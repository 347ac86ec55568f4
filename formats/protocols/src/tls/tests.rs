mod peers;

use Direction::{Requests, Responses};
use peers::{CANARY, Client, Server, alert, application, change, finished, fragments, old_hello, record};

use super::*;
use crate::testing::{self, Conversation, Exchange, Reader};
use crate::{Operation, PROTOCOLS, Value, detect};

type Calls = Vec<(Direction, Vec<u8>)>;

fn attribute<'a>(operation: &'a Operation, key: &str) -> Option<&'a str> {
    let (_, value) = operation.attributes.iter().find(|(name, _)| *name == key)?;
    match value {
        Value::Text(text) => Some(text),
        Value::Name(name) => Some(name),
        Value::Int(_) => None,
    }
}

/// The only exchange of a conversation, however it is cut.
fn only(calls: &Conversation) -> Exchange {
    testing::check_any_cut(&Tls, calls);
    let reader = testing::read(&Tls, calls, &[]);
    assert_eq!((reader.exchanges().len(), reader.lost_bytes), (1, 0));
    reader.exchanges()[0].clone()
}

/// TLS 1.3: the server's messages in records of their own, tickets, and data.
fn modern() -> Calls {
    let flight =
        [Server::modern().bytes(), change(), application(30), application(900), application(281)].concat();
    vec![
        (Requests, Client::default().bytes()),
        (Responses, flight),
        (Responses, application(69)),
        (Requests, [change(), application(69), application(100)].concat()),
        (Responses, [application(250), application(250)].concat()),
        (Responses, application(1000)),
        (Requests, application(19)),
    ]
}

/// TLS 1.2, with a certificate of the client.
fn full() -> Calls {
    let flight = record(22, &[Server::old().message(), vec![11, 0, 0, 200], vec![7; 200]].concat());
    let client = [record(22, &[11, 0, 0, 9]), record(22, &[7; 9]), change(), finished()].concat();
    vec![
        (Requests, Client::default().bytes()),
        (Responses, flight),
        (Responses, record(22, &[14, 0, 0, 0])),
        (Requests, client),
        (Responses, [record(22, &[4, 0, 0, 3, 7, 7, 7]), change()].concat()),
        (Responses, finished()),
        (Requests, application(100)),
        (Responses, application(1000)),
    ]
}

#[test]
fn the_answer_of_tls_1_3_ends_when_the_client_goes_on() {
    let found = only(&modern());
    assert_eq!((found.start, found.asked, found.end), (0, Some(0), Some(2)));
    assert_eq!(found.operation.name.as_deref(), Some("handshake"));
    assert_eq!(found.operation.target.as_deref(), Some("shop.example.com"));
    for (key, value) in [
        ("tls.client.server_name", "shop.example.com"),
        ("tls.client.alpn", "h2,http/1.1"),
        ("tls.client.version", "1.3"),
        ("tls.protocol.version", "1.3"),
        ("tls.protocol.name", "tls"),
        ("tls.cipher", "TLS_AES_256_GCM_SHA384"),
    ] {
        assert_eq!(attribute(&found.operation, key), Some(value), "{key}");
    }
    assert_eq!(found.status, Default::default());
    // The server says nothing more: its answer is told of when it closes.
    let mut reader = testing::read(&Tls, &modern()[..4], &[]);
    assert_eq!(reader.exchanges()[0].end, None);
    reader.close(Responses, 9);
    assert_eq!(reader.exchanges()[0].end, Some(2));
}

#[test]
fn the_answer_of_tls_1_2_ends_with_the_finished_of_the_server() {
    let found = only(&full());
    assert_eq!(found.end, Some(5));
    assert_eq!(attribute(&found.operation, "tls.protocol.version"), Some("1.2"));
    assert_eq!(attribute(&found.operation, "tls.cipher"), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    assert_eq!(attribute(&found.operation, "tls.next_protocol"), Some("h2"));
    // Resumed: the server ends first.
    let resumed = [
        (Requests, Client::default().bytes()),
        (Responses, [Server::old().bytes(), change(), finished()].concat()),
        (Requests, [change(), finished(), application(100)].concat()),
        (Responses, application(100)),
    ];
    assert_eq!(only(&resumed).end, Some(1));
    // The client does not wait.
    let mut eager = full();
    eager[3].1.extend(application(100));
    assert_eq!(only(&eager).end, Some(2));
}

#[test]
fn another_hello_and_early_data_belong_to_the_same_handshake() {
    let retried = [
        (Requests, Client::early().bytes()),
        (Requests, [change(), application(50)].concat()),
        (Responses, [Server::retry().bytes(), change()].concat()),
        (Requests, application(50)),
        (Requests, Client::early().bytes()),
        (Responses, [Server::modern().bytes(), application(700)].concat()),
        (Requests, application(69)),
        (Responses, application(100)),
    ];
    let found = only(&retried);
    assert_eq!((found.start, found.end), (0, Some(5)));
    let resumed = [
        (Requests, [Client::early().bytes(), change(), application(50)].concat()),
        (Responses, [Server::resumed().bytes(), change(), application(40), application(69)].concat()),
        (Requests, [application(21), application(69), application(9)].concat()),
        (Responses, application(100)),
    ];
    let found = only(&resumed);
    assert_eq!((found.end, attribute(&found.operation, "tls.resumed")), (Some(1), Some("true")));
}

#[test]
fn a_client_that_is_seen_to_go_on_too_early_has_had_its_answer() {
    let mut calls = modern();
    calls[..4].rotate_right(1);
    calls.swap(0, 1);
    assert_eq!(only(&calls).end, Some(3));
}

#[test]
fn alerts_that_can_be_read_are_the_status() {
    let hello = (Requests, Client::default().bytes());
    let refused = [hello.clone(), (Responses, alert(2, 40))];
    let found = only(&refused);
    assert_eq!(
        (found.status.code, found.status.text, found.status.failed),
        (Some(40), Some("handshake_failure"), true)
    );
    assert_eq!(found.end, Some(1));
    // A warning is none.
    let mut warned = modern();
    warned.insert(1, (Responses, alert(1, 112)));
    assert_eq!(only(&warned).status.code, None);
    // The server refuses the client's certificate.
    let mut certificate = full();
    certificate.truncate(4);
    certificate.push((Responses, alert(2, 116)));
    let found = only(&certificate);
    assert_eq!(
        (found.status.code, found.status.text, found.end),
        (Some(116), Some("certificate_required"), Some(4))
    );
    // The client refuses the server's, of either version, and the server says something, or closes.
    for (calls, end) in [(&modern()[..3], 2), (&full()[..3], 2)] {
        let mut calls = calls.to_vec();
        calls.push((Requests, alert(2, 48)));
        let mut reader = testing::read(&Tls, &calls, &[]);
        reader.close(Responses, 9);
        let found = &reader.exchanges()[0];
        assert_eq!(found.end, Some(end));
        calls.push((Responses, alert(1, 0)));
        assert_eq!(only(&calls).end, Some(end));
        assert_eq!(only(&calls).status.text, Some("unknown_ca"));
    }
    // Before the server has said anything.
    let found = only(&[hello.clone(), (Requests, alert(2, 80))]);
    assert_eq!((found.end, found.cancelled), (None, Some(Requests)));
}

#[test]
fn hellos_may_go_over_records_and_need_no_extensions() {
    let message = Client::default().message();
    for size in [1, 3, 50, 100, 200] {
        let mut calls = modern();
        calls[0].1 = fragments(&message, size);
        let server = fragments(&Server::modern().message(), size);
        calls[1].1.splice(..Server::modern().bytes().len(), server);
        let found = only(&calls);
        assert_eq!((found.start, found.end), (0, Some(2)));
        assert_eq!(attribute(&found.operation, "tls.protocol.version"), Some("1.3"));
        // A name that is cut is not kept.
        let whole = found.operation.target.as_deref() == Some("shop.example.com");
        assert!(whole || found.operation.target.is_none());
        assert_eq!(whole, size >= 100, "{size}");
    }
    let mut bare = full();
    bare[0].1 = Client::bare().bytes();
    let found = only(&bare);
    assert_eq!((found.operation.target.as_deref(), found.end), (None, Some(5)));
    bare[0].1 = old_hello();
    let found = only(&bare);
    assert_eq!((attribute(&found.operation, "tls.client.version"), found.end), (Some("1.0"), Some(5)));
}

#[test]
fn what_is_no_tls_answers_nothing() {
    let mut reader = Reader::new(&Tls, None);
    reader.call(Requests, &Client::default().bytes(), 0);
    reader.call(Responses, b"HTTP/1.1 400 Bad Request\r\n\r\n", 1);
    reader.close(Responses, 2);
    assert_eq!((reader.exchanges().len(), reader.exchanges()[0].end), (1, None));
    assert_eq!(reader.lost_bytes, 28);
}

#[test]
fn names_that_are_none_and_everything_else_is_not_kept() {
    let mut calls = modern();
    for name in ["shop.example.com", CANARY] {
        for bytes in [Client::named(name, "h2").bytes(), Client::named("a", CANARY).bytes()] {
            calls[0].1 = bytes;
            for cuts in [&[][..], &[1], &[50], &[100, 7]] {
                for calls in [&calls, &full()] {
                    let reader = testing::read(&Tls, calls, cuts);
                    let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
                    for secret in [&CANARY.as_bytes()[..4], b"2!Ca", b"nary", &[7, 7]] {
                        assert!(!kept.windows(secret.len()).any(|window| window == secret), "{secret:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_cut_hello_has_the_names_that_are_there() {
    let hello = Client::default().bytes();
    for (known, target) in [(60, None), (hello.len() - 1, Some("shop.example.com"))] {
        let mut reader = Reader::new(&Tls, None);
        reader.call(Requests, &hello[..known], 0);
        reader.gap(Requests, (hello.len() - known) as u64, 0);
        for (direction, bytes) in &modern()[1..] {
            reader.call(*direction, bytes, 1);
        }
        let [found] = reader.exchanges() else { panic!("one handshake") };
        assert_eq!((found.operation.target.as_deref(), found.end), (target, Some(1)), "{known}");
    }
}

#[test]
fn a_flight_of_which_not_all_is_kept_ends_all_the_same() {
    // All in one call, of which the first bytes are kept; then data.
    let joined = |calls: Calls, data: usize| {
        let mut calls = calls;
        let more = calls.remove(2).1;
        calls[1].1.extend(more);
        calls.extend([(Requests, application(100)), (Responses, application(data))]);
        calls
    };
    for (calls, end) in [(joined(modern(), 50), 1), (joined(modern(), 2000), 1), (joined(full(), 2000), 4)] {
        let mut reader = Reader::new(&Tls, None);
        for (number, (direction, bytes)) in calls.iter().enumerate() {
            let head = &bytes[..bytes.len().min(if *direction == Requests { 1000 } else { 160 })];
            let call = crate::Call { length: bytes.len() as u64, head, ..crate::Call::default() };
            reader.partly(*direction, call, number as i64);
        }
        let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
        assert_eq!(ends, [Some(end)]);
        assert!(attribute(&reader.exchanges()[0].operation, "tls.cipher").is_some());
    }
}

#[test]
fn losses_end_no_handshake_and_leave_a_tunnel() {
    for at in 0..5 {
        let mut reader = Reader::new(&Tls, None);
        for (number, (direction, bytes)) in modern().iter().enumerate() {
            match number == at {
                true => reader.gap(*direction, bytes.len() as u64, number as i64),
                false => reader.call(*direction, bytes, number as i64),
            }
        }
        let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
        let expected = match at {
            0 => vec![],
            1 | 2 => vec![None],
            _ => vec![Some(2)],
        };
        assert_eq!(ends, expected, "{at}");
    }
}

#[test]
fn within_a_connection_records_are_recognised_and_tell_nothing() {
    let data = [application(100), application(200)].concat();
    for bytes in [&data[..], &application(100), &data[..110], &[finished(), application(40)].concat()] {
        assert_eq!(Tls.recognise(Requests, bytes, false), Verdict::Surely);
        let mut reader = Reader::new(&Tls, Some([10, 20]));
        reader.call(Requests, bytes, 0);
        reader.call(Responses, bytes, 1);
        reader.call(Requests, &application(9), 2);
        assert_eq!((reader.exchanges().len(), reader.lost_bytes), (0, 0));
    }
    // A hello does, as with STARTTLS.
    let mut reader = Reader::new(&Tls, Some([10, 20]));
    for (number, (direction, bytes)) in modern().iter().enumerate() {
        reader.call(*direction, bytes, number as i64);
    }
    assert_eq!((reader.exchanges().len(), reader.exchanges()[0].end), (1, Some(2)));
}

#[test]
fn only_hellos_and_records_that_agree_are_recognised() {
    let (client, server) = (Client::default().bytes(), Server::modern().bytes());
    for fresh in [false, true] {
        assert_eq!(Tls.recognise(Requests, &client, fresh), Verdict::Surely);
        assert_eq!(Tls.recognise(Requests, &client[..11], fresh), Verdict::Surely);
        assert_eq!(Tls.recognise(Responses, &client, fresh), Verdict::No);
        assert_eq!(Tls.recognise(Requests, &server, fresh), Verdict::No);
        assert_eq!(Tls.recognise(Responses, &server, fresh), Verdict::Surely);
    }
    let told = detect::surely(&[server.clone(), change(), application(99)].concat(), false).expect("tls");
    assert_eq!((told.protocol.name(), told.direction), ("tls", Responses));
    for length in 2..11 {
        assert_eq!(Tls.recognise(Requests, &client[..length], true), Verdict::Maybe, "{length}");
        assert_eq!(Tls.recognise(Requests, &client[..length], false), Verdict::No, "{length}");
    }
    assert_eq!(Tls.recognise(Requests, &old_hello(), true), Verdict::Surely);
    assert_eq!(Tls.recognise(Requests, &old_hello(), false), Verdict::No);
    let short = application(100);
    let wrong = [
        &short[..104],
        &[&short[..], &[0; 5]].concat(),
        &[23, 3, 3, 0, 1, 9],
        &[23, 3, 5, 0, 20],
        &[22, 3, 1, 0, 50, 1, 0, 0, 9, 3, 3],
        &[22, 3, 1, 1, 0, 1, 0, 0, 60, 3, 3],
        &[0x80, 46, 1, 3, 1, 0, 21, 0, 0, 0, 15],
        b"GET / HTTP/1.1\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        &[0x16, 0, 0, 0],
        b"",
    ];
    for bytes in wrong {
        for direction in [Requests, Responses] {
            for fresh in [false, true] {
                assert_eq!(Tls.recognise(direction, bytes, fresh), Verdict::No, "{bytes:?}");
            }
        }
    }
    for other in PROTOCOLS.into_iter().filter(|other| other.name() != "tls") {
        assert_eq!(other.recognise(Requests, &client, true), Verdict::No, "{other:?}");
    }
}
