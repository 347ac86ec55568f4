use super::*;
use crate::blank;
use crate::parts::{Call, Part, What};
use crate::protocol::Memory;
use Direction::{Requests, Responses};
use proptest::prelude::*;

/// What must be in nothing that is kept.
const CANARY: &str = "Hunter2-Canary";

/// Calls with what is known of each, in order.
#[derive(Default)]
struct Conversation {
    calls: Vec<(Direction, Vec<u8>)>,
}

impl Conversation {
    fn of(calls: &[(Direction, &str)]) -> Conversation {
        let calls = calls.iter().map(|(direction, text)| (*direction, text.as_bytes().to_vec())).collect();
        Conversation { calls }
    }

    /// The same in calls of at most so many bytes.
    fn cut(&self, size: usize) -> Conversation {
        let pieces = |(direction, bytes): &(Direction, Vec<u8>)| {
            bytes.chunks(size).map(|piece| (*direction, piece.to_vec())).collect::<Vec<_>>()
        };
        Conversation { calls: self.calls.iter().flat_map(pieces).collect() }
    }

    fn read(&self) -> Found {
        self.read_known(usize::MAX)
    }

    /// Of each call at most so many first bytes and eight last ones are known.
    fn read_known(&self, most: usize) -> Found {
        let (mut framing, mut again) = (Redis.framing(None), Redis.framing(None));
        let (mut found, mut found_again) = (Found::default(), Found::default());
        for (index, (direction, bytes)) in self.calls.iter().enumerate() {
            let (head, tail) = if bytes.len() > most.saturating_add(8) {
                (&bytes[..most], &bytes[bytes.len() - 8..])
            } else {
                (&bytes[..], &[][..])
            };
            let call = |head, tail| Call {
                length: bytes.len() as u64,
                head,
                tail,
                times_ns: [10 * index as i64, 10 * index as i64 + 5],
                ..Call::default()
            };
            let (mut parts, mut parts_again) = (Vec::new(), Vec::new());
            framing.call(*direction, call(head, tail), &mut Memory::default(), &mut parts);
            let (mut kept, mut kept_tail) = (Vec::new(), Vec::new());
            blank::copy(&parts, head, 0, &mut kept);
            if blank::copy(&parts, tail, (bytes.len() - tail.len()) as u64, &mut kept_tail).any {
                kept_tail.resize(tail.len(), blank::BLANK);
            }
            again.call(*direction, call(&kept, &kept_tail), &mut Memory::default(), &mut parts_again);
            found.add(*direction, &parts, head);
            found_again.add(*direction, &parts_again, &kept);
            found.kept.extend(kept.iter().chain(&kept_tail).chain(b"\n"));
            let markers =
                |parts: Vec<Part>| parts.into_iter().filter(|p| p.what.is_marker()).collect::<Vec<_>>();
            assert_eq!(
                markers(parts_again),
                markers(parts),
                "call {index}: {}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(found_again.requests, found.requests);
        assert_eq!(found_again.answers, found.answers);
        found
    }
}

/// What was found in a conversation.
#[derive(Debug, Default)]
struct Found {
    /// Names of the commands.
    requests: Vec<Option<&'static str>>,
    /// Those of them that will not be answered.
    unanswered: Vec<usize>,
    /// Of each answer the number of its command, and its status.
    answers: Vec<(Option<u64>, Option<&'static str>)>,
    /// Answers that were read to their end.
    ends: usize,
    lost: u64,
    heads: [Vec<u8>; 2],
    kept: Vec<u8>,
}

impl Found {
    fn add(&mut self, direction: Direction, parts: &[Part], bytes: &[u8]) {
        let start = parts.iter().find(|part| part.length > 0).map_or(0, |part| part.offset);
        let head = &mut self.heads[direction as usize];
        let mut from = 0;
        for part in parts {
            let at = ((part.offset.saturating_sub(start)) as usize).min(bytes.len());
            match &part.what {
                What::MayBegin => {
                    head.clear();
                    from = at;
                }
                What::HeadEnd(info) if direction == Requests => {
                    head.extend(&bytes[from..at]);
                    if info.unanswered {
                        self.unanswered.push(self.requests.len());
                    }
                    self.requests.push(name(head));
                }
                What::HeadEnd(info) => self.answers.push((info.answers, info.status.text)),
                What::End { .. } if direction == Responses => self.ends += 1,
                What::Lost => self.lost += part.length,
                _ => {}
            }
        }
        head.extend(bytes.get(from..).unwrap_or_default());
    }

    fn numbers(&self) -> Vec<Option<u64>> {
        self.answers.iter().map(|(number, _)| *number).collect()
    }
}

/// A command in an array.
fn command(words: &[&str]) -> String {
    let strings = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), strings.collect::<String>())
}

/// In every cut: whole, and in calls of each size.
fn in_every_cut(calls: &[(Direction, &str)], check: impl Fn(&Found)) {
    let whole = Conversation::of(calls);
    check(&whole.read());
    let longest = whole.calls.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or_default();
    for size in 1..=longest {
        check(&whole.cut(size).read());
    }
}

#[test]
fn commands_and_answers_are_paired_however_they_are_cut() {
    let set = command(&["set", "key", CANARY]);
    let get = command(&["GET", "key"]);
    let batch =
        [set.as_str(), &get, &command(&["CONFIG", "GET", "save"]), &command(&["INCR", "key"])].concat();
    let answers =
        "+OK\r\n$14\r\nHunter2-Canary\r\n*2\r\n$4\r\nsave\r\n$0\r\n\r\n-WRONGTYPE Hunter2-Canary\r\n";
    in_every_cut(
        &[(Requests, &batch), (Responses, answers), (Requests, &get), (Responses, "$-1\r\n")],
        |found| {
            let names = [Some("SET"), Some("GET"), Some("CONFIG GET"), Some("INCR"), Some("GET")];
            assert_eq!(found.requests, names);
            assert_eq!(found.numbers(), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
            let statuses: Vec<_> = found.answers.iter().map(|(_, status)| *status).collect();
            assert_eq!(statuses, [None, None, None, Some("WRONGTYPE"), None]);
            assert_eq!((found.ends, found.lost), (5, 0));
        },
    );
}

#[test]
fn every_type_of_resp3_is_one_answer() {
    let get = command(&["GET", "key"]);
    for value in [
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "(12345678901234567890\r\n",
        "=7\r\ntxt:abc\r\n",
        "%1\r\n+a\r\n*2\r\n:1\r\n:2\r\n",
        "~2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*1\r\n*1\r\n$9\r\nsubscribe\r\n",
        "$?\r\n;4\r\nHell\r\n;0\r\n",
    ] {
        in_every_cut(
            &[(Requests, &get), (Responses, value), (Requests, &get), (Responses, ":1\r\n")],
            |found| {
                assert_eq!(
                    (found.numbers(), found.ends, found.lost),
                    (vec![Some(0), Some(1)], 2, 0),
                    "{value:?}"
                );
            },
        );
    }
    let errors = "!29\r\nSYNTAX in Hunter2-Canary here\r\n-Hunter2-Canary no\r\n-\r\n-ERR\r\n";
    in_every_cut(&[(Requests, &get.repeat(4)), (Responses, errors)], |found| {
        let statuses: Vec<_> = found.answers.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [Some("SYNTAX"), Some("_OTHER"), Some("_OTHER"), Some("ERR")]);
    });
}

#[test]
fn pushed_messages_answer_nothing() {
    let pushed = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$14\r\nHunter2-Canary\r\n";
    let confirmed = |channel| format!("*3\r\n$9\r\nsubscribe\r\n$1\r\n{channel}\r\n:1\r\n");
    let (subscribe, ping) = (command(&["SUBSCRIBE", "a", "b"]), command(&["PING"]));
    let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    let left = "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n";
    let after = [&confirmed("a"), pushed, &confirmed("b"), pushed].concat();
    let calls = [
        (Requests, subscribe.as_str()),
        (Responses, &after),
        (Responses, pushed),
        (Requests, &ping),
        (Responses, &[pushed, pong].concat()),
        (Requests, &command(&["UNSUBSCRIBE"])),
        (Responses, left),
        (Requests, &command(&["LRANGE", "l", "0", "-1"])),
        (Responses, pushed),
    ];
    in_every_cut(&calls, |found| {
        assert_eq!(found.requests, [Some("SUBSCRIBE"), Some("PING"), Some("UNSUBSCRIBE"), Some("LRANGE")]);
        assert_eq!(found.numbers(), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!((found.ends, found.lost), (4, 0));
    });
    // RESP3: ordinary commands go on, and messages come between their answers.
    let told = |text: &str| text.replacen('*', ">", 1);
    let answers =
        [&told(&confirmed("a")), &told(pushed), &told(&confirmed("b")), "$1\r\nv\r\n", &told(pushed)]
            .concat();
    let both = [subscribe.as_str(), &command(&["GET", "k"])].concat();
    let invalidated = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    let again = [invalidated, "+OK\r\n"].concat();
    let calls = [
        (Requests, both.as_str()),
        (Responses, &answers),
        (Requests, &command(&["SET", "k", "v"])),
        (Responses, &again),
    ];
    in_every_cut(&calls, |found| {
        assert_eq!(found.requests, [Some("SUBSCRIBE"), Some("GET"), Some("SET")]);
        assert_eq!((found.numbers(), found.ends, found.lost), (vec![Some(0), Some(1), Some(2)], 3, 0));
    });
}

#[test]
fn who_watches_is_answered_once() {
    let watched = "+1339518083.107412 [0 127.0.0.1:60866] \"set\" \"k\" \"Hunter2-Canary\"\r\n";
    let answers = ["+OK\r\n", watched, watched].concat();
    let calls = [
        (Requests, "*1\r\n$7\r\nMONITOR\r\n"),
        (Responses, answers.as_str()),
        (Requests, "*1\r\n$5\r\nRESET\r\n"),
        (Responses, &[watched, "+RESET\r\n"].concat()),
        (Requests, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        (Responses, "+1\r\n"),
    ];
    in_every_cut(&calls, |found| {
        assert_eq!(found.requests, [Some("MONITOR"), Some("RESET"), Some("GET")]);
        assert_eq!((found.numbers(), found.ends, found.lost), (vec![Some(0), Some(1), Some(2)], 3, 0));
    });
}

#[test]
fn a_client_may_want_no_answers() {
    let (off, on) = (command(&["CLIENT", "REPLY", "OFF"]), command(&["CLIENT", "REPLY", "ON"]));
    let (skip, get) = (command(&["CLIENT", "REPLY", "SKIP"]), command(&["GET", "k"]));
    let asked = [skip, get.clone(), get.clone(), off, get.clone(), get.clone(), on, get].concat();
    in_every_cut(&[(Requests, &asked), (Responses, "$1\r\na\r\n+OK\r\n$1\r\nb\r\n")], |found| {
        assert_eq!(found.unanswered, [0, 1, 3, 4, 5]);
        assert_eq!(found.numbers(), [Some(2), Some(6), Some(7)]);
        assert_eq!(found.requests[0], Some("CLIENT REPLY"));
    });
}

#[test]
fn lines_are_commands_too() {
    let asked = format!("PING\r\n\r\nset key {CANARY}\r\nGET\tkey\nINFO\r\n");
    in_every_cut(&[(Requests, &asked), (Responses, "+PONG\r\n+OK\r\n$-1\r\n$2\r\nhi\r\n")], |found| {
        assert_eq!(found.requests, [Some("PING"), Some("SET"), Some("GET"), Some("INFO")]);
        assert_eq!((found.numbers(), found.lost), (vec![Some(0), Some(1), Some(2), Some(3)], 0));
    });
    let asked = format!(
        "PING\r\nclient reply off\r\nPING\r\nCLIENT REPLY ON\r\nCONFIG SET {CANARY} a\r\nCLIENT {CANARY}\r\nCLIENT REPLY SKIP\r\nGET k\r\n"
    );
    in_every_cut(&[(Requests, &asked), (Responses, "+PONG\r\n+OK\r\n+OK\r\n-ERR no\r\n")], |found| {
        let [ping, reply] = ["PING", "CLIENT REPLY"].map(Some);
        let last = ["CONFIG SET", "CLIENT", "CLIENT REPLY", "GET"].map(Some);
        assert_eq!(found.requests, [&[ping, reply, ping, reply], &last[..]].concat());
        assert_eq!(found.unanswered, [1, 2, 6, 7]);
        assert_eq!(found.numbers(), [0, 3, 4, 5].map(Some));
    });
}

#[test]
fn after_a_copy_for_a_replica_nothing_is_read() {
    let sync = command(&["PSYNC", "?", "-1"]);
    let calls =
        [(Requests, sync.as_str()), (Responses, "+FULLRESYNC abc 1\r\n$5\r\nREDIS*1\r\n$4\r\nPING\r\n")];
    in_every_cut(&calls, |found| {
        assert_eq!((found.answers.len(), found.ends, found.lost), (1, 1, 0));
    });
    let calls = [(Requests, "*1\r\n$4\r\nSYNC\r\n"), (Responses, "\n\n$5\r\nREDIS*1\r\n$4\r\nPING\r\n")];
    in_every_cut(&calls, |found| assert_eq!((found.answers.len(), found.ends, found.lost), (1, 1, 0)));
}

/// The canary in every place where a secret may stand, and what is sent with it.
fn secrets() -> Vec<(Direction, String)> {
    let asked = [
        command(&["AUTH", CANARY]),
        command(&["AUTH", "default", CANARY]),
        command(&["HELLO", "3", "AUTH", CANARY, CANARY, "SETNAME", CANARY]),
        command(&["SET", CANARY, CANARY]),
        command(&[CANARY, "x"]),
        command(&["CONFIG", CANARY]),
        command(&["CONFIG", "SET", "requirepass", CANARY]),
        command(&["CLIENT", "REPLY", CANARY]),
        command(&["EVAL", &format!("return '{CANARY}'"), "1", CANARY]),
        command(&["SUBSCRIBE", CANARY]),
        format!("AUTH {CANARY}\r\n"),
        format!("{CANARY}\r\n"),
        format!("*1\r\n${}\r\n{CANARY}\r\n", CANARY.len() + 1),
        format!("*{CANARY}\r\n"),
        format!("*1\r\n${CANARY}\r\n"),
        CANARY.to_owned(),
    ];
    let answers = [
        format!("+{CANARY}\r\n"),
        format!("-{CANARY} {CANARY}\r\n"),
        format!("-ERR {CANARY}\r\n"),
        format!("${}\r\n{CANARY}\r\n", CANARY.len()),
        format!("*1\r\n${}\r\n{CANARY}\r\n", CANARY.len()),
        format!(">2\r\n${}\r\n{CANARY}\r\n+{CANARY}\r\n", CANARY.len()),
        format!("|1\r\n+{CANARY}\r\n+{CANARY}\r\n%1\r\n+{CANARY}\r\n,{CANARY}\r\n"),
        format!("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n${}\r\n{CANARY}\r\n", CANARY.len()),
        format!(":{CANARY}\r\n"),
        format!("${CANARY}\r\n"),
        CANARY.to_owned(),
    ];
    let asked = asked.into_iter().map(|text| (Requests, text));
    asked.chain(answers.into_iter().map(|text| (Responses, text))).collect()
}

#[test]
fn no_secret_is_kept_whatever_is_cut_or_missing() {
    let ping = command(&["PING"]);
    for (direction, secret) in secrets() {
        let before = [(Requests, ping.as_str()), (Responses, "+PONG\r\n"), (Requests, &ping)];
        let conversation =
            [&before[..if direction == Requests { 2 } else { 3 }], &[(direction, &secret)]].concat();
        let hides = |found: &Found| {
            let kept = String::from_utf8_lossy(&found.kept).to_lowercase();
            let canary = CANARY.to_lowercase();
            // Nor any four bytes of it.
            for at in 0..canary.len() - 3 {
                assert!(!kept.contains(&canary[at..at + 4]), "{secret:?}: {kept:?}");
            }
        };
        in_every_cut(&conversation, hides);
        for at in 1..secret.len() {
            let (one, two) = secret.split_at(at);
            let mut calls = conversation[..conversation.len() - 1].to_vec();
            calls.extend([(direction, one), (direction, two)]);
            hides(&Conversation::of(&calls).read());
            for most in [0, 4, 12, 20] {
                hides(&Conversation::of(&calls).read_known(most));
            }
        }
    }
}

#[test]
fn a_string_of_which_much_is_missing_is_counted() {
    let value = "v".repeat(100_000);
    let (set, get) = (command(&["SET", "k", &value]), command(&["GET", "k"]));
    let answer = format!("${}\r\n{value}\r\n", value.len());
    let calls = [(Requests, set.as_str()), (Responses, "+OK\r\n"), (Requests, &get), (Responses, &answer)];
    for most in [64, 1024] {
        let found = Conversation::of(&calls).read_known(most);
        assert_eq!((found.numbers(), found.ends, found.lost), (vec![Some(0), Some(1)], 2, 0));
    }
}

#[test]
fn what_may_hold_commands_makes_later_answers_uncertain() {
    let get = command(&["GET", "k"]);
    let many = get.repeat(100);
    let answers = "$1\r\nv\r\n".repeat(100);
    let calls =
        [(Requests, many.as_str()), (Responses, &answers), (Requests, &get), (Responses, "$1\r\nv\r\n")];
    let found = Conversation::of(&calls).read_known(200);
    assert!(found.lost > 0);
    // Those before the hole are certain, and no number is wrong after it.
    let certain: Vec<u64> = found.numbers().into_iter().flatten().collect();
    assert!(certain.iter().enumerate().all(|(index, number)| index as u64 == *number), "{certain:?}");
    // A client that waits is understood again.
    let value = format!("*2\r\n$1\r\na\r\n$5000\r\n{}\r\n", "x".repeat(5000));
    let lost = "*40\r\n".to_owned() + &"$2\r\nab\r\n".repeat(40);
    let calls =
        [(Requests, get.as_str()), (Responses, lost.as_str()), (Requests, &get), (Responses, value.as_str())];
    let found = Conversation::of(&calls).read_known(64);
    assert_eq!((found.requests.len(), found.numbers()), (2, vec![Some(0), Some(1)]));
}

#[test]
fn only_what_is_redis_is_taken_for_it() {
    let fresh = |direction, text: &str| Redis.recognise(direction, text.as_bytes(), true);
    let get = command(&["GET", "k"]);
    for cut in 1..get.len() {
        let told = fresh(Requests, &get[..cut]);
        assert_eq!(told, if cut < 13 { Verdict::Maybe } else { Verdict::Surely }, "{:?}", &get[..cut]);
        if cut < 13 {
            assert_eq!(Redis.recognise(Requests, &get.as_bytes()[..cut], false), Verdict::No);
        }
    }
    assert_eq!(fresh(Requests, "*1\r\n$6\r\n******\r\n"), Verdict::Surely);
    assert_eq!(fresh(Requests, "PING\r\n"), Verdict::Surely);
    for other in [
        "* OK IMAP4 ready\r\n",
        "*\r\n",
        "**bold**",
        "*1\r\n:1\r\n",
        "*1\r\n$4\r\nPINGPONG",
        "get key\r\n",
        "set key 0 0 5\r\nhello\r\n",
        "QUIT\r\n",
        "AUTH PLAIN abc\r\n",
        "EHLO me\r\n",
        "INFO {\"server_id\":\"a\"} \r\n",
        "GET / HTTP/1.1\r\n",
        "PING",
        "\u{16}\u{3}\u{1}",
        "",
    ] {
        assert_eq!(fresh(Requests, other), Verdict::No, "{other:?}");
    }
    for answer in ["+OK\r\n", "-ERR\r\n", ":1\r\n", "$1\r\na\r\n", "*1\r\n$4\r\nPING\r\n"] {
        assert_eq!(fresh(Responses, answer), Verdict::No, "{answer:?}");
    }
    assert_eq!(Redis.recognise(Requests, b"PING\r\n", false), Verdict::No);
}

#[test]
fn a_command_is_named_as_everybody_names_it() {
    let read = |text: &str| Redis.read(Requests, text.as_bytes(), &Operation::default());
    let operation = read("*3\r\n$6\r\nconfig\r\n$3\r\nget\r\n");
    assert_eq!(
        (operation.name.as_deref(), operation.title.as_deref()),
        (Some("CONFIG GET"), Some("CONFIG GET"))
    );
    assert_eq!(read("*2\r\n$6\r\nconfig\r\n$4\r\n****\r\n").name.as_deref(), Some("CONFIG"));
    assert_eq!(read("*2\r\n$6\r\n******\r\n").name, None);
    assert_eq!(read("info").name.as_deref(), Some("INFO"));
    let status = |text: &str| Redis.read(Responses, text.as_bytes(), &Operation::default()).status;
    assert!(Redis.failed(status("-MOVED 12 ")) && !Redis.failed(status("+OK")));
}

/// The last byte of a call follows a value and begins none: a blank is stored for it, as which an array begins.
#[test]
fn a_blank_at_the_end_of_a_call_begins_nothing() {
    let rest = format!("{}\r\n\u{1}", "x".repeat(30));
    for (direction, head, next) in
        [(Responses, "$30\r\n", "+OK\r\n"), (Requests, "*2\r\n$4\r\nECHO\r\n$30\r\n", "PING\r\n")]
    {
        let call = format!("{head}{rest}");
        let found = Conversation::of(&[(direction, &call), (direction, next)]).read_known(head.len());
        assert!(found.lost > 0, "{direction:?}");
    }
}

proptest! {
    /// Whatever comes, what is kept of it is read as it was, and no number is wrong where nothing is missing.
    #[test]
    fn what_is_kept_is_read_as_the_whole(
        steps in prop::collection::vec((any::<bool>(), 0usize..14, 0usize..40), 1..30),
        size in 1usize..60,
        most in prop_oneof![Just(usize::MAX), 0usize..80],
    ) {
        let get = command(&["GET", "k"]);
        let texts = [
            get.clone(), command(&["SET", "k", &"v".repeat(70)]), get.repeat(7), "PING\r\n".to_owned(), "*2\r\n$3\r\nGE".to_owned(),
            command(&["SUBSCRIBE", "a", "b"]), "+OK\r\n".to_owned(), "$3\r\nabc\r\n".repeat(9), "-ERR no\r\n".to_owned(),
            "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n".to_owned(), ">2\r\n+a\r\n+b\r\n".to_owned(), "*2\r\n".to_owned(),
            "garbage".to_owned(), format!("$100\r\n{}\r\n", "x".repeat(100)),
        ];
        let calls: Vec<(Direction, &str)> = steps.iter().map(|(requests, text, cut)| {
            let text = texts[*text].as_str();
            (if *requests { Requests } else { Responses }, &text[..text.len() - (*cut).min(text.len() - 1) * usize::from(*cut > 35)])
        }).collect();
        Conversation::of(&calls).cut(size).read_known(most);
        Conversation::of(&calls).read_known(most);
    }
}
