//! The commands of the protocol, and how each is answered.

use crate::queue::Asked;

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) code: u8,
    /// As the servers' sources call it, without `COM_`.
    pub(super) name: &'static str,
    pub(super) answer: Answer,
    /// Fewest and most bytes that it has, its code included.
    least: usize,
    most: usize,
}

/// How a command is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not known.
    #[default]
    Unknown,
    /// Not at all.
    None,
    /// By one packet: OK, EOF or an error.
    Single,
    /// By results, each of which is OK or a result set.
    Results,
    /// By the definitions of parameters and columns.
    Prepared,
    /// By rows.
    Rows,
    /// By definitions of columns.
    Fields,
    /// By one packet of text.
    Text,
    /// By events, until the connection ends.
    Stream,
    /// As a login is.
    Login,
    /// Another protocol follows.
    Switch,
}

/// What a command says of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) answer: Answer,
    /// Number of its first packet.
    pub(super) sequence: u8,
    /// Place of the command among those of the connection.
    pub(super) place: u64,
    /// Place of the one before that is answered, where none was missed in between.
    pub(super) after: Option<u64>,
}

impl Asked for Expected {
    const UNKNOWN: Expected = Expected { answer: Answer::Unknown, sequence: 1, place: 0, after: None };

    fn may_switch(self) -> bool {
        false
    }
}

pub(super) const INIT_DB: u8 = 0x02;
pub(super) const QUERY: u8 = 0x03;
pub(super) const FIELD_LIST: u8 = 0x04;
pub(super) const CREATE_DB: u8 = 0x05;
pub(super) const DROP_DB: u8 = 0x06;
pub(super) const CHANGE_USER: u8 = 0x11;
pub(super) const PREPARE: u8 = 0x16;
pub(super) const EXECUTE: u8 = 0x17;
pub(super) const CLOSE: u8 = 0x19;
pub(super) const RESET_CONNECTION: u8 = 0x1f;
pub(super) const BULK_EXECUTE: u8 = 0xfa;

const ANY: usize = usize::MAX;

const fn command(code: u8, name: &'static str, answer: Answer, least: usize, most: usize) -> Command {
    Command { code, name, answer, least, most }
}

/// Those that clients send, in order.
const COMMANDS: [Command; 33] = [
    command(0x00, "SLEEP", Answer::Single, 1, 1),
    command(0x01, "QUIT", Answer::None, 1, 1),
    command(INIT_DB, "INIT_DB", Answer::Single, 1, 1024),
    command(QUERY, "QUERY", Answer::Results, 1, ANY),
    command(FIELD_LIST, "FIELD_LIST", Answer::Fields, 2, 1024),
    command(CREATE_DB, "CREATE_DB", Answer::Single, 2, 1024),
    command(DROP_DB, "DROP_DB", Answer::Single, 2, 1024),
    command(0x07, "REFRESH", Answer::Single, 2, 2),
    command(0x08, "SHUTDOWN", Answer::Single, 1, 2),
    command(0x09, "STATISTICS", Answer::Text, 1, 1),
    command(0x0a, "PROCESS_INFO", Answer::Results, 1, 1),
    command(0x0b, "CONNECT", Answer::Single, 1, 1),
    command(0x0c, "PROCESS_KILL", Answer::Single, 5, 5),
    command(0x0d, "DEBUG", Answer::Single, 1, 1),
    command(0x0e, "PING", Answer::Single, 1, 1),
    command(0x0f, "TIME", Answer::Single, 1, 1),
    command(0x10, "DELAYED_INSERT", Answer::Single, 1, 1),
    command(CHANGE_USER, "CHANGE_USER", Answer::Login, 2, 65_536),
    command(0x12, "BINLOG_DUMP", Answer::Stream, 11, 2048),
    command(0x13, "TABLE_DUMP", Answer::Stream, 2, 2048),
    command(0x14, "CONNECT_OUT", Answer::Single, 1, 1),
    command(0x15, "REGISTER_SLAVE", Answer::Single, 18, 1024),
    command(PREPARE, "PREPARE", Answer::Prepared, 1, ANY),
    command(EXECUTE, "EXECUTE", Answer::Results, 10, ANY),
    command(0x18, "SEND_LONG_DATA", Answer::None, 7, ANY),
    command(CLOSE, "CLOSE", Answer::None, 5, 5),
    command(0x1a, "RESET", Answer::Single, 5, 5),
    command(0x1b, "SET_OPTION", Answer::Single, 3, 3),
    command(0x1c, "FETCH", Answer::Rows, 9, 9),
    command(0x1e, "BINLOG_DUMP_GTID", Answer::Stream, 11, ANY),
    command(RESET_CONNECTION, "RESET_CONNECTION", Answer::Single, 1, 1),
    command(0x20, "CLONE", Answer::Switch, 1, 4096),
    command(BULK_EXECUTE, "BULK_EXECUTE", Answer::Results, 7, ANY),
];

/// The command of this code, where a packet of so many bytes can be one.
pub(super) fn of(code: u8, length: usize) -> Option<&'static Command> {
    let at = match code {
        0..=0x1c => usize::from(code),
        0x1e..=0x20 => usize::from(code) - 1,
        BULK_EXECUTE => COMMANDS.len() - 1,
        _ => return None,
    };
    let command = &COMMANDS[at];
    debug_assert_eq!(command.code, code);
    (command.least..=command.most).contains(&length).then_some(command)
}
