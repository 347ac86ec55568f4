//! A capture as a session that can be asked: every table and view, and every function of ours.

use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;

use crate::error::Result;
use crate::functions::{self, Recording};
use crate::sql::{capture, session, views};
use crate::tables::dimensions;

pub use crate::sql::session::plan;

/// Makes a session in which the capture's tables and the views over them are registered.
pub fn open(capture: &Capture) -> Result<SessionContext> {
    let context = session::empty()?;
    let dimensions = dimensions::read(capture)?;
    let clock = &dimensions.clock;
    let recording = Recording {
        begin_ns: clock.wall_ns(capture.manifest.started_boot_ns),
        end_ns: clock.wall_ns(capture.manifest.whole_until_boot_ns),
    };
    capture::register(&context, capture, dimensions)?;
    functions::register(&context, capture, recording);
    views::register(&context)?;
    Ok(context)
}
