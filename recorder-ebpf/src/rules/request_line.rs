//! The grammar of an HTTP request line (RFC 9112, section 3), as far as it tells a request from other data.

use super::words::word;

/// What data begins with, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No message of a protocol that we parse.
    No,
    /// A method, as far as it goes: what tells lies beyond these bytes.
    Perhaps,
    /// `METHOD ` and the first byte of a target.
    Request,
    /// A signature of [`Keep::Head`].
    Head,
    /// A signature of [`Keep::HeadBehindLine`].
    HeadBehindLine,
}

/// The bytes of a token (RFC 9110, section 5.6.2), one bit each: the lower 64, then the upper.
const TOKEN: [u64; 2] = {
    let mut bits = [0; 2];
    let mut byte = b'!';
    while byte < 127 {
        let is_separator = matches!(
            byte,
            b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}'
        );
        if !is_separator {
            bits[(byte / 64) as usize] |= 1 << (byte % 64);
        }
        byte += 1;
    }
    bits
};

#[inline(always)]
fn is_token(byte: u64) -> bool {
    let bits = if byte < 64 { TOKEN[0] } else { TOKEN[1] };
    byte < 128 && bits >> (byte & 63) & 1 != 0
}

/// Whether data begins with a request line. Any token may be a method, which no list of signatures can say; a path, `*` or
/// `http` that follows it tells a request from text.
#[inline(always)]
pub fn request(first: u64, available: u64) -> Start {
    let mut index = 0;
    while index < 8 {
        if index >= available {
            return if index == 0 { Start::No } else { Start::Perhaps };
        }
        let byte = first >> (8 * index) & 0xff;
        if byte == b' ' as u64 && index != 0 {
            if index == 7 || index + 1 >= available {
                // The authority that follows CONNECT may begin with anything.
                return if first == word(b"CONNECT ") { Start::Request } else { Start::Perhaps };
            }
            return of_target(first >> (8 * (index + 1)) & 0xff);
        }
        if !is_token(byte) {
            return Start::No;
        }
        index += 1;
    }
    Start::Perhaps
}

#[inline(always)]
fn of_target(byte: u64) -> Start {
    match byte as u8 {
        b'/' | b'*' | b'h' | b'H' => Start::Request,
        _ => Start::No,
    }
}

/// Words looked at beyond the first where that is not enough.
pub const LATER_WORDS: usize = 3;

/// What data begins with whose first word is the beginning of a method: `later` are the next words, of which `available`
/// bytes are there. `ended`: the first word ends with the space.
#[inline(always)]
pub fn start_later(later: [u64; LATER_WORDS], available: u64, ended: bool) -> Start {
    let mut ended = ended;
    let mut index = 0;
    while index < 8 * LATER_WORDS as u64 {
        if index >= available {
            return Start::Perhaps;
        }
        let byte = later[(index / 8) as usize] >> (8 * (index % 8)) & 0xff;
        if ended {
            return of_target(byte);
        }
        if byte == b' ' as u64 {
            ended = true;
        } else if !is_token(byte) {
            return Start::No;
        }
        index += 1;
    }
    Start::No
}
