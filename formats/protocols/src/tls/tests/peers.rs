//! Records and messages of a client and a server.

/// What must be in nothing that is kept.
pub const CANARY: &str = "Hunter2!Canary";

pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// A message over records of this size.
pub fn fragments(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| record(22, part)).collect()
}

pub fn change() -> Vec<u8> {
    record(20, &[1])
}

pub fn alert(level: u8, description: u8) -> Vec<u8> {
    record(21, &[level, description])
}

/// Encrypted data.
pub fn application(length: usize) -> Vec<u8> {
    record(23, &vec![7; length])
}

/// An encrypted Finished, up to TLS 1.2.
pub fn finished() -> Vec<u8> {
    record(22, &[7; 40])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length(content)].concat()
}

fn with_length(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

fn short(content: &[u8]) -> Vec<u8> {
    [&[content.len() as u8], content].concat()
}

/// A ClientHello.
pub struct Client {
    extensions: Option<Vec<u8>>,
}

impl Client {
    pub fn named(server: &str, protocol: &str) -> Client {
        let name = with_length(&[&[0], &with_length(server.as_bytes())[..]].concat());
        let protocols = with_length(&[short(protocol.as_bytes()), short(b"http/1.1")].concat());
        let extensions = [
            extension(51, &[7; 40]),
            extension(0, &name),
            extension(10, &[0, 2, 0, 29]),
            extension(16, &protocols),
            extension(43, &short(&[0x7a, 0x7a, 3, 4, 3, 3])),
            extension(65_281, CANARY.as_bytes()),
            extension(41, CANARY.as_bytes()),
        ];
        Client { extensions: Some(extensions.concat()) }
    }

    /// One that sends data at once.
    pub fn early() -> Client {
        let mut client = Client::default();
        client.extensions.iter_mut().for_each(|extensions| extensions.extend(extension(42, &[])));
        client
    }

    /// As of SSL 3.0.
    pub fn bare() -> Client {
        Client { extensions: None }
    }

    pub fn message(&self) -> Vec<u8> {
        let suites = with_length(&[0x13, 2, 0xc0, 0x2f, 0, 0x2f]);
        let mut body = [&[3, 3][..], &[7; 32], &short(&[7; 32]), &suites, &[1, 0]].concat();
        if let Some(extensions) = &self.extensions {
            body.extend(with_length(extensions));
        }
        message(1, &body)
    }

    pub fn bytes(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::named("shop.example.com", "h2")
    }
}

/// A hello of SSL 2.0 that offers TLS 1.0.
pub fn old_hello() -> Vec<u8> {
    let body = [&[1, 3, 1, 0, 6, 0, 0, 0, 16][..], &[0, 0, 0x2f, 1, 0, 0x80], &[7; 16]].concat();
    [&[0x80, body.len() as u8], &body[..]].concat()
}

/// A ServerHello.
pub struct Server {
    random: [u8; 32],
    suite: [u8; 2],
    extensions: Vec<u8>,
}

impl Server {
    pub fn modern() -> Server {
        let extensions = [extension(51, &[7; 36]), extension(43, &[3, 4])].concat();
        Server { random: [7; 32], suite: [0x13, 2], extensions }
    }

    pub fn resumed() -> Server {
        let mut server = Server::modern();
        server.extensions.extend(extension(41, &[0, 0]));
        server
    }

    pub fn old() -> Server {
        let extensions = [extension(16, &with_length(&short(b"h2"))), extension(23, &[])].concat();
        Server { random: [7; 32], suite: [0xc0, 0x2f], extensions }
    }

    /// Asks for another ClientHello.
    pub fn retry() -> Server {
        let text = "CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C";
        let random = std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap());
        Server { random, ..Server::modern() }
    }

    pub fn message(&self) -> Vec<u8> {
        let body =
            [&[3, 3][..], &self.random, &short(&[7; 32]), &self.suite, &[0], &with_length(&self.extensions)];
        message(2, &body.concat())
    }

    pub fn bytes(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}
