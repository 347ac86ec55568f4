//! What filters by port say of a socket.

use super::answer::Answer;
use retrospan_formats::config::{DNS_PORTS, MAX_PORT_RANGES, PortRange};

/// Whether questions of DNS are answered there.
#[inline(always)]
pub fn is_dns(port: u16) -> bool {
    port == DNS_PORTS[0] || port == DNS_PORTS[1]
}

/// Whether a port lies in one of the first `used` ranges.
#[inline(always)]
fn is_in(range_at: impl Fn(usize) -> PortRange, used: u32, port: u16) -> bool {
    let mut index = 0;
    while index < MAX_PORT_RANGES {
        if index < used as usize {
            let range = range_at(index);
            if range.first <= port && port <= range.last {
                return true;
            }
        }
        index += 1;
    }
    false
}

/// Whether the port of an end lies in one of the first `used` ranges. A port of 0 is one that is not known yet; `never` says that it
/// will not be.
#[inline(always)]
pub fn match_port(range_at: impl Fn(usize) -> PortRange, used: u32, port: u16, never: bool) -> Answer {
    if port == 0 {
        return if never { Answer::No } else { Answer::NotYet };
    }
    if is_in(range_at, used, port) { Answer::Yes } else { Answer::No }
}

/// Whether either port does; `listens` says that there will never be a remote port.
#[inline(always)]
pub fn match_either(
    range_at: impl Fn(usize) -> PortRange,
    used: u32,
    local: u16,
    remote: u16,
    listens: bool,
) -> Answer {
    match_port(&range_at, used, local, false).or(match_port(&range_at, used, remote, listens))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [PortRange; 3] = [
        PortRange { first: 80, last: 80 },
        PortRange { first: 8000, last: 9000 },
        PortRange { first: 1, last: u16::MAX },
    ];

    #[test]
    fn ports_match_at_either_end_and_only_in_ranges_in_use() {
        let either = |used, local, remote| match_either(|index| RANGES[index], used, local, remote, false);
        assert_eq!(either(2, 80, 40_000), Answer::Yes);
        assert_eq!(either(2, 40_000, 9000), Answer::Yes);
        assert_eq!(either(2, 40_000, 9001), Answer::No);
        assert_eq!(either(1, 40_000, 8500), Answer::No);
    }

    #[test]
    fn an_unknown_port_postpones_a_no_but_not_a_yes() {
        let either = |local, remote, listens| match_either(|index| RANGES[index], 2, local, remote, listens);
        assert_eq!(either(0, 8000, false), Answer::Yes);
        assert_eq!(either(0, 7999, false), Answer::NotYet);
        assert_eq!(either(7999, 0, false), Answer::NotYet);
        assert_eq!(either(7999, 0, true), Answer::No);
        assert_eq!(either(0, 0, true), Answer::NotYet);
    }

    #[test]
    fn one_end_is_asked_for_itself() {
        let one = |port, never| match_port(|index| RANGES[index], 1, port, never);
        assert_eq!((one(80, false), one(81, false)), (Answer::Yes, Answer::No));
        assert_eq!((one(0, false), one(0, true)), (Answer::NotYet, Answer::No));
    }
}
