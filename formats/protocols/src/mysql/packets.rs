//! What packets are made of.

use crate::frames::Runs;

/// Length of a packet's header: three bytes of length, and the number of the packet.
pub(super) const HEADER: usize = 4;
/// A packet of this length goes on in the next one.
pub(super) const LONGEST: usize = 0xff_ffff;

/// Capabilities that decide how packets are read, of client and server.
pub(super) mod capability {
    pub(in super::super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(in super::super) const COMPRESS: u32 = 1 << 5;
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    pub(in super::super) const SSL: u32 = 1 << 11;
    pub(in super::super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(in super::super) const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub(in super::super) const DEPRECATE_EOF: u32 = 1 << 24;
    pub(in super::super) const ZSTD: u32 = 1 << 26;
}

/// Flags of a server's status.
const MORE_RESULTS: u16 = 0x0008;
const CURSOR_EXISTS: u16 = 0x0040;

/// What a packet says of what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerStatus(u16);

impl ServerStatus {
    /// Another result follows.
    pub(super) fn more_results(self) -> bool {
        self.0 & MORE_RESULTS != 0
    }

    /// A transaction is open, or every statement is one: of few bytes that are no status this is so.
    pub(super) fn is_plausible(self) -> bool {
        self.0 & 0x0003 != 0
    }

    /// Rows are there to be fetched, and do not follow.
    pub(super) fn cursor_exists(self) -> bool {
        self.0 & CURSOR_EXISTS != 0
    }
}

/// Length and number of the packet that begins so.
pub(super) fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence, ..] = *bytes else { return None };
    Some((u32::from_le_bytes([a, b, c, 0]) as usize, sequence))
}

/// Little-endian number of two bytes there.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// Little-endian number of four bytes there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Bytes of a number whose first byte is this, the first one included. None: it begins none.
pub(super) fn number_bytes(first: u8) -> Option<usize> {
    match first {
        0..=0xfa => Some(1),
        0xfc => Some(3),
        0xfd => Some(4),
        0xfe => Some(9),
        _ => None,
    }
}

/// The number of variable length that begins so, and how many bytes it has.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = number_bytes(*bytes.first()?)?;
    let bytes = bytes.get(..length)?;
    let number = match length {
        1 => u64::from(bytes[0]),
        _ => bytes[1..].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)),
    };
    Some((number, length))
}

/// Bytes of OK's two numbers, behind its first byte.
fn counts(payload: &[u8]) -> Option<usize> {
    let first = number_bytes(*payload.get(1)?)?;
    let second = number_bytes(*payload.get(1 + first)?)?;
    Some(1 + first + second)
}

/// Status in an OK packet of so many bytes, as far as it is there. `Err`: it is not known.
pub(super) fn ok_status(payload: &[u8], length: usize) -> Result<ServerStatus, ()> {
    let at = counts(payload).ok_or(())?;
    if at + 2 > length {
        // Before 4.1 there is none.
        return Ok(ServerStatus::default());
    }
    u16_at(payload, at).map(ServerStatus).ok_or(())
}

/// Status in an EOF packet of so many bytes.
pub(super) fn eof_status(payload: &[u8], length: usize) -> Result<ServerStatus, ()> {
    if length < 5 {
        return Ok(ServerStatus::default());
    }
    u16_at(payload, 3).map(ServerStatus).ok_or(())
}

/// Of an OK packet may be kept what tells where its status stands, and that; no numbers.
pub(super) fn keep_ok(payload: &[u8], runs: &mut Runs) {
    runs.keep(payload.len().min(1));
    let mut at = 1;
    for _ in 0..2 {
        let Some(&first) = payload.get(at) else { return };
        match number_bytes(first) {
            Some(1) if first > 0 => runs.instead(vec![0]),
            Some(length) => {
                runs.keep(1);
                runs.blank(length - 1);
            }
            None => return,
        }
        at += number_bytes(first).unwrap_or(1);
    }
    runs.keep(payload.len().saturating_sub(at).min(4));
}

/// Code of an error. 0xffff is none: it tells of progress (MariaDB).
pub(super) fn error_code(payload: &[u8]) -> Option<u16> {
    u16_at(payload, 1)
}

/// Progress is told of where an error might stand.
pub(super) const PROGRESS: u16 = 0xffff;

/// Of an error may be kept its code and its SQLSTATE.
pub(super) fn keep_error(payload: &[u8], runs: &mut Runs) {
    runs.keep(payload.len().min(3));
    if let Some(state) = payload.get(3..9)
        && is_sql_state(state)
    {
        runs.keep(6);
    }
}

/// `#` and five digits or letters.
pub(super) fn is_sql_state(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    matches!(bytes, [b'#', state @ ..] if state.len() == 5 && state.iter().all(plain))
}

/// A name of a database or a table, whole, of plain characters.
pub(super) fn plain_name(name: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-$.".contains(byte);
    let name = (1..=64).contains(&name.len()).then_some(name)?;
    name.iter().all(plain).then(|| std::str::from_utf8(name).ok())?
}
