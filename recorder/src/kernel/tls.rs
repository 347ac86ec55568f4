//! Programs at functions of TLS libraries.

use super::Probes;
use super::error::{ProbeError, explain, missing_map};
use super::hooks::program;
use aya::Ebpf;
use aya::maps::{Array, HashMap};
use aya::programs::UProbe;
use aya::programs::links::FdLink;
use aya::programs::uprobe::UProbeScope;
use std::path::Path;
use std::thread;

/// The program at returns, whichever the function.
pub const RETURN: &str = "tls_return";

/// A program and its place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Name of the kernel program.
    pub program: &'static str,
    /// Where it belongs, bytes from the file's begin.
    pub offset: u64,
}

/// By name in the object.
pub(super) const PROGRAMS: [&str; 23] = [
    RETURN,
    "go_return",
    "go_write",
    "go_read",
    "go_client",
    "go_server",
    "go_close",
    "tls_send_int",
    "tls_receive_int",
    "tls_send_long",
    "tls_receive_long",
    "tls_send_beside",
    "tls_receive_beside",
    "tls_send_file",
    "tls_ask",
    "tls_accept",
    "tls_connect",
    "tls_is_server",
    "tls_is_client",
    "tls_new",
    "tls_new_beside",
    "tls_free",
    "tls_clear",
];

/// Hands the programs to the kernel.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    for name in PROGRAMS {
        program::<UProbe>(ebpf, name)?.load().map_err(|error| explain(&format!("program {name}"), &error))?;
    }
    Ok(())
}

impl Probes {
    /// Begins to record what they see, or ends that.
    fn switch_tls(&mut self, on: bool) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("TLS_ON").ok_or_else(|| missing_map("TLS_ON"))?;
        let mut map = Array::<_, u64>::try_from(map).map_err(|error| explain("map TLS_ON", &error))?;
        map.set(0, u64::from(on), 0).map_err(|error| explain("map TLS_ON", &error))
    }

    /// Ends the recording of TLS at once. The programs are taken off behind it: the kernel waits for every CPU at each, which takes
    /// seconds, and nothing depends on it. Where the process ends before, the kernel goes on by itself.
    pub(super) fn detach_tls(&mut self) {
        if !self.tls_links.is_empty() {
            // Where that fails they are recorded until they are off.
            drop(self.switch_tls(false));
            let links = std::mem::take(&mut self.tls_links);
            // Without a thread they are taken off here.
            drop(thread::Builder::new().name("tls-detach".to_owned()).spawn(move || drop(links)));
        }
    }

    /// Attaches programs to these places of a file, for every process that has it mapped or will.
    ///
    /// # Errors
    /// The kernel refused one of them; then none is attached.
    pub fn attach_tls(&mut self, path: &Path, at: &[At]) -> Result<(), ProbeError> {
        let before = self.tls_links.len();
        if before == 0 {
            self.switch_tls(true)?;
        }
        for At { program, offset } in at {
            match attach(&mut self.ebpf, program, path, *offset) {
                Ok(link) => self.tls_links.push(link),
                Err(error) => {
                    self.tls_links.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Forgets a session whose process is gone, by its key ([`retrospan_formats::event::TlsEnds`]).
    ///
    /// # Errors
    /// The object lacks the map.
    pub fn forget_tls(&mut self, keys: &[u64]) -> Result<(), ProbeError> {
        let name = "OVERFLOW_SOCKETS";
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing_map(name))?;
        let mut map =
            HashMap::<_, u64, [u8; ENTRY_BYTES]>::try_from(map).map_err(|error| explain(name, &error))?;
        for key in keys {
            // It may have ended by itself.
            let _ = map.remove(key);
        }
        Ok(())
    }

    /// Forgets the goroutines of processes that are gone.
    ///
    /// # Errors
    /// The object lacks the maps.
    pub fn forget_go(&mut self, pids: &[u32]) -> Result<(), ProbeError> {
        let name = "GO_PROCESSES";
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing_map(name))?;
        let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(|error| explain(name, &error))?;
        let gone: Vec<u32> = pids.iter().copied().filter(|pid| map.remove(pid).is_ok()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let name = "GO_ROUTINES";
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing_map(name))?;
        let mut map =
            HashMap::<_, [u64; 2], [u8; CALL_BYTES]>::try_from(map).map_err(|error| explain(name, &error))?;
        let left: Vec<[u64; 2]> =
            map.keys().flatten().filter(|[_, tgid]| gone.contains(&(*tgid as u32))).collect();
        for key in left {
            let _ = map.remove(&key);
        }
        Ok(())
    }
}

/// Of a socket's entry in the kernel programs.
const ENTRY_BYTES: usize = 72;
/// Of a goroutine's call there.
const CALL_BYTES: usize = 264;

fn attach(ebpf: &mut Ebpf, name: &str, path: &Path, offset: u64) -> Result<FdLink, ProbeError> {
    let what = format!("attaching to {}", path.display());
    let uprobe = program::<UProbe>(ebpf, name)?;
    let link = uprobe.attach(offset, path, UProbeScope::AllProcesses).and_then(|id| uprobe.take_link(id));
    let link = link.map_err(|error| explain(&what, &error))?;
    FdLink::try_from(link).map_err(|error| explain(&what, &error))
}
