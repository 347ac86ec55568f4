use super::*;
use crate::parts::Direction::{Requests, Responses};
use crate::testing::{self, Exchange, Reader};

fn message(kind: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    [&[kind][..], &(content.len() as u32 + 4).to_be_bytes(), &content].concat()
}

fn untyped(code: u32, content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), content].concat()
}

fn query(statement: &str) -> Vec<u8> {
    message(b'Q', &[statement.as_bytes(), b"\0"])
}

fn parse(name: &str, statement: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\x01\0\0\0\x17"])
}

fn bind(portal: &str, name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32).to_be_bytes();
    let names = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0"].concat();
    message(b'B', &[&names, b"\0\x01\0\0\0\x02", &length, value.as_bytes(), b"\xff\xff\xff\xff\0\0"])
}

fn describe() -> Vec<u8> {
    message(b'D', &[b"P\0"])
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"])
}

fn sync() -> Vec<u8> {
    message(b'S', &[])
}

fn bare(kinds: &str) -> Vec<u8> {
    kinds.bytes().flat_map(|kind| message(kind, &[])).collect()
}

fn ready() -> Vec<u8> {
    message(b'Z', &[b"I"])
}

fn done(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"])
}

fn rows(count: usize) -> Vec<u8> {
    let column = [&b"\0\x01name\0"[..], &[0; 18]].concat();
    let row = message(b'D', &[b"\0\x01\0\0\0\x06canary"]);
    [message(b'T', &[&column]), row.repeat(count)].concat()
}

fn error(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mno canary here\0\0");
    message(b'E', &[fields.as_bytes()])
}

fn of<'a>(reader: &'a Reader, name: &str) -> &'a Exchange {
    let named = |exchange: &&Exchange| exchange.operation.name.as_deref() == Some(name);
    reader.exchanges().iter().find(named).expect(name)
}

/// Everything that a connection may have.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let startup = untyped(0x0003_0000, b"user\0canary\0database\0shop\0options\0-c canary\0\0");
    let challenge = message(b'R', &[&10u32.to_be_bytes(), b"SCRAM-SHA-256\0\0"]);
    let welcome = [
        message(b'R', &[&0u32.to_be_bytes()]),
        message(b'S', &[b"server_version\x0015 canary\0"]),
        message(b'K', &[&[7; 8]]),
        ready(),
    ];
    let notice = message(b'N', &[b"SNOTICE\0C00000\0Mcanary\0\0"]);
    let notification = message(b'A', &[&[0; 4], b"channel\0canary\0"]);
    let select = "SELECT a FROM public.t WHERE b = $1 AND c = 'canary'";
    let pipeline = [
        parse("s1", select),
        bind("", "s1", "canary"),
        describe(),
        execute(""),
        bind("p", "s1", "canary"),
        execute("p"),
        parse("", "UPDATE v SET a = 1"),
        bind("", "", "canary"),
        execute(""),
        parse("", "DELETE FROM w"),
        bind("", "", "canary"),
        execute(""),
        sync(),
        parse("", "INSERT INTO x VALUES ($1)"),
        bind("", "", "canary"),
        execute(""),
        message(b'C', &[b"Ss1\0"]),
        sync(),
    ];
    let of_pipeline = [
        bare("12"),
        rows(2),
        done("SELECT 2"),
        notice.clone(),
        bare("2"),
        message(b'D', &[b"\0\x01\0\0\0\x06canary"]),
        bare("s"),
        notification.clone(),
        bare("1"),
        error("ERROR", "23505"),
        ready(),
        bare("12"),
        done("INSERT 0 1"),
        bare("3"),
        ready(),
    ];
    let copy_in = message(b'G', &[b"\0\0\x01\0\0"]);
    let data = message(b'd', &[b"1\tcanary\n"]);
    vec![
        (Requests, untyped(80_877_104, b"")),
        (Responses, b"N".to_vec()),
        (Requests, untyped(80_877_103, b"")),
        (Responses, b"N".to_vec()),
        (Requests, startup),
        (Responses, challenge),
        (Requests, message(b'p', &[b"SCRAM-SHA-256\0canary"])),
        (Responses, welcome.concat()),
        (Requests, query("/* canary */ CREATE TABLE t (a int DEFAULT 12345)")),
        (Responses, [done("CREATE TABLE"), ready()].concat()),
        (Requests, query("BEGIN; SELECT 1; FETCH 'canary'")),
        (Responses, [done("BEGIN"), rows(1), done("SELECT 1"), error("ERROR", "42601"), ready()].concat()),
        (Requests, pipeline.concat()),
        (Responses, of_pipeline.concat()),
        (Requests, query("COPY t FROM STDIN")),
        (Responses, copy_in.clone()),
        (Requests, [data.clone(), data.clone(), message(b'c', &[])].concat()),
        (Responses, [done("COPY 2"), ready()].concat()),
        (Requests, [parse("", "COPY u FROM STDIN"), bind("", "", ""), execute(""), sync()].concat()),
        (Responses, [bare("12"), copy_in].concat()),
        (Requests, [data.clone(), message(b'f', &[b"canary\0"]), sync()].concat()),
        (Responses, [error("ERROR", "57014"), ready()].concat()),
        (Requests, query("")),
        (Responses, [bare("I"), ready()].concat()),
        (Requests, message(b'F', &[&9u32.to_be_bytes(), &[0; 4], b"\0\0\0\x06canary\0\0"])),
        (Responses, [message(b'V', &[b"\0\0\0\x06canary"]), ready()].concat()),
        (Requests, query("COPY v TO STDOUT")),
        (
            Responses,
            [message(b'H', &[b"\0\0\x01\0\0"]), data.repeat(3), bare("c"), done("COPY 3"), ready()].concat(),
        ),
        (Requests, query("LISTEN c")),
        (Responses, [done("LISTEN"), ready(), notification].concat()),
        (Requests, query("VACUUM t")),
        (Responses, error("FATAL", "57P01")),
    ]
}

#[test]
fn a_span_each_and_what_it_says() {
    let reader = testing::read(&PostgreSql, &conversation(), &[]);
    let told: Vec<_> = reader
        .exchanges()
        .iter()
        .map(|e| {
            let title = e.operation.title.as_deref().unwrap_or("-");
            let end = if e.cancelled.is_some() {
                "given up"
            } else if e.end.is_some() {
                "ended"
            } else {
                "open"
            };
            (title.to_string(), e.status.text.unwrap_or(""), end)
        })
        .collect();
    let expected = [
        ("startup", "", "ended"),
        ("CREATE t", "", "ended"),
        ("BEGIN", "42601", "ended"),
        ("SELECT public.t", "", "ended"),
        ("SELECT public.t", "", "ended"),
        ("UPDATE v", "23505", "ended"),
        ("DELETE w", "", "given up"),
        ("INSERT x", "", "ended"),
        ("COPY t", "", "ended"),
        ("COPY u", "57014", "ended"),
        ("-", "", "ended"),
        ("CALL", "", "ended"),
        ("COPY v", "", "ended"),
        ("LISTEN", "", "ended"),
        ("VACUUM t", "57P01", "ended"),
    ];
    let expected: Vec<_> = expected.map(|(title, status, end)| (title.to_string(), status, end)).into();
    assert_eq!(told, expected);
    let insert = of(&reader, "INSERT");
    let texts = ["db.query.text", "db.namespace", "db.collection.name", "db.query.summary"];
    let texts = texts.map(|key| insert.operation.text(key).map(|text| &**text));
    assert_eq!(texts, [Some("INSERT INTO x VALUES ($1)"), Some("shop"), Some("x"), Some("INSERT x")]);
    assert_eq!(of(&reader, "SELECT").start, 12);
    assert_eq!((of(&reader, "startup").start, of(&reader, "startup").end), (4, Some(7)));
    assert_eq!(reader.lost_bytes, 0);
}

#[test]
fn any_cut_gives_the_same_exchanges_and_no_secret_is_kept() {
    testing::check_any_cut(&PostgreSql, &conversation());
    for cuts in [&[][..], &[1], &[7, 64]] {
        for (_, kept) in testing::read(&PostgreSql, &conversation(), cuts).kept() {
            assert!(
                !kept.windows(3).any(|bytes| [b"can", b"ary", b"123"].contains(&bytes.try_into().unwrap()))
            );
        }
    }
}

#[test]
fn tls_is_a_tunnel_and_a_request_to_cancel_gets_no_answer() {
    let conversation = [
        (Requests, untyped(80_877_103, b"")),
        (Responses, b"S".to_vec()),
        (Requests, b"\x16\x03\x01Q\0\0\0\x10SELECT".to_vec()),
        (Responses, [ready(), ready()].concat()),
    ];
    let reader = testing::read(&PostgreSql, &conversation, &[3]);
    assert!(reader.exchanges().is_empty() && reader.lost_bytes == 0);
    let kept: Vec<u8> = reader.kept().into_iter().skip(4).flat_map(|(_, kept)| kept).collect();
    assert!(kept.iter().all(|&byte| byte == b'*'), "{kept:?}");
    let cancel = untyped(80_877_102, &[7; 8]);
    assert_eq!(PostgreSql.recognise(Requests, &cancel, true), Verdict::Surely);
    let reader = testing::read(&PostgreSql, &[(Requests, cancel)], &[]);
    assert!(of(&reader, "cancel").one_way);
    assert!(!reader.kept().iter().any(|(_, kept)| kept.contains(&7)));
}

#[test]
fn a_statement_is_known_by_its_name_until_it_is_closed() {
    let again = |name| [bind("", name, "1"), execute(""), sync()].concat();
    let answer = [bare("2"), done("SELECT 0"), ready()].concat();
    let conversation = [
        (Requests, [parse("s", "SELECT 1 FROM a"), sync()].concat()),
        (Responses, [bare("1"), ready()].concat()),
        (Requests, again("s")),
        (Responses, answer.clone()),
        (Requests, again("other")),
        (Responses, answer.clone()),
        (Requests, [message(b'C', &[b"Ss\0"]), sync()].concat()),
        (Responses, [bare("3"), ready()].concat()),
        (Requests, again("s")),
        (Responses, answer),
    ];
    testing::check_any_cut(&PostgreSql, &conversation);
    let reader = testing::read(&PostgreSql, &conversation, &[]);
    let names: Vec<_> = reader.exchanges().iter().map(|e| e.operation.name.as_deref()).collect();
    assert_eq!(names, [Some("SELECT"), None, None]);
}

#[test]
fn lost_answers_are_not_made_up() {
    let mut reader = Reader::new(&PostgreSql, None);
    reader.call(Requests, &query("SELECT 1"), 0);
    reader.gap(Responses, 40, 1);
    reader.call(Responses, &ready(), 2);
    reader.call(Requests, &query("SELECT 2"), 3);
    reader.call(Responses, &[rows(1), done("SELECT 1"), ready()].concat(), 4);
    reader.call(Requests, &[query("SELECT 3"), query("SELECT 4")].concat(), 5);
    reader.gap(Responses, 40, 6);
    reader.call(Responses, &[done("SELECT 1"), ready()].concat(), 7);
    reader.call(Requests, &query("SELECT 5"), 8);
    reader.call(Responses, &[done("SELECT 1"), ready(), done("SELECT 1"), ready()].concat(), 9);
    reader.call(Requests, &query("SELECT 6"), 10);
    reader.call(Responses, &[done("SELECT 1"), ready()].concat(), 11);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [None, Some(4), None, None, None, Some(11)]);
}

#[test]
fn behind_lost_requests_a_client_that_waits_is_understood_at_once() {
    let mut reader = Reader::new(&PostgreSql, Some([9, 9]));
    reader.call(Responses, &[rows(1), done("SELECT 1"), ready()].concat(), 0);
    reader.call(Requests, &query("SELECT 1"), 1);
    reader.call(Responses, &[done("SELECT 1"), ready()].concat(), 2);
    reader.gap(Requests, 40, 3);
    reader.call(Responses, &[done("SELECT 1"), ready()].concat(), 4);
    reader.call(Requests, &query("SELECT 2"), 5);
    reader.call(Responses, &[error("ERROR", "XX000"), ready()].concat(), 6);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| (e.end, e.status.text)).collect();
    assert_eq!(ends, [(Some(2), None), (Some(6), Some("XX000"))]);
}

#[test]
fn an_answer_whose_middle_is_not_known_ends_with_its_last_bytes() {
    let mut reader = Reader::new(&PostgreSql, None);
    reader.call(Requests, &query("SELECT 1"), 0);
    let answer = [rows(100), done("SELECT 100"), ready()].concat();
    let call = crate::Call {
        length: answer.len() as u64,
        head: &answer[..64],
        tail: &answer[answer.len() - 8..],
        ..crate::Call::default()
    };
    reader.partly(Responses, call, 1);
    reader.call(Requests, &query("SELECT 2"), 2);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [Some(1), None]);
}

#[test]
fn what_is_executed_with_more_than_is_kept_is_there() {
    let ask = |reader: &mut Reader, values: &str, now| {
        let group =
            [parse("", "INSERT INTO t VALUES ($1)"), bind("", "", values), describe(), execute(""), sync()];
        let asked = group.concat();
        let kept = asked.len().min(1000);
        let tail = &asked[asked.len() - if kept < asked.len() { 8 } else { 0 }..];
        let call =
            crate::Call { length: asked.len() as u64, head: &asked[..kept], tail, ..crate::Call::default() };
        reader.partly(Requests, call, now);
    };
    let mut reader = Reader::new(&PostgreSql, None);
    let answer = [bare("12n"), done("INSERT 0 1"), ready()].concat();
    for now in 0..4 {
        ask(&mut reader, &"x".repeat(if now % 2 == 0 { 5000 } else { 5 }), 2 * now);
        let failed = [bare("1"), error("ERROR", "23505"), ready()].concat();
        reader.call(Responses, if now == 2 { &failed } else { &answer }, 2 * now + 1);
    }
    let told: Vec<_> = reader.exchanges().iter().map(|e| (e.start, e.end, e.status.text)).collect();
    let failed = Some("23505");
    assert_eq!(told, [(0, Some(1), None), (2, Some(3), None), (4, Some(5), failed), (6, Some(7), None)]);
    assert!(reader.exchanges().iter().all(|e| e.operation.target.as_deref() == Some("t")));
    // Of what is not understood the recorder keeps nothing.
    assert!(super::recognise::ends_executed(b"***S\0\0\0\x04"));
}

#[test]
fn messages_are_recognised_anywhere_and_nothing_else_is() {
    for (direction, bytes) in conversation() {
        let other = if direction == Requests { Responses } else { Requests };
        if bytes.len() > 24 {
            assert_eq!(PostgreSql.recognise(other, &bytes, false), Verdict::No, "{bytes:?}");
        }
    }
    let surely = [
        (Requests, query("select 1")),
        (Requests, query("select 1")[..13].to_vec()),
        (Requests, [bind("", "s", "x"), execute(""), sync()].concat()),
        (Requests, parse("", "insert into t values ($1)")[..16].to_vec()),
        (Requests, untyped(80_877_103, b"")),
        (Requests, untyped(0x0003_0002, b"user\0u\0\0")),
        (Responses, [rows(1), done("SELECT 1"), ready()].concat()),
        (Responses, error("ERROR", "42P01")),
        (Responses, [bare("12n"), done("SET")].concat()),
        (Responses, ready()),
    ];
    for (direction, bytes) in &surely {
        assert_eq!(PostgreSql.recognise(*direction, bytes, false), Verdict::Surely, "{bytes:?}");
    }
    let http = b"POST / HTTP/1.1\r\n\r\n".to_vec();
    let redis = b"*1\r\n$4\r\nPING\r\n".to_vec();
    let mysql = b"\x21\0\0\0\x03select @@version_comment limit 1".to_vec();
    let kafka = b"\0\0\0\x14\0\x03\0\0\0\0\0\x01\0\x04test\0\0\0\0".to_vec();
    let cql = b"\x04\0\0\x01\x07\0\0\0\x0f\0\0\0\x08SELECT 1\0\x01\0".to_vec();
    for bytes in [http, redis, mysql, kafka, cql, b"Q".to_vec(), bare("S"), b"D\0\0\0\x06P\x01".to_vec()] {
        for direction in [Requests, Responses] {
            assert_ne!(PostgreSql.recognise(direction, &bytes, true), Verdict::Surely, "{bytes:?}");
        }
    }
}

#[test]
fn what_was_kept_is_recognised_as_well() {
    let reader = testing::read(&PostgreSql, &conversation(), &[]);
    for ((direction, bytes), (_, kept)) in conversation().into_iter().zip(reader.kept()) {
        let recognise = |bytes: &[u8]| PostgreSql.recognise(direction, bytes, true);
        assert_eq!(recognise(&bytes), recognise(&kept), "{bytes:?}");
    }
}
