//! Whether a socket is recorded, as far as its ports tell.

use retrospan_formats::config::{MAX_PORT_RANGES, PortRange};

/// What a filter says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is recorded.
    Yes,
    /// It is not.
    No,
    /// A fact that could still make it match is not known yet.
    NotYet,
}

/// Whether either port lies in one of the first `used` ranges. A port of 0 is one that is not known
/// yet; `listens` says that there will never be a remote port.
#[inline(always)]
pub fn match_ports(
    range_at: impl Fn(usize) -> PortRange,
    used: usize,
    local: u16,
    remote: u16,
    listens: bool,
) -> Answer {
    if used == 0 {
        return Answer::Yes;
    }
    let mut index = 0;
    while index < MAX_PORT_RANGES {
        if index < used {
            let range = range_at(index);
            if (local != 0 && range.first <= local && local <= range.last)
                || (remote != 0 && range.first <= remote && remote <= range.last)
            {
                return Answer::Yes;
            }
        }
        index += 1;
    }
    if local == 0 || (remote == 0 && !listens) { Answer::NotYet } else { Answer::No }
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
        assert_eq!(match_ports(|index| RANGES[index], 0, 0, 0, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 80, 40_000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 40_000, 9000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 40_000, 9001, false), Answer::No);
        assert_eq!(match_ports(|index| RANGES[index], 1, 40_000, 8500, false), Answer::No);
    }

    #[test]
    fn an_unknown_port_postpones_a_no_but_not_a_yes() {
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 8000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 7999, false), Answer::NotYet);
        assert_eq!(match_ports(|index| RANGES[index], 2, 7999, 0, false), Answer::NotYet);
        assert_eq!(match_ports(|index| RANGES[index], 2, 7999, 0, true), Answer::No);
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 0, true), Answer::NotYet);
    }
}
