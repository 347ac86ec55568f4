use proptest::prelude::*;

use super::*;
use crate::frames::Runs;

const DIALECTS: [Dialect; 3] = [Dialect::PostgreSql, Dialect::MySql, Dialect::Cql];

fn kept(text: &[u8], dialect: Dialect, whole: bool) -> Vec<u8> {
    let mut runs = Runs::default();
    keep(text, dialect, whole, &mut runs);
    runs.applied(text)
}

fn kept_text(text: &str, dialect: Dialect) -> String {
    String::from_utf8(kept(text.as_bytes(), dialect, true)).expect("ASCII")
}

fn summary(text: &str, dialect: Dialect) -> (Option<&'static str>, Option<String>, String) {
    let summary = Summary::of(text.as_bytes(), dialect, true);
    let of_kept = Summary::of(&kept(text.as_bytes(), dialect, true), dialect, true);
    assert_eq!(summary, of_kept, "{text}");
    (summary.operation, summary.target, summary.normalised)
}

fn check(dialect: Dialect, text: &str, operation: &'static str, target: &str, normalised: &str) {
    let target = (!target.is_empty()).then(|| target.to_string());
    assert_eq!(summary(text, dialect), (Some(operation), target, normalised.to_string()), "{text}");
}

/// With one of each run of question marks and of spaces.
fn collapsed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.dedup_by(|a, b| a == b && b"? ".contains(a));
    String::from_utf8(bytes).expect("ASCII")
}

#[test]
fn literals_become_question_marks_of_the_same_length() {
    use Dialect::{Cql, MySql, PostgreSql};
    for (dialect, text, expected) in [
        (PostgreSql, "SELECT a, 'x''y' FROM t", "SELECT a, ? FROM t"),
        (PostgreSql, r"SELECT E'it\'s' , 12.5e-3", "SELECT ? , ?"),
        (PostgreSql, r"SELECT 'C:\' , 'secret'", "SELECT ?"),
        (PostgreSql, "DO $fn$ secret $$ $fn$ LANGUAGE sql", "DO ? LANGUAGE sql"),
        (PostgreSql, "SELECT $1, \"Name\", \"a b\"", "SELECT $1, \"Name\", ?"),
        (PostgreSql, "SELECT 1 -- no\nFROM a /* b /* c */ d */ .c", "SELECT ? \nFROM a .c"),
        (PostgreSql, "SELECT X'1f', B'1', N'x', U&'d'", "SELECT ?, ?, ?, U&?"),
        (PostgreSql, "ALTER USER a PASSWORD \"b\"", "ALTER USER a PASSWORD ?"),
        (PostgreSql, "SELECT d\u{e9}j\u{e0}", "SELECT ?"),
        (MySql, "SELECT \"secret\", `name` # x\nFROM t", "SELECT ?, `name` \nFROM t"),
        (MySql, "SELECT 5--3, a -- b", "SELECT ?--?, a "),
        (MySql, r"SELECT 'a\\', b", "SELECT ?, b"),
        (MySql, "SELECT _utf8'x', 0xfe", "SELECT _utf8?, ?"),
        (Cql, r"SELECT 'a\', b", "SELECT ?, b"),
        (Cql, "SELECT a // b\n", "SELECT a \n"),
        (Cql, "SELECT deadbeef-cafe-4bad-9bad-c0ffee123456, 0xab, 1h30m", "SELECT ?, ?, ?"),
        (Cql, "USE deadbeefdeadbee1", "USE ?"),
    ] {
        let kept = kept_text(text, dialect);
        assert_eq!((kept.len(), collapsed(&kept)), (text.len(), expected.into()), "{text}");
    }
}

#[test]
fn what_a_statement_is_called() {
    use Dialect::{Cql, MySql, PostgreSql};
    let pg = PostgreSql;
    check(pg, "select * from users where id=12", "SELECT", "users", "select * from users where id=?");
    check(pg, " /* x */ ((SELECT 1) UNION SELECT 2)", "SELECT", "", "((SELECT ?) UNION SELECT ?)");
    check(
        pg,
        "SELECT extract(day from b) FROM public.\"T\" ;",
        "SELECT",
        "public.T",
        "SELECT extract(day from b) FROM public.\"T\"",
    );
    check(pg, "SELECT * FROM generate_series(1, 9)", "SELECT", "", "SELECT * FROM generate_series(?)");
    check(pg, "SELECT * FROM (SELECT 1 FROM a) b", "SELECT", "", "SELECT * FROM (SELECT ? FROM a) b");
    check(
        pg,
        "INSERT INTO a.b(c) VALUES (1, 'x'), (2,\n'y')",
        "INSERT",
        "a.b",
        "INSERT INTO a.b(c) VALUES (?)",
    );
    check(pg, "INSERT INTO b VALUES ($1, $2)", "INSERT", "b", "INSERT INTO b VALUES ($1, $2)");
    check(pg, "UPDATE ONLY t SET a = -1", "UPDATE", "t", "UPDATE ONLY t SET a = -?");
    check(
        pg,
        "WITH x AS (SELECT 1 FROM y) SELECT * FROM z",
        "WITH",
        "z",
        "WITH x AS (SELECT ? FROM y) SELECT * FROM z",
    );
    check(pg, "WITH x AS (SELECT 1) SELECT * FROM x", "WITH", "", "WITH x AS (SELECT ?) SELECT * FROM x");
    check(pg, "CREATE TABLE IF NOT EXISTS t (a int)", "CREATE", "t", "CREATE TABLE IF NOT EXISTS t (a int)");
    check(pg, "CREATE INDEX i ON t (a)", "CREATE", "t", "CREATE INDEX i ON t (a)");
    check(pg, "COPY t FROM STDIN", "COPY", "t", "COPY t FROM STDIN");
    check(pg, "COPY (SELECT 1) TO STDOUT", "COPY", "", "COPY (SELECT ?) TO STDOUT");
    check(pg, "vacuum verbose analyze t", "VACUUM", "t", "vacuum verbose analyze t");
    check(pg, "BEGIN", "BEGIN", "", "BEGIN");
    check(pg, "SET a TO 'b'", "SET", "", "SET a TO ?");
    check(pg, "EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN", "t", "EXPLAIN ANALYZE DELETE FROM t");
    check(pg, "IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM", "", "IDENTIFY_SYSTEM");
    check(
        MySql,
        "REPLACE INTO `a`.`b` VALUES ( 1 , 2 )",
        "REPLACE",
        "a.b",
        "REPLACE INTO `a`.`b` VALUES ( ? )",
    );
    check(MySql, "SHOW COLUMNS FROM t", "SHOW", "t", "SHOW COLUMNS FROM t");
    check(Cql, "SELECT a FROM k.t WHERE i IN (?, ?, ?)", "SELECT", "k.t", "SELECT a FROM k.t WHERE i IN (?)");
    check(Cql, "TRUNCATE k.t", "TRUNCATE", "k.t", "TRUNCATE k.t");
    check(
        Cql,
        "BEGIN BATCH INSERT INTO a (b) VALUES (1) APPLY BATCH",
        "BEGIN",
        "",
        "BEGIN BATCH INSERT INTO a (b) VALUES (?) APPLY BATCH",
    );
    assert_eq!(summary("frobnicate 12", pg), (None, None, "frobnicate ?".into()));
    assert_eq!(summary("", pg), (None, None, String::new()));
}

#[test]
fn a_long_statement_is_cut_off() {
    let text = format!("SELECT {} FROM t", "a+".repeat(2_000));
    let (_, target, normalised) = summary(&text, Dialect::PostgreSql);
    assert_eq!((target.as_deref(), normalised.len()), (Some("t"), 1024));
}

#[test]
fn of_a_cut_statement_the_last_token_is_not_told() {
    let cut = |text: &str| Summary::of(text.as_bytes(), Dialect::PostgreSql, false);
    assert_eq!(cut("SELECT a FROM use").target, None);
    assert_eq!(cut("SELECT a FROM users ").target, None);
    assert_eq!(cut("SELECT a FROM users W").target, None, "what follows may be a dot");
    assert_eq!(cut("SELECT a FROM users WHERE b").target.as_deref(), Some("users"));
    assert_eq!(cut("SELECT a FROM users WHERE b = 'c").normalised, "SELECT a FROM users WHERE b =");
    assert_eq!(cut("SEL").operation, None);
    assert_eq!(kept(b"SELECT a FROM use", Dialect::PostgreSql, false), b"SELECT a FROM ???");
}

/// A piece of a statement, and the secret in it.
fn piece() -> impl Strategy<Value = String> {
    let secret = "[zZ]{1,5}";
    prop_oneof![
        proptest::sample::select(vec![
            "SELECT",
            "FROM",
            "users",
            "INSERT INTO",
            "WHERE",
            "a",
            "*",
            "(",
            ")",
            ",",
            "?",
            "$1",
            ".",
            "=",
            "-",
            "::",
            "\"Name\"",
            "UPDATE",
            "e",
            "x",
            "--\n",
            "/**/",
            "/",
            "#\n",
            "\\",
            "$",
            "deadbeef",
            "12345678-aaaa",
            ";",
            "WITH",
            "AS",
            "password",
            "_utf8",
            "\u{e9}",
        ])
        .prop_map(str::to_string),
        secret.prop_map(|s| format!("'{s}'")),
        secret.prop_map(|s| format!("'it''{s}'")),
        secret.prop_map(|s| format!("$t${s} $ ' ${s}$t$")),
        secret.prop_map(|s| format!("/* {s} ' \" */")),
        secret.prop_map(|s| format!("-- {s} ' \"\n")),
        "[0-9]{1,9}(\\.[0-9]{1,3})?",
    ]
}

proptest! {
    #[test]
    fn no_literal_survives_and_what_was_kept_tells_the_same(
        pieces in proptest::collection::vec((piece(), "[ \n]?"), 0..24),
        dialect in proptest::sample::select(DIALECTS.to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let text: String = pieces.iter().flat_map(|(piece, space)| [piece.as_str(), space]).collect();
        let bytes = text.as_bytes();
        for (text, whole) in [(bytes, true), (bytes, false), (&bytes[..at.index(bytes.len() + 1)], false)] {
            let stored = kept(text, dialect, whole);
            prop_assert_eq!(stored.len(), text.len());
            let what = Summary::of(text, dialect, whole);
            prop_assert_eq!(&what, &Summary::of(&stored, dialect, whole), "{:?}", String::from_utf8_lossy(&stored));
            prop_assert!(what.normalised.len() <= 1024);
        }
    }

    #[test]
    fn any_bytes_are_read_and_read_again(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"'\"$\\-/*? eE0f(),".to_vec())], 0..64),
        dialect in proptest::sample::select(DIALECTS.to_vec()),
        whole in any::<bool>(),
    ) {
        let stored = kept(&bytes, dialect, whole);
        prop_assert_eq!(Summary::of(&bytes, dialect, whole), Summary::of(&stored, dialect, whole));
        prop_assert!(stored.is_ascii());
    }

    #[test]
    fn secrets_between_whole_tokens_are_out(
        pieces in proptest::collection::vec(piece(), 0..24),
        dialect in proptest::sample::select(vec![Dialect::PostgreSql, Dialect::Cql]),
    ) {
        // Pieces that change what quotes mean are out, and dollars where they are no quotes.
        let plain = |piece: &&String| !["\\", "$", "--\n", "-", "/", "#\n", "e", "x", "_utf8"].contains(&piece.as_str());
        let text: String = pieces.iter().filter(plain).flat_map(|piece| [piece.as_str(), " "]).collect();
        let stored = kept(text.as_bytes(), dialect, true);
        prop_assert!(!stored.iter().any(|byte| b"zZ0123456789".contains(byte) && !text.contains("$1")
            && !text.contains("12345678")), "{}", String::from_utf8_lossy(&stored));
        prop_assert!(!stored.iter().any(|byte| b"zZ".contains(byte)), "{}", String::from_utf8_lossy(&stored));
    }

    #[test]
    fn what_is_told_of_a_prefix_holds(
        pieces in proptest::collection::vec(piece(), 0..16),
        dialect in proptest::sample::select(DIALECTS.to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let text = pieces.concat().into_bytes();
        let cut = at.index(text.len() + 1);
        let (whole, part) = (kept(&text, dialect, true), kept(&text[..cut], dialect, false));
        for index in 0..cut {
            prop_assert!(part[index] == whole[index] || part[index] == b'?', "{} {}", index,
                String::from_utf8_lossy(&part));
        }
    }
}
