//! The header of the PROXY protocol, which a proxy puts in front of a stream (haproxy.org, proxy-protocol.txt).

/// What the binary header of the PROXY protocol begins with.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header in text, with its line end.
const MAX_V1_BYTES: usize = 107;

/// Length of the header that these bytes begin with.
pub(super) fn proxy_header(bytes: &[u8]) -> Option<u64> {
    if bytes.starts_with(b"PROXY ") {
        let line = &bytes[..bytes.len().min(MAX_V1_BYTES)];
        return line.windows(2).position(|pair| pair == b"\r\n").map(|at| at as u64 + 2);
    }
    if bytes.starts_with(V2_SIGNATURE) {
        let length = bytes.get(14..16)?;
        return Some(16 + u64::from(u16::from_be_bytes([length[0], length[1]])));
    }
    None
}
