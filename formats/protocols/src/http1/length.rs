//! What the fields of a head say about the length of its message (RFC 9112 section 6).
//!
//! Whatever the RFC calls invalid, and whatever two recipients might read differently, is [`Extent::Unclear`].

/// How long a message is after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// No field says anything.
    Unsaid,
    Length(u64),
    Chunked,
    /// Coded, and not chunked at last: a response lasts until the connection is closed.
    Coded,
    Unclear,
}

/// The fields read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    /// `Content-Length`, where all of its values agree.
    length: Option<u64>,
    number: Number,
    codings: Codings,
    unclear: bool,
}

/// An element of a `Content-Length` value.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    digits: Option<u64>,
    /// A space follows it.
    closed: bool,
}

/// The `Transfer-Encoding` so far.
#[derive(Clone, Copy, Debug, Default)]
struct Codings {
    any: bool,
    /// The last coding is `chunked`.
    chunked: bool,
    /// Some coding is.
    ever_chunked: bool,
    word: [u8; CHUNKED.len()],
    /// Bytes of the word, more than it holds included.
    word_bytes: u8,
    closed: bool,
}

const CHUNKED: &[u8; 7] = b"chunked";

impl Lengths {
    /// The fields cannot be relied on.
    pub(super) fn doubt(&mut self) {
        self.unclear = true;
    }

    /// A whole `Content-Length` value that is one number.
    pub(super) fn number(&mut self, number: u64) {
        self.unclear |= self.length.is_some_and(|length| length != number);
        self.length = Some(number);
    }

    /// A byte of a `Content-Length` value.
    pub(super) fn length_byte(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' => self.number.closed |= self.number.digits.is_some(),
            b',' => self.end_of_length(),
            _ => {
                let digits = self.number.digits.unwrap_or(0);
                self.number.digits = add_digit(digits, byte).filter(|_| !self.number.closed);
                self.unclear |= self.number.digits.is_none();
            }
        }
    }

    /// An element of a `Content-Length` value ends, or all of it.
    pub(super) fn end_of_length(&mut self) {
        match std::mem::take(&mut self.number).digits {
            Some(number) => self.number(number),
            None => self.unclear = true,
        }
    }

    /// A byte of a `Transfer-Encoding` value.
    pub(super) fn coding_byte(&mut self, byte: u8) {
        let codings = &mut self.codings;
        match byte {
            b' ' | b'\t' => codings.closed |= codings.word_bytes > 0,
            b',' => self.end_of_coding(),
            _ => {
                // Parameters of codings are nobody's use, and `chunked` has none.
                self.unclear |= codings.closed || !super::names::is_token(byte);
                if let Some(place) = codings.word.get_mut(usize::from(codings.word_bytes)) {
                    *place = byte.to_ascii_lowercase();
                }
                codings.word_bytes = codings.word_bytes.saturating_add(1);
            }
        }
    }

    /// A coding ends, or all of the value.
    pub(super) fn end_of_coding(&mut self) {
        let codings = &mut self.codings;
        if codings.word_bytes > 0 {
            let chunked = usize::from(codings.word_bytes) == CHUNKED.len() && &codings.word == CHUNKED;
            self.unclear |= chunked && codings.ever_chunked;
            codings.any = true;
            codings.chunked = chunked;
            codings.ever_chunked |= chunked;
        }
        (codings.word_bytes, codings.closed) = (0, false);
    }

    /// A `Transfer-Encoding` begins.
    pub(super) fn begin_coding(&mut self) {
        self.codings.any = true;
        self.codings.chunked = false;
    }

    /// What they all say. `minor`: of the version; HTTP/1.0 has no transfer codings.
    pub(super) fn extent(&self, minor: u8) -> Extent {
        match self.length {
            _ if self.unclear => Extent::Unclear,
            _ if self.codings.any && minor == 0 => Extent::Unclear,
            _ if self.codings.chunked => Extent::Chunked,
            _ if self.codings.any => Extent::Coded,
            Some(length) => Extent::Length(length),
            None => Extent::Unsaid,
        }
    }
}

/// A number without sign or space that fits; None else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| add_digit(number, digit))
}

fn add_digit(number: u64, digit: u8) -> Option<u64> {
    let value = (digit as char).to_digit(10)?;
    number.checked_mul(10)?.checked_add(value.into())
}
