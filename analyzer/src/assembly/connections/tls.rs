//! TLS sessions: each is on a socket, and its other end is the session on that socket's other end.

use super::{SocketIndex, Sockets};
use crate::hashing::IntMap;

impl Sockets {
    /// The sessions on a socket.
    pub fn sessions(&self, carrier: SocketIndex) -> &[SocketIndex] {
        self.sessions.get(&carrier).map_or(&[], Vec::as_slice)
    }

    /// Finds the carriers, and joins sessions whose carriers are the two ends of a connection. Which of several on one socket is
    /// which of the other end's is not known, nor are positions of one that was older than the recording.
    pub(super) fn join_sessions(&mut self) {
        let mut on: IntMap<SocketIndex, Vec<SocketIndex>> = IntMap::default();
        for index in 0..self.all.len() as SocketIndex {
            let Some(id) = self.get(index).session.and_then(|session| session.carrier_id) else { continue };
            let Some(carrier) = self.by_id.get(id).filter(|&carrier| self.get(carrier).session.is_none())
            else {
                continue;
            };
            if let Some(session) = &mut self.all[index as usize].session {
                session.carrier = Some(carrier);
            }
            on.entry(carrier).or_default().push(index);
        }
        let mut pairs = Vec::new();
        for (&carrier, sessions) in &on {
            let Some(other) = self.get(carrier).peer.filter(|&other| carrier < other) else { continue };
            let (&[one], Some(&[two])) = (&sessions[..], on.get(&other).map(|sessions| &sessions[..])) else {
                continue;
            };
            if !self.get(one).discovered && !self.get(two).discovered {
                pairs.push((one, two));
            }
        }
        pairs.into_iter().for_each(|(one, two)| self.pair(one, two));
        self.sessions = on;
    }
}
