//! A directory that is held open. What lies in it is reached through that handle, by one name, and never through a link.
//!
//! A capture may come from anywhere, and its folder may belong to somebody else than who works on it: names that are looked up
//! twice can mean two things, and a link can mean anything.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A directory that is held open.
#[derive(Debug)]
pub struct Directory {
    handle: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens the directory that a user named. The name itself may be a link.
    pub fn open(path: &Path) -> io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Directory { handle: fs::openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Opens a directory within. A link is refused.
    pub fn child(&self, name: &OsStr) -> io::Result<Directory> {
        let name = one_name(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Directory { handle, path: self.path.join(name) }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.why_not(name, "a directory")),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a directory within, which is made for its owner alone where there is none.
    pub fn child_or_new(&self, name: &OsStr) -> io::Result<Directory> {
        match self.new_child(name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.child(name),
            other => other,
        }
    }

    /// Makes a directory for its owner alone; fails where there is something of that name.
    pub fn new_child(&self, name: &OsStr) -> io::Result<Directory> {
        fs::mkdirat(&self.handle, one_name(name)?, Mode::RWXU)?;
        self.child(name)
    }

    /// Opens a regular file for reading, by a path of plain names. Links, pipes, sockets and devices are refused, and
    /// nothing is waited for.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let mut names = path.components().map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(outside()),
        });
        let mut name = names.next().ok_or_else(outside)??;
        let mut folder = None;
        for next in names {
            folder = Some(folder.as_ref().unwrap_or(self).child(name)?);
            name = next?;
        }
        folder.as_ref().unwrap_or(self).open_own(name)
    }

    fn open_own(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Opening a device may do something, so it is looked at before; what is opened is looked at again.
        if !self.is(name, FileType::RegularFile)? {
            return Err(self.why_not(name, "a regular file"));
        }
        let file = match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::LOOP) => return Err(self.why_not(name, "a regular file")),
            Err(e) => return Err(e.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(self.why_not(name, "a regular file"));
        }
        Ok(file)
    }

    /// Makes a file for its owner alone; fails where there is something of that name, be it a link.
    pub fn new_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = fs::openat(&self.handle, one_name(name)?, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(handle))
    }

    /// Gives what has one name another one, in place of what has that.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.handle, one_name(from)?, &self.handle, one_name(to)?)?)
    }

    /// Gives a file another name, in another directory of the same file system. Fails where there is something of that name.
    pub fn share(&self, name: &OsStr, with: &Directory) -> io::Result<()> {
        Ok(fs::linkat(&self.handle, one_name(name)?, &with.handle, name, AtFlags::empty())?)
    }

    /// Removes a file; of a link, the link.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.handle, one_name(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_child(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.handle, one_name(name)?, AtFlags::REMOVEDIR)?)
    }

    /// The names of everything in it.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Whether there is something of that name, be it a link that leads nowhere.
    pub fn has(&self, name: &OsStr) -> bool {
        fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether that is a symbolic link.
    pub fn is_link(&self, name: &OsStr) -> bool {
        self.is(name, FileType::Symlink).unwrap_or(false)
    }

    fn is(&self, name: &OsStr, ty: FileType) -> io::Result<bool> {
        let found = fs::statat(&self.handle, one_name(name)?, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode) == ty)
    }

    /// Waits until its names are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(self.handle.as_fd())?)
    }

    /// Bytes that are free on its file system for those who are not root.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = fs::fstatvfs(&self.handle)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Another handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Directory> {
        Ok(Directory { handle: self.handle.try_clone()?, path: self.path.clone() })
    }

    /// The same, under another name in messages.
    pub fn called(self, path: &Path) -> Directory {
        Directory { path: path.to_owned(), ..self }
    }

    /// Whether both are handles on one directory.
    pub fn is_same(&self, other: &Directory) -> bool {
        let id = |directory: &Directory| fs::fstat(&directory.handle).map(|s| (s.st_dev, s.st_ino));
        matches!((id(self), id(other)), (Ok(one), Ok(two)) if one == two)
    }

    /// What it was called when it was opened: for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn why_not(&self, name: &OsStr, wanted: &str) -> io::Error {
        let link =
            if self.is_link(name) { " but a link, and links in a capture are not followed" } else { "" };
        io::Error::other(format!("it is not {wanted}{link}"))
    }
}

/// Names with a slash would be looked up beyond the handle.
fn one_name(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(outside());
    }
    Ok(name)
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the path leaves its directory")
}
