//! Where a call goes on with nothing but a body: nobody needs those bytes, not even to know that nobody does.

use memchr::memchr_iter;

use super::length::decimal;
use super::start_line::surely_begins_head;
use crate::parts::Direction;

const VERSION: &[u8] = b"HTTP/1.";

/// Where in data that follows data of the other direction its head ends, if it begins with one, and all that follows in the
/// call, which moved `length` bytes, is its body by a `Content-Length`. None where anything is doubtful.
pub(super) fn body_from(bytes: &[u8], length: u64) -> Option<usize> {
    let direction = if bytes.starts_with(VERSION) { Direction::Responses } else { Direction::Requests };
    if !surely_begins_head(direction, bytes) {
        return None;
    }
    let mut announced = None;
    let mut line_ends = memchr_iter(b'\n', bytes);
    let mut start = line_ends.next()? + 1;
    for end in line_ends {
        let line = &bytes[start..end];
        start = end + 1;
        if matches!(line, b"" | b"\r") {
            // Not every answer with a length has a body: that to HEAD has none.
            let is_all = (start as u64).checked_add(announced?)? >= length;
            return (is_all && !bytes[start..].starts_with(VERSION)).then_some(start);
        }
        match line[0].to_ascii_lowercase() {
            b'c' => match value(line, b"content-length:") {
                Some(_) if announced.is_some() => return None,
                Some(value) => announced = Some(decimal(value)?),
                None => {}
            },
            b't' if value(line, b"transfer-encoding:").is_some() => return None,
            b' ' | b'\t' => return None,
            _ => {}
        }
    }
    None
}

/// The value of a line, where its field is that one (in lower case, with its colon).
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let (name, value) = line.split_at_checked(field.len())?;
    name.eq_ignore_ascii_case(field).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::{Call, Part, What};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: a\r\ncontent-length:  12\r\nX: y\r\n\r\n";

    fn with(head: &[u8], body: &[u8]) -> Option<usize> {
        let all = [head, body].concat();
        body_from(&all, all.len() as u64)
    }

    #[test]
    fn what_a_length_announces_is_a_body() {
        assert_eq!(with(ANSWER, b"hello, world"), Some(ANSWER.len()));
        assert_eq!(with(ANSWER, b"hello"), Some(ANSWER.len()), "the rest comes in other calls");
        assert_eq!(body_from(ANSWER, ANSWER.len() as u64 + 12), Some(ANSWER.len()));
        let post = b"POST /a HTTP/1.1\nContent-Length: 5\n\n";
        assert_eq!(with(post, b"hello"), Some(post.len()));
    }

    #[test]
    fn where_anything_else_may_follow_nothing_is_said() {
        assert_eq!(with(ANSWER, b"hello, world."), None, "more than that body");
        assert_eq!(with(ANSWER, b"HTTP/1.1 200"), None, "an answer to HEAD");
        assert_eq!(with(b"hello\r\nContent-Length: 5\r\n\r\n", b"hello"), None, "no head");
        for line in [
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Transfer-encoding: identity",
            " folded",
            "Content-length: 7",
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{line}\r\n\r\n");
            assert_eq!(with(head.as_bytes(), b"hello"), None, "{line}");
        }
        for length in ["", "5,5", "-5", "0x5", "5 5", "99999999999999999999"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(with(head.as_bytes(), b"hello"), None, "{length}");
        }
        assert_eq!(with(b"HTTP/1.1 200 OK\r\nServer: a\r\n\r\n", b"hello"), None, "lasts until the end");
        assert_eq!(with(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b""), None, "no end of the head");
    }

    /// Framing finds the same without those bytes.
    #[test]
    fn framing_needs_nothing_of_it() {
        let request = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 300\r\n\r\n";
        let body = [b'x'; 300];
        let whole = [&request[..], &body].concat();
        let from = body_from(&whole, whole.len() as u64).expect("its body");
        let parts_of = |head: &[u8]| {
            let mut parts: Vec<Part> = Vec::new();
            let mut connection = super::super::Connection::new();
            for _ in 0..2 {
                let call = Call { length: whole.len() as u64, head, ..Call::default() };
                connection.call(Direction::Requests, call, None, &mut parts);
            }
            parts
        };
        let all = parts_of(&whole);
        assert_eq!(all, parts_of(&whole[..from]));
        assert_eq!(all.iter().filter(|part| part.what == What::End { exact: true }).count(), 2);
    }
}
