//! Which protocol a connection changes to, as the field `Upgrade` says (RFC 9110 section 7.8), and whether the answer to the
//! request that asked for the change comes in that one.

use crate::websocket;

/// The token of HTTP/2 without TLS (RFC 7540 section 3.2): the request is that of its stream 1.
const GOES_ON: &str = "h2c";
/// Tokens that are told apart.
const TOKENS: [&str; 2] = [GOES_ON, websocket::NAME];
const LONGEST: usize = websocket::NAME.len();

/// The values of the field so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Upgrade {
    /// The element that is being read, in lower case, as far as it may be a token.
    element: [u8; LONGEST],
    length: usize,
    /// Tokens that were found, by their places.
    found: [bool; TOKENS.len()],
}

impl Upgrade {
    /// A byte of a value.
    pub(super) fn byte(&mut self, byte: u8) {
        match byte {
            b',' => self.end(),
            b' ' | b'\t' => {}
            _ => {
                if let Some(place) = self.element.get_mut(self.length) {
                    *place = byte.to_ascii_lowercase();
                }
                self.length = self.length.saturating_add(1);
            }
        }
    }

    /// An element ends, or the value.
    pub(super) fn end(&mut self) {
        let element = self.element.get(..self.length).unwrap_or_default();
        for (token, found) in TOKENS.iter().zip(&mut self.found) {
            *found |= element == token.as_bytes();
        }
        self.length = 0;
    }

    /// The answer comes in the other protocol.
    pub(super) fn goes_on(&self) -> bool {
        self.is(GOES_ON)
    }

    /// The protocol that is spoken from here on, where its bytes would not tell.
    pub(super) fn leads_to(&self) -> Option<&'static str> {
        self.is(websocket::NAME).then_some(websocket::NAME)
    }

    fn is(&self, wanted: &str) -> bool {
        TOKENS.iter().zip(self.found).any(|(token, found)| found && *token == wanted)
    }
}
