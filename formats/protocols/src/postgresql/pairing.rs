//! Which answer belongs to which request: they come in order, so it takes having seen all.

use std::collections::VecDeque;

use super::due::{self, Due};
use crate::frames::Say;
use crate::operation::Status;
use crate::parts::HeadInfo;

/// What is known of the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    /// All that is due, and nothing else, is in the list.
    #[default]
    Certain,
    /// Answers to what is in the list were lost, and it has no more than one ReadyForQuery to come.
    Hole,
    /// So many times ReadyForQuery may be due for what is not in the list, at most.
    Unsure(usize),
}

/// An answer that has begun.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// None: what it answers is not known.
    key: Option<u64>,
    failed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pairing {
    due: VecDeque<Due>,
    /// How many of them are points.
    points: usize,
    /// The most that were seen to be due at once, beyond one.
    ahead: usize,
    trust: Trust,
    /// After an error nothing is answered up to Sync.
    skipping: bool,
    answer: Option<Answer>,
    /// An answer came although none was due, and no request is known to be missing so far.
    suspect: bool,
    /// More may have been asked for since the last point.
    grouped: bool,
    /// Requests may be missing, and before them only steps of what is being prepared were due.
    only_steps: bool,
    /// The word of the statement that was asked for last.
    last_word: Option<&'static str>,
}

/// The most that may be due.
const MAX_DUE: usize = 16_384;

impl Pairing {
    /// The client asks for a statement that begins with this word.
    pub(super) fn asked_for(&mut self, due: Due, word: Option<&'static str>) {
        self.last_word = word;
        self.asked(due);
    }

    /// The client asks for this.
    pub(super) fn asked(&mut self, due: Due) {
        self.only_steps = false;
        if due.opens() && (due.is_point() || !self.grouped) {
            self.opened();
        }
        self.grouped = !due.is_point();
        if let Trust::Unsure(open) = &mut self.trust {
            if due.is_point() {
                *open = (*open).min(self.ahead) + 1;
            }
            return;
        }
        if self.due.len() >= MAX_DUE {
            return self.mistrust();
        }
        self.due.push_back(due);
        self.points += usize::from(due.is_point());
        self.ahead = self.ahead.max(self.points.saturating_sub(1));
    }

    /// The client asks for the execution of what it has prepared, and Sync, in bytes that are not known but for their end. Returns
    /// whether it is known to what the answers belong.
    pub(super) fn asked_unseen(&mut self, key: u64, word: Option<&'static str>) -> bool {
        if !std::mem::take(&mut self.only_steps) {
            return false;
        }
        self.certain();
        self.last_word = word;
        self.due.extend([Due::Execute(key), Due::Sync]);
        (self.points, self.grouped, self.trust) = (1, false, Trust::Hole);
        true
    }

    /// A client that waits for each answer has got all of them when it asks again.
    fn opened(&mut self) {
        if std::mem::take(&mut self.suspect) {
            self.ahead = self.ahead.max(1);
        }
        match self.trust {
            Trust::Certain => {}
            Trust::Hole if self.points == 0 => {}
            Trust::Hole if self.ahead == 0 => self.certain(),
            Trust::Hole => {
                self.mistrust();
                self.opened();
            }
            Trust::Unsure(open) => {
                if self.answer.is_some() {
                    // It does not wait.
                    self.ahead = self.ahead.max(1);
                }
                let open = open.min(self.ahead);
                self.trust = Trust::Unsure(open);
                if open == 0 {
                    self.certain();
                }
            }
        }
    }

    fn certain(&mut self) {
        self.forget();
        self.trust = Trust::Certain;
    }

    fn forget(&mut self) {
        self.due.clear();
        self.points = 0;
        self.skipping = false;
        self.answer = None;
    }

    /// What comes is not what is due.
    fn mistrust(&mut self) {
        let answer = self.answer.filter(|answer| answer.key.is_none());
        self.trust = Trust::Unsure(self.points.max(self.ahead + 1));
        self.forget();
        self.answer = answer;
    }

    /// Requests may be missing. Answers of those before them come first.
    pub(super) fn requests_lost(&mut self) {
        if self.trust == Trust::Certain {
            self.only_steps = self.answer.is_none() && self.due.iter().all(|due| due.is_step());
        }
        (self.suspect, self.grouped) = (false, true);
        self.trust = Trust::Unsure(self.points.max(self.ahead) + 1);
    }

    /// Calls with answers were not seen, and perhaps with requests: what comes may answer those.
    pub(super) fn answers_missed(&mut self) {
        if self.trust != Trust::Certain || !self.due.is_empty() {
            self.mistrust();
            self.answer = None;
        }
    }

    /// Bytes of answers are not known, but no call is missing.
    pub(super) fn answers_lost(&mut self) {
        match self.trust {
            Trust::Certain if self.due.is_empty() => {}
            Trust::Certain | Trust::Hole if self.points <= 1 => {
                self.trust = Trust::Hole;
                // An answer that has begun goes on behind the hole.
                self.answer = self.answer.filter(|answer| answer.key.is_some());
            }
            _ => {
                self.mistrust();
                self.answer = None;
            }
        }
    }

    /// The copying begins: Sync is ignored up to its end.
    pub(super) fn copying_in(&mut self) -> bool {
        let executes = matches!(self.due.front(), Some(Due::Execute(_)));
        if executes && self.due.get(1) == Some(&Due::Sync) {
            self.due.remove(1);
            self.points -= 1;
        }
        executes
    }

    fn pop(&mut self) {
        if self.due.pop_front().is_some_and(Due::is_point) {
            self.points -= 1;
        }
    }

    /// A message that completes a step (Parse, Bind, Close).
    pub(super) fn stepped(&mut self, step: Due, say: &mut Say) {
        match self.due.front() {
            _ if self.trust == Trust::Hole => {}
            Some(front) if *front == step => self.pop(),
            _ => self.strange(say),
        }
    }

    /// A description of parameters, rows or of none. `last`: it ends what Describe asked for.
    pub(super) fn described(&mut self, last: bool, rows: bool, say: &mut Say) {
        match self.due.front() {
            Some(Due::Query(key)) if self.trust == Trust::Hole => self.begin(Some(*key), say),
            _ if self.trust == Trust::Hole => {}
            Some(Due::Describe) if last => self.pop(),
            Some(Due::Describe) => {}
            Some(Due::Query(key)) if rows => self.begin(Some(*key), say),
            _ => self.strange(say),
        }
    }

    /// Something of an answer that goes on.
    pub(super) fn more(&mut self, say: &mut Say) {
        match self.due.front() {
            Some(Due::Query(key)) => self.begin(Some(*key), say),
            _ if self.trust == Trust::Hole => {
                if let Some(key) = self.only_execute() {
                    self.begin(Some(key), say);
                }
            }
            Some(Due::Execute(key)) => self.begin(Some(*key), say),
            _ => self.strange(say),
        }
    }

    /// A statement is complete, or its portal suspended. `word`: that its tag begins with.
    pub(super) fn completed(&mut self, word: Option<&'static str>, say: &mut Say) {
        if self.trust == Trust::Hole {
            if !due::may_complete(self.last_word, word) {
                return self.strange(say);
            }
            if let Some(key) = self.only_execute() {
                self.finish(key, None, say);
                self.due.retain(|due| due.is_point());
                return;
            }
            return self.more(say);
        }
        match self.due.front() {
            Some(Due::Execute(key)) => {
                self.finish(*key, None, say);
                self.pop();
            }
            Some(Due::Query(key)) => self.begin(Some(*key), say),
            _ => self.strange(say),
        }
    }

    /// The key of the one thing that an error or an end may belong to.
    fn only_execute(&self) -> Option<u64> {
        let mut keys = self.due.iter().filter_map(|due| match due {
            Due::Execute(key) => Some(*key),
            _ => None,
        });
        keys.next().filter(|_| keys.next().is_none())
    }

    pub(super) fn error(&mut self, status: Status, fatal: bool, say: &mut Say) {
        if self.trust == Trust::Hole {
            if let Some(key) = self.only_execute() {
                self.finish(key, Some(status), say);
                self.due.retain(|due| due.is_point());
                return;
            }
        } else {
            while matches!(self.due.front(), Some(Due::Parse | Due::Bind | Due::Describe | Due::Close)) {
                self.pop();
                self.skipping = true;
            }
        }
        match self.due.front() {
            Some(Due::Query(key)) if fatal => {
                self.finish(*key, Some(status), say);
                self.pop();
            }
            Some(Due::Query(key)) => self.fail(*key, status, say),
            Some(Due::Execute(key)) if self.trust != Trust::Hole => {
                self.finish(*key, Some(status), say);
                self.pop();
                self.skipping = true;
            }
            Some(_) => self.skipping = true,
            // It says why it closes the connection, or the request was not seen.
            None => {}
        }
    }

    /// ReadyForQuery.
    pub(super) fn ready(&mut self, say: &mut Say) {
        let ended = match self.trust {
            Trust::Hole => self.ready_behind_hole(say),
            _ if self.skipping => self.ready_after_skipping(say),
            _ => self.ready_as_due(say),
        };
        self.skipping = false;
        if !ended {
            self.strange(say);
        }
        if let Trust::Unsure(open) = &mut self.trust {
            *open = open.saturating_sub(1);
            if self.answer.take().is_some() {
                say.end();
            }
            if *open == 0 {
                self.certain();
            }
        }
    }

    fn ready_as_due(&mut self, say: &mut Say) -> bool {
        match self.due.front() {
            Some(Due::Query(key)) => self.finish(*key, None, say),
            Some(Due::Sync) => {}
            _ => return false,
        }
        self.pop();
        true
    }

    fn ready_after_skipping(&mut self, say: &mut Say) -> bool {
        if !self.due.contains(&Due::Sync) {
            return false;
        }
        while let Some(due) = self.due.front().copied() {
            self.pop();
            if due == Due::Sync {
                break;
            }
            if let Some(key) = due.key() {
                say.cancelled(key);
            }
        }
        true
    }

    /// The only one of the list: all of it has been answered.
    fn ready_behind_hole(&mut self, say: &mut Say) -> bool {
        // An answer of which nothing else was seen may have been an error.
        if let Some(key) = self.answer.and_then(|answer| answer.key) {
            self.finish(key, None, say);
        }
        self.certain();
        true
    }

    /// What is not due. The first of it shows that something is missing.
    fn strange(&mut self, say: &mut Say) {
        self.suspect |= self.trust == Trust::Certain && self.due.is_empty();
        if !matches!(self.trust, Trust::Unsure(_)) || !self.due.is_empty() {
            self.mistrust();
        }
        if self.answer.is_none() {
            self.begin(None, say);
        }
    }

    /// An answer begins unless it has.
    fn begin(&mut self, key: Option<u64>, say: &mut Say) {
        if self.answer.is_none() {
            say.begin();
            say.head(HeadInfo { key, ..HeadInfo::default() });
            self.answer = Some(Answer { key, failed: false });
        }
    }

    /// An answer says that it failed, and goes on.
    fn fail(&mut self, key: u64, status: Status, say: &mut Say) {
        match &mut self.answer {
            Some(answer) => {
                answer.failed = true;
                if self.trust == Trust::Hole {
                    say.resume(key);
                }
                say.status(status);
            }
            None => {
                say.begin();
                say.head(HeadInfo { key: Some(key), status, ..HeadInfo::default() });
                self.answer = Some(Answer { key: Some(key), failed: true });
            }
        }
    }

    /// An answer ends with this message.
    fn finish(&mut self, key: u64, status: Option<Status>, say: &mut Say) {
        match self.answer.take().filter(|answer| answer.key == Some(key)) {
            Some(_) => {
                if self.trust == Trust::Hole {
                    say.resume(key);
                }
                if let Some(status) = status {
                    say.status(status);
                }
                say.end();
            }
            None => {
                let status = status.unwrap_or_default();
                say.message(HeadInfo { key: Some(key), status, ..HeadInfo::default() });
            }
        }
    }

    /// The server has closed the connection: an error was the last that it had to say.
    pub(super) fn closed(&mut self, say: &mut Say) {
        if self.answer.take().is_some_and(|answer| answer.failed) {
            say.end();
        }
        self.forget();
    }
}
