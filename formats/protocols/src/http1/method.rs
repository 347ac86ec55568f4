//! What a request's method says about its response.

use crate::queue::Asked;

/// What a request's method says about the body of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http1) enum Method {
    Head,
    Connect,
    #[default]
    Other,
    /// The request is not known.
    Unknown,
}

impl Asked for Method {
    const UNKNOWN: Method = Method::Unknown;

    fn may_switch(self) -> bool {
        self == Method::Connect
    }
}
