//! `retrospan spikes`: what comes back, how sure that is, where its time goes and why.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use datafusion::prelude::SessionContext;
use indicatif::{ProgressBar, ProgressStyle};
use retrospan_formats::reader::Capture;

use super::block_on;
use crate::cli::{SearchArgs, SpikesArgs, TextFormat};
use crate::error::{Error, Result};
use crate::findings::find::find;
use crate::findings::groups::By;
use crate::findings::search::Options;
use crate::findings::{Findings, Metric, Spike, wording};
use crate::print;
use crate::report::data::Fold;
use crate::report::data::load;
use crate::report::pictures::terminal::fold;
use crate::session;
use crate::text::{duration, escape_controls, time};

/// Prints the findings; none is a result too.
pub fn run(args: SpikesArgs) -> Result<ExitCode> {
    let capture = Capture::open(&args.capture)?;
    let options = options(&args.search)?;
    let terminal = args.format == TextFormat::Text && std::io::stdout().is_terminal();
    let (findings, folds) = block_on(async {
        let context = session::open(&capture)?;
        let findings = look(&context, &capture, &options).await?;
        let folds = if terminal { load::folds(&context, &capture, &findings).await? } else { Vec::new() };
        Ok((findings, folds))
    })?;
    print::text(&match args.format {
        TextFormat::Json => {
            let json = serde_json::to_string_pretty(&findings);
            format!("{}\n", json.map_err(|e| Error::Usage(format!("the findings cannot be written: {e}")))?)
        }
        TextFormat::Text => as_text(&findings, &folds, &args.capture.display().to_string()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Finds, with progress on a terminal.
pub async fn look(context: &SessionContext, capture: &Capture, options: &Options) -> Result<Findings> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let findings = find(context, capture, options, &|step| bar.set_message(step.to_owned())).await;
    bar.finish_and_clear();
    if let (Some(asked_ns), Ok(findings)) = (options.max_period_ns, &findings)
        && !findings.searched.is_too_short()
        && asked_ns as f64 * 1e-9 > findings.searched.max_period_s + 1e-9
    {
        let longest = duration((findings.searched.max_period_s * 1e9) as i64);
        eprintln!(
            "the recording is too short for periods of {}: looked for up to {longest}",
            duration(asked_ns)
        );
    }
    findings
}

/// What the arguments ask for.
pub fn options(args: &SearchArgs) -> Result<Options> {
    if let Some(longest_ns) = args.max_period
        && longest_ns < args.min_period
    {
        return Err(Error::Usage("--max-period is shorter than --min-period".to_owned()));
    }
    if !(args.fap > 0.0 && args.fap < 1.0) {
        return Err(Error::Usage(format!("--fap {}: a probability between 0 and 1 is wanted", args.fap)));
    }
    let or_all = |chosen: &[Metric]| if chosen.is_empty() { Metric::ALL.to_vec() } else { chosen.to_vec() };
    Ok(Options {
        metrics: or_all(&args.metric),
        by: if args.by.is_empty() { By::ALL.to_vec() } else { args.by.clone() },
        min_period_ns: args.min_period,
        max_period_ns: args.max_period,
        fap: args.fap,
    })
}

/// Causes that are listed.
const MOST_CAUSES: usize = 5;
/// Cycles that are listed.
const MOST_CYCLES: usize = 24;

fn as_text(findings: &Findings, folds: &[Fold], capture: &str) -> String {
    let mut text = String::new();
    for (index, spike) in findings.spikes.iter().enumerate() {
        spike_text(&mut text, index + 1, spike, findings.searched.utc_offset_s, capture);
        if let Some(picture) = folds.get(index) {
            let _ = writeln!(text, "{}", fold(picture, true));
        }
    }
    for note in &findings.notes {
        let _ = writeln!(text, "{}", escape_controls(note));
    }
    for left in &findings.unexplained {
        let fap = left
            .fap
            .map(|fap| format!(", best period FAP {}", wording::probability(fap)))
            .unwrap_or_default();
        let needed = left.needed.as_ref().map(|needed| format!("; {needed}")).unwrap_or_default();
        let line = format!(
            "not shown to be periodic: {} episodes of {} in {}{fap}{needed}",
            left.episodes,
            wording::bad(left.metric),
            left.stream
        );
        let _ = writeln!(text, "{}", escape_controls(&line));
    }
    text
}

fn spike_text(text: &mut String, number: usize, spike: &Spike, offset_s: i32, capture: &str) {
    let _ = writeln!(text, "{number}. {}\n", escape_controls(&spike.sentence));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "   {name:<9} {}", escape_controls(&value));
    };
    line("seen in", format!("{} of {} ({})", wording::bad(spike.metric), spike.stream, spike.by));
    line("when", when(spike, offset_s));
    line("how much", how_much(spike));
    for hop in spike.hops.iter().filter(|hop| hop.share >= 0.02).take(MOST_CAUSES) {
        let part = wording::part(hop);
        line(
            "where",
            format!(
                "{:>3.0} %  {}: {part}, in {} of {} cycles",
                100.0 * hop.share,
                hop.hop,
                hop.positive_cycles,
                spike.hits
            ),
        );
    }
    for share in spike.dimensions.iter().take(3) {
        line(
            "who",
            format!(
                "{:.0} % of the affected have {} {}, {:.0} % of the others",
                100.0 * share.share,
                share.dimension,
                share.value,
                100.0 * share.share_of_ordinary
            ),
        );
    }
    if spike.causes.is_empty() {
        line("cause", spike.cause.clone());
    }
    for cause in spike.causes.iter().take(MOST_CAUSES) {
        let dose = cause
            .dose
            .map(|dose| format!(", rank correlation with the excess {dose:.2}"))
            .unwrap_or_default();
        let misses = match cause.misses {
            0 => String::new(),
            n => format!(", absent in {} of {n} cycles without a spike", cause.absent_in_misses),
        };
        line(
            "cause",
            format!("{}; by chance {}{dose}{misses}", cause.claim, wording::probability(cause.chance)),
        );
    }
    let more: Vec<String> =
        spike.also.iter().take(6).map(|also| format!("{} ({})", also.stream, also.metric.name())).collect();
    if !more.is_empty() {
        line("also in", more.join(", "));
    }
    line("rows", format!("retrospan sql {} {}", shell(capture), shell(&spike.sql)));
    for trace in spike.slow_traces.iter().take(2) {
        line("trace", format!("retrospan trace {} {trace}", shell(capture)));
    }
    cycles_text(text, spike, offset_s);
}

fn when(spike: &Spike, offset_s: i32) -> String {
    format!(
        "first at {}, jitter {}, {}, {}",
        time(spike.first_tooth_ns, offset_s, 3),
        wording::jitter(spike),
        wording::boundary(spike),
        wording::clock(spike)
    )
}

fn how_much(spike: &Spike) -> String {
    let (affected, excess) = (spike.affected_per_cycle, spike.excess_s_per_cycle);
    format!(
        "{:.0} requests ({:.0} to {:.0}) and {:.2} s ({:.2} to {:.2}) beyond the ordinary a cycle; {:.0} % of all {}",
        affected.mean,
        affected.low.max(0.0),
        affected.high,
        excess.mean,
        excess.low,
        excess.high,
        100.0 * spike.share_of_bad,
        wording::bad(spike.metric),
    )
}

fn cycles_text(text: &mut String, spike: &Spike, offset_s: i32) {
    let _ = writeln!(
        text,
        "\n   {:>5}  {:<12} {:>10} {:>9} {:>9} {:>7} {:>8} {:>9} {:>8}",
        "cycle", "expected", "onset", "requests", "affected", "failed", "given up", "excess", "worst"
    );
    for cycle in spike.cycle_table.iter().take(MOST_CYCLES) {
        let expected = time(cycle.expected_ns, offset_s, 3);
        let clock = expected.get(11..23).unwrap_or_default();
        let lost = if cycle.lossy { "  events were lost here" } else { "" };
        let _ = match cycle.onset_ns {
            None => writeln!(text, "   {:>5}  {clock:<12} {:>10}{lost}", cycle.number, "miss"),
            Some(onset) => writeln!(
                text,
                "   {:>5}  {clock:<12} {:>10} {:>9} {:>9.0} {:>7} {:>8} {:>7.2} s {:>6.2} s{lost}",
                cycle.number,
                format!("{:+} ms", ((onset - cycle.expected_ns) as f64 * 1e-6).round() as i64),
                cycle.requests,
                cycle.affected,
                cycle.errors,
                cycle.client_closed,
                cycle.excess_s,
                cycle.worst_s
            ),
        };
    }
    if spike.cycle_table.len() > MOST_CYCLES {
        let _ = writeln!(text, "   ... and {} more", spike.cycle_table.len() - MOST_CYCLES);
    }
    text.push('\n');
}

/// As one word of a shell command.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
