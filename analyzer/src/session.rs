//! A capture as a session that can be asked: every table and view, and every function of ours.

use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;

use crate::assembly::Options;
use crate::error::{Error, Result};
use crate::functions::{self, Recording};
use crate::sql::mistake::Written;
use crate::sql::zone::Zone;
use crate::sql::{capture, session, views};
use crate::tables::dimensions::{self, DimensionsError};
use crate::tables::names::Given;

pub use crate::sql::session::plan;

/// Makes a session in which the capture's tables and the views over them are registered; its times are UTC.
pub fn open(capture: &Capture) -> Result<SessionContext> {
    open_in(capture, 0)
}

/// The same with times in a zone so many seconds east of UTC. Texts that are compared with times are in that zone too.
pub fn open_in(capture: &Capture, offset_s: i32) -> Result<SessionContext> {
    open_with(capture, offset_s, Options::default())
}

/// The same with spans that are made otherwise.
pub fn open_with(capture: &Capture, offset_s: i32, options: Options) -> Result<SessionContext> {
    let offset_ns = dimensions::clock_offset_ns(capture)?;
    let names = Given::of(capture).map_err(DimensionsError::from)?;
    let recording = Recording {
        begin_ns: capture.manifest.started_boot_ns.saturating_add(offset_ns),
        end_ns: capture.manifest.whole_until_boot_ns.saturating_add(offset_ns),
    };
    let zone = Zone { offset_s, begin_ns: recording.begin_ns, end_ns: recording.end_ns };
    let context = session::empty_in(zone)?;
    capture::register(&context, capture, names, (offset_ns, zone), options)?;
    functions::register(&context, capture, recording);
    views::register(&context)?;
    Ok(context)
}

/// Plans a query that the user wrote; what is wrong with it is shown in their text.
pub async fn plan_written(context: &SessionContext, written: Written<'_>) -> Result<DataFrame> {
    match plan(context, written.text).await {
        Err(Error::Query(error)) => Err(written.explain(error, 0, context)),
        planned => planned,
    }
}
