//! The server and its clients, as processes of this program.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use super::child::Bound;
use super::parts::{self, CLIENT, SERVER};

/// Processes that ask.
const CLIENTS: usize = 4;
/// An answer takes no longer, be the host ever so busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server and clients at work.
pub struct Traffic {
    port: u16,
    server: Bound,
    /// Kept until the end.
    _clients: Vec<Bound>,
}

impl Traffic {
    /// Starts them, and asks the server once.
    pub fn start() -> io::Result<Traffic> {
        let mut server = Bound::start(part(SERVER)?.stdout(Stdio::piped()))?;
        let mut line = String::new();
        if let Some(stdout) = server.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the server does not start"))?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        parts::ask(&mut stream)?;
        let client = |_| Bound::start(&mut part(&format!("{CLIENT}{port}"))?);
        let clients = (0..CLIENTS).map(client).collect::<io::Result<Vec<_>>>()?;
        Ok(Traffic { port, server, _clients: clients })
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn server_pid(&self) -> Pid {
        self.server.pid()
    }

    /// Who talks to whom.
    pub fn description(&self) -> String {
        format!("a server on 127.0.0.1:{} answers, {CLIENTS} clients ask it", self.port)
    }
}

fn part(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["selftest", "--part", name]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}
