//! What reason codes are called (MQTT 5, section 2.4), and the return codes of the versions before.

use crate::operation::Status;

/// What one code of an answer says.
pub(super) fn status(code: u8) -> Status {
    Status { code: Some(code.into()), text: name(code), failed: code >= 0x80 }
}

/// The code of a CONNACK: versions before 5 count their refusals from 1.
pub(super) fn of_connack(code: u8) -> Status {
    let text = match code {
        1 => "UNACCEPTABLE_PROTOCOL_VERSION",
        2 => "IDENTIFIER_REJECTED",
        3 => "SERVER_UNAVAILABLE",
        4 => "BAD_USER_NAME_OR_PASSWORD",
        5 => "NOT_AUTHORIZED",
        _ => return status(code),
    };
    Status { code: Some(code.into()), text: Some(text), failed: true }
}

/// The codes of a SUBACK (`granted`) or an UNSUBACK: the first refusal, else what all of them say.
pub(super) fn of_all(granted: bool, codes: &[u8]) -> Status {
    let refusal = codes.iter().find(|&&code| code >= 0x80);
    let same = codes.first().filter(|&first| codes.iter().all(|code| code == first));
    match refusal.or(same) {
        Some(0) if granted => Status { text: Some("GRANTED_QOS_0"), ..Status::of_code(0) },
        Some(&code) => status(code),
        None => Status::default(),
    }
}

/// What a reason code is called.
pub(super) fn name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x00 => "SUCCESS",
        0x01 => "GRANTED_QOS_1",
        0x02 => "GRANTED_QOS_2",
        0x04 => "DISCONNECT_WITH_WILL_MESSAGE",
        0x10 => "NO_MATCHING_SUBSCRIBERS",
        0x11 => "NO_SUBSCRIPTION_EXISTED",
        0x18 => "CONTINUE_AUTHENTICATION",
        0x19 => "RE_AUTHENTICATE",
        0x80..=0xa2 => REFUSALS[usize::from(code) - 0x80],
        _ => return None,
    })
}

/// From 0x80.
const REFUSALS: [&str; 35] = [
    "UNSPECIFIED_ERROR",
    "MALFORMED_PACKET",
    "PROTOCOL_ERROR",
    "IMPLEMENTATION_SPECIFIC_ERROR",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "CLIENT_IDENTIFIER_NOT_VALID",
    "BAD_USER_NAME_OR_PASSWORD",
    "NOT_AUTHORIZED",
    "SERVER_UNAVAILABLE",
    "SERVER_BUSY",
    "BANNED",
    "SERVER_SHUTTING_DOWN",
    "BAD_AUTHENTICATION_METHOD",
    "KEEP_ALIVE_TIMEOUT",
    "SESSION_TAKEN_OVER",
    "TOPIC_FILTER_INVALID",
    "TOPIC_NAME_INVALID",
    "PACKET_IDENTIFIER_IN_USE",
    "PACKET_IDENTIFIER_NOT_FOUND",
    "RECEIVE_MAXIMUM_EXCEEDED",
    "TOPIC_ALIAS_INVALID",
    "PACKET_TOO_LARGE",
    "MESSAGE_RATE_TOO_HIGH",
    "QUOTA_EXCEEDED",
    "ADMINISTRATIVE_ACTION",
    "PAYLOAD_FORMAT_INVALID",
    "RETAIN_NOT_SUPPORTED",
    "QOS_NOT_SUPPORTED",
    "USE_ANOTHER_SERVER",
    "SERVER_MOVED",
    "SHARED_SUBSCRIPTIONS_NOT_SUPPORTED",
    "CONNECTION_RATE_EXCEEDED",
    "MAXIMUM_CONNECT_TIME",
    "SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED",
    "WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED",
];
