//! Files that processes have mapped to run, looked into once each.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Contents};

/// A file that was looked into and has something in it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name in the process that it was found in.
    pub name: String,
    /// A way to it from here, as long as that process lives.
    pub path: PathBuf,
    /// What is in it.
    pub contents: Contents,
}

/// Where shared libraries lie that processes may load later.
const FOLDERS: [&str; 7] = [
    "/lib",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib",
];

/// Which files were looked into.
#[derive(Debug, Default)]
pub struct Scan {
    /// By device and inode.
    seen: HashSet<(u64, u64)>,
}

/// A mapping of a file that may be run.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    /// First address and the one behind the last, hexadecimal digits.
    range: (&'a str, &'a str),
    name: &'a str,
}

impl Scan {
    /// Libraries of this host, whether anything uses them or not: so nothing is missed of a process that starts later.
    pub fn libraries(&mut self, found: &mut Vec<Found>) {
        for folder in FOLDERS {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if is_library(&path) {
                    self.file(&path.clone(), path.to_string_lossy().into_owned(), found);
                }
            }
        }
    }

    /// What a process has mapped.
    pub fn process(&mut self, pid: u32, found: &mut Vec<Found>) {
        let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else { return };
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let exe = exe.to_string_lossy();
        let mut last = "";
        for Mapping { range, name } in maps.lines().filter_map(mapping) {
            if name == last || !(is_library(Path::new(name)) || name == exe) {
                continue;
            }
            last = name;
            // The link leads to the file itself, in whatever mount namespace it lies, and be it deleted.
            let [from, to] = [range.0, range.1].map(|address| address.trim_start_matches('0'));
            let path = PathBuf::from(format!("/proc/{pid}/map_files/{from}-{to}"));
            self.file(&path, name.to_owned(), found);
        }
    }

    /// A file at this path from here.
    pub fn file(&mut self, path: &Path, name: String, found: &mut Vec<Found>) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if !metadata.is_file() || !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        let contents = elf::contents(path);
        if contents != Contents::Nothing {
            found.push(Found { name, path: path.to_owned(), contents });
        }
    }
}

/// Whether a file is called like a TLS library: `libssl.so.3`, or `libssl-81ffa89e.so.3` as in Python's wheels.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // GnuTLS under the names of OpenSSL's functions: what it does is seen below it.
    if name.starts_with("libgnutls-openssl") {
        return false;
    }
    ["libssl", "libgnutls"].iter().any(|library| {
        name.strip_prefix(library)
            .is_some_and(|rest| rest.starts_with(".so") || (rest.starts_with('-') && rest.contains(".so")))
    })
}

/// `55d0a2e3d000-55d0a2e5f000 r-xp 00002000 fd:00 1234  /usr/bin/nginx` of a file that may be run.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let range = range.split_once('-')?;
    let executable = rest.as_bytes().get(2) == Some(&b'x');
    let name = &rest[rest.find('/')?..];
    executable.then_some(Mapping { range, name: name.strip_suffix(" (deleted)").unwrap_or(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = "7f2c4d028000-7f2c4d1bd000 r-xp 00028000 fe:01 1234                       /usr/lib/libssl.so.3 (deleted)";
        let range = ("7f2c4d028000", "7f2c4d1bd000");
        assert_eq!(mapping(line), Some(Mapping { range, name: "/usr/lib/libssl.so.3" }));
        assert_eq!(mapping("7f2c4d028000-7f2c4d1bd000 r--p 00028000 fe:01 1234 /usr/lib/x"), None);
        assert_eq!(mapping("7ffc5d3d4000-7ffc5d3d6000 r-xp 00000000 00:00 0 [vdso]"), None);
        assert_eq!(mapping(""), None);
    }

    #[test]
    fn libraries_are_known_by_their_names() {
        for name in ["libssl.so.3", "libssl.so.1.1", "libssl-81ffa89e.so.3", "libgnutls.so.30.34.3"] {
            assert!(is_library(Path::new(name)), "{name}");
        }
        for name in
            ["libgnutls-openssl.so.27", "libsslkeylog.so", "libcrypto.so.3", "libssl-dev.a", "nginx", ""]
        {
            assert!(!is_library(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_file_is_looked_into_once() {
        let (mut scan, mut found) = (Scan::default(), Vec::new());
        let path = std::env::current_exe().expect("a path");
        scan.file(&path, String::new(), &mut found);
        assert_eq!(scan.seen.len(), 1);
        scan.process(std::process::id(), &mut found);
        assert!(found.iter().all(|found| !found.name.is_empty()), "only other files");
        // Links in map_files are called without leading zeros.
        let (maps, exe) = (fs::read_to_string("/proc/self/maps").expect("maps"), path.to_string_lossy());
        let own = maps.lines().filter_map(mapping).find(|mapping| mapping.name == exe).expect("its own code");
        let [from, to] = [own.range.0, own.range.1].map(|address| address.trim_start_matches('0'));
        assert!(fs::metadata(format!("/proc/self/map_files/{from}-{to}")).is_ok());
    }
}
