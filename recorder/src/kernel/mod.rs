//! The kernel side as the recorder sees it: what to record goes in, ring buffers and counters come out.
//!
//! [`start`] loads the embedded object with the offsets and options it needs, and attaches it. Nothing
//! is recorded on disk before that has worked.

pub mod btf;
mod casts;
mod descendants;
mod error;
mod evidence;
mod requirements;
mod stamps;
mod usage;

pub use error::ProbeError;
pub use evidence::Evidence;
pub use usage::CpuTimes;

use crate::text::one_line;
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{ArrayOfMaps, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, Iter, Program, tp_btf::BtfTracePointLink},
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use casts::Cast;
use error::{explain, missing_map};
use retrospan_formats::{
    config::{Config, MAX_COMMS, MAX_PORT_RANGES, MAX_SIGNATURES, PortRange, SOCKET_PLACES, Signature},
    event::{MAX_SNAP_BYTES, SHORT_HEAD_BYTES, loss},
};
use retrospan_protocols::PROTOCOLS;
use stamps::Stamps;
use std::{io::Read, path::Path};

/// The built kernel programs; recorder-ebpf/build.sh makes them.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../recorder-ebpf/object/retrospan.bpf.o");
/// Names another object file to load instead, for tests of a fresh build.
pub const OBJECT_VARIABLE: &str = "RETROSPAN_EBPF_OBJECT";

/// In the order of attaching. The exit of system calls comes before their entry: a call noted at its
/// entry whose exit nobody sees would be taken for the next one.
const PROGRAMS: [Hooked; 8] = [
    Hooked { program: "sched_process_fork", tracepoint: "sched_process_fork" },
    Hooked { program: "sched_process_exec", tracepoint: "sched_process_exec" },
    Hooked { program: "sched_process_exit", tracepoint: "sched_process_exit" },
    Hooked { program: "task_rename", tracepoint: "task_rename" },
    Hooked { program: "inet_sock_set_state", tracepoint: "inet_sock_set_state" },
    Hooked { program: "inet_sock_set_state_again", tracepoint: "inet_sock_set_state" },
    Hooked { program: "sys_exit", tracepoint: "sys_exit" },
    Hooked { program: "sys_enter", tracepoint: "sys_enter" },
];

/// A program and where it is attached.
#[derive(Clone, Copy)]
struct Hooked {
    program: &'static str,
    tracepoint: &'static str,
}

/// What is walked over when a recording begins: the calls that are under way first, so that nothing is moved between
/// their sockets' first sight and them.
const ITERATORS: [&str; 2] = ["task", "task_file"];
const DEFAULT_RING_BYTES: u32 = 8 << 20;
const DEFAULT_SOCKETS: u32 = 262_144;

/// What to record. Different filters are joined by AND, the entries of one filter by OR.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Most payload bytes of one event, at most [`retrospan_formats::event::MAX_SNAP_BYTES`]; 0: no payload.
    pub snap_bytes: u32,
    /// Size of each CPU's ring, rounded up to a power of two and to a page; 0: 8 MiB.
    pub ring_bytes: u32,
    /// Closed port ranges that match either end; empty: every port.
    pub ports: Vec<(u16, u16)>,
    /// Names of thread-group leaders; empty: every name. At most 15 bytes of each count.
    pub comms: Vec<String>,
    /// Only these processes, their present and future descendants, and what [`Probes::watch_pid`] adds;
    /// `None`: every process.
    pub pids: Option<Vec<u32>>,
    /// The recorder's own process, which is never recorded.
    pub own_pid: u32,
    /// Whether argument vectors are read at all.
    pub read_argv: bool,
    /// Most sockets open at one time, at least; 0: 262,144.
    pub most_sockets: u32,
    /// Evidence to record, as far as the kernel can give it.
    pub evidence: Evidence,
    /// Shorter waits of threads are no evidence, us.
    pub sched_threshold_us: u32,
}

/// Losses of one CPU since the start: index is a [`retrospan_formats::event::Kind`] number or a constant of [`loss`].
pub type LossCounters = [u64; loss::COUNTERS as usize];

/// What one kernel program cost since the start (`kernel.bpf_stats_enabled`).
#[derive(Clone, Debug)]
pub struct RunCost {
    /// Name of the program.
    pub program: String,
    /// Times it ran.
    pub runs: u64,
    /// Time it took altogether, in ns.
    pub run_ns: u64,
}

/// The attached programs. Dropping it detaches them.
pub struct Probes {
    ebpf: Ebpf,
    links: Vec<BtfTracePointLink>,
    rings: Vec<RingBuf<MapData>>,
    evidence: Evidence,
    warnings: Vec<String>,
    /// Held while it records.
    stamps: Option<Stamps>,
}

/// Loads and attaches the kernel programs.
///
/// # Errors
/// Says which privilege or kernel feature is missing and what to do about it.
pub fn start(options: &Options) -> Result<Probes, ProbeError> {
    let config = configure(options)?;
    requirements::check()?;
    let refused = |error: btf::BtfError| ProbeError::Kernel(error.to_string());
    let types = btf::Btf::of_running_kernel().map_err(refused)?;
    let offsets = types.offsets().map_err(refused)?;
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| ProbeError::Kernel(format!("{path}: {error}")))?;
    let cast = Cast::find(&types).map_err(refused)?;
    let words_type = cast.map_or(0, |cast| cast.words_type);
    let mut config = Config { offsets, rings: cpus as u32, words_type, ..config };
    let mut warnings = Vec::new();
    let threshold_us = options.sched_threshold_us;
    let possible = evidence::configure(&types, options.evidence, threshold_us, &mut config, &mut warnings);
    let loaded = match (load(options, &config, cast, possible, warnings.clone()), cast) {
        (Err(error), Some(_)) => {
            let reason = one_line(&error.to_string());
            warnings
                .push(format!("kernel memory is read by helpers, which costs programs more time: {reason}"));
            load(options, &Config { words_type: 0, ..config }, None, possible, warnings)
        }
        (loaded, _) => loaded,
    };
    let mut probes = loaded?;
    probes.rings = make_rings(&mut probes.ebpf, options.ring_bytes, cpus as u32)?;
    for pid in descendants::of(options.pids.as_deref().unwrap_or_default()) {
        probes.watch_pid(pid)?;
    }
    for hooked in PROGRAMS {
        probes.attach(hooked.program)?;
    }
    evidence::attach(&mut probes);
    // Forks are followed now; those that came before the hook and after the first look are here.
    for pid in descendants::of(options.pids.as_deref().unwrap_or_default()) {
        probes.watch_pid(pid)?;
    }
    Ok(probes)
}

/// The part of the configuration that comes from the options.
fn configure(options: &Options) -> Result<Config, ProbeError> {
    let refuse = |text: String| Err(ProbeError::Option(text));
    if options.snap_bytes as usize > MAX_SNAP_BYTES {
        return refuse(format!(
            "a payload of {} bytes is too long: at most {MAX_SNAP_BYTES}",
            options.snap_bytes
        ));
    }
    if options.ports.len() > MAX_PORT_RANGES {
        return refuse(format!("too many port ranges: at most {MAX_PORT_RANGES}"));
    }
    if options.comms.len() > MAX_COMMS {
        return refuse(format!("too many process names: at most {MAX_COMMS}"));
    }
    // A quarter of all at most, so that what was asked for is little less than what there is room for.
    let places = (most_sockets(options) / 4 + 1).next_power_of_two() / 2;
    let mut config = Config {
        socket_places: places.clamp(1, SOCKET_PLACES),
        snap_bytes: options.snap_bytes,
        short_head_bytes: (SHORT_HEAD_BYTES as u32).min(options.snap_bytes),
        port_ranges: options.ports.len() as u32,
        comm_count: options.comms.len() as u32,
        filter_pids: u32::from(options.pids.is_some()),
        own_pid: options.own_pid,
        read_argv: u32::from(options.read_argv),
        ..Config::default()
    };
    use_signatures(&mut config)?;
    for (range, &(first, last)) in config.ports.iter_mut().zip(&options.ports) {
        *range = PortRange { first, last };
    }
    for (name, wanted) in config.comms.iter_mut().zip(&options.comms) {
        // The kernel keeps 15 bytes of a name and a NUL.
        let bytes = wanted.as_bytes();
        let used = bytes.len().min(name.len() - 1);
        name[..used].copy_from_slice(&bytes[..used]);
    }
    Ok(config)
}

/// Tells the kernel programs how messages of each protocol begin.
fn use_signatures(config: &mut Config) -> Result<(), ProbeError> {
    let all: Vec<Signature> = PROTOCOLS.iter().flat_map(|protocol| protocol.signatures()).copied().collect();
    if all.len() > MAX_SIGNATURES {
        return Err(ProbeError::Option(format!("too many protocols: at most {MAX_SIGNATURES} signatures")));
    }
    config.used_signatures = all.len() as u64;
    config.signatures[..all.len()].copy_from_slice(&all);
    Ok(())
}

fn most_sockets(options: &Options) -> u32 {
    if options.most_sockets == 0 { DEFAULT_SOCKETS } else { options.most_sockets }
}

fn load(
    options: &Options,
    config: &Config,
    cast: Option<Cast>,
    possible: Evidence,
    mut warnings: Vec<String>,
) -> Result<Probes, ProbeError> {
    let kernel_types = Btf::from_sys_fs().map_err(|error| ProbeError::Kernel(error.to_string()))?;
    let (name, mut object) = read_object()?;
    if let Some(cast) = cast {
        cast.write(&mut object);
    }
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&kernel_types))
        .override_global("CONFIG", bytemuck::bytes_of(config), true)
        .map_max_entries("RINGS", config.rings)
        .map_max_entries("SOCKETS", config.socket_places)
        .map_max_entries("OVERFLOW_SOCKETS", most_sockets(options));
    // Maps that are not used take no memory.
    for (map, used) in [("STOPPED", possible.sched), ("USAGE", possible.usage), ("CAUSES", possible.wakes)] {
        if !used {
            loader.map_max_entries(map, 1);
        }
    }
    let mut ebpf = loader.load(&object).map_err(|error| explain(&name, &error))?;
    for Hooked { program: name, tracepoint } in PROGRAMS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program
            .load(tracepoint, &kernel_types)
            .map_err(|error| explain(&format!("program {name}"), &error))?;
    }
    for name in ITERATORS {
        let iterator: &mut Iter = program(&mut ebpf, name)?;
        iterator.load(name, &kernel_types).map_err(|error| explain(&format!("program {name}"), &error))?;
    }
    let evidence = evidence::load(&mut ebpf, &kernel_types, possible, &mut warnings);
    Ok(Probes { ebpf, links: Vec::new(), rings: Vec::new(), evidence, warnings, stamps: None })
}

/// The kernel programs, and what to call them in a message.
fn read_object() -> Result<(String, Vec<u8>), ProbeError> {
    let Some(path) = std::env::var_os(OBJECT_VARIABLE) else {
        return Ok(("the embedded kernel programs".to_owned(), OBJECT.to_vec()));
    };
    let name = Path::new(&path).display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => Err(ProbeError::Object { what: name, reason: error.to_string() }),
    }
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProbeError>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    let damaged =
        |reason: &str| ProbeError::Object { what: format!("program {name}"), reason: reason.to_owned() };
    ebpf.program_mut(name)
        .ok_or_else(|| damaged("not in the object"))?
        .try_into()
        .map_err(|_| damaged("of another type"))
}

/// One ring a CPU, each in its place in the map of rings.
fn make_rings(ebpf: &mut Ebpf, wanted_bytes: u32, cpus: u32) -> Result<Vec<RingBuf<MapData>>, ProbeError> {
    let bytes = if wanted_bytes == 0 { DEFAULT_RING_BYTES } else { wanted_bytes };
    // SAFETY: no memory is passed.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u32;
    let bytes = bytes
        .max(page)
        .checked_next_power_of_two()
        .ok_or_else(|| ProbeError::Option(format!("a ring of {bytes} bytes is too large")))?;
    let map = ebpf.map_mut("RINGS").ok_or_else(|| missing_map("RINGS"))?;
    let mut map =
        ArrayOfMaps::<_, RingBuf<MapData>>::try_from(map).map_err(|error| explain("map RINGS", &error))?;
    (0..cpus)
        .map(|cpu| {
            let what = format!("a ring buffer of {bytes} bytes for CPU {cpu}");
            let object = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
            let data =
                MapData::create(object, "retrospan_ring", None).map_err(|error| explain(&what, &error))?;
            let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(|error| explain(&what, &error))?;
            map.set(cpu, &ring, 0).map_err(|error| explain(&what, &error))?;
            Ok(ring)
        })
        .collect()
}

impl Probes {
    /// Name of the probe set in use, for the manifest.
    pub fn probe_set(&self) -> &'static str {
        "syscalls"
    }

    /// The evidence that is being recorded.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// What the user is to know: evidence that is not recorded, and why.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn attach(&mut self, name: &str) -> Result<(), ProbeError> {
        let what = format!("attaching to {name}");
        let program: &mut BtfTracePoint = program(&mut self.ebpf, name)?;
        let id = program.attach().map_err(|error| explain(&what, &error))?;
        let link = program.take_link(id).map_err(|error| explain(&what, &error))?;
        self.links.push(link);
        Ok(())
    }

    /// Hands out the ring buffers, once: index = CPU. A record is what
    /// [`retrospan_formats::event`] describes; it may be followed by unused bytes (`Header::record_bytes` counts).
    pub fn take_rings(&mut self) -> Vec<RingBuf<MapData>> {
        std::mem::take(&mut self.rings)
    }

    /// Each CPU's values at one index of a per-CPU array.
    fn per_cpu(&self, map: &str, index: u32) -> Result<Vec<u64>, ProbeError> {
        let found = self.ebpf.map(map).ok_or_else(|| missing_map(map))?;
        let array = PerCpuArray::<_, u64>::try_from(found).map_err(|error| explain(map, &error))?;
        Ok(array.get(&index, 0).map_err(|error| explain(map, &error))?.to_vec())
    }

    /// Losses so far, one entry per CPU.
    ///
    /// # Errors
    /// The kernel refused to read the counters.
    pub fn losses(&self) -> Result<Vec<LossCounters>, ProbeError> {
        let mut losses = Vec::new();
        for counter in 0..loss::COUNTERS {
            let values = self.per_cpu("LOSSES", counter)?;
            losses.resize(values.len(), [0; loss::COUNTERS as usize]);
            for (cpu, value) in values.into_iter().enumerate() {
                losses[cpu][counter as usize] = value;
            }
        }
        Ok(losses)
    }

    /// The next sequence number of each CPU: records made so far, kept or lost.
    ///
    /// # Errors
    /// The kernel refused to read the counters.
    pub fn next_seqs(&self) -> Result<Vec<u64>, ProbeError> {
        self.per_cpu("SEQUENCE", 0)
    }

    /// What the programs cost so far; zeros unless `bpf_stats` are enabled.
    ///
    /// # Errors
    /// The kernel refused to describe a program.
    pub fn run_costs(&self) -> Result<Vec<RunCost>, ProbeError> {
        let mut costs = Vec::new();
        for Hooked { program: name, .. } in PROGRAMS.into_iter().chain(evidence::ALL) {
            let Some(Program::BtfTracePoint(program)) = self.ebpf.program(name) else { continue };
            // Evidence that was not asked for is not loaded.
            let Ok(info) = program.info() else { continue };
            costs.push(RunCost {
                program: name.to_owned(),
                runs: info.run_count(),
                run_ns: info.run_time().as_nanos() as u64,
            });
        }
        Ok(costs)
    }

    /// Records this process and everything it starts from now on (needs `Options::pids` to be `Some`).
    ///
    /// # Errors
    /// The map of watched processes is full.
    pub fn watch_pid(&mut self, tgid: u32) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("WATCHED").ok_or_else(|| missing_map("WATCHED"))?;
        let mut map = HashMap::<_, u32, u8>::try_from(map).map_err(|error| explain("map WATCHED", &error))?;
        map.insert(tgid, 1, 0).map_err(|error| explain("the map of watched processes", &error))
    }

    /// Puts a `Socket` record into the rings for every socket that is open now and passes the filters, and notes the calls
    /// on them that are under way.
    /// Drain the rings while it runs: it waits for nothing.
    ///
    /// # Errors
    /// The kernel refused to run the iterator.
    pub fn snapshot_sockets(&mut self) -> Result<(), ProbeError> {
        let what = "the walk over open sockets";
        for name in ITERATORS {
            let iterator: &mut Iter = program(&mut self.ebpf, name)?;
            let id = iterator.attach().map_err(|error| explain(what, &error))?;
            let link = iterator.take_link(id).map_err(|error| explain(what, &error))?;
            let mut file = link.into_file().map_err(|error| explain(what, &error))?;
            let mut nothing = Vec::new();
            file.read_to_end(&mut nothing).map_err(|error| explain(what, &error))?;
        }
        Ok(())
    }

    /// Stops recording; what the rings hold can still be drained, the counters stand still.
    pub fn detach(&mut self) {
        // Last attached first. A program that runs on another CPU at this moment may still finish its record.
        while self.links.pop().is_some() {}
        self.stamps = None;
        // SAFETY: membarrier takes no memory. It returns after every CPU has left such a program.
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    }
}
