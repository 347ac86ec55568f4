//! Functions of TLS libraries, and which kernel program each gets.

/// What the functions of a file are those of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL, or what has its functions (BoringSSL, LibreSSL).
    OpenSsl,
    /// GnuTLS.
    GnuTls,
    /// `crypto/tls` of Go.
    Go,
}

impl Library {
    /// The word in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Library::OpenSsl => "openssl",
            Library::GnuTls => "gnutls",
            Library::Go => "go",
        }
    }

    /// Its functions with names; those of Go are in [`super::go`].
    pub const fn functions(self) -> &'static [Function] {
        match self {
            Library::OpenSsl => OPENSSL,
            Library::GnuTls => GNUTLS,
            Library::Go => &[],
        }
    }
}

/// A function and the program at its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its symbol.
    pub symbol: &'static str,
    /// The program at its entry.
    pub program: &'static str,
    /// Whether its return is looked at, too.
    pub returns: bool,
}

const fn seen(symbol: &'static str, program: &'static str) -> Function {
    Function { symbol, program, returns: false }
}

const fn followed(symbol: &'static str, program: &'static str) -> Function {
    Function { symbol, program, returns: true }
}

/// No more than is needed: taking each off takes the kernel a tenth of a second. Sessions first: so that none is met in the middle that was seen to begin.
const OPENSSL: &[Function] = &[
    seen("SSL_free", "tls_free"),
    seen("SSL_clear", "tls_clear"),
    followed("SSL_new", "tls_new"),
    seen("SSL_set_accept_state", "tls_is_server"),
    seen("SSL_set_connect_state", "tls_is_client"),
    followed("SSL_accept", "tls_accept"),
    followed("SSL_connect", "tls_connect"),
    followed("SSL_do_handshake", "tls_ask"),
    followed("SSL_read", "tls_receive_int"),
    followed("SSL_write", "tls_send_int"),
    followed("SSL_read_ex", "tls_receive_beside"),
    followed("SSL_write_ex", "tls_send_beside"),
    followed("SSL_read_early_data", "tls_receive_beside"),
    followed("SSL_write_early_data", "tls_send_beside"),
    followed("SSL_sendfile", "tls_send_file"),
];

const GNUTLS: &[Function] = &[
    seen("gnutls_deinit", "tls_free"),
    followed("gnutls_init", "tls_new_beside"),
    followed("gnutls_handshake", "tls_ask"),
    followed("gnutls_bye", "tls_ask"),
    followed("gnutls_record_uncork", "tls_ask"),
    followed("gnutls_record_recv", "tls_receive_long"),
    followed("gnutls_record_recv_seq", "tls_receive_long"),
    followed("gnutls_record_send", "tls_send_long"),
    followed("gnutls_record_send2", "tls_send_long"),
];
