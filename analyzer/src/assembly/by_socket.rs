//! What is known of a few of many sockets, by their places.
//!
//! Every event asks for several such things. Places of sockets are dense, so nothing is hashed: a socket of which nothing is known
//! costs four bytes.

use crate::assembly::socket_ids::SocketIndex;

/// See the module.
#[derive(Clone, Debug)]
pub struct BySocket<T> {
    /// Where in `all` it is, by socket; [`NONE`] where there is nothing.
    places: Vec<u32>,
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<T> Default for BySocket<T> {
    fn default() -> BySocket<T> {
        BySocket { places: Vec::new(), all: Vec::new(), free: Vec::new() }
    }
}

impl<T> BySocket<T> {
    /// What is known of a socket.
    #[inline]
    pub fn get(&self, socket: SocketIndex) -> Option<&T> {
        self.all.get(self.place(socket))?.as_ref()
    }

    /// What is known of a socket.
    #[inline]
    pub fn get_mut(&mut self, socket: SocketIndex) -> Option<&mut T> {
        let place = self.place(socket);
        self.all.get_mut(place)?.as_mut()
    }

    /// Whether anything is known of it.
    #[inline]
    pub fn contains(&self, socket: SocketIndex) -> bool {
        self.place(socket) != NONE as usize
    }

    /// Nothing is known of any.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.len() == self.free.len()
    }

    /// Takes the place of what was known of it.
    pub fn insert(&mut self, socket: SocketIndex, value: T) {
        *self.slot(socket) = Some(value);
    }

    /// What is known of it, or else nothing yet.
    pub fn or_default(&mut self, socket: SocketIndex) -> &mut T
    where
        T: Default,
    {
        self.slot(socket).get_or_insert_default()
    }

    /// Takes out what is known of it.
    #[inline]
    pub fn remove(&mut self, socket: SocketIndex) -> Option<T> {
        let place = self.place(socket);
        let value = self.all.get_mut(place)?.take();
        self.places[socket as usize] = NONE;
        self.free.push(place as u32);
        value
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = BySocket::default();
    }

    #[inline]
    fn place(&self, socket: SocketIndex) -> usize {
        self.places.get(socket as usize).copied().unwrap_or(NONE) as usize
    }

    fn slot(&mut self, socket: SocketIndex) -> &mut Option<T> {
        let socket = socket as usize;
        if socket >= self.places.len() {
            self.places.resize(socket + 1, NONE);
        }
        if self.places[socket] == NONE {
            self.places[socket] = self.free.pop().unwrap_or_else(|| {
                self.all.push(None);
                self.all.len() as u32 - 1
            });
        }
        &mut self.all[self.places[socket] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found_until_it_is_taken_out() {
        let mut known = BySocket::<u64>::default();
        for round in 1..4 {
            for socket in [7, 0, 3_000, 12] {
                assert!(known.get(socket).is_none() && !known.contains(socket));
                assert_eq!(known.remove(socket), None);
                known.insert(socket, 1);
                *known.or_default(socket) += u64::from(socket) * round;
            }
            assert_eq!(known.get(8), None);
            assert_eq!(*known.or_default(8), 0);
            assert_eq!(known.get_mut(12).copied(), Some(1 + 12 * round));
            for socket in [0, 3_000, 7, 12] {
                assert_eq!(known.remove(socket), Some(1 + u64::from(socket) * round));
            }
            assert!(!known.is_empty());
            known.remove(8);
            assert!(known.is_empty());
        }
        assert_eq!(known.all.len(), 5, "places are used again");
        known.insert(5, 5);
        known.clear();
        assert!(known.is_empty() && !known.contains(5));
    }
}
