//! Heads of requests that were read before. Many are alike to the byte, on one connection and on others: what they say is
//! read once and shared.

use std::sync::{Arc, LazyLock};

use retrospan_protocols::detect::{self, Told};
use retrospan_protocols::{Direction, Operation, Protocol};
use xxhash_rust::xxh3::xxh3_64;

/// Heads that were read last: one at each place, which its bytes choose.
#[derive(Debug, Default)]
pub struct Heads {
    places: Vec<Option<Known>>,
    /// The last that told what its connection speaks as its first bytes, and what.
    first: (Vec<u8>, Option<Told>),
}

#[derive(Debug)]
struct Known {
    protocol: &'static dyn Protocol,
    bytes: Vec<u8>,
    operation: Arc<Operation>,
}

/// Heads remembered.
const PLACES: usize = 256;
/// A longer head is hardly ever the same twice, and those of a hostile capture must not cost memory.
const MAX_BYTES: usize = 1024;

impl Heads {
    /// As [`detect::surely`]. Many connections begin alike.
    pub fn surely(&mut self, bytes: &[u8], fresh: bool) -> Option<Told> {
        let (known, told) = &mut self.first;
        if !fresh || bytes.len() > MAX_BYTES {
            return detect::surely(bytes, fresh);
        }
        if told.is_none() || *known != bytes {
            known.clear();
            known.extend_from_slice(bytes);
            *told = detect::surely(bytes, fresh);
        }
        *told
    }

    /// What a request's head says. Texts that are as in `last` are shared with it.
    pub fn read(
        &mut self,
        protocol: &'static dyn Protocol,
        bytes: &[u8],
        last: &Operation,
    ) -> Arc<Operation> {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let read = || Arc::new(protocol.read(Direction::Requests, bytes, last));
        if bytes.len() > MAX_BYTES {
            return read();
        }
        let place = &mut self.places[xxh3_64(bytes) as usize % PLACES];
        match place {
            Some(known) if *known.bytes == *bytes && *known.protocol == *protocol => {}
            Some(known) => {
                known.protocol = protocol;
                known.bytes.clear();
                known.bytes.extend_from_slice(bytes);
                known.operation = read();
            }
            None => *place = Some(Known { protocol, bytes: bytes.to_vec(), operation: read() }),
        }
        place.as_ref().map_or_else(unread, |known| Arc::clone(&known.operation))
    }
}

/// What is known of a request whose head was not read.
pub fn unread() -> Arc<Operation> {
    static UNREAD: LazyLock<Arc<Operation>> = LazyLock::new(Arc::default);
    Arc::clone(&UNREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_first_bytes_told_is_told_again() {
        let mut heads = Heads::default();
        let all = [
            "GET /a HTTP/1.1\r\n",
            "GET /a HTTP/1.1\r\n",
            "HTTP/1.1 200 OK\r\n",
            "x",
            "x",
            "",
            "*1\r\n$4\r\nPING\r\n",
        ];
        for (bytes, fresh) in
            all.into_iter().flat_map(|bytes| [(bytes.as_bytes(), true), (bytes.as_bytes(), false)])
        {
            let told = |told: Option<Told>| told.map(|told| (told.protocol.name(), told.direction));
            assert_eq!(told(heads.surely(bytes, fresh)), told(detect::surely(bytes, fresh)));
        }
    }

    #[test]
    fn a_head_that_was_read_is_shared_and_says_the_same() {
        let (protocol, last) = (detect::presumed(), Operation::default());
        let mut heads = Heads::default();
        let mut known = Vec::new();
        for _ in 0..2 {
            for number in 0..2 * PLACES {
                let head = format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n");
                let operation = heads.read(protocol, head.as_bytes(), &last);
                assert_eq!(*operation, protocol.read(Direction::Requests, head.as_bytes(), &last));
                known.push(operation);
            }
        }
        let again = heads.read(protocol, b"GET /511 HTTP/1.1\r\nHost: h\r\n\r\n", &last);
        assert!(known.iter().any(|operation| Arc::ptr_eq(operation, &again)));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(MAX_BYTES));
        let twice = [0, 1].map(|_| heads.read(protocol, long.as_bytes(), &last));
        assert_eq!(twice[0], twice[1]);
        assert!(!Arc::ptr_eq(&twice[0], &twice[1]));
    }
}
