//! Periodic spikes and what causes them: the steps from spans to sentences.
//!
//! [`find`] runs them: [`groups`] says which spans belong together, [`bins`] counts them, [`search`] looks for episodes and
//! periods, [`attribution`] says whose time it was, [`coincidence`] what of [`kernel_events`] came at those times. `describe`
//! and `unexplained` put it into the [`model`].

pub mod attribution;
pub mod baseline;
pub mod bins;
mod bursts;
pub mod coincidence;
pub mod counters;
mod describe;
pub mod find;
pub mod groups;
mod interner;
pub mod kernel_events;
pub mod model;
pub mod rows;
mod scaled;
pub mod search;
pub mod subject;
mod summary;
mod unexplained;
pub mod wording;

pub use model::{
    Also, Boundary, Cause, Cycle, DimensionShare, Findings, HopShare, Interval, Metric, Searched, Spike,
    Unexplained, WorstEpisode,
};
