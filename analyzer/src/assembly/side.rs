//! Which end of a connection a socket is: the one that asks or the one that answers.

use retrospan_protocols::Direction;

use crate::assembly::connections::{Role, Socket};
use crate::assembly::streams::IoDirection;

/// Which end of the connection the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It sends requests.
    Client,
    /// It sends responses.
    Server,
}

impl Side {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    /// The other one.
    pub const fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// What flows that way on such a socket.
    pub fn direction(self, way: IoDirection) -> Direction {
        match (self, way) {
            (Side::Client, IoDirection::Out) | (Side::Server, IoDirection::In) => Direction::Requests,
            (Side::Client, IoDirection::In) | (Side::Server, IoDirection::Out) => Direction::Responses,
        }
    }

    /// The opposite of [`Side::direction`].
    pub fn way(self, direction: Direction) -> IoDirection {
        match (self, direction) {
            (Side::Client, Direction::Requests) | (Side::Server, Direction::Responses) => IoDirection::Out,
            (Side::Client, Direction::Responses) | (Side::Server, Direction::Requests) => IoDirection::In,
        }
    }
}

/// The side a socket is most likely on where no request tells: the lower port answers.
pub fn side_of(socket: &Socket) -> Side {
    match socket.role {
        Role::Client => Side::Client,
        Role::Server | Role::Listener => Side::Server,
        Role::Unknown => match (socket.local, socket.remote) {
            (Some(local), Some(remote)) if local.port < remote.port => Side::Server,
            _ => Side::Client,
        },
    }
}
