//! Names of pods and their containers, by the folders and links in which kubelet keeps their logs.
//!
//! * `pods/NAMESPACE_POD_UID/CONTAINER/`: a folder a container.
//! * `containers/POD_NAMESPACE_CONTAINER-ID.log`: a link a container, made once it runs.
//!
//! None of the three names can hold `_`. The logs themselves are not read.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Least time between two looks for names that are not there.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Entries of a folder looked at, at most.
const MAX_ENTRIES: usize = 100_000;

/// What a container in a pod is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of the pod.
    pub namespace: Rc<str>,
    /// The pod.
    pub pod: Rc<str>,
    /// The container; `None` where that is not told.
    pub container: Option<Rc<str>>,
}

/// The names that kubelet's folders tell.
#[derive(Debug)]
pub struct PodLogs {
    root: PathBuf,
    /// By uid, without containers.
    pods: HashMap<String, Names>,
    /// By container id.
    containers: HashMap<String, Names>,
    looked: Option<Instant>,
}

impl PodLogs {
    /// Of this host.
    pub fn of_host() -> PodLogs {
        PodLogs::below(Path::new("/var/log"))
    }

    /// In that folder.
    pub fn below(root: &Path) -> PodLogs {
        PodLogs { root: root.to_owned(), pods: HashMap::new(), containers: HashMap::new(), looked: None }
    }

    /// The names of a pod and of a container in it. The folders are listed where they are not known yet, but not
    /// again and again.
    pub fn names(&mut self, pod_uid: &str, container_id: Option<&str>) -> Option<Names> {
        let known = self.known(pod_uid, container_id);
        let is_whole =
            known.as_ref().is_some_and(|names| names.container.is_some() || container_id.is_none());
        if is_whole || self.looked.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return known;
        }
        self.look();
        self.known(pod_uid, container_id)
    }

    fn known(&self, pod_uid: &str, container_id: Option<&str>) -> Option<Names> {
        if let Some(names) = container_id.and_then(|id| self.containers.get(id)) {
            return Some(names.clone());
        }
        let names = self.pods.get(pod_uid)?;
        let container = container_id.and_then(|_| self.only_container(pod_uid, names));
        Some(Names { container, ..names.clone() })
    }

    /// The pod's container, where it has one folder and there are no links, which would tell it from the one that
    /// holds the pod's network.
    fn only_container(&self, pod_uid: &str, of: &Names) -> Option<Rc<str>> {
        if self.containers.values().any(|names| (&names.pod, &names.namespace) == (&of.pod, &of.namespace)) {
            return None;
        }
        let folder = self.root.join(format!("pods/{}_{}_{pod_uid}", of.namespace, of.pod));
        let mut folders = entries(&folder).into_iter();
        folders.next().filter(|_| folders.next().is_none()).map(Rc::from)
    }

    fn look(&mut self) {
        self.looked = Some(Instant::now());
        let pods = entries(&self.root.join("pods")).into_iter().filter_map(|folder| {
            let [namespace, pod, uid] = parts(&folder)?;
            Some((uid.to_owned(), Names { namespace: namespace.into(), pod: pod.into(), container: None }))
        });
        self.pods = pods.collect();
        let containers = entries(&self.root.join("containers")).into_iter().filter_map(|link| {
            let (names, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
            let [pod, namespace, container] = parts(names)?;
            let container = Some(container.into());
            Some((id.to_owned(), Names { namespace: namespace.into(), pod: pod.into(), container }))
        });
        self.containers = containers.collect();
    }
}

/// Three names with `_` between them.
fn parts(name: &str) -> Option<[&str; 3]> {
    let mut parts = name.split('_');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && three.iter().all(|part| !part.is_empty())).then_some(three)
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const UID: &str = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";

    /// Folders below /var/log, as kubelet makes them.
    fn logs(folders: &[&str], links: &[&str]) -> (tempfile::TempDir, PodLogs) {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("containers")).expect("a folder");
        folders.iter().for_each(|name| fs::create_dir_all(root.path().join(name)).expect("a folder"));
        links.iter().for_each(|name| {
            symlink("/nowhere/0.log", root.path().join("containers").join(name)).expect("a link");
        });
        let logs = PodLogs::below(root.path());
        (root, logs)
    }

    fn told(names: Option<Names>) -> Option<String> {
        names.map(|n| format!("{}/{}/{}", n.namespace, n.pod, n.container.as_deref().unwrap_or("?")))
    }

    #[test]
    fn links_name_containers_and_folders_pods() {
        let pod = format!("pods/shop_cart-7d9f-x2x_{UID}");
        let folders = [format!("{pod}/web"), format!("{pod}/sidecar")];
        let link = format!("cart-7d9f-x2x_shop_web-{ID}.log");
        let (_root, mut logs) = logs(&[&folders[0], &folders[1]], &[&link, "other", "a_b_c_d-0.log"]);
        assert_eq!(told(logs.names(UID, Some(ID))).as_deref(), Some("shop/cart-7d9f-x2x/web"));
        assert_eq!(told(logs.names(UID, None)).as_deref(), Some("shop/cart-7d9f-x2x/?"));
        assert_eq!(told(logs.names(UID, Some("0"))).as_deref(), Some("shop/cart-7d9f-x2x/?"));
        assert_eq!(told(logs.names("other", Some("0"))), None);
    }

    #[test]
    fn without_links_the_only_folder_names_the_container() {
        let one = format!("pods/shop_cart_{UID}/web");
        let (root, mut logs) = logs(&[&one], &[]);
        assert_eq!(told(logs.names(UID, Some(ID))).as_deref(), Some("shop/cart/web"));
        fs::create_dir(root.path().join(format!("pods/shop_cart_{UID}/second"))).expect("a folder");
        assert_eq!(told(logs.names(UID, Some(ID))).as_deref(), Some("shop/cart/?"));
    }

    #[test]
    fn what_is_not_there_is_looked_for_again_later() {
        let (root, mut logs) = logs(&[], &[]);
        assert_eq!(logs.names(UID, Some(ID)), None);
        fs::create_dir_all(root.path().join(format!("pods/shop_cart_{UID}/web"))).expect("a folder");
        assert_eq!(logs.names(UID, Some(ID)), None, "not so soon");
        logs.looked = None;
        assert_eq!(told(logs.names(UID, Some(ID))).as_deref(), Some("shop/cart/web"));
        let (_root, mut without) = (0, PodLogs::below(Path::new("/nowhere")));
        assert_eq!(without.names(UID, Some(ID)), None);
    }
}
