//! Executables and shared libraries: where in the file the functions of a TLS library begin.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use object::read::elf::FileHeader;
use object::{Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, ReadCache, SymbolKind, elf};

use super::file::{Elf, in_file};
use super::functions::{Function, Library};
use super::go;
use crate::kernel::{At, RETURN};

/// What a file was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// It has none of what is looked for.
    Nothing,
    /// So many functions of a library, and what belongs where.
    Functions(Library, u32, Vec<At>),
    /// It has a library in it whose functions cannot be told.
    Unsupported(Library, &'static str),
}

/// Functions without which nothing is seen of a library's data.
const NEEDED: [(Library, [&str; 2]); 2] = [
    (Library::OpenSsl, ["SSL_read", "SSL_write"]),
    (Library::GnuTls, ["gnutls_record_recv", "gnutls_record_send"]),
];

/// What every OpenSSL since 1.1 says of itself; stands in the read-only data.
const OPENSSL_TEXT: [&[u8]; 3] = [b"OpenSSL 1.1.", b"OpenSSL 3.", b"OpenSSL 4."];
/// Sections of more bytes than this are not searched for that.
const MOST_SEARCHED: u64 = 64 << 20;

/// Looks into a file. One that cannot be read, or is no ELF file of this machine, has nothing.
pub fn contents(path: &Path) -> Contents {
    let Ok(file) = File::open(path) else { return Contents::Nothing };
    let cache = ReadCache::new(file);
    match Elf::parse(&cache) {
        Ok(elf) if elf.elf_header().e_machine(elf.endian()) == elf::EM_X86_64 => look(&elf),
        _ => Contents::Nothing,
    }
}

fn look(elf: &Elf<'_>) -> Contents {
    match go::look(elf) {
        go::Found::Nothing => {}
        go::Found::Functions(functions, at) => return Contents::Functions(Library::Go, functions, at),
        go::Found::Unsupported(why) => return Contents::Unsupported(Library::Go, why),
    }
    // Most programs have tens of thousands of names, and none of these.
    let found = if names_any(elf) { named(elf) } else { HashMap::new() };
    for (library, needed) in NEEDED {
        if needed.iter().all(|name| found.contains_key(name)) {
            let functions = library.functions().iter().filter(|function| found.contains_key(function.symbol));
            // Returns first: an entry whose return nobody sees would be noted in vain.
            let at = functions.clone().flat_map(|function| {
                let offset = found[function.symbol];
                let returns = function.returns.then_some(RETURN);
                returns.into_iter().chain([function.program]).map(move |program| At { program, offset })
            });
            return Contents::Functions(library, functions.clone().count() as u32, at.collect());
        }
    }
    if has_openssl(elf) {
        return Contents::Unsupported(
            Library::OpenSsl,
            "linked statically and stripped: its functions have no names",
        );
    }
    Contents::Nothing
}

/// Whether a name that is needed is among all of the file's.
fn names_any(elf: &Elf<'_>) -> bool {
    let sections = [".dynstr", ".strtab"].into_iter().filter_map(|name| elf.section_by_name(name));
    let names = NEEDED.map(|(_, [_, name])| name);
    sections
        .filter(|section| section.size() <= MOST_SEARCHED)
        .filter_map(|section| section.data().ok())
        .any(|bytes| names.iter().any(|name| memchr::memmem::find(bytes, name.as_bytes()).is_some()))
}

/// Where the functions of libraries begin in the file, by name.
fn named(elf: &Elf<'_>) -> HashMap<&'static str, u64> {
    let functions = NEEDED.iter().flat_map(|(library, _)| library.functions());
    let wanted: HashMap<&str, &Function> = functions.map(|function| (function.symbol, function)).collect();
    let tables = [elf.dynamic_symbol_table(), elf.symbol_table()];
    let symbols = tables.iter().flatten().flat_map(|table| table.symbols());
    let defined = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
    let found = defined.filter_map(|symbol| {
        let function = wanted.get(symbol.name().ok()?)?;
        Some((function.symbol, in_file(elf, symbol.address())?))
    });
    found.collect()
}

/// Whether an executable has OpenSSL's protocol code in it. (`libcrypto` alone says its version, too, and links no sockets.)
fn has_openssl(elf: &Elf<'_>) -> bool {
    let Some(section) = elf.section_by_name(".rodata").filter(|section| section.size() <= MOST_SEARCHED)
    else {
        return false;
    };
    let Ok(bytes) = section.data() else { return false };
    let has = |text: &[u8]| memchr::memmem::find(bytes, text).is_some();
    // In two pieces, as this program would else have it itself.
    has(&[&b"ssl/"[..], b"statem/"].concat()) && OPENSSL_TEXT.iter().any(|text| has(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_has_nothing() {
        assert_eq!(contents(Path::new("/proc/self/maps")), Contents::Nothing);
        assert_eq!(contents(Path::new("/nowhere")), Contents::Nothing);
        assert_eq!(contents(&std::env::current_exe().expect("a path")), Contents::Nothing);
    }

    #[test]
    fn functions_of_the_system_s_library_are_found() {
        let path = Path::new("/usr/lib/x86_64-linux-gnu/libssl.so.3");
        if !path.exists() {
            eprintln!("skipped: no {}", path.display());
            return;
        }
        let Contents::Functions(Library::OpenSsl, functions, at) = contents(path) else {
            panic!("no functions")
        };
        assert!(functions >= 12, "{functions}");
        let programs: Vec<_> = at.iter().map(|at| at.program).collect();
        assert!(
            ["tls_new", "tls_free", "tls_receive_beside", "tls_send_int"]
                .iter()
                .all(|p| programs.contains(p)),
            "{programs:?}"
        );
        let mut offsets: Vec<_> = at.iter().filter(|at| at.program != RETURN).map(|at| at.offset).collect();
        assert_eq!(offsets.len() as u32, functions);
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len() as u32, functions, "each begins elsewhere");
    }
}
