//! Secrets that are known by how they look: numbers of payment cards, tokens, private keys, passwords in addresses.

use std::ops::Range;

/// Begins of tokens, each followed by so many of their bytes at least.
const TOKENS: [(&[u8], usize); 24] = [
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AIza", 30),
    (b"ya29.", 20),
    (b"ghp_", 30),
    (b"gho_", 30),
    (b"ghs_", 30),
    (b"ghu_", 30),
    (b"ghr_", 30),
    (b"github_pat_", 30),
    (b"glpat-", 18),
    (b"xoxa-", 10),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"sk_live_", 16),
    (b"rk_live_", 16),
    (b"sk-", 24),
    (b"hf_", 30),
    (b"npm_", 30),
    (b"dop_v1_", 40),
    (b"SG.", 40),
    (b"eyJ", 20),
];
/// Words before a credential.
const SCHEMES: [&[u8]; 4] = [b"bearer ", b"basic ", b"token ", b"apikey "];
const KEY_BEGIN: &[u8] = b"-----BEGIN ";
const KEY_NAME: &[u8] = b"PRIVATE KEY-----";
const KEY_END: &[u8] = b"-----END ";
/// Fewest bytes of a credential behind one of [`SCHEMES`].
const FEWEST: usize = 8;

fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(byte)
}

fn run(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_of_token(byte)).count()
}

/// The token that begins there, if one does. One that the end of the bytes cuts counts however little of it is there.
pub(super) fn token(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &bytes[at..];
    let follows_word = at > 0 && bytes[at - 1].is_ascii_alphanumeric();
    if follows_word {
        return None;
    }
    if rest.starts_with(KEY_BEGIN) {
        let name = rest[KEY_BEGIN.len()..].windows(KEY_NAME.len()).take(24).position(|w| w == KEY_NAME)?;
        let from = at + KEY_BEGIN.len() + name + KEY_NAME.len();
        let end = bytes[from..].windows(KEY_END.len()).position(|window| window == KEY_END);
        return Some(from..end.map_or(bytes.len(), |end| from + end));
    }
    let scheme = SCHEMES
        .iter()
        .find(|scheme| rest.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    if let Some(scheme) = scheme {
        let from = at + scheme.len();
        let length = run(&bytes[from..]);
        return (length >= FEWEST || from + length == bytes.len()).then_some(from..from + length);
    }
    let (_, more) = TOKENS.iter().find(|(begin, _)| rest.starts_with(begin))?;
    let length = run(rest);
    (length >= *more || at + length == bytes.len()).then_some(at..at + length)
}

/// The number of a payment card that begins there (ISO/IEC 7812-1: 13 to 19 digits, the last by Luhn's rule), with one space or
/// hyphen between digits at most.
pub(super) fn card(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if !(b'2'..=b'6').contains(&bytes[at]) || (at > 0 && is_digit_or_point(bytes[at - 1])) {
        return None;
    }
    let (mut digits, mut count, mut end) = ([0; 19], 0, at);
    let mut place = at;
    while let Some(byte) = bytes.get(place) {
        if byte.is_ascii_digit() {
            *digits.get_mut(count)? = byte - b'0';
            count += 1;
            place += 1;
            end = place;
        } else if matches!(byte, b' ' | b'-') && place == end {
            place += 1;
        } else {
            break;
        }
    }
    let follows = bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric());
    (count >= 13 && !follows && luhn(&digits[..count])).then_some(at..end)
}

fn is_digit_or_point(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let weighed = digits.iter().rev().enumerate();
    let sum: u32 =
        weighed.map(|(place, &digit)| u32::from(if place % 2 == 1 { doubled(digit) } else { digit })).sum();
    sum.is_multiple_of(10)
}

/// The password in an address (`://user:password@`) whose `://` begins there.
pub(super) fn userinfo(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let from = at + b"://".len();
    let rest = bytes[at..].strip_prefix(b"://")?;
    let end =
        rest.iter().position(|byte| b"@/?# \"'<>\r\n".contains(byte)).filter(|&end| rest[end] == b'@')?;
    let colon = rest[..end].iter().position(|&byte| byte == b':')?;
    Some(from + colon + 1..from + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_from_other_numbers() {
        let found = |text: &str| (0..text.len()).find_map(|at| card(text.as_bytes(), at));
        assert_eq!(found("n=4111111111111111;"), Some(2..18));
        assert_eq!(found("5555 5555 5555 4444"), Some(0..19));
        assert_eq!(found("3782-822463-10005"), Some(0..17));
        for other in [
            "4111111111111112",
            "14111111111111111",
            "411111111111111",
            "1764518400123456789",
            "4111111111111111a",
            "",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_are_told_by_their_begin() {
        let found = |text: &str| {
            (0..text.len()).find_map(|at| token(text.as_bytes(), at)).map(|run| text[run].to_owned())
        };
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
        assert_eq!(found(&format!("x {jwt},")), Some(jwt.to_owned()));
        assert_eq!(found("Authorization: Bearer abc.def-123456"), Some("abc.def-123456".to_owned()));
        assert_eq!(found("AKIAIOSFODNN7EXAMPLE"), Some("AKIAIOSFODNN7EXAMPLE".to_owned()));
        assert_eq!(found("AKIA is a word"), None);
        assert_eq!(found("a key AKIAIO"), Some("AKIAIO".to_owned()), "cut by the end");
        assert_eq!(found("basic things are basic"), None);
        assert_eq!(found("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA"), Some("\nMII\n".to_owned()));
    }

    #[test]
    fn passwords_in_addresses() {
        let found = |text: &str| {
            (0..text.len()).find_map(|at| userinfo(text.as_bytes(), at)).map(|run| text[run].to_owned())
        };
        assert_eq!(found("postgres://app:hunter2@db/x"), Some("hunter2".to_owned()));
        assert_eq!(found("http://a/b:c@d"), None);
        assert_eq!(found("http://user@host"), None);
    }
}
