use super::*;

/// Names of the SQL files in a folder of the repository, sorted.
fn files(folder: &str) -> Vec<String> {
    let folder = format!("{}/../{folder}", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".sql").map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn every_file_is_embedded_and_documented() {
    for (folder, embedded) in [("queries", all().unwrap()), ("queries/views", views().unwrap())] {
        assert_eq!(embedded.iter().map(|q| q.name).collect::<Vec<_>>(), files(folder));
        for query in embedded {
            assert!(query.summary.ends_with(['.', '?']), "{}", query.name);
            assert!(!query.columns.is_empty(), "{}", query.name);
            let docs = query.columns.iter().map(|c| c.doc).chain(query.parameters.iter().map(|p| p.doc));
            assert!(docs.into_iter().all(|doc| doc.ends_with('.')), "{}", query.name);
        }
    }
    assert!(views().unwrap().iter().all(|view| view.parameters.is_empty() && find(view.name) == Ok(None)));
}

#[test]
fn values() {
    assert_eq!(Type::Duration.value("1.5s").unwrap(), ScalarValue::Int64(Some(1_500_000_000)));
    assert!(Type::Duration.value("7").unwrap_err().contains("write 7s"));
    assert!(Type::Integer.value("x").is_err());
    assert!(Type::Number.value("NaN").is_err() && Type::Number.value("inf").is_err());
    assert_eq!(Type::Text.value("null").unwrap(), ScalarValue::Utf8View(None));
}

#[test]
fn a_header_says_what_a_parameter_may_be() {
    let wrong = |text: &'static str, value: &str| parameter(text).unwrap().value(value).unwrap_err();
    let metric = "metric text:latency|errors = latency  What is counted.";
    assert_eq!(wrong(metric, "foo"), "\"foo\": one of latency, errors is wanted");
    assert!(parameter(metric).unwrap().value("errors").is_ok());
    assert_eq!(wrong("bins integer:>=1 = 40  Parts.", "0"), "\"0\": at least 1 is wanted");
    assert_eq!(wrong("period number:>0 = 600  The period, s.", "0"), "\"0\": more than 0 is wanted");
    let kind = parameter("kind text:client|server = null  Side.").unwrap();
    assert!(kind.value("null").is_ok() && kind.value("both").is_err());
    assert_eq!(parameter("x integer:>y = 1  Text."), None);
}

#[test]
fn the_default_of_every_parameter_is_allowed_or_null() {
    for query in all().unwrap() {
        for p in query.parameters {
            let value = p.ty.value(p.default).unwrap();
            assert!(value.is_null() || p.allowed.holds(p.default, &value), "{}: {}", query.name, p.name);
        }
    }
}

#[test]
fn a_table_function_gets_its_arguments_as_text() {
    let periods = find("periods").unwrap().unwrap();
    let statement = periods.statement(&[("min_period", ScalarValue::Int64(Some(2_500_000_000)))]);
    assert!(
        statement.contains("FROM episodes('2500000000ns')")
            && statement.contains("comb(onset, CAST($min_period AS DOUBLE) / 1e9)")
    );
}

/// A capture in which nothing was recorded.
fn empty_capture(directory: &std::path::Path) -> retrospan_formats::reader::Capture {
    let manifest = serde_json::json!({
        "format_version": 1, "capture_id": "00", "state": "recording", "options": {}, "probe_set": "syscalls",
        "host": {"name": "", "boot_id": "", "kernel": "", "machine": "", "cpus": 1, "utc_offset_s": 0},
        "recorder_version": "", "started_boot_ns": 0, "started_wall_ns": 0, "whole_until_boot_ns": 0,
        "files": [], "losses": [],
    });
    let manifest = serde_json::from_value(manifest).unwrap();
    let writer = retrospan_formats::writer::CaptureWriter::create(directory, manifest).unwrap();
    writer.complete(retrospan_formats::manifest::Cost::default()).unwrap();
    retrospan_formats::reader::Capture::open(directory).unwrap()
}

fn select_all(name: &str) -> &'static str {
    format!("SELECT * FROM {name}").leak()
}

#[tokio::test]
async fn headers_say_what_the_plans_say() {
    let folder = tempfile::tempdir().unwrap();
    let context = crate::session::open(&empty_capture(&folder.path().join("empty.cap"))).unwrap();
    let mut queries = all().unwrap();
    // A view is asked for as any table; that it can be planned on its own is no proof that it is registered.
    queries.extend(views().unwrap().into_iter().map(|view| Query { sql: select_all(view.name), ..view }));
    for query in queries {
        let values: Vec<_> =
            query.parameters.iter().map(|p| (p.name, p.ty.value(p.default).unwrap())).collect();
        let frame = crate::session::plan(&context, &query.statement(&values)).await.unwrap();
        let mut used: Vec<String> = frame.logical_plan().get_parameter_names().unwrap().into_iter().collect();
        used.sort();
        let mut declared: Vec<String> = query.parameters.iter().map(|p| format!("${}", p.name)).collect();
        declared.sort();
        assert_eq!(declared, used, "{}: parameters", query.name);
        let frame = frame.with_param_values(values).unwrap();
        let names: Vec<&str> = frame.schema().fields().iter().map(|f| f.name().as_str()).collect();
        let declared: Vec<&str> = query.columns.iter().map(|c| c.name).collect();
        assert_eq!(declared, names, "{}: columns", query.name);
        for (column, field) in query.columns.iter().zip(frame.schema().fields()) {
            let fits = column.ty.fits(field.data_type());
            assert!(fits, "{}: {} is {}", query.name, column.name, field.data_type());
        }
    }
}
