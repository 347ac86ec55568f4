//! Which protocol the data of a call belongs to, and which way it asks: the one place where that is decided.

use crate::parts::Direction;
use crate::protocol::{Protocol, Verdict};
use crate::{PROTOCOLS, turns};

/// What data tells of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The protocol.
    pub protocol: &'static dyn Protocol,
    /// What the data is.
    pub direction: Direction,
}

/// The protocol of connections whose bytes tell nothing.
pub fn presumed() -> &'static dyn Protocol {
    PROTOCOLS[0]
}

/// The protocol of this name.
pub fn named(name: &str) -> Option<&'static dyn Protocol> {
    let unread = [unread(false), unread(true)];
    PROTOCOLS.into_iter().chain(unread).find(|protocol| protocol.name() == name)
}

/// What is spoken where nothing can be read.
pub fn unread(datagrams: bool) -> &'static dyn Protocol {
    if datagrams { &turns::UDP } else { &turns::TCP }
}

/// What data tells that begins a message beyond doubt. `fresh`: it is the first of its connection.
pub fn surely(bytes: &[u8], fresh: bool) -> Option<Told> {
    by(Verdict::Surely, bytes, fresh, None)
}

/// What a datagram tells that is a message beyond doubt.
pub fn datagram(bytes: &[u8], fresh: bool) -> Option<Told> {
    PROTOCOLS.into_iter().find_map(|protocol| {
        let direction = protocol.recognise_datagram(bytes, fresh)?;
        Some(Told { protocol, direction })
    })
}

/// What data tells that may begin a message. `direction`: what it is, where that is known from elsewhere.
pub fn perhaps(bytes: &[u8], fresh: bool, direction: Option<Direction>) -> Option<Told> {
    by(Verdict::Maybe, bytes, fresh, direction)
}

fn by(least: Verdict, bytes: &[u8], fresh: bool, direction: Option<Direction>) -> Option<Told> {
    let directions = [Direction::Requests, Direction::Responses];
    let wanted = |&wanted: &Direction| direction.is_none_or(|known| known == wanted);
    PROTOCOLS.into_iter().find_map(|protocol| {
        let told = |&direction: &Direction| protocol.recognise(direction, bytes, fresh) >= least;
        let direction = directions.into_iter().filter(wanted).find(told)?;
        Some(Told { protocol, direction })
    })
}
