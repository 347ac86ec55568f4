//! What protocols of messages have in common: names that may be kept, and operations that are told again and
//! again.

use std::sync::Arc;

use crate::blank::BLANK;
use crate::operation::Operation;

/// Longest name that is kept, bytes.
const MAX_NAME_BYTES: usize = 255;

/// The name of a topic, a queue, an exchange, as far as it may be kept: whole, and of characters that such
/// names are made of. Names of blanks alone are none, for what was not kept looks like that.
pub(crate) fn plain_name(bytes: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/:$#*>+".contains(byte);
    let is_name =
        bytes.len() <= MAX_NAME_BYTES && bytes.iter().all(plain) && bytes.iter().any(|&byte| byte != BLANK);
    std::str::from_utf8(bytes).ok().filter(|_| is_name)
}

/// The operations of a connection that were told last, by what they were made from.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    known: Vec<(K, Arc<Operation>)>,
    next: usize,
}

/// Operations remembered.
const RECENT: usize = 16;

impl<K> Default for Recent<K> {
    fn default() -> Recent<K> {
        Recent { known: Vec::new(), next: 0 }
    }
}

impl<K> Recent<K> {
    /// What an operation was made from that is like this.
    pub(crate) fn find(&self, like: impl Fn(&K) -> bool) -> Option<&K> {
        self.known.iter().map(|(key, _)| key).find(|key| like(key))
    }

    /// The operation that was made from this, or else one that is made now.
    pub(crate) fn operation(
        &mut self,
        same: impl Fn(&K) -> bool,
        make: impl FnOnce() -> (K, Operation),
    ) -> Arc<Operation> {
        if let Some((_, operation)) = self.known.iter().find(|(key, _)| same(key)) {
            return operation.clone();
        }
        let (key, operation) = make();
        let operation = Arc::new(operation);
        let entry = (key, operation.clone());
        if self.known.len() < RECENT {
            self.known.push(entry);
        } else {
            self.known[self.next] = entry;
            self.next = (self.next + 1) % RECENT;
        }
        operation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_plain() {
        assert_eq!(plain_name(b"orders.v1-eu/#"), Some("orders.v1-eu/#"));
        assert_eq!(plain_name(b"orders.*"), Some("orders.*"));
        for other in [&b""[..], b"*", b"****", b"a b", b"a\0", b"caf\xc3\xa9", &[b'x'; 256]] {
            assert_eq!(plain_name(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_same_operation_is_shared() {
        let mut recent = Recent::default();
        let mut of = |wanted: u32| recent.operation(|&key| key == wanted, || (wanted, Operation::default()));
        let first = of(0);
        assert!(Arc::ptr_eq(&first, &of(0)));
        for other in 1..=RECENT as u32 {
            of(other);
        }
        assert!(!Arc::ptr_eq(&first, &of(0)), "forgotten");
    }
}
