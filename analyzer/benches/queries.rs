//! How long the library's queries take on a capture, warm, in one process.
//!
//!     cargo bench --profile dev --bench queries -- CAPTURE OUT [RUNS]
//!
//! Writes each result to `OUT/NAME.parquet` and prints one JSON object a line: first the files behind the
//! derived tables, then for each query its SQL, parameters and times. `queries.py` runs this, and
//! the same on DuckDB.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrameWriteOptions;
use retrospan_analyzer::assembly::{ALGORITHM_VERSION, Options};
use retrospan_analyzer::session;
use retrospan_analyzer::sql::cache;
use retrospan_analyzer::sql::library;
use retrospan_analyzer::tables::dimensions;
use retrospan_formats::reader::Capture;
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let (capture, out, runs) = match args.as_slice() {
        [capture, out] => (capture, out, Ok(5)),
        [capture, out, runs] => (capture, out, runs.parse::<usize>()),
        _ => {
            eprintln!("queries: CAPTURE OUT [RUNS]");
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return ExitCode::FAILURE };
    match runtime.block_on(run(Path::new(capture), Path::new(out), runs.unwrap_or(5).max(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("queries: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(directory: &Path, out: &Path, runs: usize) -> Result<(), Box<dyn std::error::Error>> {
    let capture = Capture::open(directory)?;
    let context = session::open(&capture)?;
    // Assembles the derived tables where nobody did before: that is not what is measured here.
    context.sql("SELECT count(*) FROM spans").await?.collect().await?;
    println!(
        "{}",
        json!({ "files": derived_files(&capture), "offset_ns": dimensions::read(&capture)?.clock.offset_ns })
    );
    for query in library::all()? {
        let mut values: Vec<(String, ScalarValue)> = Vec::new();
        let mut shown = Map::new();
        for parameter in &query.parameters {
            let value = parameter.ty.value(parameter.default)?;
            shown.insert(parameter.name.to_owned(), shown_value(&value));
            values.push((parameter.name.to_owned(), value));
        }
        let mut runs_ms = Vec::new();
        for _ in 0..=runs {
            let begin = Instant::now();
            let frame = session::plan(&context, &query.statement(&values))
                .await?
                .with_param_values(values.clone())?;
            frame.collect().await?;
            runs_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        // The first run warms up.
        runs_ms.remove(0);
        let result = out.join(format!("{}.parquet", query.name));
        let frame = session::plan(&context, &query.statement(&values)).await?.with_param_values(values)?;
        frame.write_parquet(&result.to_string_lossy(), DataFrameWriteOptions::new(), None).await?;
        println!("{}", json!({ "query": query.name, "sql": query.sql, "values": shown, "ms": runs_ms }));
    }
    Ok(())
}

/// The Parquet files of each derived table.
fn derived_files(capture: &Capture) -> BTreeMap<String, Vec<String>> {
    let key = cache::Key::new(&capture.manifest, ALGORITHM_VERSION, &format!("{:?}", Options::default()));
    let places = cache::places(&capture.directory, &capture.manifest);
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let secret = cache::secret().ok();
    let found = secret.and_then(|secret| places.iter().find_map(|place| cache::find(place, &key, &secret)));
    for (table, part) in found.iter().flat_map(|set| &set.files) {
        files.entry(table.to_string()).or_default().push(part.path.display().to_string());
    }
    files
}

fn shown_value(value: &ScalarValue) -> Value {
    match value {
        ScalarValue::Utf8View(Some(text)) => json!(text),
        ScalarValue::Int64(Some(number)) => json!(number),
        ScalarValue::Float64(Some(number)) => json!(number),
        _ => Value::Null,
    }
}
