//! The header of a frame: magic, flags, status, id, length of the body.

use super::{names, status};

/// Bytes of a header.
pub(super) const LENGTH: usize = 16;

/// The first bytes of each frame.
pub(super) const MAGIC: [u8; 2] = [0xda, 0xbb];

const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;

/// Longest body. Providers refuse more than 8 MiB unless told otherwise.
const MAX_BODY: u32 = 1 << 28;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// A request; else a response.
    pub(super) is_request: bool,
    /// A response is wanted.
    pub(super) two_way: bool,
    /// A heartbeat, or that the sender is about to leave.
    pub(super) is_event: bool,
    /// Id of the serialization of the body.
    pub(super) serialization: u8,
    /// Status of a response.
    pub(super) status: u8,
    /// What ties a response to its request.
    pub(super) id: u64,
    /// Bytes of the body.
    pub(super) body: u32,
}

impl Header {
    /// The header that these bytes begin with. None where they begin with none, or there are too few.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let (&[m, a, flags, status, ref rest @ ..], _) = bytes.split_first_chunk::<LENGTH>()?;
        let (&id, &body) = (rest.first_chunk()?, rest.last_chunk()?);
        let header = Header {
            is_request: flags & REQUEST != 0,
            two_way: flags & TWO_WAY != 0,
            is_event: flags & EVENT != 0,
            serialization: flags & 0x1f,
            status,
            id: u64::from_be_bytes(id),
            body: u32::from_be_bytes(body),
        };
        let fits = [m, a] == MAGIC && header.serialization != 0 && header.body <= MAX_BODY;
        (fits && header.status_fits()).then_some(header)
    }

    /// A request has no status. That of a response must be one that is defined.
    fn status_fits(&self) -> bool {
        if self.is_request { self.status == 0 } else { !self.two_way && status::name(self.status).is_some() }
    }

    /// Whether the first bytes of a body, as far as they are there, are those of what the header announces.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        match body.first() {
            Some(_) if self.body == 0 => false,
            Some(&first) if self.is_request && !self.is_event => names::may_begin(self.serialization, first),
            _ => true,
        }
    }
}
