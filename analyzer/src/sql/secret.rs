//! What tells a set of derived tables that this user wrote from one that came with a capture: a key in the user's cache folder.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use retrospan_formats::directory::Directory;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Name of the file that holds the key.
const FILE: &str = "key";
/// Its length.
const BYTES: usize = 32;

/// The user's key.
pub struct Secret {
    key: hmac::Key,
    is_kept: bool,
}

impl Secret {
    /// The user's key in their cache folder, made where there is none. Where it can be neither read nor written: one that ends
    /// with this process, so that its sets are believed as long as it runs.
    pub fn of_user(cache: Option<&Path>) -> io::Result<Secret> {
        let kept = cache.and_then(|cache| read(cache).or_else(|_| make(cache)).ok());
        let is_kept = kept.is_some();
        let bytes = kept.map_or_else(random, Ok)?;
        Ok(Secret { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), is_kept })
    }

    /// Whether later processes have the same one.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// A seed for checksums of files: whoever does not know it cannot make another file with the same one.
    pub fn seed(&self) -> u64 {
        let tag = hmac::sign(&self.key, b"xxh3 of derived tables");
        tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Signs the index of a set of that name.
    pub fn sign(&self, name: &str, index: &[u8]) -> Vec<u8> {
        hmac::sign(&self.key, &message(name, index)).as_ref().to_vec()
    }

    /// Whether this user signed it.
    pub fn has_signed(&self, name: &str, index: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key, &message(name, index), signature).is_ok()
    }
}

fn message(name: &str, index: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", index].concat()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(bytes)
}

fn read(cache: &Path) -> io::Result<[u8; BYTES]> {
    let mut file = Directory::open(cache)?.open_file(Path::new(FILE))?;
    let metadata = file.metadata()?;
    if metadata.len() != BYTES as u64 || metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("not a key, or not a secret one"));
    }
    let mut bytes = [0; BYTES];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes a new key under a name of our own and gives it its name whole: of several that do so at once the first one's holds.
fn make(cache: &Path) -> io::Result<[u8; BYTES]> {
    DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
    let temporary = format!("{FILE}.{:016x}", u64::from_ne_bytes(random()?));
    let directory = Directory::open(cache)?;
    let mut file = directory.new_file(OsStr::new(&temporary))?;
    file.write_all(&random::<BYTES>()?)?;
    file.sync_all()?;
    let linked = fs::hard_link(cache.join(&temporary), cache.join(FILE));
    directory.remove_file(OsStr::new(&temporary))?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => read(cache),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cache: Option<&Path>) -> Secret {
        Secret::of_user(cache).unwrap()
    }

    #[test]
    fn what_one_user_signed_another_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let signature = of(Some(&one)).sign("set", b"index");
        assert!(of(Some(&one)).has_signed("set", b"index", &signature));
        assert!(!of(Some(&one)).has_signed("other", b"index", &signature));
        assert!(!of(Some(&one)).has_signed("set", b"another", &signature));
        assert!(!of(Some(&two)).has_signed("set", b"index", &signature));
        assert!(!of(None).has_signed("set", b"index", &signature));
        assert_eq!(fs::metadata(one.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        // A key that others can read is none.
        fs::set_permissions(one.join(FILE), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(!of(Some(&one)).has_signed("set", b"index", &signature));
    }

    #[test]
    fn many_at_once_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<u64> = std::thread::scope(|scope| {
            let one = || of(Some(folder.path())).seed();
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == of(Some(folder.path())).seed()));
    }
}
