//! The places of sockets by their ids, which the recorder gives one after the other.
//!
//! Every event asks for one. Ids of a whole capture are nearly dense, so most are an index; those of a capture that
//! names few of many, or that was made to hurt, are in a map.

use crate::hashing::IntMap;

/// Position of a socket in [`super::connections::Sockets`].
pub type SocketIndex = u32;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SocketIds {
    /// By id; [`NONE`] where there is no such socket, or it is in `sparse`.
    dense: Vec<SocketIndex>,
    sparse: IntMap<i64, SocketIndex>,
    count: usize,
}

const NONE: SocketIndex = SocketIndex::MAX;
/// Room for so many ids a socket, and for so many more.
const IDS_PER_SOCKET: usize = 4;
const SPARE_IDS: usize = 1024;

impl SocketIds {
    /// The place of a socket.
    pub fn get(&self, socket_id: i64) -> Option<SocketIndex> {
        let dense = usize::try_from(socket_id).ok().and_then(|id| self.dense.get(id));
        match dense {
            Some(&index) if index != NONE => Some(index),
            _ => self.sparse.get(&socket_id).copied(),
        }
    }

    /// Adds a socket that is not there yet.
    pub fn insert(&mut self, socket_id: i64, index: SocketIndex) {
        self.count += 1;
        let most = IDS_PER_SOCKET * self.count + SPARE_IDS;
        match usize::try_from(socket_id) {
            Ok(id) if id < most => {
                if id >= self.dense.len() {
                    self.dense.resize(id + 1, NONE);
                }
                self.dense[id] = index;
            }
            _ => {
                self.sparse.insert(socket_id, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_dense_or_not() {
        let ids = [3, 0, -5, i64::MAX, 1 << 40, 1500, 1, 2000, i64::MIN, 1031];
        let mut places = SocketIds::default();
        for (index, id) in ids.into_iter().enumerate() {
            assert_eq!(places.get(id), None);
            places.insert(id, index as SocketIndex);
        }
        for (index, id) in ids.into_iter().enumerate() {
            assert_eq!(places.get(id), Some(index as SocketIndex), "{id}");
        }
        assert_eq!(places.get(2), None);
        assert!(places.dense.len() < 2001, "no room for ids that are far off");
    }
}
