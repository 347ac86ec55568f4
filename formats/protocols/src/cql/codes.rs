//! Names of requests and of errors.

use crate::operation::Status;

pub(super) const ERROR: u8 = 0x00;
pub(super) const STARTUP: u8 = 0x01;
pub(super) const READY: u8 = 0x02;
pub(super) const AUTHENTICATE: u8 = 0x03;
pub(super) const OPTIONS: u8 = 0x05;
pub(super) const SUPPORTED: u8 = 0x06;
pub(super) const QUERY: u8 = 0x07;
pub(super) const RESULT: u8 = 0x08;
pub(super) const PREPARE: u8 = 0x09;
pub(super) const EXECUTE: u8 = 0x0a;
pub(super) const REGISTER: u8 = 0x0b;
pub(super) const EVENT: u8 = 0x0c;
pub(super) const BATCH: u8 = 0x0d;
pub(super) const AUTH_CHALLENGE: u8 = 0x0e;
pub(super) const AUTH_RESPONSE: u8 = 0x0f;
pub(super) const AUTH_SUCCESS: u8 = 0x10;

/// What a request is called.
pub(super) fn request(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        STARTUP => "STARTUP",
        OPTIONS => "OPTIONS",
        QUERY => "QUERY",
        PREPARE => "PREPARE",
        EXECUTE => "EXECUTE",
        REGISTER => "REGISTER",
        BATCH => "BATCH",
        AUTH_RESPONSE => "AUTH_RESPONSE",
        _ => return None,
    })
}

pub(super) fn is_answer(opcode: u8) -> bool {
    matches!(
        opcode,
        ERROR | READY | AUTHENTICATE | SUPPORTED | RESULT | EVENT | AUTH_CHALLENGE | AUTH_SUCCESS
    )
}

/// The status of an error of this code, where it is known.
pub(super) fn error(code: Option<u32>) -> Status {
    let code = code.and_then(|code| u16::try_from(code).ok());
    Status { code, text: code.and_then(name), failed: true }
}

/// The error's name in the protocol's description.
pub(super) fn name(code: u16) -> Option<&'static str> {
    Some(match code {
        0x0000 => "SERVER_ERROR",
        0x000a => "PROTOCOL_ERROR",
        0x0100 => "AUTHENTICATION_ERROR",
        0x1000 => "UNAVAILABLE",
        0x1001 => "OVERLOADED",
        0x1002 => "IS_BOOTSTRAPPING",
        0x1003 => "TRUNCATE_ERROR",
        0x1100 => "WRITE_TIMEOUT",
        0x1200 => "READ_TIMEOUT",
        0x1300 => "READ_FAILURE",
        0x1400 => "FUNCTION_FAILURE",
        0x1500 => "WRITE_FAILURE",
        0x1600 => "CDC_WRITE_FAILURE",
        0x1700 => "CAS_WRITE_UNKNOWN",
        0x2000 => "SYNTAX_ERROR",
        0x2100 => "UNAUTHORIZED",
        0x2200 => "INVALID",
        0x2300 => "CONFIG_ERROR",
        0x2400 => "ALREADY_EXISTS",
        0x2500 => "UNPREPARED",
        _ => return None,
    })
}
