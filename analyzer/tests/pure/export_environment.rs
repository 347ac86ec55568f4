//! `export` honours the variables of the OpenTelemetry specification where no option says otherwise.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};

use crate::cli_support::capture;
use crate::otlp_support::receiver::{self, Head};

fn export(capture: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retrospan"));
    command.arg("export").arg(capture).args(arguments);
    command.envs(environment.iter().map(|(name, value)| (format!("OTEL_EXPORTER_OTLP_{name}"), value)));
    command.output().unwrap()
}

fn start() -> (String, String, mpsc::Receiver<Head>) {
    let (sender, heads) = mpsc::channel();
    let (grpc, http) = receiver::start(Arc::new(move |head, _| sender.send(head).unwrap()));
    (grpc, http, heads)
}

#[test]
fn without_an_option_the_environment_says_where_and_how() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (grpc, http, heads) = start();
    let headers = ("HEADERS", "x-key=a%20b,X-Other=c");
    let (grpc, http, base) = (grpc.as_str(), http.as_str(), &*format!("{http}/base"));
    for (environment, said_path) in [
        (&[("ENDPOINT", base), headers] as &[_], "/base/v1/traces"),
        (&[("ENDPOINT", http), ("PROTOCOL", "http/protobuf"), headers], "/v1/traces"),
        (&[("ENDPOINT", grpc), ("TRACES_ENDPOINT", base), headers], "/base"),
        (&[("ENDPOINT", grpc), headers], "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ] {
        let output = export(&path, &[], environment);
        assert!(output.status.success(), "{output:?}");
        let head = heads.recv().unwrap();
        assert_eq!(head.path, said_path);
        assert_eq!((head.headers["x-key"].as_str(), head.headers["x-other"].as_str()), ("a b", "c"));
    }
    assert!(heads.try_recv().is_err(), "each was sent once");
}

#[test]
fn options_go_before_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (grpc, http, heads) = start();
    let nowhere = [("ENDPOINT", "http://127.0.0.1:1"), ("PROTOCOL", "grpc"), ("HEADERS", "x-key=theirs,y=z")];
    let arguments = ["--otlp", &http, "--protocol", "http/protobuf", "--header", "X-Key=own"];
    assert!(export(&path, &arguments, &nowhere).status.success());
    let head = heads.recv().unwrap();
    assert_eq!((head.headers["x-key"].as_str(), head.headers["y"].as_str()), ("own", "z"));
    assert!(export(&path, &["--otlp", &grpc], &nowhere).status.success());
    assert_eq!(heads.recv().unwrap().headers["x-key"], "theirs");
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    // Its queue takes the connection, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let patience = ("TIMEOUT", "300");
    for (arguments, environment, words) in [
        (&[] as &[&str], &[] as &[_], "--otlp"),
        (&[], &[("ENDPOINT", "localhost:4317")], "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (&["--otlp", &url], &[("TIMEOUT", "1s")], "OTEL_EXPORTER_OTLP_TIMEOUT=1s"),
        (&["--otlp", &url], &[patience], "cannot connect: no answer within 300ms"),
        (&["--otlp", &url, "--protocol", "http/protobuf"], &[patience], "no answer within 300ms"),
    ] {
        let output = export(&path, arguments, environment);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
