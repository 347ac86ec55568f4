//! A client on raw sockets, for every exchange that ordinary clients do not make,
//! with its own notes of what went over the wire.
//!
//! In: bytes to send, in the pieces wanted. Out: [`Exchange`]: what a span of it
//! must say.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{PATIENCE, wait_for, wall_ns};

/// One request with its answer, as the client saw them.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub client_port: u16,
    pub method: String,
    pub path: String,
    /// Null where no answer came.
    pub status: Option<i64>,
    /// Whole messages on the wire: heads and framing included, interim answers not.
    pub request_bytes: i64,
    pub response_bytes: i64,
    pub request_body_bytes: i64,
    pub response_body_bytes: i64,
    /// The body came in chunks: where they end only their framing tells.
    pub chunked: bool,
    /// Just before the first byte was sent; Unix ns.
    pub began_ns: i64,
    /// From there until just after the last byte was received.
    pub took_ns: i64,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    /// Further header lines, each with its CRLF.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: String::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// Adds a body and its Content-Length.
    pub fn body(self, body: Vec<u8>) -> Self {
        let length = body.len().to_string();
        Self { body, ..self.header("Content-Length", &length) }
    }

    /// The head as sent.
    pub fn head(&self) -> Vec<u8> {
        let Self { method, path, headers, .. } = self;
        format!("{method} {path} HTTP/1.1\r\nHost: lab\r\n{headers}\r\n").into_bytes()
    }

    /// Head and body as sent.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: i64,
    /// Statuses of the 1xx answers before it.
    pub interim: Vec<i64>,
    pub head: String,
    /// Without the interim answers, which are messages of their own.
    pub wire_bytes: i64,
    pub body_bytes: i64,
    pub chunked: bool,
}

/// When a request began, and how long ago that is.
pub struct Watch {
    began_ns: i64,
    since: Instant,
}

impl Watch {
    /// Begins now.
    pub fn start() -> Self {
        Self { began_ns: wall_ns(), since: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn took_ns(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_nanos()).expect("a short time")
    }
}

/// A TCP connection of the test's own.
pub struct Connection {
    stream: TcpStream,
    pub local_port: u16,
    /// Received and not yet part of an answer.
    ahead: Vec<u8>,
}

impl Connection {
    /// Connects to a port of 127.0.0.1.
    pub fn open(port: u16) -> Self {
        Self::open_to(([127, 0, 0, 1], port).into())
    }

    /// Connects to any address.
    pub fn open_to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}")))
    }

    /// Connects from a given port to another, both of 127.0.0.1.
    pub fn open_from(local_port: u16, port: u16) -> Self {
        use std::os::fd::{FromRawFd, OwnedFd};
        let address = |port: u16| libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let (from, to) = (address(local_port), address(port));
        let size = libc::socklen_t::try_from(size_of_val(&from)).expect("a small struct");
        // SAFETY: the descriptor is fresh and owned at once; both addresses outlive the
        // calls and `size` is theirs.
        unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
            let stream = TcpStream::from(OwnedFd::from_raw_fd(fd));
            for (call, status) in [
                ("bind", libc::bind(fd, (&raw const from).cast(), size)),
                ("connect", libc::connect(fd, (&raw const to).cast(), size)),
            ] {
                assert_eq!(status, 0, "{call}: {}", std::io::Error::last_os_error());
            }
            Self::of(stream)
        }
    }

    /// Takes over a connected stream.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let local_port = stream.local_addr().expect("a bound socket").port();
        Self { stream, local_port, ahead: Vec::new() }
    }

    /// Sends bytes with one call (more only where the kernel takes less).
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sending");
    }

    /// Ends the sending half (FIN) and keeps receiving.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Closes with RST instead of FIN.
    pub fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of::<libc::linger>()).expect("a small struct");
        // SAFETY: the pointer and the size describe `linger`, which outlives the call.
        let status = unsafe {
            let value = (&raw const linger).cast();
            libc::setsockopt(self.stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size)
        };
        assert_eq!(status, 0, "SO_LINGER: {}", std::io::Error::last_os_error());
    }

    /// Waits until the peer, on this machine and namespace, has received all we sent.
    pub fn wait_taken(&self) {
        let peer = self.stream.peer_addr().expect("a connected socket").port();
        let ends = (format!(":{peer:04X}"), format!(":{:04X}", self.local_port));
        wait_for("the peer to receive what was sent", || {
            let tables = ["tcp", "tcp6"]
                .map(|t| std::fs::read_to_string(format!("/proc/net/{t}")).unwrap_or_default());
            let rows = tables.iter().flat_map(|table| table.lines());
            let columns = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
            // local address, remote address, state, tx_queue:rx_queue
            let mut peers =
                columns.filter(|c| c.len() > 4 && c[1].ends_with(&ends.0) && c[2].ends_with(&ends.1));
            peers.any(|c| c[4].ends_with(":00000000"))
        });
    }

    /// Sends a request in one call, takes the answer and notes both.
    pub fn exchange(&mut self, request: &Request) -> Exchange {
        self.exchange_in(request, &[request.bytes()])
    }

    /// Like [`Self::exchange`], sending `pieces` with a call each.
    pub fn exchange_in(&mut self, request: &Request, pieces: &[Vec<u8>]) -> Exchange {
        let watch = Watch::start();
        for piece in pieces {
            self.send(piece);
        }
        let response = self.response(request.method);
        self.note(request, &response, &watch)
    }

    /// Sends many requests with one call, then takes all the answers.
    pub fn pipeline(&mut self, requests: &[Request]) -> Vec<Exchange> {
        let watch = Watch::start();
        self.send(&requests.iter().flat_map(Request::bytes).collect::<Vec<u8>>());
        let mut take = |request: &Request| {
            let response = self.response(request.method);
            self.note(request, &response, &watch)
        };
        requests.iter().map(&mut take).collect()
    }

    /// What the client knows once it has the answer.
    pub fn note(&self, request: &Request, response: &Response, watch: &Watch) -> Exchange {
        let length = |bytes: usize| i64::try_from(bytes).expect("a length");
        Exchange {
            client_port: self.local_port,
            method: request.method.to_owned(),
            path: request.path.clone(),
            status: Some(response.status),
            request_bytes: length(request.bytes().len()),
            response_bytes: response.wire_bytes,
            request_body_bytes: length(request.body.len()),
            response_body_bytes: response.body_bytes,
            chunked: response.chunked,
            began_ns: watch.began_ns,
            took_ns: watch.took_ns(),
        }
    }

    /// Takes one answer with its interim ones.
    pub fn response(&mut self, method: &str) -> Response {
        let mut response = Response::default();
        loop {
            response.head = self.take_head();
            response.wire_bytes = i64::try_from(response.head.len()).expect("a length");
            let status = response.head.split(' ').nth(1).and_then(|s| s.parse().ok());
            response.status = status.unwrap_or_else(|| panic!("status in {:?}", response.head));
            if response.status == 101 || response.status >= 200 {
                break;
            }
            response.interim.push(response.status);
        }
        let header = |name: &str| header_of(&response.head, name);
        let bare = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        let (body, framing) = match (bare, header("content-length"), header("transfer-encoding")) {
            (true, ..) => (0, 0),
            (_, _, Some(coding)) if coding == "chunked" => self.take_chunks(),
            (_, Some(length), _) => (self.take(length.parse().expect("a Content-Length")).len(), 0),
            _ => (self.take_to_end().len(), 0),
        };
        response.chunked = framing > 0;
        response.body_bytes = i64::try_from(body).expect("a length");
        response.wire_bytes += i64::try_from(body + framing).expect("a length");
        response
    }

    /// Takes exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.fill(), "the peer closed after {} of {count} bytes", self.ahead.len());
        }
        self.ahead.drain(..count).collect()
    }

    /// Takes all that comes until the peer's FIN.
    pub fn take_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.ahead)
    }

    /// Waits for the peer's FIN or RST and throws away what comes before it.
    pub fn wait_closed(&mut self) {
        let mut buffer = [0; 65_536];
        while self.stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
    }

    /// Takes up to and including the next occurrence of `end`.
    fn take_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len());
            }
            assert!(self.fill(), "the peer closed in {:?}", String::from_utf8_lossy(&self.ahead));
        }
    }

    /// Takes a head with its empty line.
    pub fn take_head(&mut self) -> String {
        String::from_utf8(self.take_until(b"\r\n\r\n")).expect("an ASCII head")
    }

    /// Takes a chunked body; returns its bytes and those of its framing.
    fn take_chunks(&mut self) -> (usize, usize) {
        let (mut body, mut framing) = (0, 0);
        loop {
            let line = String::from_utf8(self.take_until(b"\r\n")).expect("a chunk's size");
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size in hex");
            self.take(size + 2);
            body += size;
            framing += line.len() + 2;
            if size == 0 {
                return (body, framing);
            }
        }
    }

    /// Receives once more; false at the peer's FIN.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        let count = self.stream.read(&mut buffer).expect("receiving");
        self.ahead.extend_from_slice(&buffer[..count]);
        count > 0
    }
}

fn header_of(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_ascii_lowercase())
}
