//! `episodes()`: one row an episode of every stream and metric of the capture.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{MemTable, Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;
use retrospan_formats::units::duration_ns;

use crate::findings::find::{Episodic, episodes};
use crate::findings::search::Options;

/// The table function: `episodes()`, or `episodes('2s')` and `episodes(2)` (seconds) where shorter periods than 10 s matter.
#[derive(Debug)]
pub struct Episodes {
    capture: Capture,
}

impl Episodes {
    /// Of that capture.
    pub fn new(capture: Capture) -> Episodes {
        Episodes { capture }
    }
}

impl TableFunctionImpl for Episodes {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let shortest = match args.exprs() {
            [] => "10s".to_owned(),
            [Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _)] => {
                text.clone()
            }
            [Expr::Literal(ScalarValue::Int64(Some(seconds)), _)] => format!("{seconds}s"),
            [Expr::Literal(ScalarValue::Float64(Some(seconds)), _)] => format!("{seconds}s"),
            _ => {
                return plan_err!(
                    "episodes() takes the shortest period of interest, such as '10s' or 10, or nothing"
                );
            }
        };
        let min_period_ns = match duration_ns(&shortest) {
            Ok(0) => return plan_err!("episodes(): a time above 0 is wanted, such as '10s'"),
            Ok(ns) => ns as i64,
            Err(wrong) => return plan_err!("episodes(): {wrong}"),
        };
        Ok(Arc::new(EpisodeTable { capture: self.capture.clone(), min_period_ns }))
    }
}

#[derive(Debug)]
struct EpisodeTable {
    capture: Capture,
    min_period_ns: i64,
}

fn schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let field = |name: &str, ty| Field::new(name, ty, false);
    Arc::new(Schema::new(vec![
        field("by", DataType::Utf8),
        field("stream", DataType::Utf8),
        field("metric", DataType::Utf8),
        field("number", DataType::Int64),
        field("onset", time()),
        field("end_time", time()),
        field("requests", DataType::Int64),
        field("affected", DataType::Float64),
        field("excess_s", DataType::Float64),
        field("lossy", DataType::Boolean),
    ]))
}

#[async_trait]
impl TableProvider for EpisodeTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = Options { min_period_ns: self.min_period_ns, ..Options::default() };
        let Some(asked) = state.as_any().downcast_ref::<SessionState>() else {
            return internal_err!("episodes() needs a session that it can ask");
        };
        // The same tables: what was assembled for the query is not assembled again.
        let context = SessionContext::new_with_state(asked.clone());
        let found = episodes(&context, &self.capture, &options).await;
        let found = found.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let table = MemTable::try_new(schema(), vec![vec![batch(&found)?]])?;
        table.scan(state, projection, filters, limit).await
    }
}

fn batch(found: &[Episodic]) -> Result<RecordBatch> {
    let text = |value: fn(&Episodic) -> &str| {
        Arc::new(StringArray::from_iter_values(found.iter().map(value))) as ArrayRef
    };
    let time = |value: fn(&Episodic) -> i64| {
        let times = TimestampNanosecondArray::from_iter_values(found.iter().map(value));
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let whole = |value: fn(&Episodic) -> i64| {
        Arc::new(Int64Array::from_iter_values(found.iter().map(value))) as ArrayRef
    };
    let number = |value: fn(&Episodic) -> f64| {
        Arc::new(Float64Array::from_iter_values(found.iter().map(value))) as ArrayRef
    };
    let columns = vec![
        text(|row| row.by.name()),
        text(|row| &row.stream),
        text(|row| row.metric.name()),
        whole(|row| row.number),
        time(|row| row.onset_ns),
        time(|row| row.end_ns),
        whole(|row| row.requests),
        number(|row| row.affected),
        number(|row| row.excess_s),
        Arc::new(found.iter().map(|row| Some(row.lossy)).collect::<BooleanArray>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
