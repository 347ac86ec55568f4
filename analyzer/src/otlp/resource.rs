//! Processes as OTLP resources.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::Result;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use retrospan_formats::manifest::Manifest;

use super::attributes::{int, text};
use crate::tables::cgroups::{container_id, pod_uid};
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
