//! Trace contexts that requests carry, in the texts that carry them.

/// Trace context that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Trace id.
    pub trace_id: u128,
    /// The caller's span.
    pub span_id: u64,
    /// Trace flags.
    pub flags: u8,
}

/// W3C Trace Context, section 3.2: `00-<32 hex>-<16 hex>-<2 hex>`. None where it is not one.
pub fn traceparent(value: &[u8]) -> Option<Context> {
    if value.len() < 55 || value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
        return None;
    }
    let known_version = value.starts_with(b"00");
    if value.starts_with(b"ff") || (known_version && value.len() != 55) {
        return None;
    }
    let trace_id = hex(&value[3..35], 32)?;
    let span_id = hex(&value[36..52], 16)? as u64;
    let flags = hex(&value[53..55], 2)? as u8;
    (trace_id != 0 && span_id != 0).then_some(Context { trace_id, span_id, flags })
}

/// B3 propagation (<https://github.com/openzipkin/b3-propagation>), in one header or in several.
#[derive(Clone, Copy, Debug, Default)]
pub struct B3 {
    /// `X-B3-TraceId`.
    pub trace_id: Option<u128>,
    /// `X-B3-SpanId`.
    pub span_id: Option<u64>,
    /// `X-B3-Sampled`.
    pub sampled: bool,
}

impl B3 {
    /// From the single header `b3`.
    pub fn single(value: &[u8]) -> B3 {
        let mut fields = value.split(|&b| b == b'-');
        B3 {
            trace_id: fields.next().and_then(|f| hex(f, 32)),
            span_id: fields.next().and_then(|f| hex(f, 16)).map(|id| id as u64),
            sampled: matches!(fields.next(), Some(b"1" | b"d")),
        }
    }

    /// The context that they make.
    pub fn context(&self) -> Option<Context> {
        let (trace_id, span_id) = (self.trace_id?, self.span_id?);
        (trace_id != 0 && span_id != 0).then_some(Context {
            trace_id,
            span_id,
            flags: u8::from(self.sampled),
        })
    }
}

/// The number that at most so many hexadecimal digits are.
pub fn hex(digits: &[u8], most: usize) -> Option<u128> {
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    digits.iter().try_fold(0u128, |value, &digit| {
        let digit = (digit as char).to_digit(16)?;
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_contexts_are_none() {
        for bad in ["00-0-0-0", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "*", ""] {
            assert_eq!(traceparent(bad.as_bytes()), None);
        }
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert_eq!(traceparent(zero.as_bytes()), None);
    }
}
