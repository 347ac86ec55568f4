//! Processes as OTLP resources.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::Result;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use retrospan_formats::manifest::Manifest;

use super::attributes::{int, text};
use crate::tables::columns::typed;

/// What the processes of a capture are called.
pub struct Resources {
    host: Vec<KeyValue>,
    host_name: String,
    processes: HashMap<i64, Vec<KeyValue>>,
}

impl Resources {
    /// From rows of `processes`.
    pub fn new(manifest: &Manifest, processes: &[RecordBatch]) -> Result<Resources> {
        let host = vec![
            text("host.name", &manifest.host.name),
            text("os.type", "linux"),
            text("retrospan.capture.id", &manifest.capture_id),
        ];
        let mut known = HashMap::new();
        for batch in processes {
            read(batch, &mut known)?;
        }
        Ok(Resources { host, host_name: manifest.host.name.clone(), processes: known })
    }

    /// The resource of a service's process.
    pub fn of(&self, service: &str, process_id: Option<i64>) -> Resource {
        let mut attributes = vec![text("service.name", service)];
        if let Some(id) = process_id {
            attributes.push(text("service.instance.id", &format!("{}:{id}", self.host_name)));
            attributes.extend(self.processes.get(&id).into_iter().flatten().cloned());
        }
        attributes.extend(self.host.iter().cloned());
        Resource { attributes, ..Resource::default() }
    }
}

fn read(batch: &RecordBatch, known: &mut HashMap<i64, Vec<KeyValue>>) -> Result<()> {
    let ids = typed(batch, "process_id", &DataType::Int64)?;
    let pids = typed(batch, "pid", &DataType::Int32)?;
    let texts = |name| typed(batch, name, &DataType::Utf8View);
    let (exe, comm, argv, cgroup) = (texts("exe")?, texts("comm")?, texts("argv")?, texts("cgroup")?);
    let value = |column: &datafusion::arrow::array::ArrayRef, row: usize| {
        let column = column.as_string_view();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    for row in 0..batch.num_rows() {
        let mut list = vec![int("process.pid", i64::from(pids.as_primitive::<Int32Type>().value(row)))];
        let exe = value(&exe, row);
        let name = exe.as_deref().and_then(|exe| exe.rsplit('/').next()).map(str::to_owned);
        let name = name.or_else(|| value(&comm, row));
        list.extend(name.map(|name| text("process.executable.name", &name)));
        list.extend(exe.map(|exe| text("process.executable.path", &exe)));
        list.extend(value(&argv, row).map(|argv| text("process.command_line", &argv)));
        if let Some(cgroup) = value(&cgroup, row) {
            list.extend(container_id(&cgroup).map(|id| text("container.id", id)));
            list.extend(pod_uid(&cgroup).map(|uid| text("k8s.pod.uid", &uid)));
        }
        known.insert(ids.as_primitive::<Int64Type>().value(row), list);
    }
    Ok(())
}

/// Container runtimes name a container's cgroup after its id, 64 hex digits, with or without their own
/// name around it: `docker-<id>.scope`, `cri-containerd-<id>.scope`, `/docker/<id>`.
fn container_id(cgroup: &str) -> Option<&str> {
    let words = cgroup.rsplit(|c: char| !c.is_ascii_alphanumeric());
    words
        .into_iter()
        .find(|word| word.len() == 64 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// kubelet: `kubepods-burstable-pod<uid>.slice` with `_` for `-`, or `/kubepods/burstable/pod<uid>`.
fn pod_uid(cgroup: &str) -> Option<String> {
    cgroup.split('/').filter(|_| cgroup.contains("kubepods")).find_map(|segment| {
        let uid = segment.rsplit_once("pod")?.1.trim_end_matches(".slice").replace('_', "-");
        (uid.len() == 36).then_some(uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_pods_are_found_in_cgroups() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/docker/{id}"),
            format!("/a/cri-containerd-{id}.scope/x"),
        ] {
            assert_eq!(container_id(&path), Some(id.as_str()), "{path}");
        }
        assert_eq!(container_id("/system.slice/nginx.service"), None);
        let uid = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
        let systemd = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/x",
            uid.replace('-', "_")
        );
        let plain = format!("/kubepods/burstable/pod{uid}/{id}");
        for path in [systemd, plain] {
            assert_eq!(pod_uid(&path).as_deref(), Some(uid), "{path}");
        }
        assert_eq!(pod_uid("/system.slice/tripod.service"), None);
    }
}
