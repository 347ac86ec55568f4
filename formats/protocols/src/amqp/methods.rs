//! The methods of AMQP 0-9-1 (and of 0-9 and 0-8 before it, as far as they are the same) and how their
//! arguments follow each other.
//!
//! Arguments are told by letters: `h` `i` `l` 2, 4, 8 bytes; `s` short text; `q` `e` `r` names of queue,
//! exchange, and routing key, short texts too; `c` reply code; `m` class and method; `t` delivery tag; `a` a
//! byte of bits, the first of which says `multiple`; `n`, with the number of a bit, one of which that one
//! says `no-wait`. What follows is not read.

use std::ops::Range;

/// A method.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) class: u16,
    pub(super) id: u16,
    pub(super) name: &'static str,
    pub(super) does: Does,
    pub(super) arguments: &'static str,
}

/// What a method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Asks, and is answered unless it says that it does not wait. Only clients do, or both sides.
    Asks { both: bool },
    /// Answers the method of this number in its class. Only servers do, or both sides.
    Answers { asked: u16, both: bool },
    /// The same, and brings a message.
    AnswersWith { asked: u16 },
    /// A client sends a message.
    Publish,
    /// A server sends one.
    Deliver,
    /// Says that messages have arrived, or have not.
    Settles { well: bool },
    /// Something that makes no span: by clients (true), servers, or both.
    Other(Option<bool>),
}

const BY_CLIENT: Does = Does::Asks { both: false };
const BY_BOTH: Does = Does::Asks { both: true };
const OF_CLIENT: Does = Does::Other(Some(true));
const OF_SERVER: Does = Does::Other(Some(false));

const fn answers(asked: u16) -> Does {
    Does::Answers { asked, both: false }
}

const fn both_answer(asked: u16) -> Does {
    Does::Answers { asked, both: true }
}

macro_rules! methods {
    ($($class:literal $id:literal $name:literal $does:expr, $arguments:literal;)*) => {
        [$(Method { class: $class, id: $id, name: $name, does: $does, arguments: $arguments }),*]
    };
}

/// By class and number.
static METHODS: [Method; 66] = methods! {
    10 10 "connection.start" OF_SERVER, "";
    10 11 "connection.start-ok" OF_CLIENT, "";
    10 20 "connection.secure" OF_SERVER, "";
    10 21 "connection.secure-ok" OF_CLIENT, "";
    10 30 "connection.tune" OF_SERVER, "";
    10 31 "connection.tune-ok" OF_CLIENT, "";
    10 40 "connection.open" BY_CLIENT, "";
    10 41 "connection.open-ok" answers(40), "";
    10 50 "connection.close" BY_BOTH, "csm";
    10 51 "connection.close-ok" both_answer(50), "";
    10 60 "connection.blocked" OF_SERVER, "";
    10 61 "connection.unblocked" OF_SERVER, "";
    10 70 "connection.update-secret" OF_CLIENT, "";
    10 71 "connection.update-secret-ok" OF_SERVER, "";
    20 10 "channel.open" BY_CLIENT, "";
    20 11 "channel.open-ok" answers(10), "";
    20 20 "channel.flow" BY_BOTH, "";
    20 21 "channel.flow-ok" both_answer(20), "";
    20 40 "channel.close" BY_BOTH, "csm";
    20 41 "channel.close-ok" both_answer(40), "";
    30 10 "access.request" BY_CLIENT, "";
    30 11 "access.request-ok" answers(10), "";
    40 10 "exchange.declare" BY_CLIENT, "hesn4";
    40 11 "exchange.declare-ok" answers(10), "";
    40 20 "exchange.delete" BY_CLIENT, "hen1";
    40 21 "exchange.delete-ok" answers(20), "";
    40 30 "exchange.bind" BY_CLIENT, "heern0";
    40 31 "exchange.bind-ok" answers(30), "";
    40 40 "exchange.unbind" BY_CLIENT, "heern0";
    40 51 "exchange.unbind-ok" answers(40), "";
    50 10 "queue.declare" BY_CLIENT, "hqn4";
    50 11 "queue.declare-ok" answers(10), "";
    50 20 "queue.bind" BY_CLIENT, "hqern0";
    50 21 "queue.bind-ok" answers(20), "";
    50 30 "queue.purge" BY_CLIENT, "hqn0";
    50 31 "queue.purge-ok" answers(30), "";
    50 40 "queue.delete" BY_CLIENT, "hqn2";
    50 41 "queue.delete-ok" answers(40), "";
    50 50 "queue.unbind" BY_CLIENT, "hqer";
    50 51 "queue.unbind-ok" answers(50), "";
    60 10 "basic.qos" BY_CLIENT, "";
    60 11 "basic.qos-ok" answers(10), "";
    60 20 "basic.consume" BY_CLIENT, "hqsn3";
    60 21 "basic.consume-ok" answers(20), "";
    60 30 "basic.cancel" BY_BOTH, "sn0";
    60 31 "basic.cancel-ok" both_answer(30), "";
    60 40 "basic.publish" Does::Publish, "her";
    60 50 "basic.return" Does::Deliver, "cser";
    60 60 "basic.deliver" Does::Deliver, "slber";
    60 70 "basic.get" BY_CLIENT, "hq";
    60 71 "basic.get-ok" Does::AnswersWith { asked: 70 }, "";
    60 72 "basic.get-empty" answers(70), "";
    60 80 "basic.ack" Does::Settles { well: true }, "ta";
    60 90 "basic.reject" OF_CLIENT, "";
    60 100 "basic.recover-async" OF_CLIENT, "";
    60 110 "basic.recover" BY_CLIENT, "";
    60 111 "basic.recover-ok" answers(110), "";
    60 120 "basic.nack" Does::Settles { well: false }, "ta";
    85 10 "confirm.select" BY_CLIENT, "n0";
    85 11 "confirm.select-ok" answers(10), "";
    90 10 "tx.select" BY_CLIENT, "";
    90 11 "tx.select-ok" answers(10), "";
    90 20 "tx.commit" BY_CLIENT, "";
    90 21 "tx.commit-ok" answers(20), "";
    90 30 "tx.rollback" BY_CLIENT, "";
    90 31 "tx.rollback-ok" answers(30), "";
};

pub(super) const CONNECTION: u16 = 10;
pub(super) const CHANNEL: u16 = 20;
pub(super) const CONFIRM: u16 = 85;
pub(super) const BASIC: u16 = 60;
/// The number of `channel.open` and `confirm.select`.
pub(super) const FIRST: u16 = 10;

impl Method {
    /// The method of that number of that class.
    pub(super) fn of(class: u16, id: u16) -> Option<&'static Method> {
        let place = METHODS.binary_search_by_key(&(class, id), |method| (method.class, method.id));
        place.ok().map(|place| &METHODS[place])
    }

    /// It is `connection.close` or `channel.close`.
    pub(super) fn closes(&self) -> bool {
        matches!((self.class, self.id), (CONNECTION, 50) | (CHANNEL, 40))
    }

    /// Whether clients send it, and whether servers do.
    pub(super) fn by(&self) -> [bool; 2] {
        match self.does {
            Does::Asks { both } => [true, both],
            Does::Answers { both, .. } => [both, true],
            Does::Publish => [true, false],
            Does::AnswersWith { .. } | Does::Deliver => [false, true],
            Does::Settles { .. } => [true, true],
            Does::Other(by_client) => [by_client != Some(false), by_client != Some(true)],
        }
    }
}

/// An argument: its letter, what says how long it is, what it is, and the number behind it.
pub(super) struct Argument {
    pub(super) letter: u8,
    pub(super) length: Range<usize>,
    pub(super) content: Range<usize>,
    pub(super) bit: u8,
}

/// Tells of the arguments of a method that begin there, as far as they are there.
pub(super) fn arguments(method: &Method, bytes: &[u8], from: usize, mut see: impl FnMut(&Argument)) {
    let mut at = from;
    let mut letters = method.arguments.bytes().peekable();
    while let Some(letter) = letters.next() {
        let bit = letters.next_if(u8::is_ascii_digit).map_or(0, |digit| digit - b'0');
        let (length, size) = match letter {
            b'h' | b'c' => (at..at, 2),
            b'i' | b'm' => (at..at, 4),
            b'l' | b't' => (at..at, 8),
            b'a' | b'b' | b'n' => (at..at, 1),
            _ => {
                let Some(&size) = bytes.get(at) else { return };
                (at..at + 1, usize::from(size))
            }
        };
        let content = length.end..length.end + size;
        at = content.end;
        if at > bytes.len() {
            // What says how long it is, is there.
            let content = content.start..content.start;
            see(&Argument { letter: b's', length, content, bit });
            return;
        }
        see(&Argument { letter, length, content, bit });
    }
}

/// What a reply code is called.
pub(super) fn reply(code: u16) -> Option<&'static str> {
    Some(match code {
        311 => "CONTENT_TOO_LARGE",
        312 => "NO_ROUTE",
        313 => "NO_CONSUMERS",
        320 => "CONNECTION_FORCED",
        402 => "INVALID_PATH",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        502 => "SYNTAX_ERROR",
        503 => "COMMAND_INVALID",
        504 => "CHANNEL_ERROR",
        505 => "UNEXPECTED_FRAME",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        541 => "INTERNAL_ERROR",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_and_answers_have_their_questions() {
        assert!(METHODS.is_sorted_by_key(|method| (method.class, method.id)));
        for method in &METHODS {
            assert_eq!(Method::of(method.class, method.id).map(|found| found.name), Some(method.name));
            if let Does::Answers { asked, .. } | Does::AnswersWith { asked } = method.does {
                let asked = Method::of(method.class, asked);
                assert!(
                    asked.is_some_and(|asked| matches!(asked.does, Does::Asks { .. })),
                    "{}",
                    method.name
                );
            }
        }
        assert!(Method::of(60, 73).is_none());
    }
}
