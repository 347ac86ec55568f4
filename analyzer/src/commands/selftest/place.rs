//! Where the capture goes: a folder of its own that is removed, or where the user wants to keep it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The capture's place.
pub struct Place {
    capture: PathBuf,
    /// Removed at the end.
    temporary: Option<PathBuf>,
}

impl Place {
    /// `keep`: the capture itself, which is not removed.
    pub fn new(keep: Option<PathBuf>) -> io::Result<Place> {
        if let Some(capture) = keep {
            return Ok(Place { capture, temporary: None });
        }
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(io::Error::other)?;
        let name = format!("retrospan-selftest-{:016x}", u64::from_ne_bytes(bits));
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Place { capture: folder.join("selftest.cap"), temporary: Some(folder) })
    }

    /// The directory of the capture.
    pub fn capture(&self) -> &Path {
        &self.capture
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            // Where this fails, the system's own cleaning of temporary files is left.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_kept_is_removed() {
        let place = Place::new(None).unwrap();
        let folder = place.capture().parent().unwrap().to_owned();
        fs::create_dir(place.capture()).unwrap();
        drop(place);
        assert!(!folder.exists());
        let kept = tempfile::tempdir().unwrap();
        drop(Place::new(Some(kept.path().to_owned())).unwrap());
        assert!(kept.path().exists());
    }
}
