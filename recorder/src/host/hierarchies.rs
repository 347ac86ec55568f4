//! Where the cgroups of a process are in the hierarchies of both versions that are mounted on this host.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the hierarchies with one controller are mounted.
#[derive(Debug, PartialEq, Eq)]
pub struct Hierarchies {
    controller: &'static str,
    v1: Option<PathBuf>,
    v2: Option<PathBuf>,
}

impl Hierarchies {
    /// Those mounted on this host.
    pub fn of_host(controller: &'static str) -> Hierarchies {
        Hierarchies::parse(controller, &fs::read_to_string("/proc/self/mounts").unwrap_or_default())
    }

    /// A hierarchy of version 2 alone.
    #[cfg(test)]
    pub fn below(controller: &'static str, root: &Path) -> Hierarchies {
        Hierarchies { controller, v1: None, v2: Some(root.to_owned()) }
    }

    fn parse(controller: &'static str, mounts: &str) -> Hierarchies {
        let mut found = Hierarchies { controller, v1: None, v2: None };
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, path, kind, options, ..] = fields[..] else { continue };
            if kind == "cgroup2" {
                found.v2.get_or_insert_with(|| path.into());
            } else if kind == "cgroup" && options.split(',').any(|option| option == controller) {
                found.v1.get_or_insert_with(|| path.into());
            }
        }
        found
    }

    /// The cgroups that the text of /proc/PID/cgroup names and those above them, without the roots: where each is mounted,
    /// and its path there.
    pub fn groups(&self, text: &str) -> Vec<Group> {
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let has_it = controllers.split(',').any(|name| name == self.controller);
            let root = if number == "0" {
                &self.v2
            } else if has_it {
                &self.v1
            } else {
                &None
            };
            let Some(root) = root else { continue };
            let below = Path::new(path.trim_start_matches('/'));
            let levels = below.ancestors().filter(|level| !level.as_os_str().is_empty());
            groups.extend(levels.map(|level| Group {
                folder: root.join(level),
                path: format!("/{}", level.to_string_lossy()),
            }));
        }
        groups
    }
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its folder.
    pub folder: PathBuf,
    /// Its path below the hierarchy's root.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_their_controller() {
        let text = "cgroup /c/mem cgroup rw,memory 0 0\ncgroup /c/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup2 /c/u cgroup2 rw 0 0\n";
        let (v2, controller) = (Some("/c/u".into()), "cpu");
        let found = Hierarchies::parse(controller, text);
        assert_eq!(found, Hierarchies { controller, v1: Some("/c/cpu".into()), v2 });
        assert_eq!(Hierarchies::parse("memory", text).v1, Some("/c/mem".into()));
        assert_eq!(Hierarchies::parse(controller, ""), Hierarchies { controller, v1: None, v2: None });
    }

    #[test]
    fn every_level_but_the_root_is_a_group() {
        let hierarchies =
            Hierarchies { controller: "cpu", v1: Some("/c/cpu".into()), v2: Some("/c/u".into()) };
        let groups = hierarchies.groups("5:cpu,cpuacct:/pod/box\n4:cpuset:/x\n0::/a\n");
        let group = |(folder, path): (&str, &str)| Group { folder: folder.into(), path: path.to_owned() };
        let expected = [("/c/cpu/pod/box", "/pod/box"), ("/c/cpu/pod", "/pod"), ("/c/u/a", "/a")];
        assert_eq!(groups, expected.map(group));
        assert!(hierarchies.groups("5:cpu:/\n0::/\n").is_empty());
    }
}
