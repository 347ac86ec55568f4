//! Header compression (RFC 7541): reads header blocks, and blanks in them what must not be kept.
//!
//! What is blanked keeps its place and its length, so that who reads what was kept finds the same fields in
//! the same entries of the table:
//!
//! * A whole string becomes `*`s that are not Huffman-coded. How long it was decoded is lost, and so the
//!   sizes that the standard gives to entries: see [`super::table`] for why they are not needed.
//! * The secret parts of a path become bytes of the same number whose code has as many bits
//!   ([`huffman::fill`]).
//! * A block that cannot be read to its end is `*`s as a whole, and such a block is never read.

use super::field::{self, Field, Name, REPEATED};
use super::huffman;
use super::table::Table;
use crate::blank::BLANK;

/// How much of a block was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// All of it.
    Whole,
    /// All fields up to this byte, where the block was cut.
    Cut(usize),
    /// It is none.
    Bad,
}

/// Longest string, and largest number.
const MAX_STRING_BYTES: usize = 1 << 20;

/// Updates of the table's size that a block may begin with (section 4.2).
const MAX_UPDATES: u32 = 2;

/// Reads blocks of one direction.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    table: Table,
    scratch: Vec<u8>,
    /// The last texts of the names that have such.
    recent: [Field; REPEATED],
}

/// A string: the byte that says how it is coded, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Text {
    mark: usize,
    begin: usize,
    end: usize,
}

impl Decoder {
    /// Entries of the table may be missing.
    pub(super) fn lost(&mut self) {
        self.table.clear();
    }

    /// Reads a block, which may be cut where it is not `whole`, and blanks what must not be kept of it. Tells
    /// each field.
    pub(super) fn read(&mut self, block: &mut [u8], whole: bool, mut tell: impl FnMut(Name, &Field)) -> Read {
        if !block.is_empty() && block.iter().all(|&byte| byte == BLANK) {
            return self.bad(block);
        }
        let (mut at, mut updates, mut fields) = (0, 0, 0);
        while at < block.len() {
            let next = match block[at] {
                0x80.. => self.index(block, at, &mut tell),
                0x20..0x40 => {
                    updates += 1;
                    if fields > 0 || updates > MAX_UPDATES { None } else { self.update(block, at) }
                }
                _ => self.literal(block, at, &mut tell),
            };
            fields += u32::from(!matches!(block[at], 0x20..0x40));
            match next {
                Some(next) => at = next,
                None if whole => return self.bad(block),
                None => {
                    block[at..].fill(BLANK);
                    self.lost();
                    return Read::Cut(at);
                }
            }
        }
        if whole {
            return Read::Whole;
        }
        self.lost();
        Read::Cut(at)
    }

    fn bad(&mut self, block: &mut [u8]) -> Read {
        block.fill(BLANK);
        self.lost();
        Read::Bad
    }

    fn index(&mut self, block: &[u8], at: usize, tell: &mut impl FnMut(Name, &Field)) -> Option<usize> {
        let (index, next) = number(block, at, 7)?;
        if index == 0 {
            return None;
        }
        let (name, value) = self.table.get(index);
        tell(name, value);
        Some(next)
    }

    fn update(&mut self, block: &[u8], at: usize) -> Option<usize> {
        let (size, next) = number(block, at, 5)?;
        self.table.allow(size);
        Some(next)
    }

    fn literal(&mut self, block: &mut [u8], at: usize, tell: &mut impl FnMut(Name, &Field)) -> Option<usize> {
        let indexed = block[at] & 0x40 != 0;
        let (index, next) = number(block, at, if indexed { 6 } else { 4 })?;
        let named = if index == 0 { Some(text(block, next)?) } else { None };
        // Nothing is blanked before the field is known to be whole.
        let value = text(block, named.map_or(next, |name| name.end))?;
        let name = match named {
            Some(name) => self.name(block, name),
            None => self.table.get(index).0,
        };
        let field = self.value(block, name, value);
        tell(name, &field);
        if indexed {
            self.table.insert(name, field);
        }
        Some(value.end)
    }

    /// A name that is none is not kept.
    fn name(&mut self, block: &mut [u8], text: Text) -> Name {
        let name = self.decoded(block, text).map(Name::of);
        match name {
            Some(Some(name)) => name,
            _ => {
                blank(block, text);
                Name::Other
            }
        }
    }

    fn value(&mut self, block: &mut [u8], name: Name, value: Text) -> Field {
        let Some(field) = self.kept_value(block, name, value) else {
            blank(block, value);
            if name == Name::Path {
                // One `*` would be a path.
                block[value.begin..value.end].fill(b'-');
            }
            return Field::Nothing;
        };
        if let Some(recent) = self.recent.get_mut(name as usize) {
            recent.clone_from(&field);
        }
        field
    }

    /// None where nothing of a value may be kept, or was.
    fn kept_value(&mut self, block: &mut [u8], name: Name, value: Text) -> Option<Field> {
        if !name.may_be_kept() {
            return None;
        }
        let coded = is_coded(block, value);
        let place = &mut block[value.begin..value.end];
        self.scratch.clear();
        if !coded {
            self.scratch.extend_from_slice(place);
        } else if !huffman::decode(place, &mut self.scratch) {
            return None;
        }
        if name != Name::Path && self.scratch.iter().all(|&byte| byte == BLANK) {
            return None;
        }
        let recent = self.recent.get(name as usize).unwrap_or(&Field::Nothing);
        let field = field::read(name, &mut self.scratch, coded, recent)?;
        if name == Name::Path && coded {
            huffman::encode(&self.scratch, place);
        } else if name == Name::Path {
            place.copy_from_slice(&self.scratch);
        }
        Some(field)
    }

    /// What a string says; None where it is not coded as it must be.
    fn decoded<'a>(&'a mut self, block: &'a [u8], text: Text) -> Option<&'a [u8]> {
        let bytes = &block[text.begin..text.end];
        if !is_coded(block, text) {
            return Some(bytes);
        }
        self.scratch.clear();
        huffman::decode(bytes, &mut self.scratch).then_some(&self.scratch[..])
    }
}

/// The Huffman code is used.
fn is_coded(block: &[u8], text: Text) -> bool {
    block[text.mark] & 0x80 != 0
}

/// Makes it a string of as many `*`.
fn blank(block: &mut [u8], text: Text) {
    block[text.mark] &= 0x7f;
    block[text.begin..text.end].fill(BLANK);
}

/// Where the string stands that begins there. None where not all of it is there.
fn text(block: &[u8], at: usize) -> Option<Text> {
    let (length, begin) = number(block, at, 7)?;
    let end = begin.checked_add(length).filter(|end| *end <= block.len())?;
    Some(Text { mark: at, begin, end })
}

/// A number in so many bits of a byte and in those behind it (section 5.1), and where it ends.
fn number(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1 << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut at = at + 1;
    if value < most {
        return Some((value, at));
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(at)?);
        at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (value <= MAX_STRING_BYTES).then_some((value, at));
        }
    }
    None
}

#[cfg(test)]
mod tests;
