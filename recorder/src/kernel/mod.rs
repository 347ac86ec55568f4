//! The kernel side as the recorder sees it: what to record goes in, ring buffers and counters come out.
//!
//! [`start`] loads the embedded object with the offsets and options it needs, and attaches it. Nothing
//! is recorded on disk before that has worked.

pub mod btf;
mod casts;
mod descendants;
mod error;
mod evidence;
mod hooks;
mod judgements;
mod kinds;
mod preemption;
mod probe_sets;
mod requirements;
mod stamps;
mod syscall;
mod tls;
mod usage;

pub use error::ProbeError;
pub use evidence::Evidence;
pub use judgements::{Judgement, Judgements};
pub use kinds::SocketKinds;
pub use probe_sets::ProbeSet;
pub use requirements::missing_privileges;
pub use tls::{At, RETURN};
pub use usage::CpuTimes;

use crate::text::one_line;
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{Iter, Program, links::FdLink},
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use casts::Cast;
use error::{explain, missing_map};
use hooks::{Hooked, program};
use probe_sets::SYSCALL_EXIT;
use retrospan_formats::{
    config::{Config, Filters, MAX_COMMS, MAX_SIGNATURES, SOCKET_PLACES, Signature, watched},
    event::{MAX_SNAP_BYTES, SHORT_HEAD_BYTES, loss},
};
use retrospan_protocols::PROTOCOLS;
use stamps::Stamps;
use std::{io::Read, os::fd::AsFd, path::Path};

/// The built kernel programs; recorder-ebpf/build.sh makes them.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../recorder-ebpf/object/retrospan.bpf.o");
/// Names another object file to load instead, for tests of a fresh build.
pub const OBJECT_VARIABLE: &str = "RETROSPAN_EBPF_OBJECT";

/// The programs of either probe set, in the order of attaching.
const PROGRAMS: [Hooked; 6] = [
    Hooked::tracepoint("sched_process_fork", "sched_process_fork"),
    Hooked::tracepoint("sched_process_exec", "sched_process_exec"),
    Hooked::tracepoint("sched_process_exit", "sched_process_exit"),
    Hooked::tracepoint("task_rename", "task_rename"),
    Hooked::tracepoint("inet_sock_set_state", "inet_sock_set_state"),
    Hooked::tracepoint("inet_sock_set_state_again", "inet_sock_set_state"),
];

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
    /// Names of thread-group leaders; empty: every name. At most 15 bytes of each count.
    pub comms: Vec<String>,
    /// Only these processes, their present and future descendants, and what [`Probes::watch_pid`] adds;
    /// `None`: every process.
    pub pids: Option<Vec<u32>>,
    /// Only these processes and what `pids` lets through; `None`: no such filter.
    pub only_pids: Option<Vec<u32>>,
    /// Neither these processes nor their descendants.
    pub excluded_pids: Vec<u32>,
    /// Names of thread-group leaders that are left out, as `comms`.
    pub excluded_comms: Vec<String>,
    /// Every other filter; what it says of names and `by_process` is filled in here.
    pub filters: Filters,
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
    /// Whether [`Probes::shed`] will be called.
    pub sheds: bool,
    /// The probe set; `None`: sockets, or syscalls where the kernel does not take those.
    pub probe_set: Option<ProbeSet>,
    /// Kinds of sockets.
    pub kinds: SocketKinds,
    /// Whether [`Probes::attach_tls`] will be called.
    pub tls: bool,
}

/// Losses of one CPU since the start: index is a [`retrospan_formats::event::Kind`] number or a constant of [`loss`].
pub type LossCounters = [u64; loss::COUNTERS as usize];

/// Counters of which none has counted.
pub const NOTHING_LOST: LossCounters = [0; loss::COUNTERS as usize];

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
    set: ProbeSet,
    /// Why it is not the set that would be preferred.
    refusal: Option<String>,
    /// Programs of the set that are loaded.
    hooks: Vec<Hooked>,
    links: Vec<FdLink>,
    tls_links: Vec<FdLink>,
    with_tls: bool,
    /// Where calls end that were under way at the begin, while there are any.
    early: Option<FdLink>,
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
    let types = btf::Btf::of_running_kernel().map_err(refused)?;
    if let Some(set) = options.probe_set {
        return start_set(set, options, &types, config);
    }
    let refusal = if preemption::is_full() {
        "this kernel may put threads off in the middle of a program at a function (preemption: full or lazy)"
            .to_owned()
    } else {
        match start_set(ProbeSet::Sockets, options, &types, config) {
            Err(error) => one_line(&error.to_string()),
            started => return started,
        }
    };
    let mut probes = start_set(ProbeSet::Syscalls, options, &types, config)?;
    probes.refusal = Some(refusal);
    Ok(probes)
}

fn refused(error: btf::BtfError) -> ProbeError {
    ProbeError::Kernel(error.to_string())
}

fn start_set(
    set: ProbeSet,
    options: &Options,
    types: &btf::Btf,
    config: Config,
) -> Result<Probes, ProbeError> {
    if set == ProbeSet::Sockets {
        probe_sets::try_function(types)?;
    }
    let offsets = types.offsets().map_err(refused)?;
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| ProbeError::Kernel(format!("{path}: {error}")))?;
    let cast = Cast::find(types).map_err(refused)?;
    let words_type = cast.map_or(0, |cast| cast.words_type);
    let mut config = Config { offsets, rings: cpus as u32, words_type, ..config };
    let mut warnings = Vec::new();
    kinds::configure(types, &mut config, &mut warnings);
    if config.tls != 0 {
        config.offsets.task_fsbase = types.offset("task_struct", "thread.fsbase").map_err(refused)?;
    }
    let hooks = probe_sets::configure(set, types, &mut config).map_err(refused)?;
    let threshold_us = options.sched_threshold_us;
    let possible = evidence::configure(types, options.evidence, threshold_us, &mut config, &mut warnings);
    let wanted = Wanted { set, hooks, evidence: possible };
    let loaded = match (load(options, &config, cast, &wanted, warnings.clone()), cast) {
        (Err(error), Some(_)) => {
            let reason = one_line(&error.to_string());
            warnings
                .push(format!("kernel memory is read by helpers, which costs programs more time: {reason}"));
            load(options, &Config { words_type: 0, ..config }, None, &wanted, warnings)
        }
        (loaded, _) => loaded,
    };
    let mut probes = loaded?;
    probes.rings = make_rings(&mut probes.ebpf, options.ring_bytes, cpus as u32)?;
    probes.watch_all(options)?;
    for hooked in PROGRAMS.into_iter().chain(wanted.hooks) {
        probes.attach(hooked)?;
    }
    if config.filters.judged != 0 {
        probes.attach(judgements::MOVED)?;
    }
    if set == ProbeSet::Sockets {
        probes.early = Some(SYSCALL_EXIT.attach(&mut probes.ebpf)?);
    }
    evidence::attach(&mut probes);
    // Forks are followed now; those that came before the hook and after the first look are here.
    probes.watch_all(options)?;
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
    if options.comms.len().max(options.excluded_comms.len()) > MAX_COMMS {
        return refuse(format!("too many process names: at most {MAX_COMMS}"));
    }
    // A quarter of all at most, so that what was asked for is little less than what there is room for.
    let places = (most_sockets(options) / 4 + 1).next_power_of_two() / 2;
    let mut config = Config {
        socket_places: places.clamp(1, SOCKET_PLACES),
        snap_bytes: options.snap_bytes,
        short_head_bytes: (SHORT_HEAD_BYTES as u32).min(options.snap_bytes),
        comm_count: options.comms.len() as u32,
        filter_pids: u32::from(options.pids.is_some() || options.only_pids.is_some()),
        own_pid: options.own_pid,
        read_argv: u32::from(options.read_argv),
        sheds: u32::from(options.sheds),
        filters: options.filters,
        kinds: options.kinds.bits(),
        tls: u32::from(options.tls),
        ..Config::default()
    };
    let excludes = !(options.excluded_pids.is_empty() && options.excluded_comms.is_empty());
    let asks = config.filter_pids != 0 || config.comm_count != 0 || excludes || config.filters.judged != 0;
    config.filters.by_process = u32::from(asks);
    config.filters.excluded_comm_count = options.excluded_comms.len() as u32;
    use_signatures(&mut config);
    put_names(&mut config.comms, &options.comms);
    put_names(&mut config.filters.excluded_comms, &options.excluded_comms);
    Ok(config)
}

fn put_names(places: &mut [[u8; 16]], names: &[String]) {
    for (place, name) in places.iter_mut().zip(names) {
        // The kernel keeps 15 bytes of a name and a NUL.
        let bytes = name.as_bytes();
        let used = bytes.len().min(place.len() - 1);
        place[..used].copy_from_slice(&bytes[..used]);
    }
}

/// Tells the kernel programs how messages of each protocol begin, as far as there is room: of protocols further down in
/// [`PROTOCOLS`], what follows without a change of direction is kept as any other data is.
fn use_signatures(config: &mut Config) {
    let signatures = PROTOCOLS.iter().flat_map(|protocol| protocol.signatures()).copied();
    let all: Vec<Signature> = signatures.take(MAX_SIGNATURES).collect();
    config.used_signatures = all.len() as u64;
    config.signatures[..all.len()].copy_from_slice(&all);
}

fn most_sockets(options: &Options) -> u32 {
    if options.most_sockets == 0 { DEFAULT_SOCKETS } else { options.most_sockets }
}

/// What is to be loaded.
struct Wanted {
    set: ProbeSet,
    hooks: Vec<Hooked>,
    evidence: Evidence,
}

fn load(
    options: &Options,
    config: &Config,
    cast: Option<Cast>,
    wanted: &Wanted,
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
    let used = [
        ("STOPPED", wanted.evidence.sched),
        ("USAGE", wanted.evidence.usage),
        ("CAUSES", wanted.evidence.wakes),
        ("PROGRAMS", config.filters.judged != 0),
        ("JUDGEMENTS", config.filters.judged != 0),
        ("LISTENING", config.filters.side != 0),
        ("TLS_THREADS", config.tls != 0),
        ("GO_ROUTINES", config.tls != 0),
        ("GO_PROCESSES", config.tls != 0),
    ];
    for (map, used) in used {
        if !used {
            loader.map_max_entries(map, 1);
        }
    }
    let mut ebpf = loader.load(&object).map_err(|error| explain(&name, &error))?;
    let early = (wanted.set == ProbeSet::Sockets).then_some(SYSCALL_EXIT);
    for hooked in PROGRAMS.iter().chain(&wanted.hooks).chain(&early) {
        hooked.load(&mut ebpf, &kernel_types)?;
    }
    if wanted.set == ProbeSet::Sockets {
        probe_sets::join(&mut ebpf)?;
    }
    for name in ITERATORS {
        let iterator: &mut Iter = program(&mut ebpf, name)?;
        iterator.load(name, &kernel_types).map_err(|error| explain(&format!("program {name}"), &error))?;
    }
    if config.filters.judged != 0 {
        judgements::MOVED.load(&mut ebpf, &kernel_types)?;
    }
    if config.tls != 0 {
        tls::load(&mut ebpf)?;
    }
    let evidence = evidence::load(&mut ebpf, &kernel_types, wanted.evidence, &mut warnings);
    Ok(Probes {
        ebpf,
        set: wanted.set,
        refusal: None,
        hooks: wanted.hooks.clone(),
        links: Vec::new(),
        tls_links: Vec::new(),
        with_tls: config.tls != 0,
        early: None,
        rings: Vec::new(),
        evidence,
        warnings,
        stamps: None,
    })
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
    /// The probe set in use.
    pub fn probe_set(&self) -> ProbeSet {
        self.set
    }

    /// Why it is not the one that would be preferred, in one line.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// The evidence that is being recorded.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// What the user is to know: evidence that is not recorded, and why.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn attach(&mut self, hooked: Hooked) -> Result<(), ProbeError> {
        let link = hooked.attach(&mut self.ebpf)?;
        self.links.push(link);
        Ok(())
    }

    /// Leaves the exits of system calls alone as soon as every call has ended that was under way when the sockets were
    /// looked at. To be called now and then after that.
    ///
    /// # Errors
    /// The kernel refused to read the map of such calls.
    pub fn let_go_of_early(&mut self) -> Result<(), ProbeError> {
        if self.early.is_none() {
            return Ok(());
        }
        let map = self.ebpf.map("EARLY").ok_or_else(|| missing_map("EARLY"))?;
        let map = HashMap::<_, u32, [u64; 6]>::try_from(map).map_err(|error| explain("map EARLY", &error))?;
        if map.keys().next().is_none() {
            self.early = None;
        }
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
            losses.resize(values.len(), NOTHING_LOST);
            for (cpu, value) in values.into_iter().enumerate() {
                losses[cpu][counter as usize] = value;
            }
        }
        // Programs that the kernel skips run without counting it themselves.
        if let Some(counters) = losses.first_mut() {
            counters[loss::MISSED_CALL as usize] += self.times_missed()?;
        }
        Ok(losses)
    }

    /// How often the kernel ran none of the programs of this set's functions where it should have.
    fn times_missed(&self) -> Result<u64, ProbeError> {
        let mut missed = 0;
        for hooked in &self.hooks {
            let fd = match self.ebpf.program(hooked.program) {
                Some(Program::FEntry(program)) => program.fd(),
                Some(Program::FExit(program)) => program.fd(),
                _ => continue,
            };
            let what = format!("program {}", hooked.program);
            let fd = fd.map_err(|error| explain(&what, &error))?;
            missed += syscall::times_missed(fd.as_fd()).map_err(|error| explain(&what, &error))?;
        }
        Ok(missed)
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
        let tls = if self.with_tls { &tls::PROGRAMS[..] } else { &[] };
        let hooked = PROGRAMS.iter().chain(&self.hooks).chain(&evidence::ALL).map(|hooked| hooked.program);
        for name in hooked.chain(tls.iter().copied()) {
            let info = match self.ebpf.program(name) {
                Some(Program::BtfTracePoint(program)) => program.info(),
                Some(Program::FEntry(program)) => program.info(),
                Some(Program::FExit(program)) => program.info(),
                Some(Program::UProbe(program)) => program.info(),
                _ => continue,
            };
            // Evidence that was not asked for is not loaded.
            let Ok(info) = info else { continue };
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
        self.watch(&[tgid], watched::WITH_CHILDREN, false)
    }

    /// The processes that the options name, and their descendants that are there now.
    fn watch_all(&mut self, options: &Options) -> Result<(), ProbeError> {
        self.watch(options.pids.as_deref().unwrap_or_default(), watched::WITH_CHILDREN, true)?;
        self.watch(options.only_pids.as_deref().unwrap_or_default(), watched::ALONE, false)?;
        self.watch(&options.excluded_pids, watched::EXCLUDED, true)
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
        let map = self.ebpf.map_mut("SNAPSHOT").ok_or_else(|| missing_map("SNAPSHOT"))?;
        let mut map = Array::<_, u64>::try_from(map).map_err(|error| explain("map SNAPSHOT", &error))?;
        map.set(0, 1, 0).map_err(|error| explain("map SNAPSHOT", &error))
    }

    /// Leaves out as much as that level of [`retrospan_formats::event::shed`] says, from now on (needs `Options::sheds`).
    ///
    /// # Errors
    /// The kernel refused to write the map.
    pub fn shed(&mut self, level: u32) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("SHED").ok_or_else(|| missing_map("SHED"))?;
        let mut map = Array::<_, u32>::try_from(map).map_err(|error| explain("map SHED", &error))?;
        map.set(0, level, 0).map_err(|error| explain("map SHED", &error))
    }

    /// Stops recording; what the rings hold can still be drained, the counters stand still.
    pub fn detach(&mut self) {
        // Last attached first. A program that runs on another CPU at this moment may still finish its record.
        self.early = None;
        self.detach_tls();
        while self.links.pop().is_some() {}
        self.stamps = None;
        // SAFETY: membarrier takes no memory. It returns after every CPU has left such a program.
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    }
}
