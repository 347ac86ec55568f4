//! The two hellos (RFC 8446, section 4.1; RFC 5246, section 7.4.1): what they say, and which of their bytes
//! may be kept.

use std::ops::Range;

use super::ciphers::TLS13;

/// Type of the handshake message that a client begins with.
pub(super) const CLIENT_HELLO: u8 = 1;
/// Type of the server's answer to it.
pub(super) const SERVER_HELLO: u8 = 2;

/// Bytes in front of a handshake message: its type and its length.
pub(super) const HEADER: usize = 4;

const RANDOM: usize = 32;
const MAX_SESSION: usize = 32;
/// Longest name that is kept.
const MAX_NAME: usize = 255;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// The random of a ServerHello that asks for another ClientHello: SHA-256 of "HelloRetryRequest".
const RETRY: [u8; RANDOM] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a hello says, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Which of its bytes may be kept, in order.
    pub(super) kept: Vec<Range<usize>>,
    /// The version it is of, or the highest that is offered.
    pub(super) version: Option<u16>,
    /// The cipher suite that was chosen.
    pub(super) suite: Option<u16>,
    /// Where the name of the server stands.
    pub(super) server_name: Option<Range<usize>>,
    /// Where the names of application protocols stand.
    pub(super) protocols: Vec<Range<usize>>,
    /// The client may send data at once.
    pub(super) has_early_data: bool,
    /// It asks for another ClientHello.
    pub(super) is_retry: bool,
    /// The server has taken up a key that both had before.
    pub(super) is_resumed: bool,
}

/// Reads what is there of a handshake message, its header included. `cuts`: where it goes on in another
/// record; a name that is cut is not kept.
pub(super) fn read(message: &[u8], cuts: &[usize]) -> Hello {
    let mut reader = Reader { message, cuts, at: 0, end: message.len(), hello: Hello::default() };
    let _ = match message.first() {
        Some(&CLIENT_HELLO) => reader.client(),
        Some(&SERVER_HELLO) => reader.server(),
        _ => None,
    };
    reader.hello
}

/// A message of which some bytes are there. Each step says None where there are no more.
struct Reader<'a> {
    message: &'a [u8],
    cuts: &'a [usize],
    at: usize,
    /// What is read does not go further.
    end: usize,
    hello: Hello,
}

impl<'a> Reader<'a> {
    /// The next bytes, which may be kept, also those that are there of them.
    fn keep(&mut self, length: usize) -> Option<&'a [u8]> {
        let begin = self.at;
        let bytes = self.skip(length.min(self.end - self.at))?;
        match self.hello.kept.last_mut() {
            Some(last) if last.end == begin => last.end = self.at,
            _ if bytes.is_empty() => {}
            _ => self.hello.kept.push(begin..self.at),
        }
        (bytes.len() == length).then_some(bytes)
    }

    /// The next bytes, which must not.
    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.end)?;
        let bytes = &self.message[self.at..end];
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<usize> {
        Some(self.keep(1)?[0].into())
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.keep(2)?.first_chunk()?))
    }

    /// Header, version; the random and the id of the session follow.
    fn begin(&mut self) -> Option<()> {
        let &[_, a, b, c] = self.keep(HEADER)?.first_chunk()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.end = self.end.min(HEADER + length);
        self.hello.version = Some(self.word()?);
        Some(())
    }

    fn session(&mut self) -> Option<()> {
        let length = self.byte()?;
        if length > MAX_SESSION {
            return None;
        }
        self.skip(length)?;
        Some(())
    }

    fn client(&mut self) -> Option<()> {
        self.begin()?;
        self.skip(RANDOM)?;
        self.session()?;
        let suites = usize::from(self.word()?);
        self.keep(suites)?;
        let compressions = self.byte()?;
        self.keep(compressions)?;
        self.extensions()
    }

    fn server(&mut self) -> Option<()> {
        self.begin()?;
        let random = &self.message[self.at..self.end.min(self.at + RANDOM)];
        if RETRY.starts_with(random) {
            self.keep(RANDOM)?;
            self.hello.is_retry = true;
        } else {
            self.skip(RANDOM)?;
        }
        self.session()?;
        self.hello.suite = Some(self.word()?);
        self.byte()?;
        self.extensions()
    }

    /// Of each its type and length, and of few more.
    fn extensions(&mut self) -> Option<()> {
        let length = usize::from(self.word()?);
        self.end = self.end.min(self.at + length);
        loop {
            let kind = self.word()?;
            let length = usize::from(self.word()?);
            let (rest, end) = (self.end, self.at + length);
            self.end = rest.min(end);
            let _ = match kind {
                SERVER_NAME => self.server_name(),
                ALPN => self.protocols(),
                SUPPORTED_VERSIONS => self.versions(length),
                PRE_SHARED_KEY => {
                    self.hello.is_resumed = true;
                    Some(())
                }
                EARLY_DATA => {
                    self.hello.has_early_data = true;
                    Some(())
                }
                _ => Some(()),
            };
            self.end = rest;
            self.skip(end - self.at)?;
        }
    }

    /// RFC 6066, section 3: a list of names, of which there is one.
    fn server_name(&mut self) -> Option<()> {
        self.word()?;
        let kind = self.byte()?;
        let length = usize::from(self.word()?);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if kind == 0 {
            self.hello.server_name = self.name(length, plain)?;
        }
        Some(())
    }

    /// RFC 7301, section 3.1.
    fn protocols(&mut self) -> Option<()> {
        self.word()?;
        loop {
            let length = self.byte()?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/+:".contains(&byte);
            let name = self.name(length, plain)?;
            self.hello.protocols.extend(name);
        }
    }

    /// A name, which may be kept if it is whole and plain.
    fn name(&mut self, length: usize, plain: fn(u8) -> bool) -> Option<Option<Range<usize>>> {
        let run = self.at..self.at + length;
        let name = self.message.get(run.clone()).filter(|_| run.end <= self.end)?;
        let is_cut = self.cuts.iter().any(|cut| run.start < *cut && *cut < run.end);
        if name.is_empty() || length > MAX_NAME || is_cut || !name.iter().all(|&byte| plain(byte)) {
            self.skip(length)?;
            return Some(None);
        }
        self.keep(length)?;
        Some(Some(run))
    }

    /// RFC 8446, section 4.2.1: those that a client speaks in a list, the one that the server has chosen
    /// alone.
    fn versions(&mut self, length: usize) -> Option<()> {
        if length == 2 {
            self.hello.version = Some(self.word()?);
            return Some(());
        }
        self.byte()?;
        loop {
            let version = self.word()?;
            // Some are there to be passed over (RFC 8701).
            if version <= TLS13 && self.hello.version.is_none_or(|highest| highest < version) {
                self.hello.version = Some(version);
            }
        }
    }
}
