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
    assert!(sockets.stream(1).is_some());
    sockets.state(1, state::CLOSE, 10);
    sockets.state(2, 1, 10 + STREAM_KEPT_NS);
    assert!(sockets.stream(1).is_some(), "a call that was under way may still report");
    sockets.state(2, 1, 11 + STREAM_KEPT_NS);
    assert!(sockets.stream(1).is_none());
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

/// The two ends of a connection, the client first.
fn ends() -> [event::Socket; 2] {
    let client = event::Socket { first_send_seq: 7, first_receive_seq: 9, ..record(1, role::CLIENT) };
    let server = event::Socket {
        local_addr: client.remote_addr,
        remote_addr: client.local_addr,
        local_port: client.remote_port,
        remote_port: client.local_port,
        first_send_seq: 9,
        first_receive_seq: 7,
        ..record(2, role::SERVER)
    };
    [client, server]
}

fn peers(sockets: &[event::Socket]) -> Vec<Option<i64>> {
    let mut known = Sockets::new(true);
    sockets.iter().for_each(|record| known.record(*record, None));
    known.take_changed().iter().map(|socket| socket.row.peer_socket_id).collect()
}

#[test]
fn ends_of_one_connection_find_each_other() {
    let [client, server] = ends();
    assert_eq!(peers(&[client, server]), [Some(2), Some(1)]);
    assert_eq!(peers(&[server, client]), [Some(2), Some(1)]);
    // The client's first record comes before it has an answer.
    let early = event::Socket { first_receive_seq: 0, ..client };
    assert_eq!(peers(&[early, server, client]), [Some(2), Some(1)]);
    // The same addresses in two network namespaces.
    let stranger = event::Socket { first_receive_seq: 8, netns: 1, ..server };
    assert_eq!(peers(&[client, stranger]), [None, None]);
    let old = |socket| event::Socket { discovered: 1, first_send_seq: 0, ..socket };
    assert_eq!(peers(&[old(client), old(server)]), [Some(2), Some(1)]);
    assert_eq!(peers(&[old(client), old(stranger)]), [None, None]);
    let mptcp = |socket| event::Socket { protocol: 262, ..socket };
    assert_eq!(peers(&[mptcp(client), mptcp(server)]), [None, None]);
    let mut alone = Sockets::default();
    ends().into_iter().for_each(|record| alone.record(record, None));
    assert!(alone.take_changed().iter().all(|socket| socket.row.peer_socket_id.is_none()));
}

#[test]
fn a_stream_goes_on_at_the_other_end() {
    let mut sockets = Sockets::new(true);
    ends().into_iter().for_each(|record| sockets.record(record, None));
    let seen = |sockets: &mut Sockets, id| sockets.stream(id).map(|of| (of.mirrored, of.shared));
    assert_eq!(seen(&mut sockets, 1), Some((false, true)));
    assert_eq!(seen(&mut sockets, 2), Some((true, true)));
    // The one that has it closes first, and is forgotten.
    sockets.state(1, state::CLOSE, 10);
    sockets.state(3, 1, 11 + STREAM_KEPT_NS);
    assert_eq!((seen(&mut sockets, 1), seen(&mut sockets, 2)), (None, Some((true, true))));
    sockets.take_changed();
    sockets.take_changed();
    assert_eq!(seen(&mut sockets, 2), Some((true, true)));
    // Another connection with the same addresses.
    let [client, _] = ends();
    sockets.record(event::Socket { socket_id: 4, ..client }, None);
    assert_eq!(seen(&mut sockets, 4), Some((false, false)));
    assert!(sockets.by_ends.len() == 2 && sockets.by_ends.values().any(|&id| id == 4));
}
