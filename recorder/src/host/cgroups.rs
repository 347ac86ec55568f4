//! Cgroup ids to paths, from the mounted cgroup v2 hierarchy, and paths of processes where there is v1.
//!
//! An id is the inode number of the cgroup's directory. The tree is walked when an id turns up that is not
//! known yet, but not again and again for one that is gone already.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use retrospan_formats::cgroup::Place;

use crate::fast_map::FastMap;

/// Least time between two walks for ids that are not there.
const WALK_PAUSE: Duration = Duration::from_secs(1);
/// Directories visited at most in one walk.
const MAX_DIRECTORIES: usize = 100_000;

/// Paths by cgroup id.
#[derive(Debug)]
pub struct Cgroups {
    root: Option<PathBuf>,
    paths: FastMap<u64, Rc<str>>,
    walked: Option<Instant>,
    has_v1: bool,
}

impl Cgroups {
    /// Of the cgroup v2 hierarchy mounted on this host, if there is one.
    pub fn of_host() -> Cgroups {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Cgroups { has_v1: has_v1(&mounts), ..Cgroups::below(unified_mount(&mounts)) }
    }

    /// Of the hierarchy below that directory.
    pub fn below(root: Option<PathBuf>) -> Cgroups {
        Cgroups { root, paths: FastMap::default(), walked: None, has_v1: false }
    }

    /// Whether there are hierarchies of v1, in which an id does not tell where a process is.
    pub fn has_v1(&self) -> bool {
        self.has_v1
    }

    /// The path of a cgroup below the hierarchy's root. `None` for the root itself, which tells nothing, and for what
    /// is not found.
    pub fn path(&mut self, id: u64) -> Option<Rc<str>> {
        if let Some(path) = self.paths.get(&id) {
            return (&**path != "/").then(|| path.clone());
        }
        if id == 0 || self.walked.is_some_and(|at| at.elapsed() < WALK_PAUSE) {
            return None;
        }
        self.walk();
        self.paths.get(&id).filter(|path| &***path != "/").cloned()
    }

    /// The path of the cgroup of a process that has just begun to run a program, where its cgroup's id alone does not tell:
    /// there is v1, or the cgroup is so new that the tree has not been walked since.
    pub fn path_of_program(&mut self, id: u64, pid: u32) -> Option<Rc<str>> {
        let is_told = !self.has_v1 && (self.root.is_none() || self.paths.contains_key(&id));
        let path = if is_told { None } else { of_process(pid) };
        path.filter(|path| path != "/").map(Rc::from)
    }

    fn walk(&mut self) {
        self.walked = Some(Instant::now());
        let Some(root) = self.root.clone() else { return };
        let mut queue = VecDeque::from([root.clone()]);
        let mut visited = 0;
        while let Some(directory) = queue.pop_front() {
            visited += 1;
            if visited > MAX_DIRECTORIES {
                return;
            }
            if let Ok(metadata) = fs::metadata(&directory) {
                self.paths.insert(metadata.ino(), Rc::from(path_below(&root, &directory)));
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            queue.extend(folders.map(|e| e.path()));
        }
    }
}

fn path_below(root: &Path, directory: &Path) -> String {
    let below = directory.strip_prefix(root).unwrap_or(Path::new(""));
    format!("/{}", below.to_string_lossy())
}

/// Where cgroup v2 is mounted, from the text of /proc/self/mounts.
fn unified_mount(mounts: &str) -> Option<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f.get(2) == Some(&"cgroup2")).find_map(|f| f.get(1).map(PathBuf::from))
}

/// Whether hierarchies of cgroup v1 are mounted, from the text of /proc/self/mounts.
fn has_v1(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup"))
}

/// Path of the cgroup that a process is in now.
pub fn of_process(pid: u32) -> Option<String> {
    path_of_process(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The path that /proc/PID/cgroup tells of: that of v2, or where it is the root the first other one that is not. A path that
/// names a container goes before one that does not: runtimes that use v1 leave processes where they are in v2.
fn path_of_process(text: &str) -> Option<String> {
    let paths = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let hierarchy = fields.next()?;
        Some((hierarchy != "0", fields.nth(1)?))
    });
    let mut paths: Vec<_> = paths.collect();
    paths.sort_by_key(|&(is_v1, path)| (path == "/", Place::of(path).container_id.is_none(), is_v1));
    paths.first().map(|(_, path)| (*path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_found_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("system.slice/nginx.service");
        fs::create_dir_all(&folder).unwrap();
        let mut cgroups = Cgroups::below(Some(root.path().to_owned()));
        let id = fs::metadata(&folder).unwrap().ino();
        assert_eq!(cgroups.path(id).as_deref(), Some("/system.slice/nginx.service"));
        assert_eq!(cgroups.path(fs::metadata(root.path()).unwrap().ino()), None);
        assert_eq!(cgroups.path(1), None);
    }

    #[test]
    fn version_2_is_preferred_but_not_its_root() {
        assert_eq!(path_of_process("4:memory:/a\n0::/b\n").as_deref(), Some("/b"));
        assert_eq!(path_of_process("4:memory:/a:b\n0::/\n").as_deref(), Some("/a:b"));
        assert_eq!(path_of_process("0::/\n").as_deref(), Some("/"));
        assert_eq!(path_of_process(""), None);
        let docker = format!("/docker/{}", "0123456789abcdef".repeat(4));
        let hybrid = format!("4:memory:{docker}\n0::/system.slice/containerd.service\n");
        assert_eq!(path_of_process(&hybrid), Some(docker));
        assert_eq!(path_of_process("4:memory:/a\n0::/b.service\n").as_deref(), Some("/b.service"));
    }

    #[test]
    fn finds_the_unified_mount() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(unified_mount(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(unified_mount(""), None);
        assert!(!has_v1(mounts));
        assert!(has_v1("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"));
    }
}
