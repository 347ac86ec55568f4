//! The request target (RFC 9112 section 3.2): which of its bytes are values.

/// Where in the request target the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Start,
    Path,
    ParameterName,
    ParameterValue,
    QueryName,
    QueryValue,
    /// `http:` of an absolute form; the number of slashes seen after the colon.
    Scheme(Option<u8>),
    /// May hold a user and a password.
    Authority,
}

impl Target {
    /// The place after `byte`, which is not a space. `connect`: the method is CONNECT.
    pub(super) fn next(self, byte: u8, connect: bool) -> Target {
        match (self, byte) {
            (Target::Start, b'/' | b'*') => Target::Path,
            (Target::Start, _) if connect => Target::Path,
            (Target::Start, _) => Target::Scheme(None),
            (Target::Scheme(None), b':') => Target::Scheme(Some(0)),
            (Target::Scheme(Some(0)), b'/') => Target::Scheme(Some(1)),
            (Target::Scheme(Some(1)), b'/') => Target::Authority,
            // `user:secret@host` without a scheme is no target that RFC 9112 knows.
            (Target::Scheme(Some(_)), _) => Target::Authority,
            (Target::QueryName | Target::QueryValue, b'&' | b';') => Target::QueryName,
            (Target::QueryName, b'=') => Target::QueryValue,
            (Target::QueryName | Target::QueryValue, _) => self,
            (_, b'?') => Target::QueryName,
            (_, b'/') => Target::Path,
            (Target::Path | Target::ParameterName | Target::ParameterValue, b';') => Target::ParameterName,
            (Target::ParameterName, b'=') => Target::ParameterValue,
            (Target::Path | Target::ParameterName | Target::ParameterValue | Target::Authority, _) => self,
            (Target::Scheme(None), _) => self,
        }
    }

    /// A byte that leaves this place as it is must be blanked.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Target::ParameterValue | Target::QueryValue | Target::Authority)
    }

    /// How many of the first bytes neither end the target nor leave this place, where that can be told without its
    /// state.
    pub(super) fn plain_run(self, bytes: &[u8]) -> usize {
        let plain = match self {
            Target::Path => &PLAIN_IN_PATH,
            Target::QueryValue => &PLAIN_IN_VALUE,
            _ => return 0,
        };
        bytes.iter().position(|&b| !plain[b as usize]).unwrap_or(bytes.len())
    }
}

const PLAIN_IN_PATH: [bool; 256] = all_but(b"?;");
const PLAIN_IN_VALUE: [bool; 256] = all_but(b"&;");

/// All bytes but those, the space and what is below it.
const fn all_but(ends: &[u8]) -> [bool; 256] {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte <= b' ' as usize {
        plain[byte] = false;
        byte += 1;
    }
    let mut index = 0;
    while index < ends.len() {
        plain[ends[index] as usize] = false;
        index += 1;
    }
    plain
}
