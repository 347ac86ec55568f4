//! What many stories begin with, and how they are compared.

use super::{Cells, Connection, World, line};

/// A request.
pub const GET: &[u8] = b"GET /a?x=* HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8\r\n\r\n";
/// Its answer.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Two processes and a connection.
pub fn pair(world: &mut World) -> Connection {
    let (client, server) = (world.process("client"), world.process("server"));
    world.connect(client, server, 80)
}

/// `server` says so without the client's rows being recorded.
pub fn alone(world: &World) -> World {
    let mut alone = world.clone();
    for socket in &mut alone.sockets {
        socket.recorded &= socket.role != "client";
    }
    alone
}

/// Columns that must not depend on who else was recorded.
pub fn outcome(span: &Cells) -> String {
    line(span, &["method", "path", "status", "outcome", "late_status", "request_bytes", "response_bytes"])
}
