//! The head of an answer (RFC 3875, section 6.3): of its lines only the status is read.

use std::ops::Range;

/// Bytes of heads that are read, at most.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of one record that are looked at.
pub(super) const MAX_RECORD: usize = 16 * 1024;

/// How far the head has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// No more of it follows.
    pub(super) done: bool,
    /// What it says.
    pub(super) status: Option<u16>,
    /// It may say something else that was not seen.
    pub(super) unsure: bool,
    /// The line under way has text.
    has_text: bool,
    read: usize,
}

/// A line of a head, or what a record has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What may be kept of it.
    pub(super) kept: Range<usize>,
    /// Where its end begins, and where that ends.
    pub(super) end: Range<usize>,
}

impl Head {
    /// Reads the content of a record, or the first bytes of it. `whole`: all of it is there.
    pub(super) fn walk(&mut self, content: &[u8], whole: bool, mut tell: impl FnMut(Line)) {
        let mut at = 0;
        while !self.done && at < content.len() {
            let newline = memchr::memchr(b'\n', &content[at..]).map(|length| at + length);
            let text_end = newline.unwrap_or(content.len());
            let text = &content[at..text_end];
            let end = text_end - text.iter().rev().take_while(|&&byte| byte == b'\r').count();
            // Not all of it is in this record.
            let is_cut = (at == 0 && self.has_text) || newline.is_none();
            self.unsure |= is_cut && end > at;
            let kept = if is_cut { None } else { status_line(&content[at..end]) };
            if let Some((_, status)) = kept {
                self.status = self.status.or(Some(status));
            }
            let next = newline.map_or(content.len(), |newline| newline + 1);
            tell(Line { kept: at..at + kept.map_or(0, |(length, _)| length), end: end..next });
            self.done = newline.is_some() && end == at && !(at == 0 && self.has_text);
            self.has_text = newline.is_none() && (end > at || (at == 0 && self.has_text));
            at = next;
        }
        self.read += at;
        if !self.done && (!whole || self.read > MAX_HEAD) {
            (self.done, self.unsure) = (true, true);
        }
    }

    /// Some of it was missed.
    pub(super) fn lose(&mut self) {
        self.unsure |= !self.done;
        self.done = true;
    }
}

/// How much of a line tells the status, and the status.
fn status_line(line: &[u8]) -> Option<(usize, u16)> {
    const NAME: &[u8] = b"status:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let spaces = value.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    let (digits, rest) = value[spaces..].split_at_checked(3)?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && !rest.first().is_some_and(u8::is_ascii_digit);
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit.wrapping_sub(b'0')));
    (is_number && status >= 100).then_some((NAME.len() + spaces + 3, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[&str]) -> Head {
        let mut head = Head::default();
        for record in records {
            head.walk(record.as_bytes(), true, |_| {});
        }
        head
    }

    #[test]
    fn the_status_of_a_head() {
        let found =
            read(&["X-A: b\r\nStatus: 404 Not Found\r\nContent-type: text/html\r\n\r\nStatus: 500\r\n"]);
        assert_eq!((found.done, found.status, found.unsure), (true, Some(404), false));
        let none = read(&["Content-type: text/html\n\nStatus: 500\n"]);
        assert_eq!((none.done, none.status, none.unsure), (true, None, false));
        let pieces = read(&["X-A: b\r\n", "status:500\r\n\r", "\nx"]);
        assert_eq!((pieces.done, pieces.status, pieces.unsure), (true, Some(500), false));
    }

    #[test]
    fn what_is_cut_is_not_guessed() {
        let cut = read(&["Sta", "tus: 404 Not Found\r\n\r\n"]);
        assert_eq!((cut.done, cut.status, cut.unsure), (true, None, true));
        for other in
            ["Status: 4040\r\n\r\n", "Status: 40\r\n\r\n", "Status 404\r\n\r\n", "Status: abc\r\n\r\n"]
        {
            assert_eq!(read(&[other]).status, None, "{other:?}");
        }
        let mut head = Head::default();
        head.walk(b"X: y\r\n", false, |_| {});
        assert!(head.done && head.unsure);
    }
}
