//! Whole values among the secrets of heads: those of header lines, and of a target's queries and parameters.
//!
//! In: a call's parts and bytes. Out: where values stand of which every byte is there and nothing else is. What frames
//! them must be there, too, and be read by everybody alike: of a header its line from the line end before it to
//! the first byte of the next line, both ends being CR LF; of a target its whole line. So the values of a head
//! are the same however it comes, but that those which are cut by the end of a call are left out.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::names::is_token;
use crate::parts::{Part, What};

/// See [`crate::Protocol::secret_values`].
pub(super) fn values(parts: &[Part], head: &[u8], stored: usize, tell: &mut dyn FnMut(&[u8], Range<usize>)) {
    let Some(first) = parts.iter().find(|part| part.length > 0) else { return };
    let mut start_line = StartLine { begin: None, end: 0 };
    let mut behind_head = false;
    for (index, part) in parts.iter().enumerate() {
        match part.what {
            What::Secret if behind_head => {
                let from = (part.offset - first.offset) as usize;
                let run = from..from + part.length as usize;
                if run.end >= head.len() {
                    return;
                }
                let value = match start_line.holds(head, from) {
                    None => return,
                    _ if !is_head(&parts[index + 1..]) => None,
                    Some(true) if run.end > stored => None,
                    Some(true) => target_value(head, run),
                    Some(false) => header_value(head, run),
                };
                if let Some((name, value)) = value {
                    tell(&head[name], value);
                }
            }
            What::Begin if part.offset >= first.offset => {
                start_line.begin = Some((part.offset - first.offset) as usize);
            }
            _ => {}
        }
        if part.length > 0 {
            behind_head = matches!(part.what, What::Head);
        }
    }
}

/// The first bytes of these are a head's, and may be kept.
fn is_head(parts: &[Part]) -> bool {
    parts.iter().find(|part| part.length > 0).is_some_and(|part| matches!(part.what, What::Head))
}

/// That of the last message that begins in a call.
struct StartLine {
    /// Where it begins, as long as nobody has asked for its end.
    begin: Option<usize>,
    end: usize,
}

impl StartLine {
    /// Whether the byte there, which is behind where it begins, is one of it. None where it goes on in another call, and
    /// nothing follows it.
    fn holds(&mut self, head: &[u8], at: usize) -> Option<bool> {
        if let Some(begin) = self.begin.take() {
            self.end = begin + memchr(b'\n', head.get(begin..)?)?;
        }
        Some(at < self.end)
    }
}

/// A header's name with its colon, and what of a blank run is its whole value, without the space around it.
fn header_value(head: &[u8], run: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    // A folded line would go on with it.
    let next = head[run.end..].strip_prefix(b"\r\n")?.first()?;
    if is_space(*next) {
        return None;
    }
    let value = trim(head, run);
    let before = &head[..trim_end(head, value.start)];
    let line = before.strip_suffix(b":")?;
    let mut name = line.len();
    while name > 0 && is_token(line[name - 1]) {
        name -= 1;
    }
    let before = line[..name].strip_suffix(b"\r\n")?;
    // Some take a CR for a line end, and two for the end of the head.
    let is_line = name < line.len() && !before.ends_with(b"\r");
    (is_line && !value.is_empty()).then_some((name..line.len() + 1, value))
}

/// A name with its `=`, and a blank run of a target that is its whole value; or no name, and one that is a whole word without.
fn target_value(head: &[u8], run: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let before = *head[..run.start].last()?;
    let after = head[run.end];
    let is_value = b"=?&;".contains(&before) && b"&;/?# ".contains(&after);
    // Of one path parameter some read several.
    if !is_value || memchr2(b'&', b'#', &head[run.clone()]).is_some() {
        return None;
    }
    let named = &head[..run.start - usize::from(before == b'=')];
    let name = named.iter().rposition(|byte| b"?&;/ ".contains(byte)).map_or(0, |at| at + 1);
    let name = if before == b'=' { name..run.start } else { run.start..run.start };
    Some((name, run))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_end(head: &[u8], mut end: usize) -> usize {
    while end > 0 && is_space(head[end - 1]) {
        end -= 1;
    }
    end
}

fn trim(head: &[u8], run: Range<usize>) -> Range<usize> {
    let mut start = run.start;
    while start < run.end && is_space(head[start]) {
        start += 1;
    }
    start..trim_end(head, run.end).max(start)
}
