//! What must not be kept, wherever it stands and however it is cut.

use super::*;

const CANARY: &str = "Hunter2 Canary";

/// The canary in every place where a value may stand.
fn secrets() -> Vec<Call> {
    let canary = || text(CANARY);
    let bytes = CANARY.as_bytes();
    let inner = || document(&[(CANARY, canary()), ("b", Is::Bytes(bytes.to_vec()))]);
    let number = || Is::Long(i64::from_le_bytes(*bytes.first_chunk().unwrap()));
    let double = || Is::Double(f64::from_le_bytes(*bytes.first_chunk().unwrap()));
    let elements = || {
        vec![
            (CANARY, canary()),
            ("filter", Is::Document(inner())),
            ("list", Is::Array(inner())),
            ("payload", Is::Bytes(bytes.to_vec())),
            ("like", Is::Expression(CANARY.to_owned(), CANARY.to_owned())),
            ("n", number()),
            ("ok", double()),
            ("code", number()),
            ("ok", canary()),
            ("$db", canary()),
        ]
    };
    let with = |name: &'static str| [vec![(name, canary())], elements()].concat();
    let mut calls = Vec::new();
    for (at, name) in
        ["find", "createUser", "saslStart", "noSuchThing", "getMore", CANARY].into_iter().enumerate()
    {
        calls.extend([asks(at as i32, &with(name)), answers(at as i32, &elements())]);
    }
    let rows = [inner(), inner()];
    calls.push((Requests, msg(20, 0, 0, &[("insert", canary())], &sequence(CANARY, &rows))));
    for namespace in ["shop.o", "shop.$cmd", CANARY] {
        calls.extend([query(21, namespace, &inner()), query(22, namespace, &document(&elements()))]);
        calls.extend([reply(22, 0, &rows), reply(21, 2, &[document(&elements())])]);
        for opcode in [2001, 2002, 2005, 2006] {
            let rest = [&[0; 4][..], namespace.as_bytes(), &[0], &[0; 4], &inner(), &inner()].concat();
            calls.push((Requests, message(23, 0, opcode, &rest)));
        }
    }
    let compressed = [&2013i32.to_le_bytes()[..], &100i32.to_le_bytes(), &[1], bytes].concat();
    calls.extend([
        (Requests, message(24, 0, 2012, &compressed)),
        (Responses, message(25, 24, 2012, &compressed)),
    ]);
    // Documents whose lengths are wrong, and what fits nowhere.
    for length in [0u8, 5, 9, 0xff] {
        let mut wrong = asks(26, &elements()).1;
        wrong[21] = length;
        calls.extend([(Requests, wrong.clone()), (Responses, wrong)]);
    }
    calls.extend([(Requests, bytes.to_vec()), (Responses, bytes.to_vec())]);
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
        hides(&testing::read(&MongoDb, &secrets, cuts), &cuts);
    }
    for call in &secrets {
        hides(&testing::read(&MongoDb, std::slice::from_ref(call), &[]), call);
        testing::check_any_cut(&MongoDb, std::slice::from_ref(call));
    }
}

/// It may be a password in the wrong place.
#[test]
fn a_command_that_nobody_knows_has_no_name() {
    for call in [
        asks(1, &[("hunter2", text("x")), ("$db", text("shop"))]),
        query(1, "shop.$cmd", &document(&[("hunter2", text("x"))])),
        (Requests, message(1, 0, 2010, &[b"shop\0hunter2\0", &document(&[])[..], &document(&[])].concat())),
    ] {
        let reader = testing::read(&MongoDb, &[call], &[]);
        assert_eq!(reader.exchanges()[0].operation.name, None);
        assert!(!reader.kept()[0].1.windows(7).any(|bytes| bytes == b"hunter2"));
    }
}
