//! How a connection begins: the server's greeting, and what the client answers.

use super::packets::{self, HEADER, capability, number, plain_name, u16_at, u32_at};
use crate::frames::Runs;

/// Longest version of a server that is believed.
const MAX_VERSION: usize = 128;

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) capabilities: u32,
    pub(super) mariadb: bool,
}

/// Where the version ends, if this is the payload of a greeting of protocol 10 or goes on as one.
fn version_end(payload: &[u8]) -> Option<usize> {
    let [10, rest @ ..] = payload else { return None };
    let version = rest.iter().take(MAX_VERSION).take_while(|byte| byte.is_ascii_graphic() || **byte == b' ');
    let length = version.count();
    let digit = rest.first().is_none_or(u8::is_ascii_digit);
    let ends = rest.get(length).is_none_or(|&byte| byte == 0);
    (digit && ends).then_some(1 + length)
}

impl Greeting {
    /// As far as the payload tells.
    pub(super) fn of(payload: &[u8]) -> Option<Greeting> {
        let end = version_end(payload)?;
        let mariadb = payload[..end].windows(7).any(|name| name.eq_ignore_ascii_case(b"MariaDB"));
        // NUL, connection id, eight bytes of the challenge, NUL.
        let at = end + 1 + 4 + 8 + 1;
        let low = u16_at(payload, at)?;
        let high = u16_at(payload, at + 5).unwrap_or(0);
        Some(Greeting { capabilities: u32::from(low) | u32::from(high) << 16, mariadb })
    }
}

/// Whether the data of a call is a greeting: with version, the fixed bytes behind it, and nothing after the
/// packet.
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    let Some((length, 0)) = packets::header(bytes) else { return false };
    let payload = &bytes[HEADER..];
    let Some(end) = version_end(payload).filter(|&end| end > 3) else { return false };
    let dotted = payload[1..end].contains(&b'.');
    let fixed = payload.get(end) == Some(&0) && payload.get(end + 13).is_none_or(|&byte| byte == 0);
    dotted && fixed && length < 512 && payload.len() <= length && payload.len() > end + 4
}

/// Whether data that goes on may be a greeting.
pub(super) fn may_greet(bytes: &[u8]) -> bool {
    let fits = packets::header(bytes).is_some_and(|(length, sequence)| {
        sequence == 0 && (46..512).contains(&length) && bytes.len() < HEADER + length
    });
    fits && bytes.len() > HEADER + 1 && version_end(&bytes[HEADER..]).is_some()
}

/// Of a greeting everything but the challenge may be kept.
pub(super) fn keep_greeting(payload: &[u8], runs: &mut Runs) {
    let Some(end) = version_end(payload) else { return };
    runs.keep((end + 1).min(payload.len()));
    runs.blank(4 + 8);
    runs.keep(payload.len().saturating_sub(end + 13).min(1 + 2 + 1 + 2 + 2));
}

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login<'a> {
    pub(super) capabilities: u32,
    /// It is no more than the wish to encrypt.
    pub(super) asks_for_ssl: bool,
    pub(super) database: Option<&'a str>,
}

/// Longest packet that is believed.
const MAX_LOGIN: usize = 65_536;
/// Bytes in front of the user's name.
pub(super) const FIXED: usize = 32;

/// Whether this may be the payload of a login, or of what asks for encryption, of so many bytes.
pub(super) fn is_login(payload: &[u8], length: usize) -> bool {
    let Some(capabilities) = u32_at(payload, 0) else { return false };
    if capabilities & capability::PROTOCOL_41 == 0 {
        return is_old_login(payload, length);
    }
    if !(FIXED..=MAX_LOGIN).contains(&length) {
        return false;
    }
    // The last four of the filler may hold MariaDB's capabilities.
    let filler = &payload[payload.len().min(9)..payload.len().min(FIXED - 4)];
    let alone = length == FIXED;
    let ssl = capabilities & capability::SSL != 0;
    filler.iter().all(|&byte| byte == 0) && payload.len() >= FIXED && (!alone || ssl)
}

/// Before 4.1: two bytes of capabilities, three of length, and the user's name.
fn is_old_login(payload: &[u8], length: usize) -> bool {
    let name = payload.get(5..).unwrap_or_default();
    let plain = name.iter().take_while(|&&byte| byte != 0).all(|byte| byte.is_ascii_graphic());
    plain && (5..512).contains(&length) && payload.len() >= 5
}

/// Whether the data of a call is a login of 4.1 or later, or asks for encryption.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let Some((length, 1)) = packets::header(bytes) else { return false };
    let payload = &bytes[HEADER..];
    let new = u32_at(payload, 0).is_some_and(|capabilities| capabilities & capability::PROTOCOL_41 != 0);
    let user = payload.get(FIXED..).unwrap_or_default().iter().take_while(|&&byte| byte != 0);
    new && payload.len() <= length && is_login(payload, length) && user.take(64).all(|&byte| byte >= b' ')
}

impl<'a> Login<'a> {
    /// As far as the payload, which has so many bytes when it is whole, tells.
    pub(super) fn of(payload: &'a [u8], length: usize) -> Login<'a> {
        let mut login = Login::default();
        if u16_at(payload, 0).is_some_and(|low| u32::from(low) & capability::PROTOCOL_41 == 0) {
            // Before 4.1: two bytes of capabilities, three of length.
            login.capabilities = u16_at(payload, 0).unwrap_or(0).into();
            login.asks_for_ssl = login.capabilities & capability::SSL != 0 && length <= 5;
            return login;
        }
        let Some(capabilities) = u32_at(payload, 0) else { return login };
        login.capabilities = capabilities;
        login.asks_for_ssl = capabilities & capability::SSL != 0 && length <= FIXED;
        login.database = database(payload).and_then(|(at, end)| plain_name(&payload[at..end]));
        login
    }
}

/// Where the user's name ends: at its NUL.
fn user_end(payload: &[u8]) -> Option<usize> {
    let user = payload.get(FIXED..)?;
    Some(FIXED + user.iter().take(256).position(|&byte| byte == 0)?)
}

/// Where what proves the user stands, behind its length.
fn proof(payload: &[u8]) -> Option<(usize, usize)> {
    let capabilities = u32_at(payload, 0)?;
    let at = user_end(payload)? + 1;
    if capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
        let (length, bytes) = number(payload.get(at..)?)?;
        let begin = at + bytes;
        return Some((begin, begin.checked_add(usize::try_from(length).ok()?)?));
    }
    if capabilities & capability::SECURE_CONNECTION != 0 {
        return Some((at + 1, at + 1 + usize::from(*payload.get(at)?)));
    }
    let length = payload.get(at..)?.iter().position(|&byte| byte == 0)?;
    Some((at, at + length + 1))
}

/// Where the name of the database stands, up to its NUL.
fn database(payload: &[u8]) -> Option<(usize, usize)> {
    if u32_at(payload, 0)? & capability::CONNECT_WITH_DB == 0 {
        return None;
    }
    let (_, at) = proof(payload)?;
    let length = payload.get(at..)?.iter().position(|&byte| byte == 0)?;
    Some((at, at + length))
}

/// Of a login may be kept its fixed bytes, where its parts end, and a plain name of a database.
pub(super) fn keep_login(payload: &[u8], runs: &mut Runs) {
    if u16_at(payload, 0).is_some_and(|low| u32::from(low) & capability::PROTOCOL_41 == 0) {
        return runs.keep(payload.len().min(2));
    }
    let base = runs.at();
    runs.keep(payload.len().min(FIXED));
    let Some(user) = user_end(payload) else { return };
    runs.blank(user - FIXED);
    runs.keep(1);
    let Some((begin, end)) = proof(payload) else { return };
    let told = runs.at() - base;
    runs.keep(begin - told);
    if u32_at(payload, 0).unwrap_or(0) & (capability::PLUGIN_AUTH_LENENC | capability::SECURE_CONNECTION) == 0
    {
        runs.blank(end - begin - 1);
        runs.keep(1);
    } else {
        runs.blank(end - begin);
    }
    if let Some((at, end)) = database(payload)
        && plain_name(&payload[at..end]).is_some()
    {
        runs.keep(end - at + 1);
    }
}
