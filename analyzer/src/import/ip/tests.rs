use super::*;
use crate::import::link;

/// An IPv4 packet.
pub(crate) fn v4_packet(protocol: u8, place: u16, ident: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + body.len() as u16).to_be_bytes());
    packet.extend(ident.to_be_bytes());
    packet.extend(place.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend_from_slice(body);
    packet
}

fn v6_packet(next: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend_from_slice(body);
    packet
}

/// Protocol, known bytes and length of what an IP packet carries.
fn carried(packet: Slice<'_>) -> Result<(u8, Vec<u8>, usize), Skipped> {
    let (mut ip, mut found) = (Ip::default(), None);
    ip.read(0, packet, &mut |d| found = Some((d.protocol, d.bytes.known.to_vec(), d.bytes.length)))?;
    found.ok_or(Skipped::Fragment)
}

fn of_frame(kind: u16, frame: &[u8]) -> Result<(u8, Vec<u8>, usize), Skipped> {
    carried(link::ip(kind, Slice::whole(frame))?)
}

const TCP: u8 = protocol::TCP;

#[test]
fn every_link_layer_is_taken_off() {
    let packet = v4_packet(TCP, 0, 1, b"segment");
    let behind = |header: &[u8]| [header, &packet].concat();
    let want = Ok((TCP, b"segment".to_vec(), 7));
    let ethernet = |kind: &[u8]| behind(&[&[0; 12], kind].concat());
    let frames = [
        (1, ethernet(&[8, 0])),
        (1, ethernet(&[0x81, 0, 0, 5, 8, 0])),
        (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
        (1, ethernet(&[0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x21, 64])),
        (1, ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 9, 0, 0x21])),
        (1, ethernet(&[0, 35, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0])),
        (0, behind(&[2, 0, 0, 0])),
        (0, behind(&[0, 0, 0, 2])),
        (108, behind(&[0, 0, 0, 2])),
        (12, packet.clone()),
        (101, packet.clone()),
        (228, packet.clone()),
        (113, behind(&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0])),
        (276, behind(&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0])),
        (239, behind(&[2, 0, 0, 0, 8, 0, 10, 0, 0, 0, 0, 0, 31, 0, 9, 0])),
        (9, behind(&[0xff, 3, 0, 0x21])),
    ];
    for (kind, frame) in frames {
        assert_eq!(of_frame(kind, &frame), want, "{kind}");
        for cut in 0..frame.len() {
            let _ = of_frame(kind, &frame[..cut]);
        }
    }
    assert_eq!(of_frame(147, &packet), Err(Skipped::LinkType));
    assert_eq!(of_frame(1, &ethernet(&[8, 6])), Err(Skipped::NotIp));
}

#[test]
fn padding_is_no_data_and_what_was_cut_is_a_length() {
    let packet = v4_packet(TCP, 0, 1, b"segment");
    let padded = [&packet[..], &[0; 19]].concat();
    assert_eq!(carried(Slice::whole(&padded)), Ok((TCP, b"segment".to_vec(), 7)));
    let cut = Slice { known: &packet[..24], length: packet.len() };
    assert_eq!(carried(cut), Ok((TCP, b"segm".to_vec(), 7)));
    let mut offloaded = packet.clone();
    offloaded[2..4].fill(0);
    assert_eq!(carried(Slice::whole(&offloaded)), Ok((TCP, b"segment".to_vec(), 7)));
}

#[test]
fn the_innermost_packet_counts() {
    let inner = v4_packet(TCP, 0, 1, b"segment");
    let frame = [&[0; 12][..], &[8, 0], &inner].concat();
    let udp = |port: u16, body: &[u8]| {
        let mut datagram = [40_000_u16.to_be_bytes(), port.to_be_bytes(), [0, 0], [0, 0]].concat();
        datagram.extend_from_slice(body);
        v4_packet(protocol::UDP, 0, 1, &datagram)
    };
    let want = Ok((TCP, b"segment".to_vec(), 7));
    let gre = |header: &[u8], body: &[u8]| v6_packet(protocol::GRE, &[header, body].concat());
    let tunnels = [
        udp(4789, &[&[8, 0, 0, 0, 0, 0, 7, 0], &frame[..]].concat()),
        udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4], &frame[..]].concat()),
        v4_packet(protocol::IPV4, 0, 1, &inner),
        v6_packet(protocol::IPV4, &inner),
        gre(&[0, 0, 8, 0], &inner),
        gre(&[0x30, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 2], &inner),
        gre(&[0x80, 0, 0x65, 0x58, 0, 0, 0, 0], &frame),
        gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &frame),
    ];
    for tunnel in &tunnels {
        assert_eq!(carried(Slice::whole(tunnel)), want);
    }
    let other = udp(4789, b"no tunnel");
    assert!(carried(Slice::whole(&other)).is_ok_and(|found| found.0 == protocol::UDP));
    let mut deep = inner;
    for _ in 0..20 {
        deep = v4_packet(protocol::IPV4, 0, 1, &deep);
    }
    assert_eq!(carried(Slice::whole(&deep)), Err(Skipped::TooDeep));
}

#[test]
fn extension_headers_are_passed_over() {
    let options = [TCP, 0, 1, 2, 3, 4, 5, 6, b'x'];
    let routed = [&[60, 0, 0, 0, 0, 0, 0, 0][..], &options].concat();
    let packet = v6_packet(protocol::ROUTING, &routed);
    assert_eq!(carried(Slice::whole(&packet)), Ok((TCP, b"x".to_vec(), 1)));
    let alone = v6_packet(protocol::FRAGMENT, &[TCP, 0, 0, 0, 0, 0, 0, 9, b'y']);
    assert_eq!(carried(Slice::whole(&alone)), Ok((TCP, b"y".to_vec(), 1)), "a fragment that is all");
}

#[test]
fn fragments_make_a_packet() {
    let mut ip = Ip::default();
    let mut found = Vec::new();
    let parts = [
        v4_packet(TCP, 2, 5, b"the end"),
        v4_packet(TCP, 0x2000 | 1, 5, b"middle.."),
        v4_packet(TCP, 0x2000, 6, b"another."),
        v4_packet(TCP, 0x2000, 5, b"begin..."),
    ];
    for part in &parts {
        let read = ip.read(0, Slice::whole(part), &mut |d| found.push(d.bytes.known.to_vec()));
        assert_eq!(read, Ok(!found.is_empty()));
    }
    assert_eq!(found, [b"begin...middle..the end".to_vec()]);
    assert_eq!(ip.lost_fragments(), 1);
}
