//! What a Retrospan capture is.
//!
//! * [`event`] and [`config`]: the structs that the kernel programs and the recorder share (`no_std`);
//!   [`tcp`]: the numbers in them; [`secrets`]: what one column of the raw tables holds.
//! * With the feature `capture`: [`table`], [`rows`] and [`tables`] (the one definition of every raw table), [`manifest`], [`writer`] and [`reader`] of the capture [`directory`], [`checksum`]s; [`units`] of both programs' command
//!   lines; what the path of a [`cgroup`] says.
#![cfg_attr(not(feature = "capture"), no_std)]

pub mod config;
pub mod event;
pub mod marks;
pub mod secrets;
pub mod tcp;

#[cfg(feature = "capture")]
pub mod cgroup;
#[cfg(feature = "capture")]
pub mod checksum;
#[cfg(feature = "capture")]
pub mod directory;
#[cfg(feature = "capture")]
pub mod error;
#[cfg(feature = "capture")]
pub mod fault;
#[cfg(feature = "capture")]
pub mod manifest;
#[cfg(feature = "capture")]
pub mod reader;
#[cfg(feature = "capture")]
pub mod reference;
#[cfg(feature = "capture")]
pub mod rows;
#[cfg(feature = "capture")]
pub mod table;
#[cfg(feature = "capture")]
pub mod tables;
#[cfg(feature = "capture")]
pub mod units;
#[cfg(feature = "capture")]
pub mod writer;
