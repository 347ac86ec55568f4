//! What filters by network say of a socket.

use super::answer::Answer;
use retrospan_formats::config::{MAX_NETS, Net};

/// The third word of an IPv4 address that is mapped into IPv6.
pub const MAPPED: u32 = 0xffff_u32.to_be();

/// Whether there is an address: none yet, or any, is all zeros.
#[inline(always)]
pub fn is_known(address: [u32; 4]) -> bool {
    let mapped = address[2] == 0 || address[2] == MAPPED;
    address[0] | address[1] | address[3] != 0 || !mapped
}

/// Whether an address lies in one of the first `used` networks.
#[inline(always)]
fn is_in(net_at: impl Fn(usize) -> Net, used: u32, address: [u32; 4]) -> bool {
    let mut index = 0;
    while index < MAX_NETS {
        if index < used as usize {
            let Net { address: wanted, mask } = net_at(index);
            let differs = ((address[0] ^ wanted[0]) & mask[0])
                | ((address[1] ^ wanted[1]) & mask[1])
                | ((address[2] ^ wanted[2]) & mask[2])
                | ((address[3] ^ wanted[3]) & mask[3]);
            if differs == 0 {
                return true;
            }
        }
        index += 1;
    }
    false
}

/// Whether either address lies in one of the first `used` networks. `listens` says that there will never be a remote address; where
/// it listens at any address the answer is `anywhere`.
#[inline(always)]
pub fn match_nets(
    net_at: impl Fn(usize) -> Net,
    used: u32,
    local: [u32; 4],
    remote: [u32; 4],
    listens: bool,
    anywhere: bool,
) -> Answer {
    let (has_local, has_remote) = (is_known(local), is_known(remote));
    if (has_local && is_in(&net_at, used, local)) || (has_remote && is_in(&net_at, used, remote)) {
        Answer::Yes
    } else if listens {
        Answer::from(!has_local && anywhere)
    } else if has_local && has_remote {
        Answer::No
    } else {
        Answer::NotYet
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::net::IpAddr;

    /// An address as it stands in a socket.
    pub fn words(address: &str) -> [u32; 4] {
        let bytes = match address.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        std::array::from_fn(|word| u32::from_ne_bytes(bytes[4 * word..4 * word + 4].try_into().unwrap()))
    }

    fn net(address: &str, bits: u32) -> Net {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0).to_be_bytes();
        let word = |word: usize| u32::from_ne_bytes(mask[4 * word..4 * word + 4].try_into().unwrap());
        let mask: [u32; 4] = std::array::from_fn(word);
        let address = words(address);
        Net { address: std::array::from_fn(|word| address[word] & mask[word]), mask }
    }

    #[test]
    fn either_address_is_enough_in_both_families() {
        let nets = [net("10.1.0.0", 112), net("fd00::", 8), net("192.168.0.7", 128)];
        let of = |local, remote| match_nets(|index| nets[index], 3, words(local), words(remote), false, true);
        assert_eq!(of("10.1.2.3", "8.8.8.8"), Answer::Yes);
        assert_eq!(of("8.8.8.8", "10.1.255.255"), Answer::Yes);
        assert_eq!(of("10.2.0.0", "192.168.0.6"), Answer::No);
        assert_eq!(of("1.1.1.1", "192.168.0.7"), Answer::Yes);
        assert_eq!(of("fdff::1", "fc00::1"), Answer::Yes);
        assert_eq!(of("fc00::1", "2001:db8::1"), Answer::No);
        assert_eq!(match_nets(|i| nets[i], 1, words("fd00::1"), words("::1"), false, true), Answer::No);
    }

    #[test]
    fn a_whole_family_is_a_network() {
        let nets = [net("0.0.0.0", 96)];
        let of = |local, remote| match_nets(|index| nets[index], 1, words(local), words(remote), false, true);
        assert_eq!((of("1.2.3.4", "5.6.7.8"), of("::1", "::1")), (Answer::Yes, Answer::No));
    }

    #[test]
    fn an_unknown_address_is_waited_for_unless_it_never_comes() {
        let nets = [net("10.0.0.0", 104)];
        let of = |local, remote, listens, anywhere| {
            match_nets(|index| nets[index], 1, words(local), words(remote), listens, anywhere)
        };
        assert_eq!(of("0.0.0.0", "9.9.9.9", false, true), Answer::NotYet);
        assert_eq!(of("9.9.9.9", "::", false, true), Answer::NotYet);
        assert_eq!(of("9.9.9.9", "0.0.0.0", true, true), Answer::No);
        assert_eq!(of("::", "::", true, true), Answer::Yes);
        assert_eq!(of("0.0.0.0", "0.0.0.0", true, false), Answer::No);
        assert_eq!(of("10.0.0.1", "0.0.0.0", true, false), Answer::Yes);
    }
}
