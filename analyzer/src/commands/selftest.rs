//! `retrospan selftest`: makes a harmless spike on this host, records it and finds it. So a minute shows whether kernel,
//! privileges, recorder and analysis work here, before the hour that counts is spent.
//!
//! The server and its clients are this program again ([`parts`]), on loopback alone; [`traffic`] starts and ends them.
//! [`pauses`] stops the server for a moment every few seconds, [`recording`] runs the recorder, [`judge`] compares what was found
//! with what was done. [`steps`] are what the user reads.

mod child;
mod interrupted;
mod judge;
mod parts;
mod pauses;
mod place;
mod recording;
mod steps;
mod traffic;

use std::process::ExitCode;
use std::time::Duration;

use retrospan_formats::writer::check_unused;

use self::interrupted::Interrupted;
use self::pauses::Pauses;
use self::place::Place;
use self::recording::{Program, Recording};
use self::steps::{Stop, done, failed_in};
use self::traffic::Traffic;
use super::block_on;
use crate::cli::SelftestArgs;
use crate::error::{Error, Result, at};
use crate::print;

/// From one pause of the server to the next: nothing that a host does by the clock comes back after such a time.
const PERIOD: Duration = Duration::from_millis(3700);
/// How long each pause is.
const PAUSE: Duration = Duration::from_millis(400);
/// How long is recorded: twelve pauses.
const LENGTH: Duration = Duration::from_secs(46);

/// Runs all steps and prints each as it is done. Exit code 1 where one of them failed.
pub fn run(args: SelftestArgs) -> Result<ExitCode> {
    if let Some(part) = &args.part {
        return parts::run(part);
    }
    if let Some(directory) = &args.keep {
        check_unused(directory)?;
    }
    block_on(async {
        let interrupted = Interrupted::listen().map_err(|e| Error::Usage(format!("signals: {e}")))?;
        match all_steps(&args, &interrupted).await {
            Ok(()) => {
                print::text("\nAll of it works here: kernel, privileges, recorder and analysis.\n")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(Stop::Failed(failure)) => {
                print::text(&failure.text())?;
                Ok(ExitCode::from(1))
            }
            Err(Stop::Error(error)) => Err(error),
        }
    })
}

async fn all_steps(args: &SelftestArgs, interrupted: &Interrupted) -> std::result::Result<(), Stop> {
    let place = Place::new(args.keep.clone()).map_err(at(&std::env::temp_dir()))?;
    print::text(&steps::intro(PERIOD, PAUSE, LENGTH))?;
    let program = Program::find().map_err(failed_in("recorder"))?;
    done("recorder", &program.version)?;
    let traffic = Traffic::start().map_err(failed_in("traffic"))?;
    done("traffic", &traffic.description())?;
    let (port, made) = record(&program, &traffic, &place, interrupted)?;
    drop(traffic);
    judge::capture(&place, port, made, interrupted).await?;
    match &args.keep {
        Some(kept) => {
            let hint = format!("the capture is kept: retrospan spikes {} --min-period 2s", kept.display());
            Ok(done("kept", &hint)?)
        }
        None => Ok(()),
    }
}

/// Records the traffic while its server pauses now and then; the port, and how many pauses there were.
fn record(
    program: &Program,
    traffic: &Traffic,
    place: &Place,
    interrupted: &Interrupted,
) -> std::result::Result<(u16, usize), Stop> {
    let mut recording =
        Recording::start(program, traffic.port(), LENGTH, place.capture()).map_err(failed_in("kernel"))?;
    let took = recording.begun(interrupted).map_err(failed_in("kernel"))?;
    done("kernel", &format!("programs loaded and attached within {:.1} s", took.as_secs_f64()))?;
    print::note(&format!("recording for {} s ...", LENGTH.as_secs()));
    let pauses =
        Pauses::start(traffic.server_pid(), PERIOD, PAUSE).map_err(|e| Error::Usage(e.to_string()))?;
    let ended = recording.ended(interrupted);
    let made = pauses.end();
    for said in ended.map_err(failed_in("recording"))? {
        done("recording", &said)?;
    }
    Ok((traffic.port(), made))
}
