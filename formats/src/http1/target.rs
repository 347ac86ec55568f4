//! The request target (RFC 9112 section 3.2): which of its bytes are values.

/// Where in the request target the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Start,
    /// After `*` or the host and port of a CONNECT: no more of the target may follow.
    Whole,
    Path,
    ParameterName,
    ParameterValue,
    QueryName,
    QueryValue,
    /// May hold a user and a password.
    Authority,
    Fragment,
}

/// The next bytes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many are of one kind.
    pub(super) length: usize,
    /// They may be kept.
    pub(super) keep: bool,
    /// A byte follows that parts them from what comes then.
    pub(super) delimiter: bool,
    /// The place after all of these.
    pub(super) next: Target,
}

impl Target {
    /// The form that a target begins with: how many bytes say so, and the place after them. None where it is none of
    /// RFC 9112, or where these bytes do not tell. `connect`: the method is CONNECT, whose target has a form of its own.
    pub(super) fn begin(bytes: &[u8], connect: bool) -> Option<(usize, Target)> {
        if connect {
            return Some((authority_form(bytes)?, Target::Whole));
        }
        match bytes.first()? {
            b'/' => Some((1, Target::Path)),
            b'*' => Some((1, Target::Whole)),
            _ => {
                let begins = |scheme: &&[u8]| {
                    bytes.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
                };
                let scheme = [&b"http://"[..], b"https://"].into_iter().find(begins)?;
                Some((scheme.len(), Target::Authority))
            }
        }
    }

    /// The next bytes of the target, of which `bytes` begin with one at least. None where none may stand here.
    pub(super) fn run(self, bytes: &[u8]) -> Option<Run> {
        let length = self.plain_run(bytes);
        let end = bytes.get(length).copied();
        let after = end.and_then(|end| self.after(end));
        if length == 0 && after.is_none() {
            return None;
        }
        let keep = match self {
            Target::Path => true,
            // A part without `=` may be a value that has no name.
            Target::ParameterName | Target::QueryName => end == Some(b'='),
            _ => false,
        };
        Some(Run { length, keep, delimiter: after.is_some(), next: after.unwrap_or(self) })
    }

    /// The place after a byte that ends what stands here; None where it does not.
    fn after(self, end: u8) -> Option<Target> {
        use Target::{Authority, Fragment, ParameterName, ParameterValue, Path, QueryName, QueryValue};
        let path = matches!(self, Path | ParameterName | ParameterValue | Authority);
        match (self, end) {
            (Target::Start | Target::Whole | Fragment, _) => None,
            (_, b'#') => Some(Fragment),
            (_, b'?') if path => Some(QueryName),
            (ParameterName | ParameterValue | Authority, b'/') => Some(Path),
            (Path | ParameterName, b';') => Some(ParameterName),
            (ParameterName, b'=') => Some(ParameterValue),
            (QueryName, b'=') => Some(QueryValue),
            // Some take `;` for `&`, most for a part of the value: what follows is neither safely.
            (QueryName, b';') => Some(QueryValue),
            (QueryName | QueryValue, b'&') => Some(QueryName),
            _ => None,
        }
    }

    /// How many of the first bytes neither end the target nor leave this place.
    pub(super) fn plain_run(self, bytes: &[u8]) -> usize {
        let plain = match self {
            Target::Start | Target::Whole => return 0,
            Target::Path => &PLAIN_IN_PATH,
            Target::ParameterName => &PLAIN_IN_PARAMETER_NAME,
            Target::ParameterValue | Target::Authority => &PLAIN_UP_TO_PATH,
            Target::QueryName => &PLAIN_IN_NAME,
            Target::QueryValue => &PLAIN_IN_VALUE,
            Target::Fragment => &PLAIN,
        };
        bytes.iter().position(|&b| !plain[b as usize]).unwrap_or(bytes.len())
    }
}

/// Length of the host and port that `bytes` begin with, if nothing else stands before the space: `CONNECT {"user":...`
/// of another protocol is none.
fn authority_form(bytes: &[u8]) -> Option<usize> {
    let length = bytes.iter().position(|&b| b == b' ')?;
    let colon = bytes[..length].iter().rposition(|&b| b == b':')?;
    let (host, port) = (&bytes[..colon], &bytes[colon + 1..length]);
    let is_host = match host {
        [b'[', address @ .., b']'] => {
            address.iter().all(|&b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        name => name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    let is_port = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    (is_host && !host.is_empty() && is_port).then_some(length)
}

const PLAIN_IN_PATH: [bool; 256] = all_but(b"?;#");
const PLAIN_IN_PARAMETER_NAME: [bool; 256] = all_but(b"=/?;#");
const PLAIN_UP_TO_PATH: [bool; 256] = all_but(b"/?#");
const PLAIN_IN_NAME: [bool; 256] = all_but(b"=&;#");
const PLAIN_IN_VALUE: [bool; 256] = all_but(b"&#");
const PLAIN: [bool; 256] = all_but(b"");

/// All bytes but those and what no target has: a space, the bytes of a line end, NUL. Control characters are no good
/// there either, but servers take them.
const fn all_but(ends: &[u8]) -> [bool; 256] {
    let mut plain = [true; 256];
    plain[b' ' as usize] = false;
    plain[b'\r' as usize] = false;
    plain[b'\n' as usize] = false;
    plain[0] = false;
    let mut index = 0;
    while index < ends.len() {
        plain[ends[index] as usize] = false;
        index += 1;
    }
    plain
}
