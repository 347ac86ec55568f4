//! A directory that is held open: what is reached in it, and what is not.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use retrospan_formats::directory::Directory;
use rustix::fs::{CWD, FileType, Mode};

fn place() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    (folder, directory)
}

#[test]
fn only_regular_files_are_read() {
    let (folder, directory) = place();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/file"), "1").unwrap();
    symlink("in/file", folder.path().join("link")).unwrap();
    symlink("in", folder.path().join("around")).unwrap();
    symlink("/dev/zero", folder.path().join("endless")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    rustix::fs::mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(directory.open_file(Path::new("in/file")).is_ok());
    for bad in ["link", "around/file", "endless", "socket", "pipe", "in"] {
        let error = directory.open_file(Path::new(bad)).unwrap_err().to_string();
        assert!(error.starts_with("it is not a "), "{bad}: {error}");
    }
    for outside in ["", "/etc/passwd", "../x", "in/../../x", "./in/.."] {
        assert!(directory.open_file(Path::new(outside)).is_err(), "{outside}");
    }
}

#[test]
fn nothing_is_made_through_a_link() {
    let (folder, directory) = place();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "kept").unwrap();
    symlink(&victim, folder.path().join("a.tmp")).unwrap();
    symlink(folder.path().join("new"), folder.path().join("b.tmp")).unwrap();
    for name in ["a.tmp", "b.tmp", "victim"] {
        let error = directory.new_file(OsStr::new(name)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
    assert!(!folder.path().join("new").exists());
    let made = directory.new_file(OsStr::new("c")).unwrap();
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_renamed_directory_is_still_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    std::fs::create_dir(&old).unwrap();
    let directory = Directory::open(&old).unwrap();
    std::fs::rename(&old, &new).unwrap();
    std::fs::create_dir(&old).unwrap();
    directory.new_file(OsStr::new("file")).unwrap();
    assert!(new.join("file").exists() && !old.join("file").exists());
    assert_eq!(directory.names().unwrap(), ["file"]);
}
