//! `retrospan report`: the findings and their pictures as one file, or one picture alone.

use std::path::Path;
use std::process::ExitCode;

use super::{block_on, spikes};
use crate::cli::ReportArgs;
use crate::error::{Error, Result, at};
use crate::print::writable;
use crate::report::data::Report;
use crate::report::data::load;
use crate::report::draw::colour::Theme;
use crate::report::draw::svg::{Place, draw};
use crate::report::page;
use crate::report::pictures::plot;
use crate::session;

/// Writes it.
pub fn run(args: ReportArgs) -> Result<ExitCode> {
    let wanted = Wanted::new(&args)?;
    writable::check(&args.output)?;
    let options = spikes::options(&args.search)?;
    let capture = args.capture.open()?;
    let report = block_on(async {
        let context = session::open_with(&capture, 0, args.links.options())?;
        let findings = spikes::look(&context, &capture, &options).await?;
        load::report(&context, &capture, findings).await
    })?;
    let bytes = wanted.bytes(&report)?;
    std::fs::write(&args.output, bytes).map_err(at(&args.output))?;
    Ok(ExitCode::SUCCESS)
}

/// What to write.
enum Wanted<'a> {
    Page,
    Svg(&'a str),
    Png(&'a str),
}

impl Wanted<'_> {
    /// Decided before anything is read: a wrong name of a file should not cost a minute.
    fn new(args: &ReportArgs) -> Result<Wanted<'_>> {
        let extension =
            Path::new(&args.output).extension().and_then(|text| text.to_str()).unwrap_or_default();
        let wrong = |wanted: &str| {
            Err(Error::Usage(format!("{}: the name must end in {wanted}", args.output.display())))
        };
        match (args.plot.as_deref(), extension) {
            (None, "html" | "htm") => Ok(Wanted::Page),
            (None, _) => wrong(".html"),
            (Some(name), "svg") => Ok(Wanted::Svg(name)),
            (Some(name), "png") => Ok(Wanted::Png(name)),
            (Some(_), _) => wrong(".svg or .png"),
        }
    }

    fn bytes(&self, report: &Report) -> Result<Vec<u8>> {
        let scene = |name: &str| {
            plot::scene(report, name).ok_or_else(|| {
                let names = plot::names(report);
                let names: Vec<String> =
                    names.iter().map(|(name, what)| format!("{name} ({what})")).collect();
                Error::Usage(format!("there is no picture {name} of this capture, but: {}", names.join(", ")))
            })
        };
        Ok(match self {
            Wanted::Page => page::html(report).into_bytes(),
            Wanted::Svg(name) => {
                draw(&scene(name)?, Place::Alone(Theme::Light), "").into_string().into_bytes()
            }
            Wanted::Png(name) => crate::report::draw::raster::png(&scene(name)?, Theme::Light),
        })
    }
}
