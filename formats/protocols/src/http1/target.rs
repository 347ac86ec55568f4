//! The request target (RFC 9112 section 3.2): which of its bytes are values.

/// Where in the request target the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Start,
    /// After so many bytes of `http://`, or of `https://`; 6 is that of both after the colon.
    Scheme(u8),
    /// After `*`: no more of the target may follow.
    Whole,
    /// The host of a CONNECT. `any`: some of it was seen.
    Host {
        any: bool,
    },
    /// In an IPv6 address of a CONNECT, in brackets.
    Bracket,
    AfterBracket,
    /// The port of a CONNECT, after so many digits.
    Port(u8),
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
pub(crate) struct Run {
    /// How many are of one kind.
    pub(crate) length: usize,
    /// They may be kept.
    pub(crate) keep: bool,
    /// A byte follows that parts them from what comes then.
    pub(crate) delimiter: bool,
    /// The place after all of these.
    pub(crate) next: Target,
}

impl Target {
    /// The next bytes of the target, of which `bytes` begin with one at least. None where none may stand here.
    pub(crate) fn run(self, bytes: &[u8]) -> Option<Run> {
        if !self.is_url() {
            return if self.is_form() { self.form(bytes[0]) } else { self.host(bytes) };
        }
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

    /// The bytes here tell which form the target has, and no more.
    pub(super) fn is_form(self) -> bool {
        matches!(self, Target::Start | Target::Scheme(_))
    }

    /// Part of the host and port of a CONNECT.
    pub(super) fn is_host(self) -> bool {
        matches!(self, Target::Host { .. } | Target::Bracket | Target::AfterBracket | Target::Port(_))
    }

    /// A path or what follows it, or an URL of HTTP.
    pub(super) fn is_url(self) -> bool {
        !self.is_form() && !self.is_host() && self != Target::Whole
    }

    /// A space may follow.
    pub(crate) fn may_end(self) -> bool {
        !self.is_form() && (!self.is_host() || matches!(self, Target::Port(1..)))
    }

    /// The first bytes: they say which form of RFC 9112 section 3.2 it is.
    fn form(self, byte: u8) -> Option<Run> {
        let next = match self {
            Target::Start => match byte {
                b'/' => Target::Path,
                b'*' => Target::Whole,
                b'h' | b'H' => Target::Scheme(1),
                _ => return None,
            },
            Target::Scheme(n) => match (n, byte.to_ascii_lowercase()) {
                (1 | 2, b't') | (3, b'p') | (4, b's') => Target::Scheme(n + 1),
                (4 | 5, b':') => Target::Scheme(6),
                (6, b'/') => Target::Scheme(7),
                (7, b'/') => Target::Authority,
                _ => return None,
            },
            _ => return None,
        };
        Some(Run { length: 1, keep: true, delimiter: false, next })
    }

    /// The host and port of a CONNECT: `CONNECT {"user":...` of another protocol is none. A blank is as good as any byte.
    fn host(self, bytes: &[u8]) -> Option<Run> {
        let run = |belongs: fn(u8) -> bool| bytes.iter().position(|&b| !belongs(b)).unwrap_or(bytes.len());
        let (length, next) = match self {
            Target::Host { any: false } if bytes[0] == b'[' => (1, Target::Bracket),
            Target::Host { .. } => {
                (run(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b)), Target::Host { any: true })
            }
            Target::Bracket if bytes[0] == b']' => (1, Target::AfterBracket),
            Target::Bracket => (run(|b| b.is_ascii_hexdigit() || b":.*".contains(&b)), Target::Bracket),
            Target::AfterBracket => (0, self),
            Target::Port(digits) => {
                let length = run(|b| b.is_ascii_digit() || b == b'*');
                let digits = usize::from(digits) + length;
                if digits > 5 {
                    return None;
                }
                (length, Target::Port(digits as u8))
            }
            _ => return None,
        };
        let may_end = matches!(next, Target::Host { any: true } | Target::AfterBracket);
        let delimiter = may_end
            && (length > 0 || self != Target::Host { any: false })
            && bytes.get(length) == Some(&b':');
        if length == 0 && !delimiter {
            return None;
        }
        Some(Run { length, keep: true, delimiter, next: if delimiter { Target::Port(0) } else { next } })
    }

    /// The place after a byte that ends what stands here; None where it does not.
    fn after(self, end: u8) -> Option<Target> {
        use Target::{Authority, Fragment, ParameterName, ParameterValue, Path, QueryName, QueryValue};
        let path = matches!(self, Path | ParameterName | ParameterValue | Authority);
        match (self, end) {
            (Fragment, _) => None,
            _ if self.is_form() || self.is_host() || self == Target::Whole => None,
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
    pub(crate) fn plain_run(self, bytes: &[u8]) -> usize {
        let plain = match self {
            Target::Path => &PLAIN_IN_PATH,
            Target::ParameterName => &PLAIN_IN_PARAMETER_NAME,
            Target::ParameterValue | Target::Authority => &PLAIN_UP_TO_PATH,
            Target::QueryName => &PLAIN_IN_NAME,
            Target::QueryValue => &PLAIN_IN_VALUE,
            Target::Fragment => &PLAIN,
            _ => return 0,
        };
        bytes.iter().position(|&b| !plain[b as usize]).unwrap_or(bytes.len())
    }
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
