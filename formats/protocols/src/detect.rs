//! Which protocol the data of a call belongs to, and which way it asks: the one place where that is decided.

use retrospan_formats::marks;

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

/// The number by which a capture calls a protocol: never that of another one.
pub fn number(protocol: &dyn Protocol) -> u8 {
    let place = PROTOCOLS.into_iter().position(|other| other.name() == protocol.name());
    place.map_or(0, |place| place as u8 + 1)
}

/// The protocol of this number.
pub fn numbered(number: u8) -> Option<&'static dyn Protocol> {
    PROTOCOLS.get(usize::from(number.checked_sub(1)?)).copied()
}

/// What redaction told of a call's data, as the bits of [`flags`] that say so.
pub fn marks(told: Option<&Told>, begins: bool) -> u32 {
    let told = told.map_or(0, |told| {
        let answer = if told.direction == Direction::Responses { marks::ANSWER } else { 0 };
        u32::from(number(told.protocol)) << marks::RECOGNISED_SHIFT | answer
    });
    marks::READ | told | if begins { marks::BEGINS } else { 0 }
}

/// What such bits say that the data told.
pub fn marked(bits: u32) -> Option<Told> {
    let protocol = numbered(((bits & marks::RECOGNISED) >> marks::RECOGNISED_SHIFT) as u8)?;
    let is_answer = bits & marks::ANSWER != 0;
    Some(Told { protocol, direction: if is_answer { Direction::Responses } else { Direction::Requests } })
}

/// What is spoken on a Unix socket where nothing can be read.
pub fn unread_unix() -> &'static dyn Protocol {
    &turns::UNIX
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Captures hold these numbers: new protocols get new ones, at the end.
    #[test]
    fn a_number_never_means_another_protocol() {
        let names = PROTOCOLS.map(|protocol| protocol.name());
        let known = [
            "http",
            "redis",
            "mysql",
            "mongodb",
            "dns",
            "kafka",
            "dubbo",
            "thrift",
            "http2",
            "amqp",
            "memcached",
            "nats",
            "postgresql",
            "tls",
            "mqtt",
            "fastcgi",
            "cassandra",
        ];
        assert_eq!(names[..known.len()], known);
        for protocol in PROTOCOLS {
            for direction in [Direction::Requests, Direction::Responses] {
                let bits = marks(Some(&Told { protocol, direction }), true);
                let told = marked(bits).expect("what was told");
                assert_eq!((told.protocol.name(), told.direction), (protocol.name(), direction));
                assert_eq!(bits & !marks::MARKS, 0);
            }
        }
        assert!(marked(marks(None, false)).is_none());
        assert!(marked(marks::RECOGNISED).is_none(), "of a later version");
    }
}
