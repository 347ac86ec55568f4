//! What must not be kept, wherever it stands and however it is cut.

use super::*;

const CANARY: &str = "Hunter2Canary";

/// The canary in every place where a value may stand.
fn secrets() -> Vec<Call> {
    let quoted = format!("insert into o values ('{CANARY}', \"{CANARY}\") /* {CANARY} */");
    let error = format!("\u{7a}\u{4}#42S02no {CANARY}");
    let error = [&[0xff], error.as_bytes()].concat();
    let mut attribute = vec![1, 1, 0, 1, 0xfe, 0, 13];
    attribute.extend(CANARY.bytes().chain([13]).chain(CANARY.bytes()).chain(*b"select 1"));
    let named = [&[1, 1, 0, 1, 0xfe, 0, 11][..], b"traceparent\x0d", CANARY.as_bytes(), b"select 1"].concat();
    let parameters =
        [&[5, 0, 0, 0, 8, 1, 0, 0, 0, 1, 0, 1, 0xfe, 0, 1, b'a', 13][..], CANARY.as_bytes()].concat();
    let canary = CANARY.as_bytes();
    let login = login_of(BASE, CANARY, canary, "shop");
    let attributes = [&login[4..], &[14, 13], canary].concat();
    let mut calls = vec![
        (Responses, greeting(BASE, "8.0.36")),
        (Requests, packet(1, &attributes)),
        (Responses, packet(2, &[b"\xfe", canary].concat())),
        (Requests, packet(3, canary)),
        (Responses, packet(4, OK)),
        asks(0x03, quoted.as_bytes()),
        answers(&[&error]),
        asks(0x03, &attribute),
        answers(&[&[1], COLUMN, EOF, &[&[13], canary].concat(), EOF]),
        asks(0x03, &named),
        answers(&[&[2], &[b"\x03def\x0d", canary].concat(), COLUMN, EOF, &[b"\x00", canary].concat(), EOF]),
        asks(0x16, quoted.as_bytes()),
        answers(&[b"\0\x05\0\0\0\0\0\x01\0\0\0\0", &[&[13], canary].concat(), EOF]),
        asks(0x18, &[b"\x05\0\0\0\0\0", canary].concat()),
        asks(0x17, &parameters),
        answers(&[&[0, 0xfe, b'H', b'u', b'n', b't', b'e', b'r', b'2', b'C', 0, 2, 0, 0, 0, b'H']]),
        asks(0x11, &[canary, b"\0\x0d", canary, canary, b"\0"].concat()),
        answers(&[&[b"\x01", canary].concat(), OK]),
        asks(0x02, format!("{CANARY} with a space").as_bytes()),
        answers(&[OK]),
        asks(0x09, b""),
        answers(&[canary]),
        asks(0x03, b"load data local infile ? into table o"),
        answers(&[&[b"\xfb", canary].concat()]),
        (Requests, packets(2, &[canary, b""])),
        (Responses, packet(4, &[OK, canary].concat())),
        asks(0x15, &[b"\x01\0\0\0\x05", canary, canary].concat()),
        answers(&[OK]),
        asks(0x12, &[b"\x04\0\0\0\0\0\x01\0\0\0", canary].concat()),
        answers(&[&[b"\0", canary].concat()]),
    ];
    // What fits nowhere.
    for noise in [canary.to_vec(), packet(7, canary), packet(0, canary), packet(1, canary)] {
        calls.extend([(Requests, noise.clone()), (Responses, noise)]);
    }
    calls
}

#[test]
fn no_secret_is_kept_whatever_is_cut_or_missing() {
    let secrets = secrets();
    let hides = |reader: &Reader, what: &dyn std::fmt::Debug| {
        for (_, kept) in reader.kept() {
            let kept = String::from_utf8_lossy(&kept).to_lowercase();
            let canary = CANARY.to_lowercase();
            for at in 0..canary.len() - 4 {
                assert!(!kept.contains(&canary[at..at + 5]), "{what:?}: {kept:?}");
            }
        }
    };
    for cuts in [&[][..], &[1], &[2], &[3, 1], &[7, 2, 5], &[11, 30], &[64]] {
        hides(&testing::read(&MySql, &secrets, cuts), &cuts);
    }
    for missing in 0..secrets.len() {
        let mut some = secrets.clone();
        some.remove(missing);
        hides(&testing::read(&MySql, &some, &[]), &missing);
        let mut reader = Reader::new(&MySql, Some([5, 5]));
        for (direction, bytes) in &secrets[missing..] {
            reader.call(*direction, bytes, 0);
        }
        hides(&reader, &missing);
    }
}
