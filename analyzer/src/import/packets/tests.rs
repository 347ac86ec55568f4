use std::io::Cursor;

use super::*;

/// A classic file, little endian, ns.
pub(crate) fn pcap(link: u32, packets: &[(i64, &[u8])]) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], [0xff, 0xff, 0, 0]].concat();
    file.extend(link.to_le_bytes());
    for (ns, bytes) in packets {
        let length = bytes.len() as u32;
        for field in [(ns / 1_000_000_000) as u32, (ns % 1_000_000_000) as u32, length, length] {
            file.extend(field.to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    file
}

type Read = (i64, u16, usize, Vec<u8>);

fn read(file: Vec<u8>) -> Option<(Vec<Read>, bool)> {
    let mut file = PacketFile::new(Box::new(Cursor::new(file))).expect("memory")?;
    let mut packets = Vec::new();
    loop {
        match file.advance() {
            Ok(()) => {
                let p = file.packet();
                packets.push((p.wall_ns, p.link, p.length, p.bytes.to_vec()));
            }
            Err(stop) => return Some((packets, matches!(stop, Stop::Cut))),
        }
    }
}

#[test]
fn both_units_and_byte_orders_are_read() {
    let expected = (vec![(5_000_007_000, 1, 9, b"abc".to_vec())], false);
    for (magic, fraction) in [(0xa1b2_c3d4_u32, 7_u32), (0xa1b2_3c4d, 7_000)] {
        let fields = [magic, 0x0002_0004, 0, 0, 65_535, 1, 5, fraction, 3, 9];
        let big: Vec<u8> = fields.iter().flat_map(|f| f.to_be_bytes()).chain(*b"abc").collect();
        let little: Vec<u8> = fields.iter().flat_map(|f| f.to_le_bytes()).chain(*b"abc").collect();
        assert_eq!(read(big), Some(expected.clone()));
        assert_eq!(read(little), Some(expected.clone()));
    }
}

#[test]
fn a_file_that_is_cut_is_read_up_to_there() {
    let whole = pcap(1, &[(1, b"first"), (2, b"second")]);
    let (packets, cut) = read(whole[..whole.len() - 1].to_vec()).expect("a file");
    assert_eq!((&packets[1], packets.len(), cut), (&(2, 1, 6, b"secon".to_vec()), 2, true));
    for end in 24..whole.len() {
        let (packets, cut) = read(whole[..end].to_vec()).expect("a file");
        assert!(packets.len() == usize::from(end > 40) + usize::from(end > 61), "{end}");
        assert!(cut != matches!(end, 24 | 45), "{end}");
    }
    let within_header = read(whole[..24 + 16 + 5 + 3].to_vec()).expect("a file");
    assert_eq!((within_header.0.len(), within_header.1), (1, true));
    assert_eq!(read(whole).map(|(packets, cut)| (packets.len(), cut)), Some((2, false)));
}

#[test]
fn what_is_no_capture_is_refused() {
    assert_eq!(read(b"PK\x03\x04 and more than twenty bytes".to_vec()), None);
    assert_eq!(read(Vec::new()), None);
    assert_eq!(read(b"\x0a\x0d\x0d\x0a and more than twenty bytes".to_vec()), None);
}

/// A block of pcapng, little endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = (padded as u32 + 12).to_le_bytes();
    let mut block = [kind.to_le_bytes(), length].concat();
    block.extend_from_slice(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn words(fields: &[u32]) -> Vec<u8> {
    fields.iter().flat_map(|f| f.to_le_bytes()).collect()
}

#[test]
fn interfaces_have_links_and_clocks_of_their_own() {
    let section = block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    // Microseconds; ns with an offset of 100 s; 2^-10 s.
    let plain = block(1, &words(&[1, 96]));
    let options = [&[9, 0, 1, 0, 9, 0, 0, 0, 14, 0, 8, 0][..], &100_u64.to_le_bytes(), &[0; 4]].concat();
    let offset = block(1, &[words(&[101, 0]), options].concat());
    let binary = block(1, &[words(&[0, 0]), vec![9, 0, 1, 0, 0x8a, 0, 0, 0]].concat());
    let packet = |interface: u32, units: u64, bytes: &[u8]| {
        let fields = [interface, (units >> 32) as u32, units as u32, bytes.len() as u32, 1000];
        block(6, &[words(&fields), bytes.to_vec()].concat())
    };
    let simple = block(3, &[words(&[3]), b"xyz".to_vec()].concat());
    let old = block(2, &[words(&[0x0007_0001, 0, 5, 2, 2]), b"ol".to_vec()].concat());
    let unknown = block(0xbad, &words(&[1, 2, 3]));
    let parts = [
        section.clone(),
        plain,
        unknown,
        offset,
        binary,
        packet(0, 1_000_001, b"one"),
        packet(1, 1_000_001, b"two"),
        packet(2, 1536, b"three"),
        simple,
        old,
    ];
    let file = [&parts.concat()[..], &section, &block(1, &words(&[113, 0])), &packet(0, 9, b"!")].concat();
    let (packets, cut) = read(file.clone()).expect("a file");
    let expected = [
        (1_000_001_000, 1, 1000, b"one".to_vec()),
        (100_001_000_001, 101, 1000, b"two".to_vec()),
        (1_500_000_000, 0, 1000, b"three".to_vec()),
        (1_500_000_000, 1, 3, b"xyz".to_vec()),
        (100_000_000_005, 101, 2, b"ol".to_vec()),
        (9_000, 113, 1000, b"!".to_vec()),
    ];
    assert_eq!((&packets[..], cut), (&expected[..], false));
    for end in 12..file.len() {
        let (packets, _) = read(file[..end].to_vec()).unwrap_or_default();
        let whole = packets.len().saturating_sub(1);
        assert_eq!(packets[..whole], expected[..whole], "{end}");
    }
}
