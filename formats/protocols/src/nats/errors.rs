//! Errors of servers, by their texts.

use super::lines::{subject, word};
use crate::frames::Runs;

/// Known ones, as servers write them (`server/errors.go`), in any case.
const ERRORS: [&str; 29] = [
    "Unknown Protocol Operation",
    "Attempted To Connect To Route Port",
    "Attempted To Connect To Leafnode Port",
    "Authorization Violation",
    "Authorization Timeout",
    "Authentication Timeout",
    "Authentication Failure",
    "Authentication Required",
    "User Authentication Expired",
    "User Authentication Revoked",
    "Account Authentication Expired",
    "Invalid Client Protocol",
    "Maximum Control Line Exceeded",
    "Maximum Connections Exceeded",
    "Maximum Account Connections Exceeded",
    "Maximum Account Active Connections Exceeded",
    "Maximum Subscriptions Exceeded",
    "Maximum Payload Violation",
    "Maximum Message Payload Exceeded",
    "Parser Error",
    "Secure Connection - TLS Required",
    "Stale Connection",
    "Slow Consumer",
    "Invalid Subject",
    "Invalid Publish Subject",
    "Invalid Subscription",
    "Message Headers Not Supported",
    "No Responders Requires Headers Support",
    "Permissions Violation",
];

/// Those that name a subject behind it.
const ABOUT: [&str; 3] = [
    "Permissions Violation for Publish to",
    "Permissions Violation for Subscription to",
    "Permissions Violation for Publish with Reply of",
];

/// An error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Error<'a> {
    pub(super) text: &'static str,
    /// What could not be published to.
    pub(super) subject: Option<&'a str>,
    /// How much of the text is known.
    length: usize,
}

/// Reads what stands behind `-ERR`.
pub(super) fn error(text: &[u8]) -> Option<Error<'_>> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"'").map_or(text, |text| text.strip_suffix(b"'").unwrap_or(text));
    let is = |known: &&&str| known.as_bytes().eq_ignore_ascii_case(text);
    if let Some(&known) = ERRORS.iter().find(is) {
        return Some(Error { text: known, subject: None, length: known.len() });
    }
    let begins = |known: &&&str| {
        let (begin, rest) = text.split_at_checked(known.len()).unwrap_or_default();
        begin.eq_ignore_ascii_case(known.as_bytes()) && rest.starts_with(b" ")
    };
    let &known = ABOUT.iter().find(begins)?;
    let name = word(text, known.len()).and_then(|place| {
        let name = text[place].strip_prefix(b"\"")?;
        subject(name.strip_suffix(b"\"")?)
    });
    Some(Error { text: known, subject: name.filter(|_| known == ABOUT[0]), length: known.len() })
}

/// Whether it says that the handshake was not accepted.
pub(super) fn is_of_handshake(text: &str) -> bool {
    text.starts_with("Auth")
        || text.contains("Authentication")
        || text.contains("Connect")
        || text.contains("TLS")
}

/// Tells what of a line with an error may be kept, behind its verb.
pub(super) fn keep(line: &[u8], runs: &mut Runs) {
    let at = runs.at();
    let Some(Error { subject, length, .. }) = error(&line[at..]) else { return };
    let spaces = line[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\'')).count();
    // With what stands around the subject, or between the text and what it is about, so that it is read as it
    // was.
    let about = subject.map_or(0, |subject| subject.len() + 3);
    runs.keep((spaces + length + about + 1).min(line.len() - at));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_their_texts() {
        assert_eq!(error(b" 'Stale Connection'").map(|error| error.text), Some("Stale Connection"));
        assert_eq!(
            error(b" 'maximum subscriptions exceeded'").map(|e| e.text),
            Some("Maximum Subscriptions Exceeded")
        );
        let about = error(b" 'Permissions Violation for Publish to \"a.b\"'").unwrap();
        assert_eq!((about.text, about.subject), (ABOUT[0], Some("a.b")));
        assert_eq!(error(b" 'Hunter2'"), None);
    }
}
