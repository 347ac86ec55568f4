//! The words of Redis that pushed messages begin with: all others are blanked.

/// What a message begins with that answers no command, or confirms a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// A message of a channel.
    Message,
    /// The confirmation of the command of that name.
    Confirmation(&'static str),
}

const PUSHES: [(&str, Push); 9] = [
    ("message", Push::Message),
    ("pmessage", Push::Message),
    ("smessage", Push::Message),
    ("subscribe", Push::Confirmation("SUBSCRIBE")),
    ("psubscribe", Push::Confirmation("PSUBSCRIBE")),
    ("ssubscribe", Push::Confirmation("SSUBSCRIBE")),
    ("unsubscribe", Push::Confirmation("UNSUBSCRIBE")),
    ("punsubscribe", Push::Confirmation("PUNSUBSCRIBE")),
    ("sunsubscribe", Push::Confirmation("SUNSUBSCRIBE")),
];

/// The push that begins with this word.
pub(super) fn push(word: &[u8]) -> Option<Push> {
    PUSHES.into_iter().find(|(known, _)| known.as_bytes() == word).map(|(_, push)| push)
}

/// Whether a word of `length` bytes that begins so may be that of a push.
pub(super) fn may_become_push(part: &[u8], length: u64) -> bool {
    PUSHES.iter().any(|(known, _)| known.len() as u64 == length && known.as_bytes().starts_with(part))
}

/// Whether the command is answered by confirmations.
pub(super) fn is_subscription(command: &str) -> bool {
    PUSHES.iter().any(|(_, push)| matches!(push, Push::Confirmation(known) if *known == command))
}
