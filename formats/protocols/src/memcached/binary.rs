//! The binary protocol: headers of 24 bytes, of which nothing but numbers is read.

use std::sync::{Arc, LazyLock};

use super::commands::named;
use crate::operation::{Operation, Status};
use crate::parts::Direction;

/// Bytes of a header.
pub(super) const HEADER: usize = 24;
/// First byte of a request.
pub(super) const REQUEST: u8 = 0x80;
/// First byte of an answer.
pub(super) const ANSWER: u8 = 0x81;
/// Longest message that is believed: the largest value of which a server can be told to take it, 1 GiB.
const MAX_BODY: u32 = (1 << 30) + (1 << 16);

/// Statistics: an answer of many messages, of which the last one is empty.
pub(super) const STAT: u8 = 0x10;

/// Whether a part of a request has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    No,
    Yes,
    Maybe,
}

/// A command.
#[derive(Clone, Copy, Debug)]
struct Opcode {
    code: u8,
    name: &'static str,
    /// The command that its answers are called by: it itself, or of one that says nothing of the ordinary the
    /// one that does.
    base: u8,
    extras: &'static [u8],
    key: Has,
    value: Has,
}

const fn op(code: u8, base: u8, name: &'static str, extras: &'static [u8], key: Has, value: Has) -> Opcode {
    Opcode { code, name, base, extras, key, value }
}

use Has::{Maybe, No, Yes};

/// Sorted by code.
const OPCODES: [Opcode; 36] = [
    op(0x00, 0x00, "get", &[0], Yes, No),
    op(0x01, 0x01, "set", &[8], Yes, Maybe),
    op(0x02, 0x02, "add", &[8], Yes, Maybe),
    op(0x03, 0x03, "replace", &[8], Yes, Maybe),
    op(0x04, 0x04, "delete", &[0], Yes, No),
    op(0x05, 0x05, "incr", &[20], Yes, No),
    op(0x06, 0x06, "decr", &[20], Yes, No),
    op(0x07, 0x07, "quit", &[0], No, No),
    op(0x08, 0x08, "flush_all", &[0, 4], No, No),
    op(0x09, 0x00, "getq", &[0], Yes, No),
    op(0x0a, 0x0a, "noop", &[0], No, No),
    op(0x0b, 0x0b, "version", &[0], No, No),
    op(0x0c, 0x0c, "getk", &[0], Yes, No),
    op(0x0d, 0x0c, "getkq", &[0], Yes, No),
    op(0x0e, 0x0e, "append", &[0], Yes, Maybe),
    op(0x0f, 0x0f, "prepend", &[0], Yes, Maybe),
    op(0x10, 0x10, "stats", &[0], Maybe, No),
    op(0x11, 0x01, "setq", &[8], Yes, Maybe),
    op(0x12, 0x02, "addq", &[8], Yes, Maybe),
    op(0x13, 0x03, "replaceq", &[8], Yes, Maybe),
    op(0x14, 0x04, "deleteq", &[0], Yes, No),
    op(0x15, 0x05, "incrq", &[20], Yes, No),
    op(0x16, 0x06, "decrq", &[20], Yes, No),
    op(0x17, 0x07, "quitq", &[0], No, No),
    op(0x18, 0x08, "flush_allq", &[0, 4], No, No),
    op(0x19, 0x0e, "appendq", &[0], Yes, Maybe),
    op(0x1a, 0x0f, "prependq", &[0], Yes, Maybe),
    op(0x1b, 0x1b, "verbosity", &[4], No, No),
    op(0x1c, 0x1c, "touch", &[4], Yes, No),
    op(0x1d, 0x1d, "gat", &[4], Yes, No),
    op(0x1e, 0x1d, "gatq", &[4], Yes, No),
    op(0x20, 0x20, "sasl_list_mechs", &[0], No, No),
    op(0x21, 0x21, "sasl_auth", &[0], Yes, Maybe),
    op(0x22, 0x22, "sasl_step", &[0], Yes, Maybe),
    op(0x23, 0x23, "gatk", &[4], Yes, No),
    op(0x24, 0x23, "gatkq", &[4], Yes, No),
];

/// What a message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) direction: Direction,
    pub(super) opcode: u8,
    key: u16,
    extras: u8,
    data_type: u8,
    /// Of an answer; of a request the partition that it is for.
    pub(super) status: u16,
    /// Bytes behind the header.
    pub(super) body: u32,
    pub(super) opaque: u32,
}

impl Header {
    /// None where the bytes are too few, or no header whose lengths agree.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let direction = match bytes[0] {
            REQUEST => Direction::Requests,
            ANSWER => Direction::Responses,
            _ => return None,
        };
        let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let header = Header {
            direction,
            opcode: bytes[1],
            key: short(2),
            extras: bytes[4],
            data_type: bytes[5],
            status: short(6),
            body: long(8),
            opaque: long(12),
        };
        let agrees = u32::from(header.key) + u32::from(header.extras) <= header.body;
        (agrees && header.body <= MAX_BODY).then_some(header)
    }

    fn known(&self) -> Option<&'static Opcode> {
        let place = OPCODES.binary_search_by_key(&self.opcode, |opcode| opcode.code).ok()?;
        Some(&OPCODES[place])
    }

    /// The command that its answers are called by.
    pub(super) fn base(&self) -> u8 {
        self.known().map_or(self.opcode, |opcode| opcode.base)
    }

    /// Says something only where that is not the ordinary.
    pub(super) fn is_quiet(&self) -> bool {
        self.base() != self.opcode
    }

    /// Nobody answers it.
    pub(super) fn is_unanswered(&self) -> bool {
        self.opcode == 0x17
    }

    /// The last message of an answer.
    pub(super) fn is_last(&self) -> bool {
        self.opcode != STAT || self.status != 0 || self.body == 0
    }

    /// Nothing else begins so: a command that is known, and has the parts that it must have, and no others.
    pub(super) fn proves(&self, direction: Direction) -> bool {
        let Some(known) = self.known() else { return false };
        let value = self.body - u32::from(self.key) - u32::from(self.extras);
        if self.direction != direction || self.data_type != 0 || self.key > 250 {
            return false;
        }
        match direction {
            Direction::Requests => {
                let has = |has: Has, length: u32| match has {
                    Has::No => length == 0,
                    Has::Yes => length > 0,
                    Has::Maybe => true,
                };
                self.status == 0
                    && known.extras.contains(&self.extras)
                    && has(known.key, self.key.into())
                    && has(known.value, value)
            }
            Direction::Responses => {
                status_text(self.status).is_some() && matches!(self.extras, 0 | 4) && self.body <= 1 << 20
            }
        }
    }

    /// The status of an answer.
    pub(super) fn answer_status(&self) -> Status {
        let failed = !matches!(self.status, 0 | 1 | 2 | 5 | 0x21);
        Status { code: Some(self.status), text: status_text(self.status), failed }
    }
}

/// Statuses by name (`protocol_binary.h` of memcached).
fn status_text(status: u16) -> Option<&'static str> {
    Some(match status {
        0x00 => "SUCCESS",
        0x01 => "KEY_ENOENT",
        0x02 => "KEY_EEXISTS",
        0x03 => "E2BIG",
        0x04 => "EINVAL",
        0x05 => "NOT_STORED",
        0x06 => "DELTA_BADVAL",
        0x07 => "NOT_MY_VBUCKET",
        0x20 => "AUTH_ERROR",
        0x21 => "AUTH_CONTINUE",
        0x81 => "UNKNOWN_COMMAND",
        0x82 => "ENOMEM",
        0x83 => "NOT_SUPPORTED",
        0x84 => "EINTERNAL",
        0x85 => "EBUSY",
        0x86 => "ETMPFAIL",
        _ => return None,
    })
}

/// The operation of a code. One that is not known has its number for a name.
pub(super) fn operation(opcode: u8) -> Arc<Operation> {
    static OPERATIONS: LazyLock<Vec<Arc<Operation>>> = LazyLock::new(|| (0..=u8::MAX).map(of_code).collect());
    OPERATIONS[usize::from(opcode)].clone()
}

fn of_code(code: u8) -> Arc<Operation> {
    let operation = match OPCODES.iter().find(|opcode| opcode.code == code) {
        Some(opcode) => named(opcode.name),
        None => Operation { name: Some(format!("0x{code:02x}").into()), ..Operation::default() },
    };
    operation.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_answered_by_known_ones() {
        assert!(OPCODES.is_sorted_by_key(|opcode| opcode.code));
        for opcode in OPCODES {
            assert!(opcode.base == opcode.code || opcode.name.ends_with('q'), "{}", opcode.name);
            assert!(OPCODES.iter().any(|other| other.code == opcode.base));
        }
        assert_eq!(operation(0x77).name.as_deref(), Some("0x77"));
    }
}
