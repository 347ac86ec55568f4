//! Which connections are left out where a share of them is: both ends of one decide alike.

use super::sample;
use retrospan_formats::event::shed;

/// The number among 1 to 255 of the connection between these ends, in whichever order. Of a sample ([`sample::is_kept`]) as of all.
#[inline(always)]
pub fn of(one: ([u32; 4], u16), other: ([u32; 4], u16)) -> u8 {
    // What decided about the sample are the lowest bits.
    ((sample::number(one, other) >> 32) % 255) as u8 + 1
}

/// Whether connections with this number are left out at that level: half of them, then half of the rest, and so on.
#[inline(always)]
pub fn leaves_out(share: u8, level: u32) -> bool {
    let halvings = if level > shed::MOST { shed::MOST } else { level } - shed::CONNECTIONS + 1;
    u32::from(share) > 255 >> halvings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: u32, port: u16) -> ([u32; 4], u16) {
        ([0, 0, 0xffff_u32.to_be(), address.to_be()], port)
    }

    #[test]
    fn both_ends_have_one_number_and_numbers_are_spread() {
        let mut counts = [0; 256];
        for port in 32_768..60_000 {
            let (client, server) = (end(0x0a00_0001, port), end(0x0a00_0002, 8080));
            let share = of(client, server);
            assert_eq!(share, of(server, client));
            counts[usize::from(share)] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|&n| (60..160).contains(&n)), "{counts:?}");
    }

    #[test]
    fn each_level_leaves_out_half_of_what_was_left() {
        let left = |level| (1..=255).filter(|&share| !leaves_out(share, level)).count();
        assert_eq!(
            (shed::CONNECTIONS..=shed::MOST).map(left).collect::<Vec<_>>(),
            [127, 63, 31, 15, 7, 3, 1]
        );
        assert_eq!(left(shed::MOST + 1), 1);
        // Whoever is left out stays so at every level above.
        for level in shed::CONNECTIONS..shed::MOST {
            assert!((1..=255).all(|share| !leaves_out(share, level) || leaves_out(share, level + 1)));
        }
    }
}
