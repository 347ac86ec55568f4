//! HTTP/1 framing.
