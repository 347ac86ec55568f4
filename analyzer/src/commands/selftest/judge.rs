//! Compares what the analysis finds in the capture with what was done.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;

use super::PERIOD;
use super::interrupted::Interrupted;
use super::place::Place;
use super::steps::{Reason, Stop, done, failed_in};
use crate::error::{Error, Result};
use crate::findings::find::find;
use crate::findings::search::Options;
use crate::findings::{Findings, Spike, wording};
use crate::session;
use crate::text::count;

/// Shortest period that is looked for, ns.
const MIN_PERIOD_NS: i64 = 2_000_000_000;
/// The period that was found may differ from the true one by this part of it.
const TOLERANCE: f64 = 0.01;
/// Requests that were answered, at the client and at the server.
const ANSWERED: &str = "SELECT count(*) FILTER (WHERE kind = 'client') AS client, \
                        count(*) FILTER (WHERE kind = 'server') AS server FROM spans WHERE status = 200";

/// The steps of the analysis. `pauses`: how many were made.
pub async fn capture(
    place: &Place,
    port: u16,
    pauses: usize,
    interrupted: &Interrupted,
) -> std::result::Result<(), Stop> {
    let capture = Capture::open(place.capture()).map_err(Error::Capture)?;
    let context = session::open(&capture)?;
    let [client, server] = answered(&context).await?;
    if client == 0 || server == 0 {
        let reason = Reason::advise(
            format!("{client} requests at the client, {server} at the server"),
            "Events were recorded, but no request could be put together of them: please report this with the kernel's \
             version and the capture (--keep DIR.cap).",
        );
        return Err(failed_in("requests")(reason));
    }
    done("requests", &format!("{} at the clients, {} at the server", count(client), count(server)))?;
    interrupted.check().map_err(failed_in("finding"))?;
    let options = Options { min_period_ns: MIN_PERIOD_NS, ..Options::default() };
    let findings = find(&context, &capture, &options, &|_| {}).await?;
    let spike = spike(&findings, pauses).map_err(failed_in("finding"))?;
    done("finding", &period(spike, pauses))?;
    hop(spike, port).map_err(failed_in("hop"))?;
    done("hop", &spike.hop)?;
    let claim = cause(spike).map_err(failed_in("cause"))?;
    Ok(done("cause", claim)?)
}

async fn answered(context: &SessionContext) -> Result<[u64; 2]> {
    let rows = session::plan(context, ANSWERED).await?.collect().await?;
    let number = |name: &str| {
        let column = rows.first()?.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        (!column.is_empty()).then(|| column.value(0) as u64)
    };
    Ok(["client", "server"].map(|name| number(name).unwrap_or_default()))
}

/// The finding that has the true period.
fn spike(findings: &Findings, pauses: usize) -> std::result::Result<&Spike, Reason> {
    let true_s = PERIOD.as_secs_f64();
    let is_true = |spike: &&Spike| (spike.period_s - true_s).abs() <= TOLERANCE * true_s;
    findings.spikes.iter().find(is_true).ok_or_else(|| {
        let found = match findings.spikes.first() {
            Some(other) => format!("the best finding has a period of {:.3} s, not {true_s} s", other.period_s),
            None => format!("no periodic spike was found, although the server paused {pauses} times"),
        };
        let notes: String = findings.notes.iter().map(|note| format!("; {note}")).collect();
        Reason::advise(
            format!("{found}{notes}"),
            "A very busy host can hide a spike of a few requests. Try again, and keep the capture to look into it: retrospan \
             selftest --keep selftest.cap; retrospan spikes selftest.cap --min-period 2s",
        )
    })
}

fn period(spike: &Spike, pauses: usize) -> String {
    format!(
        "a spike every {:.3} s (true: {} s), in {} of {} cycles (the server paused {pauses} times), false-alarm \
         probability {}",
        spike.period_s,
        PERIOD.as_secs_f64(),
        spike.hits,
        spike.cycles,
        wording::probability(spike.fap)
    )
}

/// The time must go where the server is.
fn hop(spike: &Spike, port: u16) -> std::result::Result<(), Reason> {
    if spike.hop.ends_with(&format!(":{port}")) {
        return Ok(());
    }
    Err(Reason::advise(
        format!("the time goes to {}, it says, and not to port {port}", spike.hop),
        "Please report this with the capture (--keep DIR.cap).",
    ))
}

/// The claim that the server was stopped.
fn cause(spike: &Spike) -> std::result::Result<&str, Reason> {
    let stopped = spike.causes.iter().find(|cause| cause.kind == "stopped");
    stopped.map(|cause| cause.claim.as_str()).ok_or_else(|| {
        Reason::advise(
            format!("it does not say that the server was stopped, but: {}", spike.cause),
            "Where the recorder said above that evidence of the scheduler (sched) is not recorded on this kernel, spikes are \
             found here, but causes in the scheduler are not named.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Cause;

    fn found() -> Findings {
        let cause =
            |kind: &str| Cause { kind: kind.to_owned(), claim: format!("{kind} it was"), ..Cause::default() };
        let spike = |period_s, hop: &str| Spike {
            period_s,
            hop: hop.to_owned(),
            hits: 12,
            cycles: 12,
            causes: vec![cause("run_queue"), cause("stopped")],
            ..Spike::default()
        };
        Findings {
            spikes: vec![spike(5.0, "a -> b:1"), spike(3.7004, "client -> server:4321")],
            ..Findings::default()
        }
    }

    #[test]
    fn the_true_finding_passes() {
        let findings = found();
        let spike = spike(&findings, 12).unwrap();
        assert!(period(spike, 12).starts_with("a spike every 3.700 s (true: 3.7 s), in 12 of 12 cycles"));
        hop(spike, 4321).unwrap();
        assert_eq!(cause(spike).unwrap(), "stopped it was");
    }

    #[test]
    fn another_period_hop_or_cause_fails_and_says_so() {
        let mut findings = found();
        findings.spikes.truncate(1);
        let other = spike(&findings, 12).unwrap_err();
        assert!(other.what.contains("5.000 s, not 3.7 s") && other.advice.contains("--keep"), "{other:?}");
        assert!(hop(&findings.spikes[0], 321).unwrap_err().what.contains("a -> b:1"));
        findings.spikes[0].causes.pop();
        assert!(cause(&findings.spikes[0]).is_err());
        findings.spikes.clear();
        findings.notes.push("too short".to_owned());
        assert!(spike(&findings, 12).unwrap_err().what.ends_with("paused 12 times; too short"));
    }
}
