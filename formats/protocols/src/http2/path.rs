//! Paths with their queries: what of them may be kept, as in HTTP/1.

use std::ops::Range;
use std::sync::Arc;

use super::huffman;
use crate::blank::BLANK;
use crate::http1::read::without_authority;
use crate::http1::target::Target;

/// Longest path kept, and longest query.
const MAX_PATH_BYTES: usize = 16 * 1024;
const MAX_QUERY_BYTES: usize = 4096;
/// Longest name of a method of gRPC with its service.
const MAX_RPC_BYTES: usize = 255;

/// What `:path` says, its secrets blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// As it came.
    shown: Box<[u8]>,
    /// Without what may stand in front of it or behind it.
    pub(super) target: Arc<str>,
    /// The target is longer than this.
    pub(super) cut: bool,
    pub(super) query: Option<Arc<str>>,
    /// Service and method, if it is a path of gRPC.
    pub(super) rpc: Option<Arc<str>>,
}

impl Path {
    pub(super) fn of(shown: &[u8]) -> Path {
        let url = without_authority(shown);
        let (path, query) = match url.iter().position(|&byte| byte == b'?') {
            Some(at) => (&url[..at], Some(&url[at + 1..])),
            None => (url, None),
        };
        let text =
            |bytes: &[u8], most: usize| String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into();
        Path {
            shown: shown.into(),
            target: text(path, MAX_PATH_BYTES),
            cut: path.len() > MAX_PATH_BYTES,
            query: query.map(|query| text(query, MAX_QUERY_BYTES)),
            rpc: rpc(url).map(Arc::from),
        }
    }

    pub(super) fn is(&self, shown: &[u8]) -> bool {
        *self.shown == *shown
    }

    pub(super) fn length(&self) -> usize {
        self.shown.len()
    }
}

/// `/service/method` without its first slash.
fn rpc(path: &[u8]) -> Option<&str> {
    let name = path.strip_prefix(b"/")?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/-".contains(byte);
    let (service, method) = name.split_at(name.iter().rposition(|&byte| byte == b'/')?);
    let is_rpc = !service.is_empty() && method.len() > 1 && name.len() <= MAX_RPC_BYTES;
    if is_rpc && name.iter().all(plain) { std::str::from_utf8(name).ok() } else { None }
}

/// Puts into the place of each secret in a path what may be kept instead: bytes whose code has as many bits
/// where it is `coded`. Returns the path with blanks there. None: it is none, and all of it may be secret.
pub(crate) fn redact(path: &mut [u8], coded: bool) -> Option<Vec<u8>> {
    if path.first() == Some(&b'/') && Target::Path.plain_run(path) == path.len() {
        return Some(path.to_vec());
    }
    let mut shown = path.to_vec();
    for secret in secrets(path)? {
        shown[secret.clone()].fill(BLANK);
        if coded {
            huffman::fill(&mut path[secret]);
        } else {
            path[secret].fill(BLANK);
        }
    }
    Some(shown)
}

fn secrets(path: &[u8]) -> Option<Vec<Range<usize>>> {
    let (mut secrets, mut place, mut at) = (Vec::new(), Target::Start, 0);
    while at < path.len() {
        let run = place.run(&path[at..])?;
        if !run.keep && run.length > 0 {
            secrets.push(at..at + run.length);
        }
        at += run.length + usize::from(run.delimiter);
        place = run.next;
    }
    (at > 0 && place.may_end()).then_some(secrets)
}
