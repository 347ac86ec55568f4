//! `retrospan spikes`: what comes back, how sure that is, where its time goes and why.

mod lines;
mod markdown;
mod text;

use std::io::IsTerminal;
use std::process::ExitCode;

use datafusion::prelude::SessionContext;
use retrospan_formats::reader::Capture;

use super::block_on;
use crate::cli::{FindingsFormat, SearchArgs, SpikesArgs};
use crate::error::{Error, Result};
use crate::findings::find::find;
use crate::findings::groups::By;
use crate::findings::search::Options;
use crate::findings::{Findings, Metric};
use crate::print;
use crate::progress::Progress;
use crate::report::data::load;
use crate::session;
use crate::text::duration;

/// Prints the findings; none is a result too.
pub fn run(args: SpikesArgs) -> Result<ExitCode> {
    let capture = args.capture.open()?;
    let options = options(&args.search)?;
    let terminal = args.format == FindingsFormat::Text && std::io::stdout().is_terminal();
    let (findings, folds) = block_on(async {
        let context = session::open_with(&capture, 0, args.links.options())?;
        let findings = look(&context, &capture, &options).await?;
        let folds = if terminal { load::folds(&context, &capture, &findings).await? } else { Vec::new() };
        Ok((findings, folds))
    })?;
    let name = args.capture.path.display().to_string();
    print::text(&match args.format {
        FindingsFormat::Json => {
            let json = serde_json::to_string_pretty(&findings);
            format!("{}\n", json.map_err(|e| Error::Usage(format!("the findings cannot be written: {e}")))?)
        }
        FindingsFormat::Markdown => markdown::findings(&findings, &name),
        FindingsFormat::Text => text::findings(&findings, &folds, &name),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Finds, with progress on a terminal.
pub async fn look(context: &SessionContext, capture: &Capture, options: &Options) -> Result<Findings> {
    let progress = Progress::begin("searching");
    let findings = find(context, capture, options, &|step| progress.say(step.to_owned())).await;
    drop(progress);
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
