//! Statuses of responses, and the kinds of results.

use crate::operation::Status;

/// The provider has called the method.
pub(super) const OK: u8 = 20;

/// The name of a status (`org.apache.dubbo.remoting.exchange.Response`).
pub(super) fn name(status: u8) -> Option<&'static str> {
    Some(match status {
        OK => "OK",
        25 => "SERIALIZATION_ERROR",
        30 => "CLIENT_TIMEOUT",
        31 => "SERVER_TIMEOUT",
        35 => "CHANNEL_INACTIVE",
        40 => "BAD_REQUEST",
        50 => "BAD_RESPONSE",
        60 => "SERVICE_NOT_FOUND",
        70 => "SERVICE_ERROR",
        80 => "SERVER_ERROR",
        90 => "CLIENT_ERROR",
        100 => "SERVER_THREADPOOL_EXHAUSTED_ERROR",
        _ => return None,
    })
}

/// What a response says. `kind`: the first value of its body, where that is known (`DubboCodec`): 0 and 3
/// announce an exception, without and with attachments.
pub(super) fn of(status: u8, kind: Option<u8>) -> Status {
    let threw = status == OK && matches!(kind, Some(0 | 3));
    Status {
        code: Some(status.into()),
        text: if threw { Some("RESPONSE_WITH_EXCEPTION") } else { name(status) },
        failed: threw || status != OK,
    }
}
