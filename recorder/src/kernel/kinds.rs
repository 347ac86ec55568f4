//! Which kinds of sockets are recorded.

use retrospan_formats::config::{Config, Offsets, kinds};

use super::btf::{Btf, BtfError};

/// A choice of kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKinds(u32);

/// Words on the command line and in the manifest.
const WORDS: [(&str, u32); 5] = [
    ("tcp", kinds::TCP),
    ("dns", kinds::DNS),
    ("udp", kinds::UDP),
    ("unix", kinds::UNIX),
    ("pairs", kinds::PAIRS),
];
/// Unix sockets of any kind.
pub(super) const ANY_UNIX: u32 = kinds::UNIX | kinds::PAIRS;

impl Default for SocketKinds {
    fn default() -> SocketKinds {
        SocketKinds(kinds::TCP | kinds::DNS | kinds::UNIX)
    }
}

impl SocketKinds {
    /// A list such as `tcp,dns`.
    ///
    /// # Errors
    /// One of the words is none of those.
    pub fn parse(text: &str) -> Result<SocketKinds, String> {
        let mut bits = 0;
        for word in text.split(',').map(str::trim) {
            let found = WORDS.iter().find(|(name, _)| *name == word);
            bits |= found.ok_or_else(|| format!("{word:?} is not one of tcp, dns, udp, unix and pairs"))?.1;
        }
        Ok(SocketKinds(bits))
    }

    /// The words of the list.
    pub fn names(self) -> Vec<&'static str> {
        WORDS.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(name, _)| *name).collect()
    }

    /// Bits of [`kinds`].
    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

/// Tells the programs where Unix sockets keep what they need. Those are left out, with a warning, where the kernel has them otherwise.
pub(super) fn configure(types: &Btf, config: &mut Config, warnings: &mut Vec<String>) {
    if config.kinds & ANY_UNIX == 0 {
        return;
    }
    match unix_offsets(types, config) {
        Ok((offsets, one_file)) => (config.offsets, config.one_file) = (offsets, one_file),
        Err(error) => {
            config.kinds &= !ANY_UNIX;
            warnings.push(format!("Unix sockets are not recorded: {error}"));
        }
    }
}

fn unix_offsets(types: &Btf, config: &Config) -> Result<(Offsets, u32), BtfError> {
    // How many things lead to a file, counted from 0 since Linux 6.13 and from 1 before.
    let (file_count, one_file) = match types.offset("file", "f_ref") {
        Ok(offset) => (offset, 0),
        Err(_) => (types.offset("file", "f_count")?, 1),
    };
    let offsets = Offsets {
        unix_peer: types.offset("unix_sock", "peer")?,
        unix_addr: types.offset("unix_sock", "addr")?,
        unix_address_len: types.offset("unix_address", "len")?,
        unix_address_name: types.offset("unix_address", "name")?,
        file_count,
        sk_receive_queue_qlen: types.offset("sock", "sk_receive_queue.qlen")?,
        ..config.offsets
    };
    Ok((offsets, one_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written() {
        assert_eq!(SocketKinds::default().names(), ["tcp", "dns", "unix"]);
        assert_eq!(SocketKinds::parse("udp, tcp").map(SocketKinds::names), Ok(vec!["tcp", "udp"]));
        assert!(SocketKinds::parse("tcp,raw").is_err_and(|error| error.contains("\"raw\"")));
        assert!(SocketKinds::parse("").is_err());
    }
}
