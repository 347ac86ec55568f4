//! CPU times as the kernel programs sum them up, read in one system call.

use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use retrospan_formats::event::OnCpu;

use super::Probes;
use super::error::{ProbeError, explain, missing_map};

/// `BPF_MAP_LOOKUP_BATCH` (Linux 5.6).
const LOOKUP_BATCH: libc::c_long = 24;
/// As many as the map holds.
const MOST: usize = 32_768;

/// What the kernel programs know of CPU time now.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes {
    /// Sums by process up to its last switch, ns.
    pub sums: Vec<(u32, u64)>,
    /// What each CPU runs since when.
    pub running: Vec<OnCpu>,
}

/// The part of `union bpf_attr` for calls on many entries.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Probes {
    /// Reads the CPU times.
    ///
    /// # Errors
    /// The kernel refused to read the maps.
    pub fn cpu_times(&self) -> Result<CpuTimes, ProbeError> {
        let Some(Map::HashMap(map)) = self.ebpf.map("USAGE") else { return Err(missing_map("USAGE")) };
        let sums = read_all(map).map_err(|error| explain("map USAGE", &error))?;
        let found = self.ebpf.map("ON_CPU").ok_or_else(|| missing_map("ON_CPU"))?;
        let cpus = PerCpuArray::<_, [u64; 3]>::try_from(found).map_err(|e| explain("map ON_CPU", &e))?;
        let running = cpus.get(&0, 0).map_err(|error| explain("map ON_CPU", &error))?;
        let running = running.iter().map(|words| bytemuck::cast(*words)).collect();
        Ok(CpuTimes { sums, running })
    }

    /// Forgets the CPU time of a process that has ended.
    ///
    /// # Errors
    /// The map is not there.
    pub fn forget_cpu_time(&mut self, pid: u32) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("USAGE").ok_or_else(|| missing_map("USAGE"))?;
        let mut map = HashMap::<_, u32, u64>::try_from(map).map_err(|error| explain("map USAGE", &error))?;
        // It may never have run.
        let _ = map.remove(&pid);
        Ok(())
    }
}

fn read_all(map: &MapData) -> std::io::Result<Vec<(u32, u64)>> {
    let (mut keys, mut values) = (vec![0_u32; MOST], vec![0_u64; MOST]);
    let mut next = 0_u64;
    let mut batch = Batch {
        in_batch: 0,
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: MOST as u32,
        map: map.fd().as_fd().as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: keys and values have room for `count` entries of the map's sizes, and live through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut batch, size_of::<Batch>() as libc::c_ulong)
    };
    let error = std::io::Error::last_os_error();
    // "No more entries" is how it ends.
    if result != 0 && error.raw_os_error() != Some(libc::ENOENT) {
        return Err(error);
    }
    let count = batch.count as usize;
    Ok(keys.into_iter().zip(values).take(count).collect())
}
