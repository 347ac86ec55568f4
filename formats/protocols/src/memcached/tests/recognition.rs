//! What data is taken for memcached.

use super::*;
use crate::PROTOCOLS;

fn verdict(direction: Direction, text: &str, fresh: bool) -> Verdict {
    Memcached.recognise(direction, text.as_bytes(), fresh)
}

#[test]
fn commands_that_nobody_else_has() {
    let surely = [
        "get a\r\n",
        "get a b\r\nset",
        "set a 0 0 3\r\nfoo\r\n",
        "set a 0 0 3\r\n",
        "set a 0 0 3\r\n***\r\nget a\r\n",
        "set * 0 0 3 noreply\r\nfo",
        "cas a 0 0 3 99\r\nfoo\r\n",
        "incr a 1\r\n",
        "incr a * noreply\r\n",
        "mg a v t\r\n",
        "mg * v t\r\n",
        "ms a 2 c\r\nhi\r\n",
        "gat 10 a\r\n",
        "touch a 10\r\n",
        "flush_all\r\n",
        "lru_crawler crawl all\r\n",
        "delete a\r\nget b\r\n",
    ];
    for text in surely {
        assert_eq!(verdict(Requests, text, false), Verdict::Surely, "{text:?}");
        assert_eq!(verdict(Responses, text, true), Verdict::No, "{text:?}");
    }
    for text in ["delete a\r\n", "stats\r\n", "version\r\n", "mn\r\n", "se", "set a 0 0 3", "get a-long-key"]
    {
        assert_eq!(verdict(Requests, text, true), Verdict::Maybe, "{text:?}");
        assert_eq!(verdict(Requests, text, false), Verdict::No, "{text:?}");
    }
}

#[test]
fn what_others_say() {
    let others = [
        "get a\n",
        "GET a\r\n",
        "GET / HTTP/1.1\r\n",
        "set a 0 0 3\r\nfoobar\r\n",
        "set a b\r\n",
        "set a 0 0 x\r\n",
        "touch 17\r\n",
        "put 0 0 10 5\r\nhello\r\n",
        "delete a\r\nrelease 1 2 3\r\n",
        "get a\r\nEHLO there\r\n",
        "EHLO example\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "INFO {\"server_id\":\"a\"}\r\n",
        "PUB a 3\r\nfoo\r\n",
        "mg \u{1}\r\n",
        "getter a\r\n",
        "",
    ];
    for text in others {
        assert_eq!(verdict(Requests, text, true), Verdict::No, "{text:?}");
    }
}

#[test]
fn answers_that_nobody_else_gives() {
    let surely = [
        "VALUE a 0 3\r\nfoo\r\nEND\r\n",
        "VALUE * 0 3 *\r\n",
        "VALUE a 0 3\r\nfo",
        "STORED\r\n",
        "NOT_STORED\r\n",
        "CLIENT_ERROR bad data chunk\r\n",
    ];
    for text in surely {
        assert_eq!(verdict(Responses, text, false), Verdict::Surely, "{text:?}");
        assert_eq!(verdict(Requests, text, false), Verdict::No, "{text:?}");
    }
    for text in [
        "END\r\n",
        "DELETED\r\n",
        "OK\r\n",
        "HD\r\n",
        "7\r\n",
        "ERROR\r\n",
        "VALUE a b c\r\n",
        "VALUE a 0 3\r\nfoobar\r\n",
    ] {
        assert_eq!(verdict(Responses, text, true), Verdict::No, "{text:?}");
    }
}

#[test]
fn no_other_protocol_is_sure_of_it() {
    for text in ["get a\r\n", "set a 0 0 3\r\nfoo\r\n", "mg a v\r\n", "incr a 1\r\n", "delete a\r\n"] {
        let sure = |direction| {
            let is_sure = |protocol: &&&dyn Protocol| {
                protocol.recognise(direction, text.as_bytes(), true) == Verdict::Surely
            };
            PROTOCOLS.iter().filter(is_sure).map(|protocol| protocol.name()).collect::<Vec<_>>()
        };
        assert!([sure(Requests), sure(Responses)].concat().iter().all(|name| *name == "memcached"));
    }
}
