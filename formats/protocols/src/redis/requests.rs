//! Commands: arrays of strings, or lines of text. The first words are kept where they are names of commands.

use super::commands::{self, MAX_COMMAND_BYTES};
use super::side::{Answer, Shared, Side, State};
use super::value::{Piece, Reader};
use super::{begins_request, is_inline};
use crate::parts::{HeadInfo, Part, What, push};
use crate::protocol::Verdict;
use crate::queue::{Asked, When};

/// Longest line that is a command (Redis refuses longer ones).
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// One direction.
#[derive(Debug)]
pub(super) struct Requests {
    offset: u64,
    state: State,
    reader: Reader,
    command: Option<Command>,
    replies: Replies,
}

/// Which commands are answered (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    /// The next one is not.
    Skip,
}

/// A command that is being read.
#[derive(Debug)]
struct Command {
    begin: u64,
    when: When,
    /// It is certain that it is one.
    begun: bool,
    /// The end of its head was told.
    headed: bool,
    /// In a line of its own.
    inline: bool,
    /// Words in all, the command among them; 0 where that is not known.
    words: u64,
    /// Its name, as far as it is known.
    name: Option<&'static str>,
    /// The same in upper case with what has come of the next word.
    text: Vec<u8>,
    /// Length of `text` with that word, where it may be part of the name.
    wanted: Option<usize>,
}

impl Requests {
    pub(super) fn new(offset: u64) -> Requests {
        Requests {
            offset,
            state: State::Known,
            reader: Reader::default(),
            command: None,
            replies: Replies::On,
        }
    }

    fn push(&mut self, what: What, length: usize, parts: &mut Vec<Part>) {
        push(&mut self.offset, what, length as u64, parts);
    }

    fn begin(&mut self, inline: bool, when: When, parts: &mut Vec<Part>) {
        self.push(What::MayBegin, 0, parts);
        self.command = Some(Command {
            begin: self.offset,
            when,
            begun: false,
            headed: false,
            inline,
            words: 0,
            name: None,
            text: Vec::new(),
            wanted: None,
        });
    }

    /// It is certain that what was read so far is a command.
    fn confirm(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        let Some(command) = self.command.as_mut().filter(|command| !command.begun) else { return };
        command.begun = true;
        parts.push(Part { offset: command.begin, length: 0, what: What::Begin });
        shared.queue.begin(command.when);
        shared.asked_since_loss = !shared.queue.pipelined;
    }

    /// Nothing more of the command can be part of its name.
    fn head_end(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        let Some(command) = self.command.as_mut().filter(|command| command.begun && !command.headed) else {
            return;
        };
        command.headed = true;
        command.wanted = None;
        let answered = match (command.name, self.replies) {
            (Some("CLIENT REPLY ON"), _) => {
                self.replies = Replies::On;
                true
            }
            (Some("CLIENT REPLY OFF"), _) => {
                self.replies = Replies::Off;
                false
            }
            (Some("CLIENT REPLY SKIP"), Replies::On) => {
                self.replies = Replies::Skip;
                false
            }
            (_, Replies::On) => true,
            (_, Replies::Skip) => {
                self.replies = Replies::On;
                false
            }
            (_, Replies::Off) => false,
        };
        if answered {
            shared.queue.request(Answer::to(command.name, command.words.saturating_sub(1)));
        }
        let info = HeadInfo { unanswered: !answered, ..HeadInfo::default() };
        self.push(What::HeadEnd(info), 0, parts);
    }

    fn end(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        self.head_end(shared, parts);
        if self.command.take().is_some_and(|command| command.begun) {
            self.push(What::End { exact: true }, 0, parts);
        }
    }

    /// What came is no command.
    fn not_understood(&mut self, bytes: &[u8], shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        self.state = State::Lost;
        self.lose(true, shared);
        self.all(What::Lost, bytes, parts)
    }

    /// The length of a word of an array that may be part of the name.
    fn word_length(&mut self, length: u64, shared: &mut Shared, parts: &mut Vec<Part>) {
        self.confirm(shared, parts);
        let Some(command) = &mut self.command else { return };
        let whole = command.text.len() as u64 + length;
        if whole <= MAX_COMMAND_BYTES as u64 {
            command.wanted = Some(whole as usize);
        } else {
            self.head_end(shared, parts);
        }
    }

    /// Bytes of such a word: kept as long as they may be that of a command.
    fn word(&mut self, bytes: &[u8], parts: &mut Vec<Part>) {
        let Some(command) = &mut self.command else { return };
        command.text.extend(bytes.iter().map(u8::to_ascii_uppercase));
        let may_name = |&length: &usize| commands::may_become_command(&command.text, length);
        command.wanted = command.wanted.filter(may_name);
        let what = if command.wanted.is_some() { What::Head } else { What::Secret };
        self.push(what, bytes.len(), parts);
    }

    /// Such a word is complete; the next one may belong to the name, too.
    fn word_end(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        let Some(command) = &mut self.command else { return };
        let name = command.wanted.take().and_then(|_| commands::command(&command.text));
        command.name = name.or(command.name);
        match name.filter(|name| commands::has_subcommands(name)) {
            Some(name) => {
                command.text.clear();
                command.text.extend_from_slice(name.as_bytes());
                command.text.push(b' ');
            }
            None => self.head_end(shared, parts),
        }
    }

    /// A line has this command, and then this byte. Returns 1 where it is read with it.
    fn word_of_line(&mut self, text: &[u8], next: u8, shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        let is_followed = matches!(next, b' ' | b'\t');
        let Some(command) = &mut self.command else { return 0 };
        command.name = commands::command(text);
        if is_followed && command.name.is_some_and(commands::has_subcommands) {
            command.text = [text, b" "].concat();
            self.push(What::Head, 1, parts);
            return 1;
        }
        self.head_end(shared, parts);
        self.push(What::Framing, usize::from(is_followed), parts);
        usize::from(is_followed)
    }

    /// The word of a line that may belong to its command's name.
    fn subcommand(&mut self, bytes: &[u8], shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        let Some(command) = &mut self.command else { return 0 };
        let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let part = &bytes[..end.unwrap_or(bytes.len()).min(MAX_COMMAND_BYTES)];
        let text: Vec<u8> = command.text.iter().copied().chain(part.to_ascii_uppercase()).collect();
        match end {
            Some(end) if commands::command(&text).is_some() => {
                self.push(What::Head, end, parts);
                end + self.word_of_line(&text, bytes[end], shared, parts)
            }
            None if part.len() == bytes.len() && commands::begins_command(&text) => {
                command.text = text;
                self.push(What::Head, part.len(), parts);
                part.len()
            }
            _ => {
                self.head_end(shared, parts);
                0
            }
        }
    }

    /// A command in a line of its own. Only its name may be kept.
    fn line(&mut self, bytes: &[u8], shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        let Some(command) = &self.command else { return 0 };
        if command.name.is_none() {
            let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let text: Vec<u8> = command.text.iter().copied().chain(part.to_ascii_uppercase()).collect();
            let Some(end) = end.filter(|_| commands::command(&text).is_some()) else {
                if end.is_some() || !commands::begins_command(&text) {
                    // Redis answers it all the same, but what it is nobody knows.
                    return self.not_understood(bytes, shared, parts);
                }
                // A part says no more than where in a list it may stand.
                if let Some(command) = &mut self.command {
                    command.text = text;
                }
                self.push(What::Head, part.len(), parts);
                return part.len();
            };
            self.push(What::Head, end, parts);
            self.confirm(shared, parts);
            return end + self.word_of_line(&text, bytes[end], shared, parts);
        }
        if !command.headed {
            return self.subcommand(bytes, shared, parts);
        }
        let begin = command.begin;
        // All of it leaves a blank: a line that is cut has no length to go by.
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        if self.offset - begin + end as u64 > MAX_LINE_BYTES {
            return self.not_understood(bytes, shared, parts);
        }
        let returns = usize::from(end > 0 && bytes[end - 1] == b'\r');
        self.push(What::Secret, end - returns, parts);
        self.push(What::Framing, returns, parts);
        if end == bytes.len() {
            return end;
        }
        self.push(What::Framing, 1, parts);
        self.end(shared, parts);
        end + 1
    }
}

/// Whether a line that begins so may begin with a command.
fn begins_line(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    let word = bytes[..end.unwrap_or(bytes.len()).min(MAX_COMMAND_BYTES)].to_ascii_uppercase();
    if end.is_some() { commands::command(&word).is_some() } else { commands::begins_command(&word) }
}

impl Side for Requests {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn offset(&mut self) -> &mut u64 {
        &mut self.offset
    }

    /// After a loss a client goes on with a value, or has its answer and sends the next command.
    fn resynchronise(&mut self, bytes: &[u8], shared: &mut Shared) {
        if shared.queue.answered && begins_request(bytes) == Verdict::Surely {
            self.state = State::Known;
            self.reader = Reader::default();
            self.command = None;
        }
    }

    fn is_between(&self) -> bool {
        self.reader.is_between() && self.command.as_ref().is_none_or(|command| !command.inline)
    }

    fn known(&mut self, bytes: &[u8], when: When, shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        if self.command.as_ref().is_some_and(|command| command.inline) {
            return self.line(bytes, shared, parts);
        }
        if self.reader.is_between() {
            match bytes[0] {
                b'*' => self.begin(false, when, parts),
                // An empty line is no command.
                b'\r' | b'\n' => return self.all(What::Framing, &bytes[..1], parts),
                byte if is_inline(byte) && begins_line(bytes) => {
                    self.begin(true, when, parts);
                    return self.line(bytes, shared, parts);
                }
                _ => return self.not_understood(bytes, shared, parts),
            }
        }
        let depth = self.reader.depth();
        let step = self.reader.step(bytes);
        let headed = self.command.as_ref().is_none_or(|command| command.headed);
        let framing = if headed { What::Framing } else { What::Head };
        match (step.piece, depth) {
            (Piece::Kind(b'*'), 0) | (Piece::Kind(b'$'), 1) | (Piece::Framing, _) => {
                self.push(framing, step.used, parts);
            }
            (Piece::End, _) => {
                self.push(framing, step.used, parts);
                if !headed {
                    self.word_end(shared, parts);
                }
            }
            (Piece::Length(_, count), 0) => {
                self.push(framing, step.used, parts);
                if let Some(command) = &mut self.command {
                    command.words = count.unwrap_or(0);
                }
            }
            (Piece::Length(_, Some(length)), _) => {
                self.push(framing, step.used, parts);
                if !headed {
                    self.word_length(length, shared, parts);
                }
            }
            (Piece::Bulk, _) if headed => self.push(What::Body, step.used, parts),
            (Piece::Bulk, _) => self.word(&bytes[..step.used], parts),
            _ => return self.not_understood(bytes, shared, parts),
        }
        if step.complete {
            self.end(shared, parts);
        }
        step.used
    }

    fn counted(&mut self, length: u64, parts: &mut Vec<Part>) -> u64 {
        if self.command.as_ref().is_none_or(|command| !command.headed) {
            return 0;
        }
        let used = self.reader.counted(length);
        push(&mut self.offset, What::Body, used, parts);
        used
    }

    fn lose(&mut self, _seen: bool, shared: &mut Shared) {
        if self.command.take().is_some_and(|command| command.begun && !command.headed) {
            shared.queue.request(Answer::UNKNOWN);
        }
        shared.queue.unknown_requests();
    }
}
