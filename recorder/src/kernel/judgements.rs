//! What the kernel programs are told about single processes while they run.

use super::error::{ProbeError, explain, missing_map};
use super::hooks::Hooked;
use super::{Probes, descendants};
use aya::maps::{HashMap, Map, MapData};
use std::collections::BTreeSet;

/// Tells that a process is in another cgroup.
pub(super) const MOVED: Hooked = Hooked::tracepoint("cgroup_attach_task", "cgroup_attach_task");

/// What is said of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Thread group id.
    pub pid: u32,
    /// When it began the program that this is about, CLOCK_BOOTTIME ns: of an exec or a move the time of its record, of a fork the start
    /// time of the process; 0: before the recording.
    pub began_ns: u64,
    /// Whether its sockets are recorded.
    pub matches: bool,
}

/// The way to the kernel programs for judgements.
pub struct Judgements(HashMap<MapData, u32, [u64; 2]>);

impl Judgements {
    /// Tells one. Where there is no room for it, the process's sockets go on to be recorded and are left out here.
    pub fn tell(&mut self, judgement: Judgement) {
        let Judgement { pid, began_ns, matches } = judgement;
        let _ = self.0.insert(pid, [began_ns, u64::from(matches)], 0);
    }
}

impl Probes {
    /// Hands out the way for judgements, once.
    ///
    /// # Errors
    /// The object lacks the map.
    pub fn take_judgements(&mut self) -> Result<Judgements, ProbeError> {
        let map: Map = self.ebpf.take_map("JUDGEMENTS").ok_or_else(|| missing_map("JUDGEMENTS"))?;
        HashMap::try_from(map).map(Judgements).map_err(|error| explain("map JUDGEMENTS", &error))
    }

    /// Tells on which ports of which network namespaces (inode numbers) something listens, so that the side of a connection can be told
    /// that was open before. To be told before the snapshot.
    ///
    /// # Errors
    /// The kernel refused to write the map. Where it is full the rest is left out.
    pub fn note_listening(&mut self, ports: &BTreeSet<(u32, u16)>) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("LISTENING").ok_or_else(|| missing_map("LISTENING"))?;
        let mut map =
            HashMap::<_, u64, u8>::try_from(map).map_err(|error| explain("map LISTENING", &error))?;
        for &(netns, port) in ports {
            if map.insert(u64::from(netns) << 16 | u64::from(port), 1, 0).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Adds bits of [`retrospan_formats::config::watched`] to processes, and to their descendants where those have them too.
    pub(super) fn watch(&mut self, pids: &[u32], bit: u8, with_descendants: bool) -> Result<(), ProbeError> {
        let pids = if with_descendants { descendants::of(pids) } else { pids.iter().copied().collect() };
        let map = self.ebpf.map_mut("WATCHED").ok_or_else(|| missing_map("WATCHED"))?;
        let mut map = HashMap::<_, u32, u8>::try_from(map).map_err(|error| explain("map WATCHED", &error))?;
        for pid in pids {
            let bits = map.get(&pid, 0).unwrap_or(0) | bit;
            map.insert(pid, bits, 0).map_err(|error| explain("the map of watched processes", &error))?;
        }
        Ok(())
    }
}
