//! Which connections are recorded where not all are: the same ones at both ends, and on every host.

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(SPREAD);
    let value = (value ^ (value >> 29)).wrapping_mul(SPREAD);
    value ^ (value >> 32)
}

#[inline(always)]
fn end(address: [u32; 4], port: u16) -> u64 {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let first = mix(pair(address[0], address[1]).wrapping_add(SPREAD));
    let second = mix(first ^ pair(address[2], address[3]));
    mix(second.wrapping_add(u64::from(port)))
}

/// A number of the connection between these ends, in whichever order: spread evenly.
#[inline(always)]
pub fn number(one: ([u32; 4], u16), other: ([u32; 4], u16)) -> u64 {
    mix(end(one.0, one.1).wrapping_add(end(other.0, other.1)))
}

/// Whether the connection between these ends is one of those that are recorded: one in `one_in`, which is not 0. The order of the
/// ends does not matter.
#[inline(always)]
pub fn is_kept(one: ([u32; 4], u16), other: ([u32; 4], u16), one_in: u32) -> bool {
    number(one, other).is_multiple_of(u64::from(one_in))
}

#[cfg(test)]
mod tests {
    use super::super::nets::tests::words;
    use super::*;

    #[test]
    fn both_ends_are_decided_alike() {
        for port in 1..2_000 {
            let (one, other) = ((words("10.0.0.1"), port), (words("10.0.0.2"), 80));
            assert_eq!(is_kept(one, other, 7), is_kept(other, one, 7));
        }
    }

    #[test]
    fn about_one_in_n_is_kept_whatever_varies() {
        // The bounds are six standard deviations wide.
        for one_in in [2, 3, 4, 10, 64] {
            let all = 60_000_u32;
            let expected = f64::from(all) / f64::from(one_in);
            let far = 6.0 * (expected * (1.0 - 1.0 / f64::from(one_in))).sqrt();
            let server = (words("127.0.0.1"), 8080);
            let by_port = (0..all).filter(|&n| is_kept((words("127.0.0.1"), n as u16), server, one_in));
            let by_address = (0..all).filter(|&n| is_kept(([0, 0, 0xffff, n], 40_000), server, one_in));
            let same_ports = (0..all).filter(|&n| {
                let port = n as u16;
                is_kept((words("10.0.0.1"), port), (words("10.0.0.2"), port), one_in)
            });
            for kept in [by_port.count(), by_address.count(), same_ports.count()] {
                assert!((kept as f64 - expected).abs() < far, "{kept} of {all} at 1/{one_in}");
            }
        }
    }

    #[test]
    fn an_end_is_the_same_whichever_family_its_socket_has() {
        assert_eq!(words("1.2.3.4"), words("::ffff:1.2.3.4"));
    }
}
