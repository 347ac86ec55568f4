//! The values of filters: read from the command line, and written as they were given.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use glob::Pattern;
use retrospan_formats::config::{self, side};

/// A closed range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Lowest.
    pub first: u16,
    /// Highest.
    pub last: u16,
}

impl Ports {
    /// `8080` or `8000-9000`.
    pub fn parse(text: &str) -> Result<Ports, String> {
        let wrong = || format!("{text:?} is not a port or a range such as 8000-9000");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let (first, last) = (port(first)?, port(last)?);
        if first > last || last == 0 { Err(wrong()) } else { Ok(Ports { first, last }) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports { first, last } if first == last => write!(f, "{first}"),
            Ports { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// A network: its address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// `10.0.0.0/8`, `fd00::/8`, or an address alone.
    pub fn parse(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is not an address or a network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Network { address, bits }) }
    }

    /// As the kernel programs compare it.
    pub fn rule(&self) -> config::Net {
        let (address, bits) = match self.address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), self.bits + 96),
            IpAddr::V6(address) => (address, self.bits),
        };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        let words = |number: u128| {
            let bytes = number.to_be_bytes();
            [0, 4, 8, 12]
                .map(|at| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
        };
        config::Net { address: words(address.to_bits() & mask), mask: words(mask) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    text: String,
    /// Its inode number.
    pub inode: u32,
}

/// No process has a higher number (proc_sys_kernel(5), `pid_max`), and every namespace has.
const MOST_PID: u32 = 1 << 22;

impl Namespace {
    /// A process that is in it, its inode number, the path of a file that stands for it, or its name as `ip netns` has it.
    pub fn parse(text: &str) -> Result<Namespace, String> {
        let of = |path: &Path, what: &str| {
            let inode = std::fs::metadata(path).map_err(|error| format!("{what}: {error}"))?.ino();
            u32::try_from(inode).map_err(|_| format!("{what} is no network namespace"))
        };
        let inode = match text.parse::<u32>() {
            Ok(inode) if inode > MOST_PID => inode,
            Ok(pid) => of(Path::new(&format!("/proc/{pid}/ns/net")), &format!("process {pid}"))?,
            Err(_) if text.starts_with('/') => of(Path::new(text), text)?,
            Err(_) if text.is_empty() || text.contains('/') => {
                return Err(format!("{text:?} is not a process, an inode number, a path or a name"));
            }
            Err(_) => of(&Path::new("/run/netns").join(text), text)?,
        };
        Ok(Namespace { text: text.to_owned(), inode })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern with `*`, `?` and `[...]`, of which each stands for `/` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Pattern);

impl Glob {
    /// Any text but none.
    pub fn parse(text: &str) -> Result<Glob, String> {
        if text.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        Pattern::new(text).map(Glob).map_err(|error| format!("{text:?} is not a pattern: {}", error.msg))
    }

    /// Whether the whole of `text` is as the pattern says.
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// The pattern as it was given.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Which end of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sockets that listen or were accepted.
    Server,
    /// Sockets that connect.
    Client,
}

impl Side {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Side::Server => "server",
            Side::Client => "client",
        }
    }

    /// As the kernel programs compare it.
    pub fn rule(self) -> u32 {
        match self {
            Side::Server => side::SERVER,
            Side::Client => side::CLIENT,
        }
    }
}

/// The largest sample: more connections to one recorded than that tell nothing.
const MOST_ONE_IN: u32 = 1_000_000;

/// `1/N`: N.
pub fn one_in(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
    number
        .filter(|number| (1..=MOST_ONE_IN).contains(number))
        .ok_or_else(|| format!("{text:?} is not a share such as 1/100 (1/1000000 at least)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_both_families() {
        let text = |text: &str| Network::parse(text).map(|network| network.to_string());
        assert_eq!(text("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(text("192.168.0.7").as_deref(), Ok("192.168.0.7/32"));
        assert_eq!(text("fd00::1").as_deref(), Ok("fd00::1/128"));
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "ten", "", "1.2.3.4/-1"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_is_what_an_ipv6_socket_shows_of_it() {
        let rule = Network::parse("10.1.2.3/16").unwrap().rule();
        let word = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        assert_eq!(rule.address, [0, 0, word([0, 0, 255, 255]), word([10, 1, 0, 0])]);
        assert_eq!(rule.mask, [u32::MAX, u32::MAX, u32::MAX, word([255, 255, 0, 0])]);
        assert_eq!(Network::parse("::/0").unwrap().rule(), config::Net::default());
        assert_eq!(Network::parse("0.0.0.0/0").unwrap().rule().mask, [u32::MAX, u32::MAX, u32::MAX, 0]);
    }

    #[test]
    fn a_namespace_is_found_by_process_number_and_path() {
        let own = Namespace::parse(&std::process::id().to_string()).unwrap();
        assert_eq!(own.inode, Namespace::parse("/proc/self/ns/net").unwrap().inode);
        assert_eq!(Namespace::parse(&own.inode.to_string()).unwrap().inode, own.inode);
        for wrong in ["", "a/b", "4194304", "/nowhere", "no-such-namespace"] {
            assert!(Namespace::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_star_stands_for_folders_too() {
        let glob = Glob::parse("/system.slice/*").unwrap();
        assert!(glob.matches("/system.slice/a.service/b") && !glob.matches("/user.slice/a"));
        assert!(Glob::parse("").is_err() && Glob::parse("a[").is_err());
    }

    #[test]
    fn shares_are_one_in_so_many() {
        assert_eq!((one_in("1/1"), one_in("1/100")), (Ok(1), Ok(100)));
        for wrong in ["", "100", "2/3", "1/0", "1/1000001", "1/-4", "1/ 4"] {
            assert!(one_in(wrong).is_err(), "{wrong}");
        }
    }
}
