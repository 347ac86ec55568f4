//! Names that a head is made of: header names whose values are harmless, and methods.

/// Headers that decide about the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Field {
    ContentLength,
    TransferEncoding,
    Expect,
    /// Says what becomes of the connection, or what follows the body.
    Connection,
    /// Which protocols may follow, or do.
    Upgrade,
    Host,
    #[default]
    Other,
}

impl Field {
    /// Framing needs its value.
    pub(super) fn frames(self) -> bool {
        !matches!(self, Field::Host | Field::Other)
    }
}

/// Headers whose values are kept, lower case, sorted. All others are blanked: a list of secrets
/// would be found incomplete by the first `X-My-Token`.
const HARMLESS: [&str; 43] = [
    "accept",
    "accept-encoding",
    "accept-ranges",
    "age",
    "allow",
    "b3",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "last-modified",
    "max-forwards",
    "pragma",
    "proxy-connection",
    "range",
    "retry-after",
    "sec-websocket-version",
    "server",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "uber-trace-id",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-amzn-trace-id",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-correlation-id",
    "x-envoy-upstream-service-time",
    "x-forwarded-proto",
    "x-request-id",
];

/// Longest header name that is looked up; longer ones are never harmless.
pub(super) const MAX_NAME_BYTES: usize = 32;
/// No entry of [`HARMLESS`] in this place of [`SLOTS`].
const NONE: u8 = u8::MAX;

/// A name in words, so that it is copied, made lower case and compared in a few instructions; zeros fill it up.
type Words = [u64; MAX_NAME_BYTES / 8];

/// [`HARMLESS`] in words.
const NAMES: [Words; HARMLESS.len()] = {
    let mut names = [[0; MAX_NAME_BYTES / 8]; HARMLESS.len()];
    let mut index = 0;
    while index < names.len() {
        let name = HARMLESS[index].as_bytes();
        let mut at = 0;
        while at < name.len() {
            names[index][at / 8] |= (name[at] as u64) << (at % 8 * 8);
            at += 1;
        }
        index += 1;
    }
    names
};

/// The bytes of a word that belong to a name of which that many bytes are left.
const MASKS: [u64; 9] = {
    let mut masks = [u64::MAX; 9];
    let mut left = 0;
    while left < 8 {
        masks[left] = (1 << (left * 8)) - 1;
        left += 1;
    }
    masks
};

/// What each of [`HARMLESS`] says of the body.
const FIELDS: [Field; HARMLESS.len()] = {
    let mut fields = [Field::Other; HARMLESS.len()];
    let mut index = 0;
    while index < fields.len() {
        fields[index] = match HARMLESS[index].as_bytes() {
            b"content-length" => Field::ContentLength,
            b"transfer-encoding" => Field::TransferEncoding,
            b"expect" => Field::Expect,
            b"connection" | b"trailer" => Field::Connection,
            b"upgrade" => Field::Upgrade,
            b"host" => Field::Host,
            _ => Field::Other,
        };
        index += 1;
    }
    fields
};

/// Where in [`HARMLESS`] the name of each [`slot`] is: one comparison decides, where a search was the dearest part of
/// reading a head.
const SLOTS: [u8; 256] = {
    let mut slots = [NONE; 256];
    let mut index = 0;
    while index < HARMLESS.len() {
        let name = HARMLESS[index].as_bytes();
        let slot = slot(name, name.len());
        assert!(slots[slot] == NONE, "two names in one slot: choose another sum");
        slots[slot] = index as u8;
        index += 1;
    }
    slots
};

/// A number below 256 that is another for every name of [`HARMLESS`], in any case.
const fn slot(name: &[u8], length: usize) -> usize {
    ((name[0] | 0x20) as usize + (name[length / 2] | 0x20) as usize + 16 * length) % 256
}

/// Whether the value of the header may be kept whose name the first `length` of `bytes` are, and what the header says
/// of the body.
#[inline]
pub(crate) fn header(bytes: &[u8], length: usize) -> (bool, Field) {
    const UNKNOWN: (bool, Field) = (false, Field::Other);
    if length == 0 || length > MAX_NAME_BYTES || length > bytes.len() {
        return UNKNOWN;
    }
    let index = SLOTS[slot(bytes, length)] as usize;
    let Some(known) = NAMES.get(index) else { return UNKNOWN };
    let mut filled_up = [0; MAX_NAME_BYTES];
    let name = bytes.first_chunk().unwrap_or_else(|| {
        filled_up[..length].copy_from_slice(&bytes[..length]);
        &filled_up
    });
    let (mut differs, mut controls) = (0, 0);
    for (at, known) in known.iter().enumerate() {
        let mask = MASKS[length.saturating_sub(at * 8).min(8)];
        let word = u64::from_le_bytes(name.as_chunks().0[at]) & mask;
        // Sets the bit that makes letters lower case, which no other byte of a known name lacks.
        differs |= (word | (mask & BIT_5)) ^ known;
        controls |= !(word | (word << 1)) & mask & BIT_6;
    }
    // Control characters lack both bits, and would else pass for `-` and digits.
    if differs | controls != 0 { UNKNOWN } else { (true, FIELDS[index]) }
}

const BIT_5: u64 = u64::from_ne_bytes([0x20; 8]);
const BIT_6: u64 = u64::from_ne_bytes([0x40; 8]);

/// Whether a name that is not whole may become one whose value is harmless; `frames`: or even one that framing needs. Such a
/// part says nothing but where in a list it stands.
pub(super) fn may_become_harmless(part: &[u8], frames: bool) -> bool {
    let begins = |name: &str| name.as_bytes().get(..part.len()).is_some_and(|n| n.eq_ignore_ascii_case(part));
    let mut names = HARMLESS.iter().zip(FIELDS);
    names.any(|(name, field)| begins(name) && (!frames || field.frames()))
}

/// Methods that are kept before the whole request line is seen, and make one of it where its end is never seen: those of
/// the registry of RFC 9110 section 16.1 and a few that are common, sorted.
const KNOWN_METHODS: [&[u8]; 46] = [
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"GET",
    b"HEAD",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"M-SEARCH",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"NOTIFY",
    b"OPTIONS",
    b"ORDERPATCH",
    b"PATCH",
    b"POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"PROXY",
    b"PURGE",
    b"PUT",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"TRACE",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];

pub(super) fn may_become_method(part: &[u8]) -> bool {
    KNOWN_METHODS.iter().any(|known| known.starts_with(part))
}

pub(crate) fn is_known_method(method: &[u8]) -> bool {
    KNOWN_METHODS.binary_search(&method).is_ok()
}

/// Whether the first word is a method that everybody knows.
pub(super) fn begins_known_method(bytes: &[u8]) -> bool {
    let word = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    is_known_method(word)
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < table.len() {
        table[index] = (index as u8).is_ascii_alphanumeric();
        index += 1;
    }
    index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_nothing_else_is() {
        for (index, name) in HARMLESS.iter().enumerate() {
            for padding in ["", ": value", ": a value that is so long that a whole chunk is there"] {
                for text in [name.to_string(), name.to_uppercase()] {
                    let bytes = [text.as_bytes(), padding.as_bytes()].concat();
                    assert_eq!(header(&bytes, name.len()), (true, FIELDS[index]), "{text}{padding}");
                    for at in 0..name.len() {
                        for other in 0..=u8::MAX {
                            let mut changed = bytes.clone();
                            changed[at] = other;
                            let known = other.eq_ignore_ascii_case(&name.as_bytes()[at])
                                || HARMLESS.contains(
                                    &&*String::from_utf8_lossy(&changed[..name.len()]).to_lowercase(),
                                );
                            assert_eq!(header(&changed, name.len()).0, known, "{changed:?}");
                        }
                    }
                }
            }
        }
        assert_eq!(header(b"accept-", 7), (false, Field::Other));
        assert_eq!(header(b"", 0), (false, Field::Other));
        assert_eq!(header(&[b'a'; 80], 80), (false, Field::Other));
    }
}
