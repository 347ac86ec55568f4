//! Processes as OTLP resources. Names by the semantic conventions for `service`, `process`, `container` and `k8s`:
//! <https://opentelemetry.io/docs/specs/semconv/resource/>.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::Result;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use retrospan_formats::cgroup::Place;
use retrospan_formats::manifest::Manifest;

use super::attributes::{self, int, text};
use crate::tables::columns::typed;
use crate::tables::dimensions::sampled_one_in;

/// What the processes of a capture are called.
pub struct Resources {
    host: Vec<KeyValue>,
    /// None where the host is not known.
    host_name: Option<String>,
    processes: HashMap<i64, Vec<KeyValue>>,
}

impl Resources {
    /// From rows of `processes`.
    pub fn new(manifest: &Manifest, processes: &[RecordBatch]) -> Result<Resources> {
        let mut host = vec![text("retrospan.capture.id", &manifest.capture_id)];
        // Whoever counts what was exported has to scale it.
        let one_in = sampled_one_in(manifest);
        host.extend((one_in > 1).then(|| int("retrospan.sampled_one_in", one_in as i64)));
        // An import does not know the host.
        if manifest.imported.is_none() {
            host.extend([text("host.name", &manifest.host.name), text("os.type", "linux")]);
        }
        let mut known = HashMap::new();
        for batch in processes {
            read(batch, &mut known)?;
        }
        let host_name = manifest.imported.is_none().then(|| manifest.host.name.clone());
        Ok(Resources { host, host_name, processes: known })
    }

    /// The resource of a service's process.
    pub fn of(&self, service: &str, process_id: Option<i64>) -> Resource {
        let mut attributes = vec![text("service.name", service)];
        if let Some(id) = process_id {
            let instance = self.host_name.as_ref().map(|host| format!("{host}:{id}"));
            attributes.extend(instance.map(|instance| text("service.instance.id", &instance)));
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
    // Of imported traces, where it is everything.
    let resource = if_there(batch, "resource")?;
    let names = NAMES.iter().map(|(column, _)| if_there(batch, column)).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        let id = ids.as_primitive::<Int64Type>().value(row);
        if let Some(json) = resource.as_ref().and_then(|column| value(column, row)) {
            known.insert(id, attributes::of_json(&json, &["service.name"]));
            continue;
        }
        let mut list = vec![int("process.pid", i64::from(pids.as_primitive::<Int32Type>().value(row)))];
        let exe = value(&exe, row);
        let name = exe.as_deref().and_then(|exe| exe.rsplit('/').next()).map(str::to_owned);
        let name = name.or_else(|| value(&comm, row));
        list.extend(name.map(|name| text("process.executable.name", &name)));
        list.extend(exe.map(|exe| text("process.executable.path", &exe)));
        list.extend(value(&argv, row).map(|argv| text("process.command_line", &argv)));
        let place = value(&cgroup, row).map(|path| Place::of(&path)).unwrap_or_default();
        list.extend(place.container_id.as_deref().map(|id| text("container.id", id)));
        list.extend(place.container.as_deref().map(|name| text("container.name", name)));
        list.extend(place.pod_uid.as_deref().map(|uid| text("k8s.pod.uid", uid)));
        for (column, (_, attribute)) in names.iter().zip(NAMES) {
            // A container that is in no pod has its name above.
            let is_of_pod = !attribute.starts_with("k8s.") || place.pod_uid.is_some();
            let name = column.as_ref().filter(|_| is_of_pod).and_then(|column| value(column, row));
            list.extend(name.map(|name| text(attribute, &name)));
        }
        known.insert(id, list);
    }
    Ok(())
}

/// Columns that are attributes as they are.
const NAMES: [(&str, &str); 5] = [
    ("pod", "k8s.pod.name"),
    ("namespace", "k8s.namespace.name"),
    ("container", "k8s.container.name"),
    ("service_namespace", "service.namespace"),
    ("service_version", "service.version"),
];

fn value(column: &ArrayRef, row: usize) -> Option<String> {
    let column = column.as_string_view();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn if_there(batch: &RecordBatch, name: &str) -> Result<Option<ArrayRef>> {
    batch.column_by_name(name).map(|_| typed(batch, name, &DataType::Utf8View)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::arrow::array::{Int32Array, Int64Array, StringViewArray};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use retrospan_formats::manifest::Imported;

    use crate::import::begin::{Begin, manifest};

    /// What processes in these cgroups are told to be, as `name=value`, the process's own attributes left out.
    fn attributes(cgroups: &[&str]) -> Vec<Vec<String>> {
        let count = cgroups.len();
        let text = |value| Arc::new(StringViewArray::from_iter(vec![value; count])) as ArrayRef;
        let ids = Arc::new(Int64Array::from_iter_values(0..count as i64)) as ArrayRef;
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("process_id", ids, true),
            ("pid", Arc::new(Int32Array::from(vec![7; count])) as ArrayRef, true),
            ("exe", text(None), true),
            ("comm", text(Some("web")), true),
            ("argv", text(None), true),
            ("cgroup", Arc::new(StringViewArray::from_iter(cgroups.iter().map(Some))) as ArrayRef, true),
            ("pod", text(Some("cart-1")), true),
            ("namespace", text(Some("shop")), true),
            ("container", text(Some("web")), true),
            ("service_namespace", text(Some("market")), true),
            ("service_version", text(Some("1.2")), true),
        ]);
        let mut known = HashMap::new();
        read(&batch.expect("a batch"), &mut known).expect("processes");
        let shown = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|v| v.value.as_ref()) {
            Some(Value::StringValue(text)) => format!("{}={text}", attribute.key),
            other => format!("{}={other:?}", attribute.key),
        };
        let of = |id: usize| known[&(id as i64)].iter().map(shown);
        (0..count).map(|id| of(id).filter(|line| !line.starts_with("process.")).collect()).collect()
    }

    #[test]
    fn a_sample_says_how_much_it_leaves_out() {
        let said = |options: serde_json::Value| {
            let begin = Begin {
                capture_id: "0".repeat(32),
                boot_ns: 0,
                wall_ns: 0,
                options: options.as_object().expect("options").clone(),
                imported: Imported::default(),
            };
            let resources = Resources::new(&manifest("sockets", begin), &[]).expect("no processes");
            let is_ours = |attribute: &KeyValue| *attribute == int("retrospan.sampled_one_in", 4);
            resources.of("web", None).attributes.iter().any(is_ours)
        };
        assert!(said(serde_json::json!({"sample": 4})));
        assert!(!said(serde_json::json!({})));
    }

    #[test]
    fn containers_and_pods_are_resource_attributes() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
        let pod = format!("/kubepods/burstable/pod{uid}/{id}");
        let docker = format!("/system.slice/docker-{id}.scope");
        let service = ["service.namespace=market", "service.version=1.2"].map(str::to_owned);
        let container = format!("container.id={id}");
        let told = attributes(&[&pod, &docker, "/lxc.payload.db", "/system.slice/web.service"]);
        let names = ["k8s.pod.name=cart-1", "k8s.namespace.name=shop", "k8s.container.name=web"];
        let of_pod = [container.clone(), format!("k8s.pod.uid={uid}")].into_iter();
        let of_pod = of_pod.chain(names.map(str::to_owned)).chain(service.clone());
        assert_eq!(told[0], of_pod.collect::<Vec<_>>());
        assert_eq!(told[1], [vec![container], service.to_vec()].concat());
        let lxc = ["container.id=db", "container.name=db"].map(str::to_owned);
        assert_eq!(told[2], [lxc, service.clone()].concat());
        assert_eq!(told[3], service);
    }
}
