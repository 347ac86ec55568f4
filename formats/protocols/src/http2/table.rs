//! The tables of header compression: fields that an index stands for (RFC 7541, section 2.3).
//!
//! The standard counts the size of entries, so that both sides forget the same ones. Here nobody counts: an
//! index says how many entries have been added since, and a peer that keeps to the standard never asks for
//! one that was forgotten. So an entry that is still held is the right one, whatever happened to those before
//! it, also where the connection's begin was not seen; an index beyond those that are held stands for a field
//! that is not known. That alone has to be made sure of, that none is forgotten which the peer still holds:
//! see [`Table::insert`].

use std::collections::VecDeque;

use super::field::{Field, Name};

/// Bytes that the standard counts for an entry beyond those of its texts.
const OVERHEAD: usize = 32;

/// Size of a table of which nothing else was said (RFC 9113, section 6.5.2).
const DEFAULT_SIZE: usize = 4096;

/// Largest size that is believed.
const MAX_SIZE: usize = 64 * 1024;

/// The field of an index that nobody knows.
const UNKNOWN: (Name, &Field) = (Name::Unknown, &Field::Nothing);

/// The fields of one direction that may be asked for.
#[derive(Debug)]
pub(super) struct Table {
    /// The last one first.
    entries: VecDeque<(Name, Field)>,
    /// At most as large as these entries are.
    size: usize,
    /// At least as large as the table may be.
    allowed: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: VecDeque::new(), size: 0, allowed: DEFAULT_SIZE }
    }
}

impl Table {
    /// The field of an index from 1 on.
    #[inline]
    pub(super) fn get(&self, index: usize) -> (Name, &Field) {
        match STATIC.get(index) {
            Some((name, field)) => (*name, field),
            None => match self.entries.get(index - STATIC.len()) {
                Some((name, field)) => (*name, field),
                None => UNKNOWN,
            },
        }
    }

    /// Adds a field. Those are forgotten that the peer has forgotten by all means: the others fill the table,
    /// even if each is no larger than what is known of it.
    pub(super) fn insert(&mut self, name: Name, field: Field) {
        self.size += OVERHEAD + field.length();
        self.entries.push_front((name, field));
        while self.size > self.allowed
            && let Some((_, field)) = self.entries.pop_back()
        {
            self.size -= OVERHEAD + field.length();
        }
    }

    /// The table may be that large.
    pub(super) fn allow(&mut self, size: usize) {
        self.allowed = self.allowed.max(size.min(MAX_SIZE));
    }

    /// Entries may be missing.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.size = 0;
    }
}

/// The fields that are known without having been sent (RFC 7541, appendix A), from index 1 on; where only the
/// name matters the value is left out.
static STATIC: [(Name, Field); 62] = {
    use Field::{Known, Nothing, Number};
    use Name::{Authority, Harmless, Host, Method, Other, Path, Scheme, Status, UserAgent};
    [
        (Name::Unknown, Nothing),
        (Authority, Nothing),
        (Method, Known("GET")),
        (Method, Known("POST")),
        (Path, Known("/")),
        (Path, Known("/index.html")),
        (Scheme, Known("http")),
        (Scheme, Known("https")),
        (Status, Number(200)),
        (Status, Number(204)),
        (Status, Number(206)),
        (Status, Number(304)),
        (Status, Number(400)),
        (Status, Number(404)),
        (Status, Number(500)),
        (Other, Nothing),             // accept-charset
        (Harmless, Nothing),          // accept-encoding
        (Other, Nothing),             // accept-language
        (Harmless, Nothing),          // accept-ranges
        (Harmless, Nothing),          // accept
        (Other, Nothing),             // access-control-allow-origin
        (Harmless, Nothing),          // age
        (Harmless, Nothing),          // allow
        (Other, Nothing),             // authorization
        (Harmless, Nothing),          // cache-control
        (Other, Nothing),             // content-disposition
        (Harmless, Nothing),          // content-encoding
        (Other, Nothing),             // content-language
        (Harmless, Nothing),          // content-length
        (Other, Nothing),             // content-location
        (Harmless, Nothing),          // content-range
        (Name::ContentType, Nothing), // content-type
        (Other, Nothing),             // cookie
        (Harmless, Nothing),          // date
        (Other, Nothing),             // etag
        (Harmless, Nothing),          // expect
        (Other, Nothing),             // expires
        (Other, Nothing),             // from
        (Host, Nothing),              // host
        (Other, Nothing),             // if-match
        (Other, Nothing),             // if-modified-since
        (Other, Nothing),             // if-none-match
        (Other, Nothing),             // if-range
        (Other, Nothing),             // if-unmodified-since
        (Harmless, Nothing),          // last-modified
        (Other, Nothing),             // link
        (Other, Nothing),             // location
        (Harmless, Nothing),          // max-forwards
        (Other, Nothing),             // proxy-authenticate
        (Other, Nothing),             // proxy-authorization
        (Harmless, Nothing),          // range
        (Other, Nothing),             // referer
        (Other, Nothing),             // refresh
        (Harmless, Nothing),          // retry-after
        (Harmless, Nothing),          // server
        (Other, Nothing),             // set-cookie
        (Other, Nothing),             // strict-transport-security
        (Harmless, Nothing),          // transfer-encoding
        (UserAgent, Nothing),         // user-agent
        (Harmless, Nothing),          // vary
        (Harmless, Nothing),          // via
        (Other, Nothing),             // www-authenticate
    ]
};
