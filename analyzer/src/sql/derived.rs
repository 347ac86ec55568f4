//! Derived tables for SQL: assembled when the first of them is scanned, found in the cache afterwards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables::EVENTS;
use tokio::sync::OnceCell;

use crate::assembly::{ALGORITHM_VERSION, AssembleError, Options, assemble};
use crate::print::note;
use crate::progress::Progress;
use crate::sql::cache::{self, Key, SetWriter};
use crate::sql::parquet_table::{PartsTable, sql_schema};
use crate::sql::zone::Zone;
use crate::tables;
use crate::tables::names::Given;
use crate::text::count;

/// The derived tables of one capture.
#[derive(Debug)]
pub struct Derived {
    capture: Capture,
    options: Options,
    names: Given,
    zone: Zone,
    providers: OnceCell<Providers>,
    /// The set on disk that they read.
    set: OnceLock<cache::Set>,
}

type Providers = BTreeMap<&'static str, Arc<dyn TableProvider>>;

impl Derived {
    /// Does nothing yet. Times will be in that zone.
    pub fn new(capture: Capture, options: Options, names: Given, zone: Zone) -> Derived {
        Derived { capture, options, names, zone, providers: OnceCell::new(), set: OnceLock::new() }
    }

    async fn provider(self: &Arc<Self>, table: &'static Table) -> Result<Arc<dyn TableProvider>> {
        let this = self.clone();
        let load = || async move {
            let loaded = tokio::task::spawn_blocking(move || this.load()).await;
            loaded.map_err(|e| DataFusionError::External(Box::new(e)))?
        };
        let providers = self.providers.get_or_try_init(load).await?;
        providers
            .get(table.name)
            .cloned()
            .ok_or_else(|| DataFusionError::Internal(format!("no derived table {}", table.name)))
    }

    /// From the cache, else into it, else into memory.
    fn load(&self) -> Result<Providers> {
        // What is left of a capture is another one than the whole: its manifest lists less, and it says so.
        let salvaged = if self.capture.holes.is_empty() { "" } else { " salvaged" };
        let options = format!("{:?} {:?}{salvaged}", self.options, self.names);
        let key = Key::new(&self.capture.manifest, ALGORITHM_VERSION, &options);
        let places = cache::places(&self.capture.directory, &self.capture.manifest);
        let Ok(secret) = cache::secret().map(Arc::new) else { return self.in_memory(&places) };
        if let Some(set) = places.iter().find_map(|place| cache::find(place, &key, &secret)) {
            return self.providers_of(set);
        }
        for place in &places {
            let Ok(mut set) = SetWriter::create(place, &key, &secret) else { continue };
            let written = self.assemble(&mut |table, batch| {
                let failed =
                    |e: std::io::Error| AssembleError::Sink { table: table.name, reason: e.to_string() };
                set.append(table, &batch).map_err(failed)
            });
            match written {
                Ok(()) => {}
                Err(AssembleError::Sink { .. }) => continue,
                Err(error) => return Err(DataFusionError::External(Box::new(error))),
            }
            if !secret.is_kept() {
                note(NO_KEY);
            }
            let finished = set.finish().ok().and_then(|()| cache::find(place, &key, &secret));
            if let Some(set) = finished {
                return self.providers_of(set);
            }
        }
        self.in_memory(&places)
    }

    fn assemble(
        &self,
        sink: &mut dyn FnMut(&'static Table, RecordBatch) -> std::result::Result<(), AssembleError>,
    ) -> std::result::Result<(), AssembleError> {
        let events = self.capture.files(EVENTS.name).iter().map(|file| file.rows).sum();
        let progress = Progress::through("assembling", "events", events);
        let (mut spans, taken) = (0, AtomicU64::new(0));
        let done = assemble(&self.capture, &self.options, &taken, &mut |table, batch| {
            progress.reached(taken.load(Ordering::Relaxed));
            if table.name == tables::SPANS.name {
                spans += batch.num_rows() as u64;
                progress.say(format!("assembling: {} spans", count(spans)));
            }
            sink(table, batch)
        });
        drop(progress);
        done.map(|_| ())
    }

    /// The tables of a set, which is kept as long as these are.
    fn providers_of(&self, set: cache::Set) -> Result<Providers> {
        let set = self.set.get_or_init(|| set);
        let provider = |table: &'static Table| {
            let parts = set.files.iter().filter(|(name, _)| name == table.name).map(|(_, part)| part.clone());
            let provider = PartsTable::new(table, parts.collect(), self.zone)?;
            Ok((table.name, Arc::new(provider) as Arc<dyn TableProvider>))
        };
        tables::ALL.into_iter().map(provider).collect()
    }

    /// Where they can be kept nowhere, which costs the same time with every command, and which the user is told.
    fn in_memory(&self, places: &[PathBuf]) -> Result<Providers> {
        note(&kept_nowhere(places));
        let mut batches: BTreeMap<&str, Vec<RecordBatch>> = BTreeMap::new();
        let done = self.assemble(&mut |table, batch| {
            let rows = |source| AssembleError::Rows { table: table.name, source };
            batches.entry(table.name).or_default().push(for_sql(table, &batch, self.zone).map_err(rows)?);
            Ok(())
        });
        done.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let provider = |table: &'static Table| {
            let rows = batches.remove(table.name).unwrap_or_default();
            let provider = MemTable::try_new(sql_schema(table, self.zone), vec![rows])?;
            Ok((table.name, Arc::new(provider) as Arc<dyn TableProvider>))
        };
        tables::ALL.into_iter().map(provider).collect()
    }
}

/// Without a key that lasts, a set is believed as long as the process runs that wrote it.
const NO_KEY: &str = "retrospan: no key can be kept (HOME is not set, or its cache folder cannot be written): spans are assembled anew by each \
                      command";

fn kept_nowhere(places: &[PathBuf]) -> String {
    let mut tried: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    if places.len() < 2 {
        tried.push("a cache folder (HOME is not set)".to_owned());
    }
    let tried = tried.join(" nor in ");
    format!("retrospan: nothing can be written in {tried}: spans are assembled anew by each command")
}

/// A batch in the types that SQL sees.
pub(super) fn for_sql(
    table: &Table,
    batch: &RecordBatch,
    zone: Zone,
) -> std::result::Result<RecordBatch, datafusion::arrow::error::ArrowError> {
    let schema = sql_schema(table, zone);
    let columns = batch.columns().iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()));
    RecordBatch::try_new(schema.clone(), columns.collect::<std::result::Result<_, _>>()?)
}

/// One of them.
#[derive(Debug)]
pub struct DerivedTable {
    table: &'static Table,
    derived: Arc<Derived>,
}

impl DerivedTable {
    /// The table of that definition.
    pub fn new(table: &'static Table, derived: Arc<Derived>) -> DerivedTable {
        DerivedTable { table, derived }
    }
}

#[async_trait]
impl TableProvider for DerivedTable {
    fn schema(&self) -> SchemaRef {
        sql_schema(self.table, self.derived.zone)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.derived.provider(self.table).await?.scan(state, projection, filters, limit).await
    }
}
