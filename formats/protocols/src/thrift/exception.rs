//! What an answer says of how it went.

use crate::operation::Status;

/// Types of `TApplicationException`; those from 11 on are of fbthrift.
const TYPES: [&str; 14] = [
    "UNKNOWN",
    "UNKNOWN_METHOD",
    "INVALID_MESSAGE_TYPE",
    "WRONG_METHOD_NAME",
    "BAD_SEQUENCE_ID",
    "MISSING_RESULT",
    "INTERNAL_ERROR",
    "PROTOCOL_ERROR",
    "INVALID_TRANSFORM",
    "INVALID_PROTOCOL",
    "UNSUPPORTED_CLIENT_TYPE",
    "LOADSHEDDING",
    "TIMEOUT",
    "INJECTED_FAILURE",
];

/// Whether there is an exception of this type.
pub(super) fn is_known(kind: u16) -> bool {
    usize::from(kind) < TYPES.len()
}

/// The status that an exception means, of this type where it is known.
pub(super) fn status(kind: Option<u16>) -> Status {
    let text = kind.and_then(|kind| TYPES.get(usize::from(kind)).copied());
    Status { code: kind.filter(|_| text.is_some()), text: text.or(Some("EXCEPTION")), failed: true }
}
