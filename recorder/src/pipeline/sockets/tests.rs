use super::*;
use bytemuck::Zeroable;
use std::net::Ipv4Addr;

fn record(socket_id: u64, number: u8) -> event::Socket {
    event::Socket {
        socket_id,
        opened_boot_ns: 5,
        netns: 4_026_531_840,
        family: 10,
        protocol: 6,
        local_addr: Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(),
        remote_addr: Ipv6Addr::LOCALHOST.octets(),
        local_port: 8080,
        remote_port: 40000,
        role: number,
        first_send_seq: 1,
        first_receive_seq: 2,
        ..event::Socket::zeroed()
    }
}

#[test]
fn a_socket_has_one_row_until_something_changes() {
    let mut sockets = Sockets::default();
    sockets.record(record(1, role::SERVER), None);
    sockets.record(event::Socket { inode: 77, ..record(1, role::SERVER) }, None);
    let rows = sockets.take_changed();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].row.inode, Some(77), "the last record holds");
    assert_eq!(rows[0].local, (IpAddr::V4(Ipv4Addr::LOCALHOST), 8080), "v4-mapped is IPv4");
    assert_eq!(rows[0].remote, Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 40000)));
    assert!(sockets.take_changed().is_empty());
    sockets.state(1, state::CLOSE, 99);
    assert_eq!(sockets.take_changed()[0].row.closed_boot_ns, Some(99));
}

#[test]
fn the_owner_is_who_accepted_not_who_was_interrupted() {
    let mut sockets = Sockets::default();
    sockets.record(record(1, role::SERVER), Some(66));
    sockets.get(1).called(Kind::Accept, Some(7));
    sockets.get(1).called(Kind::Receive, Some(8));
    sockets.get(1).called(Kind::Accept, Some(9));
    assert_eq!(sockets.take_changed()[0].row.process_id, Some(7));
}

#[test]
fn a_discovered_socket_belongs_to_who_held_it() {
    let mut sockets = Sockets::default();
    sockets.set_owners([(77, 7)].into_iter().collect());
    let discovered = event::Socket { inode: 77, discovered: 1, ..record(1, role::UNKNOWN) };
    sockets.record(discovered, None);
    // Inode numbers are used again.
    sockets.record(event::Socket { inode: 77, ..record(2, role::CLIENT) }, None);
    let rows = sockets.take_changed();
    assert_eq!((rows[0].row.process_id, rows[0].row.discovered), (Some(7), true));
    assert_eq!(rows[1].row.process_id, None);
}

#[test]
fn a_listener_has_no_other_end() {
    let mut sockets = Sockets::default();
    sockets.record(record(1, role::LISTENER), None);
    let row = &sockets.take_changed()[0];
    assert_eq!((row.row.role, row.remote), ("listener", None));
    assert_eq!((row.row.first_send_seq, row.row.first_receive_seq), (None, None));
}

#[test]
fn closed_sockets_are_forgotten_once_they_are_quiet() {
    let mut sockets = Sockets::default();
    sockets.record(record(1, role::CLIENT), None);
    sockets.get(2).called(Kind::Send, Some(7));
    sockets.state(1, state::CLOSE, 99);
    sockets.take_changed();
    assert_eq!(sockets.entries.len(), 2);
    // The close call reports after the change of state.
    sockets.get(1).called(Kind::Close, None);
    sockets.take_changed();
    assert_eq!(sockets.entries.len(), 1, "the one whose record was lost is quiet");
    assert!(sockets.take_changed().is_empty());
    assert!(sockets.entries.is_empty());
}

#[test]
fn what_is_known_of_data_is_freed_a_while_after_the_socket_closed() {
    let mut sockets = Sockets::default();
    sockets.record(record(1, role::SERVER), None);
    assert!(sockets.get(1).stream().is_some());
    sockets.state(1, state::CLOSE, 10);
    sockets.state(2, 1, 10 + STREAM_KEPT_NS);
    assert!(sockets.get(1).stream().is_some(), "a call that was under way may still report");
    sockets.state(2, 1, 11 + STREAM_KEPT_NS);
    assert!(sockets.get(1).stream().is_none());
    assert!(sockets.closed.is_empty());
}

#[test]
fn more_sockets_than_can_be_open_are_not_kept() {
    let mut sockets = Sockets::default();
    for id in 0..10 {
        sockets.record(record(id, role::SERVER), None);
    }
    sockets.take_changed();
    sockets.get(3);
    sockets.get(7);
    sockets.forget_oldest(2);
    let mut left: Vec<_> = sockets.entries.keys().copied().collect();
    left.sort_unstable();
    assert_eq!(left, [3, 7]);
    sockets.forget_oldest(2);
    assert_eq!(sockets.entries.len(), 2);
}
