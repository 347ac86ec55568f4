//! What a recording needs before its first event: whose sockets are recorded, TLS libraries, COMMAND, the manifest.

use std::process::Child;

use retrospan_formats::manifest::{Manifest, State};
use retrospan_formats::table::FORMAT_VERSION;

use crate::filters::judge::Rules;
use crate::host;
use crate::host::command::{self, Gated};
use crate::host::procfs;
use crate::kernel::{Judgements, ProbeError, Probes};
use crate::options::Options;
use crate::pipeline::judge::Judge;
use crate::pipeline::processes::Processes;
use crate::record::error::{RecordError, command_error, system};
use crate::tls::Tls;

/// Judges every process that is there now, before its sockets are looked at; `None` where the kernel programs know enough.
pub(super) fn begin_judging(
    options: &Options,
    probes: &mut Probes,
    processes: &mut Processes,
) -> Result<Option<(Judge, Judgements)>, ProbeError> {
    let Some(rules) = Rules::of(&options.filters) else { return Ok(None) };
    let (mut judge, mut judgements) = (Judge::new(rules), probes.take_judgements()?);
    processes.snapshot(procfs::processes());
    judge.begin(processes);
    judge.take_news().into_iter().for_each(|news| judgements.tell(news));
    Ok(Some((judge, judgements)))
}

/// Attaches to every TLS library that is there, before anything is looked at; `None` where that is not asked for.
pub(super) fn begin_tls(options: &Options, probes: &mut Probes) -> Result<Option<Tls>, RecordError> {
    if !options.tls {
        return Ok(None);
    }
    let command = options.command.first().and_then(|program| command::find_program(program));
    Tls::start(probes, command.as_deref()).map(Some).map_err(system("looking for TLS libraries"))
}

/// Runs COMMAND, once its process is watched; `None` where there is none.
pub(super) fn start_command(options: &Options, probes: &mut Probes) -> Result<Option<Child>, RecordError> {
    if options.command.is_empty() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| command_error(options, &e.to_string());
    let gated = Gated::fork(&options.command).map_err(failed)?;
    probes.watch_pid(gated.pid)?;
    Ok(Some(gated.open().map_err(failed)?))
}

/// The manifest as it begins.
pub(super) fn manifest(
    options: &Options,
    probes: &Probes,
    boot_ns: i64,
    wall_ns: i64,
    cpus: u32,
) -> Result<Manifest, RecordError> {
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        capture_id: host::random_id().map_err(system("random bits"))?,
        state: State::Recording,
        host: host::describe(wall_ns, cpus),
        options: options.manifest(probes.evidence()),
        probe_set: probes.probe_set().name().to_owned(),
        probe_set_reason: probes.refusal().map(str::to_owned),
        recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: boot_ns,
        started_wall_ns: wall_ns,
        whole_until_boot_ns: boot_ns,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    })
}
