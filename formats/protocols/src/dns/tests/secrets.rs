//! What must not be kept, wherever it stands and however it is cut.

use super::*;

/// What must be in nothing that is kept, but in names that could be those of hosts.
const CANARY: &str = "Hunter2!Canary";

/// The canary in every place where a secret may stand.
fn secrets() -> Vec<(Direction, Vec<u8>)> {
    let with = |message: Message| Message { data: CANARY.to_owned(), ..message }.records(2);
    let labels = ["{}", "{}.example.com", "www.{}.com", "www.example.{}", "a.{}.{}.b"];
    let named = labels.map(|label| label.replace("{}", CANARY));
    let ask = |name: &String| (Requests, Message::asks(2, name, 1).edns().bytes());
    let answer = |name: &String| (Responses, Message::answers(1, name, 1, 0).edns().bytes());
    // A name that is longer than its message, or than any name.
    let mut cut = Message::asks(2, &named[1], 1).bytes();
    cut.truncate(30);
    cut[1] = 28;
    let long = Message::asks(2, &[CANARY; 20].join("."), 1).bytes();
    // No question, but something that looks like a name.
    let mut none = Message::asks(2, &named[0], 1).bytes();
    none[7] = 0;
    // Nothing but text, with and without a length.
    let text = [&[0, CANARY.len() as u8][..], CANARY.as_bytes()].concat();
    let unframed = CANARY.repeat(3).into_bytes();
    // Records where EDNS should be.
    let mut odd = Message::answers(1, "a.test", 1, 0).edns().bytes();
    odd.truncate(14 + 12);
    odd.extend([CANARY.len() as u8].iter().chain(CANARY.as_bytes()).chain(&[0, 0, 16, 0, 1]));
    odd[1] = odd.len() as u8 - 2;
    let mut secrets: Vec<_> = named.iter().map(ask).chain(named.iter().map(answer)).collect();
    secrets.extend([
        (Requests, with(Message::asks(2, "a.test", 251)).bytes()),
        (Requests, Message { opcode: codes::UPDATE, ..with(Message::asks(2, "zone", codes::SOA)) }.bytes()),
        (Responses, with(Message::answers(1, "a.test", 16, 0)).bytes()),
        (Responses, odd),
    ]);
    let both = [cut, long, none, text, unframed];
    secrets.extend(both.into_iter().flat_map(|bytes| [(Requests, bytes.clone()), (Responses, bytes)]));
    secrets
}

#[test]
fn no_secret_is_kept_whatever_is_cut_or_missing() {
    let before = [(Requests, Message::asks(1, "a.test", 1).bytes())];
    for (direction, secret) in secrets() {
        for known in [&before[..], &[]] {
            let conversation = [known, &[(direction, secret.clone())]].concat();
            let hides = |found: &Found| {
                let kept = String::from_utf8_lossy(&found.kept).to_lowercase();
                let canary = CANARY.to_lowercase();
                // Nor any five bytes of it: where a message must begin, four that come alone may be length and id.
                for at in 0..canary.len() - 4 {
                    assert!(!kept.contains(&canary[at..at + 5]), "{secret:?}: {kept:?}");
                }
            };
            in_every_cut(&conversation, |found, _| hides(found));
            for at in 1..secret.len() {
                let (one, two) = secret.split_at(at);
                let mut calls = known.to_vec();
                calls.extend([(direction, one.to_vec()), (direction, two.to_vec())]);
                hides(&Conversation { calls: calls.clone() }.read());
                for most in [0, 4, 12, 20, 40] {
                    hides(&Conversation { calls: calls.clone() }.read_known(most));
                }
            }
        }
    }
}

#[test]
fn a_name_of_a_host_is_kept_where_it_is_whole_and_may_be_stored() {
    let bytes = Message::asks(1, "www.example.com", 1).bytes();
    for (spare, expected) in
        [(0, Some("www.example.com")), (4, Some("www.example.com")), (5, None), (40, None)]
    {
        let call = Call { length: bytes.len() as u64, head: &bytes, spare, ..Call::default() };
        let (mut parts, mut kept) = (Vec::new(), Vec::new());
        Dns.framing(None).call(Requests, call, &mut Memory::default(), &mut parts);
        crate::blank::copy(&parts, &bytes, 0, &mut kept);
        let operation = Dns.read(Requests, &kept, &Operation::default());
        assert_eq!(
            (operation.name.as_deref(), operation.target.as_deref()),
            (Some("A"), expected),
            "{spare}"
        );
    }
}
