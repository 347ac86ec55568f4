//! Whether a result can be written where it is to go, asked before the work of an hour is done.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Fails where the file cannot be written. What is there keeps its content, and where nothing is, nothing is left.
pub fn check(path: &Path) -> Result<()> {
    let tried = match fs::metadata(path) {
        Ok(found) if found.is_file() => OpenOptions::new().write(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // Opening a pipe or a device may do something.
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => make_and_remove(path),
        Err(e) => Err(e),
    };
    tried.map_err(|e| refusal(path, &e))
}

/// A link that leads to no file yet is left for the end.
fn make_and_remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    OpenOptions::new().write(true).create_new(true).open(path)?;
    fs::remove_file(path)
}

fn refusal(path: &Path, error: &io::Error) -> Error {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let reason = match (error.kind(), parent) {
        (io::ErrorKind::NotFound, Some(parent)) if !parent.exists() => {
            format!("there is no directory {}", parent.display())
        }
        (io::ErrorKind::IsADirectory, _) => "it is a directory: name a file".to_owned(),
        _ => error.to_string(),
    };
    Error::Usage(format!("-o {}: cannot be written: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_can_be_written_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        fs::write(&old, "kept").unwrap();
        symlink(folder.path().join("later"), folder.path().join("link")).unwrap();
        check(&new).unwrap();
        check(&old).unwrap();
        check(&folder.path().join("link")).unwrap();
        check(Path::new("/dev/null")).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"kept");
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["link", "old"]);
    }

    #[test]
    fn what_cannot_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| check(path).unwrap_err().to_string();
        let nowhere = folder.path().join("none/report.html");
        assert!(
            refused(&nowhere).ends_with(&format!("no directory {}", folder.path().join("none").display()))
        );
        assert!(refused(folder.path()).ends_with("it is a directory: name a file"));
        assert!(refused(&folder.path().join("x".repeat(300))).contains("too long"));
        assert!(refused(Path::new("/proc/report.html")).contains("cannot be written"));
    }
}
