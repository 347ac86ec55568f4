use retrospan_protocols::redact::Payload;

use super::REFUSED_NS;
use crate::import::made::{FIN_ACK, ISNS, PORTS, RST_ACK, SYN_ACK, Talk, tcp, told};
use crate::import::tcp::bits::{ACK, RST, SYN};

fn talk() -> Talk {
    Talk::new(Payload::Full)
}

/// What is told of what follows a handshake, without it.
fn after_connect(say: impl FnOnce(&mut Talk)) -> Vec<String> {
    let mut talk = talk();
    talk.connect();
    say(&mut talk);
    let told = told(&talk.over().0);
    assert_eq!(told[..3], ["7-2", "2-1", "connect"]);
    told[3..].to_vec()
}

#[test]
fn a_connection_is_told_as_its_client_saw_it() {
    let mut talk = talk();
    talk.connect();
    talk.say(0, ACK, b"hello");
    talk.say(1, ACK, b"world");
    talk.say(0, FIN_ACK, b"");
    talk.say(1, FIN_ACK, b"");
    talk.say(0, ACK, b"");
    let (rows, sockets, summary) = talk.over();
    let want = ["7-2", "2-1", "connect", "> hello", "< world", "1-4", "4-5", "5-6", "6-7"];
    assert_eq!(told(&rows), want);
    let times: Vec<i64> = rows.iter().map(|row| (row.stamp.ns - 1_000_000_000) / 1000).collect();
    assert_eq!(times, [0, 1, 1, 3, 4, 5, 6, 6, 6]);
    assert_eq!(rows[2].duration_ns, 1_000, "from the SYN on");
    let first = ISNS.map(|isn| isn.wrapping_add(1));
    assert_eq!((rows[3].tcp_seq, rows[4].tcp_seq), (Some(first[0]), Some(first[1])));
    let state = rows[5].state.expect("a change of state");
    assert_eq!(
        (state.write_seq, state.copied_seq, state.rcv_nxt),
        (first[0] + 5, first[1] + 5, first[1] + 5)
    );
    let state = rows[7].state.expect("a change of state");
    assert_eq!(
        (state.write_seq, state.copied_seq, state.rcv_nxt),
        (first[0] + 6, first[1] + 5, first[1] + 6)
    );
    let [socket] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!(
        (socket.local.to_string(), socket.remote.to_string()),
        ("10.0.0.1:40000".into(), "10.0.0.2:80".into())
    );
    assert_eq!((socket.discovered, socket.role_known, socket.firsts), (false, true, first.map(Some)));
    assert_eq!((summary.connections, summary.bytes, summary.holes), (1, 10, 0));
}

#[test]
fn every_end_has_its_states() {
    let server_first = after_connect(|talk| {
        talk.say(1, FIN_ACK, b"");
        talk.say(0, FIN_ACK, b"");
        talk.say(1, ACK, b"");
    });
    assert_eq!(server_first, ["1-8", "8-9", "9-7"]);
    let both_at_once = after_connect(|talk| {
        let crossing = talk.made(1, FIN_ACK, b"");
        talk.next[1] = 0;
        talk.say(0, FIN_ACK, b"");
        talk.next[1] = 1;
        talk.packet(&crossing);
        talk.say(1, ACK, b"");
    });
    assert_eq!(both_at_once, ["1-4", "4-11", "11-6", "6-7"]);
    assert_eq!(after_connect(|talk| talk.say(0, RST, b"")), ["1-7"]);
    assert_eq!(after_connect(|talk| talk.say(1, RST, b"")), ["1-7!104"]);
    let after_fin = after_connect(|talk| {
        talk.say(1, FIN_ACK, b"");
        talk.say(1, RST, b"");
    });
    assert_eq!(after_fin, ["1-8", "8-7!32"]);
    assert!(after_connect(|_| {}).is_empty(), "open at the end");
}

#[test]
fn connects_that_fail_are_told() {
    let mut refused = talk();
    refused.say(0, SYN, b"");
    refused.packet(&tcp(1, PORTS, 0, ISNS[0].wrapping_add(1), RST_ACK, b""));
    assert_eq!(told(&refused.over().0), ["7-2", "2-7!111"]);
    let mut silent = talk();
    silent.say(0, SYN, b"");
    silent.say(0, SYN, b"");
    let (rows, sockets, _) = silent.over();
    assert_eq!((told(&rows), sockets.len()), (vec!["7-2".to_owned()], 1), "sent again");
}

#[test]
fn what_comes_after_the_clients_fin_is_taken_only_if_it_says_so() {
    let half_closed = after_connect(|talk| {
        talk.say(0, FIN_ACK, b"ask");
        talk.say(1, ACK, b"answer");
        talk.say(0, ACK, b"");
        talk.say(1, FIN_ACK, b" more");
        talk.say(0, ACK, b"");
    });
    assert_eq!(half_closed, ["> ask", "1-4", "4-5", "shutdown", "< answer", "<  more", "5-6", "6-7"]);
    let gone = after_connect(|talk| {
        talk.say(0, FIN_ACK, b"ask");
        talk.say(1, ACK, b"answer");
        talk.say(0, RST, b"");
    });
    assert_eq!(gone, ["> ask", "1-4", "4-5", "5-7"]);
    let unrefused = |wait_ns: i64| {
        after_connect(|talk| {
            talk.say(0, FIN_ACK, b"ask");
            talk.say(1, ACK, b"answer");
            talk.now_ns += wait_ns;
            // Of another connection: time goes on.
            talk.packet(&tcp(0, [1, 2], 77, 0, SYN, b""));
        })
    };
    assert_eq!(unrefused(REFUSED_NS)[..5], ["> ask", "1-4", "4-5", "shutdown", "< answer"]);
    assert_eq!(unrefused(0)[..3], ["> ask", "1-4", "4-5"], "a RST may come yet");
    assert!(!unrefused(0).contains(&"< answer".to_owned()));
}

#[test]
fn a_new_syn_is_a_new_connection() {
    let mut talk = talk();
    talk.connect();
    talk.say(0, ACK, b"one");
    talk.say(0, FIN_ACK, b"");
    talk.packet(&tcp(0, PORTS, 77, 0, SYN, b""));
    talk.packet(&tcp(1, PORTS, 99, 78, SYN_ACK, b""));
    talk.packet(&tcp(0, PORTS, 78, 100, ACK, b"two"));
    // Of the first one, and too late.
    talk.packet(&tcp(1, PORTS, ISNS[1] + 1, ISNS[0], RST, b""));
    let (rows, sockets, summary) = talk.over();
    let second: Vec<_> = rows.iter().filter(|row| row.socket_id == 2).cloned().collect();
    assert_eq!(told(&second)[..4], ["7-2", "2-1", "connect", "> two"]);
    assert_eq!((sockets.len(), summary.connections), (2, 2));
}

#[test]
fn an_older_connection_is_discovered() {
    let mut talk = talk();
    talk.say(1, ACK, b"answer");
    talk.say(0, ACK, b"ask");
    let (rows, sockets, summary) = talk.over();
    assert_eq!(told(&rows), ["< answer", "> ask"]);
    assert_eq!(
        (sockets[0].discovered, sockets[0].role_known, sockets[0].local.port()),
        (true, false, 40_000)
    );
    assert_eq!(summary.connections, 1);
    // A probe of a connection at rest carries a byte that was sent long ago.
    let mut talk = Talk::new(Payload::Full);
    talk.say(1, ACK, b"");
    talk.next[0] = u32::MAX;
    talk.say(0, ACK, b"?");
    talk.say(0, ACK, b"ask");
    assert_eq!(told(&talk.over().0), ["> ask"]);
    let mut talk = Talk::new(Payload::Full);
    talk.say(1, RST, b"");
    assert_eq!(talk.over().2.strays, 1);
}

#[test]
fn copies_of_packets_change_nothing() {
    let run = |copies: usize| {
        let mut talk = talk();
        let mut packets = vec![talk.made(0, SYN, b""), talk.made(1, SYN_ACK, b""), talk.made(0, ACK, b"")];
        packets.extend([talk.made(0, ACK, b"ask"), talk.made(1, ACK, b"answer")]);
        packets.extend([talk.made(0, FIN_ACK, b""), talk.made(1, FIN_ACK, b""), talk.made(0, ACK, b"")]);
        for packet in packets {
            (0..copies).for_each(|_| talk.packet(&packet));
        }
        told(&talk.over().0)
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1).len(), 9);
}

#[test]
fn a_syn_may_carry_data_and_its_answer_may_come_alone() {
    let mut talk = talk();
    let syn = talk.made(0, SYN, b"ask");
    talk.packet(&syn);
    talk.say(1, SYN_ACK, b"");
    talk.say(1, ACK, b"answer");
    assert_eq!(told(&talk.over().0), ["7-2", "> ask", "2-1", "connect", "< answer"]);
    let mut talk = Talk::new(Payload::Full);
    talk.say(1, SYN_ACK, b"");
    talk.say(0, ACK, b"ask");
    let (rows, sockets, _) = talk.over();
    assert_eq!(told(&rows), ["2-1", "> ask"]);
    assert_eq!((sockets[0].role_known, sockets[0].local.port()), (true, 40_000));
}
