//! An ELF file, read piece by piece.

use std::fs::File;

use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, ReadCache, elf};

/// An open file.
pub type Elf<'a> = ElfFile64<'a, Endianness, &'a ReadCache<File>>;

/// Where an address of the program lies in the file, by the segment that it is loaded with.
pub fn in_file(elf: &Elf<'_>, address: u64) -> Option<u64> {
    let endian = elf.endian();
    elf.elf_program_headers().iter().find_map(|segment| {
        let (from, bytes) = (segment.p_vaddr(endian), segment.p_filesz(endian));
        let holds = segment.p_type(endian) == elf::PT_LOAD
            && segment.p_flags(endian) & elf::PF_X != 0
            && address >= from
            && address - from < bytes;
        holds.then(|| address - from + segment.p_offset(endian))
    })
}
