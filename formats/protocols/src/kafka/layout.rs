//! How the fields of a message follow each other, version by version.
//!
//! A layout is a text of fields, by blanks: `b` `h` `i` `l` `u` 1, 2, 4, 8, 16 bytes; `s` text; `x` bytes;
//! `e` error code; `t` name of a topic; `d` id of a topic; `g` group; `a` acknowledgements; `k` kind of a
//! resource, `n` its name. `(s)` is an array of those, `[ .. ]` one of structures, `{ .. }` a structure, `<
//! .. >` one that may be missing. Behind a field (a closing bracket) stand the versions that have it: `3+`,
//! `-2`, `1-4`, `7`; none: all.
//!
//! Fields in tagged sections (KIP-482) are in no layout: what is there says how long it is.

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(u8),
    Text,
    Bytes,
    /// An error code, two bytes.
    Error,
    Topic,
    /// A UUID.
    TopicId,
    Group,
    /// How many acknowledgements are wanted, two bytes.
    Acks,
    /// What kind of resource is named next, one byte.
    ResourceType,
    ResourceName,
    /// An array of structures begins.
    Array,
    Struct,
    Nullable,
    /// One of the last three ends.
    Close,
    /// Lengths, counts, tags: no field of a layout.
    Frame,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) kind: Kind,
    /// An array of such.
    pub(super) list: bool,
    /// The versions that have it.
    pub(super) from: u8,
    pub(super) to: u8,
    /// Where the structure that begins or ends here ends or begins.
    pub(super) other: u8,
}

impl Op {
    pub(super) fn is_in(&self, version: u8) -> bool {
        self.from <= version && version <= self.to
    }
}

const NONE: Op = Op { kind: Kind::Frame, list: false, from: 0, to: u8::MAX, other: 0 };

/// How many fields and brackets a text has.
pub(super) const fn count(text: &str) -> usize {
    let text = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        if text[at] != b' ' && (at == 0 || text[at - 1] == b' ') {
            count += 1;
        }
        at += 1;
    }
    count
}

/// Reads a text of `N` fields and brackets.
pub(super) const fn parse<const N: usize>(text: &str) -> [Op; N] {
    let text = text.as_bytes();
    let mut ops = [NONE; N];
    let mut open = [0; 8];
    let (mut at, mut index, mut depth) = (0, 0, 0);
    while at < text.len() {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let list = text[at] == b'(';
        at += list as usize;
        let mut op = Op { kind: kind(text[at]), list, ..NONE };
        at += 1 + list as usize;
        (op.from, op.to, at) = versions(text, at);
        match op.kind {
            Kind::Array | Kind::Struct | Kind::Nullable => {
                open[depth] = index;
                depth += 1;
            }
            Kind::Close => {
                depth -= 1;
                let begin = open[depth];
                (ops[begin].from, ops[begin].to, ops[begin].other) = (op.from, op.to, index as u8);
                op.other = begin as u8;
            }
            _ => {}
        }
        ops[index] = op;
        index += 1;
    }
    assert!(depth == 0 && index == N);
    ops
}

const fn kind(letter: u8) -> Kind {
    match letter {
        b'b' => Kind::Fixed(1),
        b'h' => Kind::Fixed(2),
        b'i' => Kind::Fixed(4),
        b'l' => Kind::Fixed(8),
        b'u' => Kind::Fixed(16),
        b's' => Kind::Text,
        b'x' => Kind::Bytes,
        b'e' => Kind::Error,
        b't' => Kind::Topic,
        b'd' => Kind::TopicId,
        b'g' => Kind::Group,
        b'a' => Kind::Acks,
        b'k' => Kind::ResourceType,
        b'n' => Kind::ResourceName,
        b'[' => Kind::Array,
        b'{' => Kind::Struct,
        b'<' => Kind::Nullable,
        b']' | b'}' | b'>' => Kind::Close,
        _ => panic!("no field"),
    }
}

/// The versions that a text tells there, and where it goes on.
const fn versions(text: &[u8], at: usize) -> (u8, u8, usize) {
    let (from, mut at, any) = number(text, at);
    let end = if at < text.len() { text[at] } else { b' ' };
    match end {
        b'+' => (from, u8::MAX, at + 1),
        b'-' => {
            let to;
            (to, at, _) = number(text, at + 1);
            (from, to, at)
        }
        _ if any => (from, from, at),
        _ => (0, u8::MAX, at),
    }
}

const fn number(text: &[u8], mut at: usize) -> (u8, usize, bool) {
    let (begin, mut number) = (at, 0);
    while at < text.len() && text[at].is_ascii_digit() {
        number = number * 10 + (text[at] - b'0');
        at += 1;
    }
    (number, at, at > begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_tell_fields_and_their_versions() {
        const TEXT: &str = "i1+ [ t-12 d13+ (s)2-3 ]8+ e7";
        const OPS: [Op; count(TEXT)] = parse(TEXT);
        let told = |op: &Op| (op.kind, op.list, op.from, op.to, op.other);
        let expected = [
            (Kind::Fixed(4), false, 1, 255, 0),
            (Kind::Array, false, 8, 255, 5),
            (Kind::Topic, false, 0, 12, 0),
            (Kind::TopicId, false, 13, 255, 0),
            (Kind::Text, true, 2, 3, 0),
            (Kind::Close, false, 8, 255, 1),
            (Kind::Error, false, 7, 7, 0),
        ];
        assert_eq!(OPS.iter().map(told).collect::<Vec<_>>(), expected);
    }
}
