//! Who made spans: a resource (an instance of a service) becomes a process.

use std::collections::{HashMap, HashSet};

use retrospan_formats::tables::{ImportedResourceRow, ProcessRow};
use retrospan_protocols::semconv::keep;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::import::traces::attributes::Keeping;
use crate::import::traces::span::{Attributes, find};

/// What names a service, best first.
const NAMES: [&str; 8] = [
    "service.name",
    "process.executable.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.container.name",
    "container.name",
    "faas.name",
];
/// Longest name of a service.
const MAX_NAME_BYTES: usize = 255;

/// Resources that have made spans.
#[derive(Debug, Default)]
pub struct Resources {
    ids: HashMap<u128, i64, FxBuildHasher>,
    services: HashSet<u64, FxBuildHasher>,
}

/// A resource as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    service: Option<String>,
    pid: i32,
    attributes: String,
    /// Of all that.
    hash: u128,
}

impl Resource {
    /// From its attributes.
    pub fn new(attributes: &Attributes, keeping: &mut Keeping) -> Resource {
        let named = |name: &&str| find(attributes, name)?.text().filter(|text| !text.trim().is_empty());
        let service = NAMES.iter().find_map(named).map(|name| keep::cut(name, MAX_NAME_BYTES).to_owned());
        let pid = find(attributes, "process.pid").and_then(|pid| i32::try_from(pid.int()?).ok());
        let pid = pid.filter(|pid| *pid > 0).unwrap_or_default();
        let attributes = keeping.json(attributes).to_owned();
        let all = format!("{}\0{pid}\0{attributes}", service.as_deref().unwrap_or_default());
        Resource { service, pid, attributes, hash: xxh3_128(all.as_bytes()) }
    }

    /// The row of `imported_resources`.
    pub fn row(&self, process_id: i64) -> ImportedResourceRow<'_> {
        ImportedResourceRow { process_id, service: self.service.as_deref(), attributes: &self.attributes }
    }

    /// The row of `processes`, if it has a name. `start_ns`: begin of its first span.
    pub fn process(&self, process_id: i64, start_ns: i64) -> Option<ProcessRow<'_>> {
        let comm = self.service.as_deref()?;
        let row =
            ProcessRow { process_id, pid: self.pid, comm, start_boot_ns: start_ns, ..ProcessRow::default() };
        Some(row)
    }
}

impl Resources {
    /// The id of a resource, and whether it is new.
    pub fn id(&mut self, resource: &Resource) -> (i64, bool) {
        let next = self.ids.len() as i64 + 1;
        let id = *self.ids.entry(resource.hash).or_insert(next);
        if id == next {
            self.services.extend(resource.service.as_ref().map(|name| xxh3_64(name.as_bytes())));
        }
        (id, id == next)
    }

    /// How many services there are.
    pub fn services(&self) -> u64 {
        self.services.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use retrospan_protocols::redact::Payload;

    use super::*;
    use crate::import::traces::span::Value;

    fn resource(attributes: &[(&str, &str)]) -> Resource {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
        Resource::new(&attributes.iter().map(text).collect(), &mut Keeping::new(Payload::Heads))
    }

    #[test]
    fn a_service_is_named_by_what_names_it_best() {
        let named = |attributes| resource(attributes).service;
        let both = [("process.executable.name", "shop.bin"), ("service.name", "shop")];
        assert_eq!(named(&both).as_deref(), Some("shop"));
        assert_eq!(named(&[("service.name", " "), ("container.name", "c1")]).as_deref(), Some("c1"));
        assert_eq!(named(&[("host.name", "h")]), None);
        assert_eq!(resource(&[("process.pid", "17")]).pid, 17);
        assert_eq!(resource(&[("process.pid", "-3")]).pid, 0);
    }

    #[test]
    fn instances_are_told_apart_and_known_again() {
        let mut resources = Resources::default();
        let instance = |id| resource(&[("service.name", "shop"), ("service.instance.id", id)]);
        assert_eq!(resources.id(&instance("a")), (1, true));
        assert_eq!(resources.id(&instance("b")), (2, true));
        assert_eq!(resources.id(&instance("a")), (1, false));
        assert_eq!(resources.services(), 1);
    }
}
