//! Documents of all kinds, whole and broken, and what becomes of their spans.

use arrow::array::RecordBatch;
use proptest::prelude::*;
use retrospan_formats::rows::Columns;
use retrospan_formats::table::Table;
use retrospan_formats::tables::ImportedSpanRow;
use retrospan_protocols::redact::Payload;

use crate::import::traces::check;
use crate::import::traces::json::read;
use crate::import::traces::recognise::Contents;
use crate::import::traces::skipped::Skipped;
use crate::import::traces::steps::Steps;
use crate::import::traces::summary::Summary;

const JAEGER: &str = r#"{"data":[{"traceID":"abc","spans":[{"traceID":"abc","spanID":"1","operationName":"GET /a",
  "references":[{"refType":"FOLLOWS_FROM","traceID":"def","spanID":"9"},{"refType":"CHILD_OF","traceID":"abc","spanID":"2"}],
  "startTime":1790000000000001,"duration":2500,"processID":"p1","tags":[
    {"key":"span.kind","type":"string","value":"server"},{"key":"error","type":"bool","value":true},
    {"key":"http.method","type":"string","value":"GET"},{"key":"http.status_code","type":"int64","value":503}]}],
  "processes":{"p1":{"serviceName":"shop","tags":[{"key":"hostname","value":"h"}]}}}],"total":0,"errors":null}"#;

const OTLP: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
  "scopeSpans":[{"scope":{"name":"lib"},"spans":[{"traceId":"00000000000000000000000000000abc","spanId":"0000000000000001",
  "parentSpanId":"0000000000000002","name":"GET /a","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1790000000000001000",
  "endTimeUnixNano":1790000000002501000,"attributes":[{"key":"http.method","value":{"stringValue":"GET"}},
  {"key":"http.status_code","value":{"intValue":"503"}}],"status":{"code":"STATUS_CODE_ERROR"}}]}]}]}"#;

fn told(text: &str) -> (Vec<String>, Summary, Contents) {
    let mut lines = Vec::new();
    let mut sink = |table: &'static Table, batch: RecordBatch| {
        if table.name == "imported_spans" {
            let rows = Columns::<ImportedSpanRow>::of(&batch).expect("its columns");
            lines.extend(rows.iter().map(|row| {
                let id = |digits: &str| digits.trim_start_matches('0').to_owned();
                format!(
                    "{} {} of {}: {} {:?} {} +{} {:?} {} {}",
                    id(row.trace_id),
                    id(row.span_id),
                    row.parent_span_id.map(id).unwrap_or_default(),
                    row.kind,
                    row.name,
                    row.boot_ns,
                    row.duration_ns,
                    row.status,
                    row.process_id,
                    row.attributes
                )
            }));
        }
        Ok(())
    };
    let mut steps = Steps::new(Payload::Heads, &mut sink);
    let contents = read(text.as_bytes(), &mut steps).expect("it is read");
    let summary = steps.finish().expect("a summary");
    (lines, summary, contents)
}

#[test]
fn both_formats_tell_the_same() {
    let common = r#"abc 1 of 2: server "GET /a" 1790000000000001000 +2500000 Some("error") 1 {"http.method":"GET","http.status_code":503"#;
    assert_eq!(told(JAEGER).0, [format!("{common}}}")]);
    assert_eq!(told(OTLP).0, [format!("{common},\"otel.scope.name\":\"lib\"}}")]);
}

#[test]
fn what_is_around_spans_does_not_matter() {
    let spans = |text: &str| {
        let (lines, summary, contents) = told(text);
        assert_eq!((summary.reasons(), contents.cut), (String::new(), false), "{text}");
        lines.len()
    };
    let trace =
        JAEGER.split_once("[").and_then(|(_, rest)| rest.rsplit_once("],\"total")).expect("a trace").0;
    assert_eq!(
        (spans(trace), spans(&format!("[{trace}]")), spans(&format!("\u{feff} \n{JAEGER}\n"))),
        (1, 1, 1)
    );
    let in_list =
        OTLP.strip_prefix("{\"resourceSpans\":").and_then(|rest| rest.strip_suffix('}')).expect("a list");
    for other in [
        format!("{{\"batches\":{in_list}}}"),
        format!("{{\"result\":{OTLP}}}"),
        format!("{{\"trace\":{{\"resource_spans\":{in_list}}}}}"),
        OTLP.replace("scopeSpans", "instrumentationLibrarySpans")
            .replace("\"scope\"", "\"instrumentationLibrary\""),
        OTLP.replace("traceId", "trace_id").replace("startTimeUnixNano", "start_time_unix_nano"),
        OTLP.replace("\"SPAN_KIND_SERVER\"", "2").replace("\"STATUS_CODE_ERROR\"", "2"),
        OTLP.replace("00000000000000000000000000000abc", "AAAAAAAAAAAAAAAAAAAKvA=="),
    ] {
        assert_eq!(told(&other).0, told(OTLP).0, "{other}");
    }
    // A line each, as the collector writes them; the second is the same.
    let line = OTLP.replace('\n', " ");
    assert_eq!(told(&format!("{line}\n{line}\n")).1.repeated, 1);
    assert_eq!(spans("{\"data\":[],\"total\":0}"), 0);
}

#[test]
fn what_is_broken_costs_itself_alone() {
    let line = OTLP.replace('\n', " ");
    let (lines, summary, contents) =
        told(&format!("{line}\n{{\"resourceSpans\":[{{]\n garbage\n{line}\nnonsense\n"));
    assert_eq!((lines.len(), summary.repeated, summary.of(Skipped::Broken)), (1, 1, 2));
    assert!(contents.wrong.is_some_and(|wrong| wrong.starts_with("line 2: ")), "which and why");
    let (lines, summary, contents) = told(&format!("{line}\n{}", &line[..line.len() / 2]));
    assert_eq!((lines.len(), summary.of(Skipped::Broken), contents.cut), (1, 0, true));
    let other = "{\"resourceMetrics\":[]}\n{\"a\":{\"b\":[1,2,{}]}}\n[1,\"x\",null]\n";
    let (_, summary, contents) = told(&format!("{other}{line}"));
    assert_eq!((summary.spans, summary.of(Skipped::NoTraces), contents.traces), (1, 3, 1));
}

#[test]
fn values_of_any_type_are_as_good_as_none() {
    let anything = [
        "null",
        "7",
        "-1",
        "1.5e300",
        "\"x\"",
        "true",
        "[]",
        "[[{}]]",
        "{}",
        "{\"a\":{\"b\":1}}",
        "18446744073709551615",
    ];
    let names = [
        "traceID",
        "spanID",
        "references",
        "startTime",
        "duration",
        "tags",
        "processID",
        "spans",
        "processes",
        "data",
        "traceId",
        "spanId",
        "kind",
        "startTimeUnixNano",
        "attributes",
        "status",
        "value",
        "scope",
        "resource",
        "scopeSpans",
        "key",
    ];
    for document in [JAEGER, OTLP] {
        for name in names {
            for value in anything {
                let found = format!("\"{name}\":");
                let Some(at) = document.find(&found) else { continue };
                let rest = &document[at + found.len()..];
                // The value that stands there, up to the end of it.
                let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
                values.next().expect("a value").expect("JSON");
                let text = format!("{}{found}{value}{}", &document[..at], &rest[values.byte_offset()..]);
                let (_, summary, contents) = told(&text);
                assert_eq!((summary.of(Skipped::Broken), contents.cut), (0, false), "{text}");
            }
        }
    }
}

#[test]
fn hostile_texts_end() {
    let deep = format!("{{\"data\":{}", "[".repeat(100_000));
    let (_, summary, _) = told(&deep);
    assert_eq!(summary.of(Skipped::Broken), 1, "nobody follows that");
    for text in [
        "{\"data\":[{\"spans\":[{\"startTime\":1e999}]}]}",
        "{\"data\":\"\\ud800\"}",
        "{\"a\":\"\u{0}\"}",
        "{",
        "[",
        "{{{{",
        "{}{}{}[]",
    ] {
        let (lines, _, _) = told(text);
        assert!(lines.is_empty(), "{text}");
    }
    let nested = format!(
        "{{\"arrayValue\":{{\"values\":[{}{}]}}}}",
        "{\"arrayValue\":{\"values\":[".repeat(30),
        "]}}".repeat(30)
    );
    let text = OTLP.replace("{\"stringValue\":\"GET\"}", &nested);
    assert_eq!(told(&text).1.spans, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_matter(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..1500, cut in 0usize..1500) {
        check(&bytes, Payload::Full);
        for document in [JAEGER, OTLP] {
            let mut text = document.as_bytes().to_vec();
            let at = at % text.len();
            text.splice(at..(at + bytes.len() / 100).min(document.len()), bytes.iter().copied().take(3));
            check(&text, Payload::Heads);
            check(&document.as_bytes()[..cut % document.len()], Payload::Heads);
        }
    }
}
