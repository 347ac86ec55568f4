//! What /proc tells at the start: processes, and who holds which socket.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use retrospan_formats::table::MOST_TEXT_BYTES;

use crate::fast_map::FastMap;
use crate::host::cgroups;
use crate::host::environment::Service;

/// Length of a clock tick of /proc/PID/stat, in ns (USER_HZ is 100 on every architecture we run on).
const TICK_NS: u64 = 10_000_000;

/// A process found in /proc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Thread group id.
    pub pid: u32,
    /// Its parent.
    pub parent_pid: u32,
    /// Start since boot, in ns, rounded down to a tick.
    pub start_boot_ns: u64,
    /// Name of the thread-group leader.
    pub comm: String,
    /// Path of the executable; `None` for kernel threads.
    pub exe: Option<String>,
    /// Arguments, each followed by NUL, as far as a column may hold them.
    pub argv: Vec<u8>,
    /// Path of the cgroup.
    pub cgroup: Option<String>,
    /// What its environment says of its service.
    pub service: Service,
}

/// Every process of the host.
pub fn processes() -> Vec<Found> {
    pids().into_iter().filter_map(process).collect()
}

/// One process, if it is there.
pub fn process(pid: u32) -> Option<Found> {
    let folder = format!("/proc/{pid}");
    let folder = Path::new(&folder);
    let mut found = stat(folder)?;
    found.exe = fs::read_link(folder.join("exe")).ok().map(|p| p.to_string_lossy().into_owned());
    found.argv = beginning(&folder.join("cmdline"), MOST_TEXT_BYTES).unwrap_or_default();
    found.cgroup = cgroups::of_process(pid);
    found.service = Service::of_process(pid).unwrap_or_default();
    Some(found)
}

/// What the environment of a process says that began then; `None` where it has ended, be it that its pid is another process's.
pub fn service(pid: u32, start_boot_ns: u64) -> Option<Service> {
    let service = Service::of_process(pid)?;
    let now = stat(Path::new(&format!("/proc/{pid}")))?;
    (now.start_boot_ns.abs_diff(start_boot_ns) <= TICK_NS).then_some(service)
}

fn stat(folder: &Path) -> Option<Found> {
    let mut found = parse_stat(&fs::read(folder.join("stat")).ok()?)?;
    found.start_boot_ns = found.start_boot_ns.saturating_add_signed(-crate::host::boot_offset_ns());
    Some(found)
}

/// The first bytes of a file: arguments may be megabytes.
fn beginning(path: &Path, most_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most_bytes as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lowest pid that holds each socket, by the socket's inode.
pub fn socket_owners() -> FastMap<u64, u32> {
    let mut owners = FastMap::default();
    let mut pids = pids();
    pids.sort_unstable();
    for pid in pids {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for entry in entries.flatten() {
            let inode = fs::read_link(entry.path()).ok().and_then(|link| socket_inode(link.to_str()?));
            if let Some(inode) = inode {
                owners.entry(inode).or_insert(pid);
            }
        }
    }
    owners
}

/// Name of a process, without what would disturb a line.
pub fn comm(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').replace(char::is_control, "?"))
}

/// One process of each network namespace, the recorder's own first.
pub fn one_of_each_network() -> Vec<u32> {
    let mut networks = HashSet::new();
    let mut is_new = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|network| networks.insert(network))
    };
    std::iter::once(std::process::id()).chain(pids()).filter(|pid| is_new(pid)).collect()
}

/// Ids of every process.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads /proc/PID/stat. The name stands in parentheses and may hold anything, parentheses too.
fn parse_stat(stat: &[u8]) -> Option<Found> {
    let stat = String::from_utf8_lossy(stat);
    let (pid, rest) = stat.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Found {
        pid: pid.parse().ok()?,
        parent_pid: fields.get(1)?.parse().ok()?,
        start_boot_ns: fields.get(19)?.parse::<u64>().ok()?.checked_mul(TICK_NS)?,
        comm: comm.to_owned(),
        ..Found::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn finds_itself() {
        let me = process(std::process::id()).unwrap();
        assert_eq!(me.exe.as_deref(), std::env::current_exe().unwrap().to_str());
        assert!(me.start_boot_ns > 0 && me.start_boot_ns < crate::host::boot_ns());
        assert!(processes().contains(&me));
    }

    #[test]
    fn finds_the_owner_of_a_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        assert_eq!(socket_owners().get(&inode), Some(&std::process::id()));
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let tail = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let found = parse_stat(format!("42 (a) b (c) {tail}\n").as_bytes()).unwrap();
        assert_eq!((found.pid, found.comm.as_str()), (42, "a) b (c"));
        assert_eq!((found.parent_pid, found.start_boot_ns), (4, 22 * TICK_NS));
        assert_eq!(parse_stat(b"42 (a"), None);
    }
}
