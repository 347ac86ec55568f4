//! The two ends of datagrams, of which one or both know less of their address than the other says.
//!
//! A socket that answers at any address has none of its own, and neither has one that asks without being connected. Ports and
//! the addresses that are known must mirror each other then, and the lifetimes must fit.

use std::collections::HashMap;

use super::{Endpoint, Role, Socket, Sockets};
use crate::assembly::socket_ids::SocketIndex;

/// Both ports, the lower first, and the namespace.
type Place = (i64, u16, u16);

/// More ends than this with one pair of ports are not compared with each other.
const MAX_GROUP: usize = 256;

impl Sockets {
    /// Joins ends that have no address of their own with those that tell it, and gives it to them.
    pub(super) fn join_unspecified(&mut self) {
        let mut groups: HashMap<Place, (Vec<SocketIndex>, bool)> = HashMap::new();
        for (index, socket) in self.all.iter().enumerate() {
            let (Some(local), Some(remote)) = (socket.local, socket.remote) else { continue };
            if !socket.datagrams || socket.peer.is_some() || socket.role == Role::Listener {
                continue;
            }
            let (low, high) = (local.port.min(remote.port), local.port.max(remote.port));
            let (group, any) = groups.entry((socket.netns, low, high)).or_default();
            group.push(index as SocketIndex);
            *any |= self.is_unspecified(local);
        }
        for (group, any) in groups.into_values() {
            if any && (2..=MAX_GROUP).contains(&group.len()) {
                self.join_mirrored(&group);
            }
        }
    }

    fn join_mirrored(&mut self, group: &[SocketIndex]) {
        let partners = |one: SocketIndex| -> Vec<SocketIndex> {
            group.iter().copied().filter(|&two| one != two && self.may_mirror(one, two)).collect()
        };
        let found: Vec<_> = group.iter().map(|&one| (one, partners(one))).collect();
        let only = |of: SocketIndex| match found.iter().find(|(one, _)| *one == of) {
            Some((_, partners)) if partners.len() == 1 => Some(partners[0]),
            _ => None,
        };
        let pairs: Vec<_> = group
            .iter()
            .filter_map(|&one| {
                only(one).filter(|&two| one < two && only(two) == Some(one)).map(|two| (one, two))
            })
            .collect();
        for (one, two) in pairs {
            self.pair(one, two);
            for (own, other) in [(one, two), (two, one)] {
                let told = self.get(other).remote;
                if self.get(own).local.is_some_and(|local| self.is_unspecified(local)) {
                    self.all[own as usize].local = told;
                }
            }
        }
    }

    fn may_mirror(&self, one: SocketIndex, two: SocketIndex) -> bool {
        let (one, two) = (self.get(one), self.get(two));
        let fits = |own: Option<Endpoint>, told: Option<Endpoint>| match (own, told) {
            (Some(own), Some(told)) => own == told || (own.port == told.port && self.is_unspecified(own)),
            _ => false,
        };
        let begins_in =
            |one: &Socket, two: &Socket| one.opened_ns.unwrap_or(0) <= two.closed_ns.unwrap_or(i64::MAX);
        fits(one.local, two.remote)
            && fits(two.local, one.remote)
            && begins_in(one, two)
            && begins_in(two, one)
    }

    fn is_unspecified(&self, endpoint: Endpoint) -> bool {
        matches!(self.address(endpoint), "0.0.0.0" | "::")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Own and other address and port, and the lifetime.
    type Row = (usize, u16, usize, u16, [i64; 2]);

    /// Addresses by number: any, 10.0.0.1, 10.0.0.2.
    fn sockets(rows: &[Row]) -> Sockets {
        let addresses = ["0.0.0.0", "10.0.0.1", "10.0.0.2"].map(Arc::from).to_vec();
        let end = |address: usize, port| Some(Endpoint { address: address as u32, port });
        let socket = |(id, &(own, port, other, other_port, [opened, closed])): (usize, &Row)| Socket {
            datagrams: true,
            local: end(own, port),
            remote: end(other, other_port),
            opened_ns: Some(opened),
            closed_ns: Some(closed),
            ..Socket::unnamed(id as i64, None)
        };
        Sockets { all: rows.iter().enumerate().map(socket).collect(), addresses, ..Sockets::default() }
    }

    #[test]
    fn ends_without_an_address_get_that_which_the_other_end_tells() {
        let mut sockets = sockets(&[
            (1, 4001, 2, 53, [10, 20]),
            (0, 53, 1, 4001, [11, 19]),
            // Another client with that port, later.
            (1, 4001, 2, 53, [30, 40]),
            // Nobody answers there.
            (0, 4002, 2, 53, [10, 20]),
        ]);
        sockets.join_unspecified();
        let peers: Vec<_> = sockets.all.iter().map(|socket| socket.peer).collect();
        assert_eq!(peers, [Some(1), Some(0), None, None]);
        assert_eq!(sockets.all[1].local, sockets.all[0].remote);
        assert_eq!(sockets.address(sockets.all[3].local.unwrap()), "0.0.0.0");
    }

    #[test]
    fn two_that_both_fit_are_joined_with_none() {
        let mut sockets =
            sockets(&[(1, 4001, 2, 53, [10, 20]), (0, 53, 1, 4001, [11, 50]), (1, 4001, 2, 53, [30, 40])]);
        sockets.join_unspecified();
        assert!(sockets.all.iter().all(|socket| socket.peer.is_none()));
    }
}
