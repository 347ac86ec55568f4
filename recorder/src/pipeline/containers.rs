//! The cgroups that processes are in, and who runs in each: the rows of `containers`.
//!
//! A path is read once. Names of pods and their containers are looked up at the same time, and again at the ends of a few
//! parts where they are not there yet: kubelet makes its link to a container's log once that runs.

use std::collections::HashMap;
use std::rc::Rc;

use retrospan_formats::cgroup::Place;
use retrospan_formats::tables::ContainerRow;

use crate::host::pod_logs::{Names, PodLogs};

/// How often names are looked for again.
const MORE_LOOKS: u8 = 6;

/// What is known of a cgroup: a row of `containers` with its own texts.
#[derive(Clone, Debug)]
pub struct KnownCgroup {
    number: i64,
    path: Rc<str>,
    place: Rc<Place>,
    names: Option<Names>,
}

impl KnownCgroup {
    /// Its row.
    pub fn row(&self) -> ContainerRow<'_> {
        let (place, names) = (&*self.place, self.names.as_ref());
        ContainerRow {
            number: self.number,
            cgroup: &self.path,
            container_id: place.container_id.as_deref(),
            runtime: place.runtime,
            unit: place.unit.as_deref(),
            pod_uid: place.pod_uid.as_deref(),
            pod: names.map(|names| &*names.pod),
            namespace: names.map(|names| &*names.namespace),
            container: self.container(),
        }
    }

    /// What its path tells.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Namespace and name of its pod.
    pub fn pod(&self) -> Option<(&str, &str)> {
        self.names.as_ref().map(|names| (&*names.namespace, &*names.pod))
    }

    /// The container's name.
    pub fn container(&self) -> Option<&str> {
        self.names.as_ref().and_then(|names| names.container.as_deref()).or(self.place.container.as_deref())
    }

    /// The service that its processes are, and what names it: the unit, container or pod.
    fn service(&self) -> Option<(&str, &'static str)> {
        let unit = self.place.service().map(|name| (name, "unit"));
        let container = || self.container().map(|name| (name, "container"));
        let pod = || self.names.as_ref().map(|names| (&*names.pod, "pod"));
        unit.or_else(container).or_else(pod)
    }

    fn lacks_names(&self) -> bool {
        let has_all = |names: &Names| names.container.is_some() || self.place.container_id.is_none();
        self.place.pod_uid.is_some() && !self.names.as_ref().is_some_and(has_all)
    }
}

#[derive(Debug)]
struct Entry {
    known: KnownCgroup,
    looks: u8,
    /// Differs from what was last written.
    changed: bool,
}

/// All cgroups that processes are or were in.
#[derive(Debug)]
pub struct Containers {
    logs: PodLogs,
    cgroups: HashMap<Rc<str>, Entry>,
}

impl Containers {
    /// None yet; names come from there.
    pub fn new(logs: PodLogs) -> Containers {
        Containers { logs, cgroups: HashMap::new() }
    }

    /// Takes note of the cgroup that a process is in.
    pub fn see(&mut self, path: &Rc<str>) {
        if self.cgroups.contains_key(path) {
            return;
        }
        let mut known = KnownCgroup {
            number: self.cgroups.len() as i64 + 1,
            path: path.clone(),
            place: Rc::new(Place::of(path)),
            names: None,
        };
        look(&mut known, &mut self.logs);
        self.cgroups.insert(path.clone(), Entry { known, looks: 0, changed: true });
    }

    /// Looks again for names that were missing; whether one was found.
    pub fn look_again(&mut self) -> bool {
        let mut found = false;
        for entry in self.cgroups.values_mut().filter(|e| e.looks < MORE_LOOKS && e.known.lacks_names()) {
            entry.looks += 1;
            if look(&mut entry.known, &mut self.logs) {
                entry.changed = true;
                found = true;
            }
        }
        found
    }

    /// The service that processes in that cgroup are, and what names it.
    pub fn service(&self, path: &str) -> Option<(&str, &'static str)> {
        self.cgroups.get(path)?.known.service()
    }

    /// What is known of that cgroup.
    pub fn known(&self, path: &str) -> Option<&KnownCgroup> {
        self.cgroups.get(path).map(|entry| &entry.known)
    }

    /// Whether something of the cgroup has not been written yet.
    pub fn is_changed(&self, path: &str) -> bool {
        self.cgroups.get(path).is_some_and(|entry| entry.changed)
    }

    /// Those that are new or different since the last call, by number.
    pub fn take_changed(&mut self) -> Vec<KnownCgroup> {
        let take = |entry: &mut Entry| std::mem::take(&mut entry.changed).then(|| entry.known.clone());
        let mut rows: Vec<_> = self.cgroups.values_mut().filter_map(take).collect();
        rows.sort_by_key(|known| known.number);
        rows
    }
}

/// Looks for the names of a cgroup in a pod; whether there are others than before.
fn look(known: &mut KnownCgroup, logs: &mut PodLogs) -> bool {
    let Some(pod_uid) = known.place.pod_uid.as_deref() else { return false };
    let names = logs.names(pod_uid, known.place.container_id.as_deref());
    // A pod that is gone had its names.
    let is_new = names.is_some() && names != known.names;
    if is_new {
        known.names = names;
    }
    is_new
}

#[cfg(test)]
mod tests;
