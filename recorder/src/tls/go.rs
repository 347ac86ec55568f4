//! Programs in Go: where their functions are, by the table that the runtime itself needs (`.gopclntab`), which no stripping takes
//! away.
//!
//! The format is that of Go's `internal/abi` and `debug/gosym`; since Go 1.18 its header is the same but for its magic number.

use iced_x86::{Code, Decoder, DecoderOptions};
use object::{Object, ObjectSection, ObjectSymbol};

use super::file::{Elf, in_file};
use crate::kernel::At;

/// What is attached to, by its program, and whether its returns are looked at.
const FUNCTIONS: [(&str, &str, bool); 5] = [
    ("crypto/tls.(*Conn).Close", "go_close", false),
    ("crypto/tls.(*Conn).clientHandshake", "go_client", true),
    ("crypto/tls.(*Conn).serverHandshake", "go_server", true),
    ("crypto/tls.(*Conn).Read", "go_read", true),
    ("crypto/tls.(*Conn).Write", "go_write", true),
];
/// Those without which nothing is seen.
const NEEDED: usize = 2;
/// At return instructions.
const RETURN: &str = "go_return";

/// Since Go 1.18 and since 1.20.
const MAGIC: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
/// A function of more bytes than this is not believed.
const MOST_CODE: u64 = 1 << 20;

/// What a program in Go has of `crypto/tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is none, or does not use it.
    Nothing,
    /// How many functions, and where programs belong.
    Functions(u32, Vec<At>),
    /// Why it cannot be told.
    Unsupported(&'static str),
}

/// Looks for `crypto/tls` in a program.
pub fn look(elf: &Elf<'_>) -> Found {
    if elf.section_by_name(".go.buildinfo").is_none() {
        return Found::Nothing;
    }
    let Some(table) =
        [".gopclntab", ".data.rel.ro.gopclntab"].iter().find_map(|name| elf.section_by_name(name))
    else {
        return Found::Unsupported("its table of functions (.gopclntab) is missing");
    };
    let Ok(bytes) = table.data() else { return Found::Unsupported("its table of functions cannot be read") };
    let Some(table) = Table::of(bytes, elf) else {
        return Found::Unsupported(
            "its table of functions is of a Go before 1.18, or of one that is not known yet",
        );
    };
    let found: Vec<_> = FUNCTIONS.into_iter().zip(table.find(FUNCTIONS.map(|(name, ..)| name))).collect();
    if found.iter().all(|(_, at)| at.is_none()) {
        return Found::Nothing;
    }
    if found.iter().rev().take(NEEDED).any(|(_, at)| at.is_none()) {
        return Found::Unsupported("crypto/tls is not whole in it");
    }
    let (mut functions, mut places) = (0, Vec::new());
    for ((_, program, returns), at) in found {
        let Some((address, bytes)) = at else { continue };
        let Some(offset) = in_file(elf, address) else {
            return Found::Unsupported("its code is not in the file");
        };
        if returns {
            // Returns first: an entry whose return nobody sees would be noted in vain.
            match code(elf, address, bytes).map(|code| return_offsets(code, address)) {
                Some(returns) if !returns.is_empty() => {
                    places.extend(returns.into_iter().map(|at| At { program: RETURN, offset: offset + at }));
                }
                _ => return Found::Unsupported("the returns of crypto/tls are not found"),
            }
        }
        places.push(At { program, offset });
        functions += 1;
    }
    Found::Functions(functions, places)
}

/// The code of a function.
fn code<'a>(elf: &Elf<'a>, address: u64, bytes: u64) -> Option<&'a [u8]> {
    let section = elf.sections().find(|section| {
        let from = section.address();
        address >= from && address - from < section.size()
    })?;
    section.data_range(address, bytes.min(MOST_CODE)).ok().flatten()
}

/// Where in its code a function returns, bytes from its begin.
fn return_offsets(code: &[u8], address: u64) -> Vec<u64> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let returns = decoder.into_iter().filter(|found| found.code() == Code::Retnq);
    returns.map(|found| found.ip() - address).collect()
}

/// The table of functions.
struct Table<'a> {
    bytes: &'a [u8],
    functions: usize,
    /// Address of the first byte of code.
    text: u64,
    names: usize,
    /// Where the functions' own data and the list of them begin.
    list: usize,
}

impl<'a> Table<'a> {
    fn of(bytes: &'a [u8], elf: &Elf<'_>) -> Option<Table<'a>> {
        let pointer_bytes = *bytes.get(7)?;
        if !MAGIC.contains(&u32_at(bytes, 0)?) || pointer_bytes != 8 {
            return None;
        }
        let text = match u64_at(bytes, 24)? {
            // Left to the loader, or not written any more.
            0 => elf
                .symbol_by_name("runtime.text")
                .map(|symbol| symbol.address())
                .or_else(|| elf.section_by_name(".text").map(|section| section.address()))?,
            text => text,
        };
        let functions = usize::try_from(u64_at(bytes, 8)?).ok()?;
        let (names, list) = (u64_at(bytes, 32)? as usize, u64_at(bytes, 64)? as usize);
        (functions < bytes.len() / 8).then_some(Table { bytes, functions, text, names, list })
    }

    /// Address and bytes of each function of these names, where it is there.
    fn find<const N: usize>(&self, names: [&str; N]) -> [Option<(u64, u64)>; N] {
        let mut found = [None; N];
        for index in 0..self.functions {
            let Some((address, bytes, name)) = self.function(index) else { continue };
            if let Some(place) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                found[place] = Some((address, bytes));
            }
        }
        found
    }

    fn function(&self, index: usize) -> Option<(u64, u64, &'a [u8])> {
        let entry = self.list.checked_add(index * 8)?;
        let (from, data) = (u32_at(self.bytes, entry)?, u32_at(self.bytes, entry + 4)? as usize);
        let to = u32_at(self.bytes, entry + 8)?;
        let name = u32_at(self.bytes, self.list.checked_add(data)? + 4)? as usize;
        let text = self.bytes.get(self.names.checked_add(name)?..)?;
        let end = memchr::memchr(0, text)?;
        Some((self.text + u64::from(from), u64::from(to.checked_sub(from)?), &text[..end]))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_instructions_and_not_bytes() {
        // mov eax, 0xc3c3c3c3; ret; jmp +0; ret
        let code = [0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xeb, 0x00, 0xc3];
        assert_eq!(return_offsets(&code, 0x40_1000), [5, 8]);
        assert_eq!(return_offsets(&[], 0), [0_u64; 0]);
    }

    #[test]
    fn numbers_beyond_the_end_are_none() {
        assert_eq!(u32_at(&[1, 0, 0, 0], 0), Some(1));
        assert_eq!((u32_at(&[1, 0, 0], 0), u64_at(&[0; 8], usize::MAX)), (None, None));
    }
}
