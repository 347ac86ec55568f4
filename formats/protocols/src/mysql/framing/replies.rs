//! The packets of answers: what they say, and which command they belong to.

use super::{Open, Phase, Reading};
use crate::frames::{Frame, Say};
use crate::mysql::answers::{self, Next, Reply};
use crate::mysql::login::Greeting;
use crate::mysql::packets::{self, HEADER, LONGEST, capability};
use crate::operation::Status;
use crate::parts::HeadInfo;
use crate::queue::When;

impl Reading {
    /// The client goes on: what may have been the end of the answer before was it.
    pub(super) fn answer_may_have_ended(&mut self) {
        if let Some(open) = self.answer.take_if(|open| open.may_end) {
            self.unended = Some(open.place);
            if self.queue.pipelined {
                return;
            }
            self.deprecate_eof = Some(true);
        }
    }

    pub(super) fn answer_packet(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let length = frame.total as usize - HEADER;
        let Some((_, sequence)) = packets::header(frame.head) else { return };
        let payload = &frame.head[HEADER..];
        if self.phase == Phase::Login {
            return self.login_answer(payload, say);
        }
        let goes_on = self.answer.is_some_and(|open| open.sequence == sequence);
        if !goes_on && !self.begin_answer(say) {
            return;
        }
        let Some(mut open) = self.answer else { return };
        let told = match std::mem::replace(&mut open.long, length == LONGEST) {
            true => Next::More(open.reply).into(),
            false => answers::read(open.reply, payload, length, self.deprecate_eof),
        };
        self.deprecate_eof = told.deprecate_eof.or(self.deprecate_eof);
        if let Some(id) = told.statement {
            self.statements.prepared(open.place, id);
        }
        let status = told.error.unwrap_or_default();
        if !goes_on {
            let key = Some(open.place);
            say.head(HeadInfo { status, key, answers: key, ..HeadInfo::default() });
        } else if told.error.is_some() {
            say.status(status);
        }
        open.sequence = sequence.wrapping_add(1);
        self.after_packet(open, told.next, status, say);
    }

    fn after_packet(&mut self, mut open: Open, next: Next, status: Status, say: &mut Say) {
        self.queue.answering = true;
        match next {
            Next::More(reply) => open.reply = reply,
            Next::MayEnd => {
                open.reply = Reply::DefinitionsEnd { then: 0, sure: false };
                open.may_end = true;
                self.queue.answering = false;
                self.statements.answered(open.place, false);
                say.may_end();
            }
            Next::End => {
                self.queue.answering = false;
                self.statements.answered(open.place, status.failed);
                self.answer = None;
                return say.end();
            }
            Next::Unknown => {
                self.break_off();
                return say.lose();
            }
        }
        self.answer = Some(open);
    }

    /// No more of the answer under way will be understood.
    pub(super) fn break_off(&mut self) {
        if let Some(open) = self.answer.take() {
            self.unended = Some(open.place);
        }
        self.queue.answering = false;
    }

    /// The first packet of an answer. Returns whether it is known to what.
    fn begin_answer(&mut self, say: &mut Say) -> bool {
        if !self.queue.awaits_response() {
            return false;
        }
        let owed = self.owed();
        self.queue.response(When::default());
        let Some(owed) = owed else {
            say.lose();
            return false;
        };
        self.break_off();
        if self.unended.take().is_some_and(|place| owed.after == Some(place)) {
            say.end_before();
        }
        say.begin();
        self.answer = Some(Open {
            place: owed.place,
            reply: Reply::to(owed.answer),
            sequence: owed.sequence,
            long: false,
            may_end: false,
        });
        true
    }

    /// Greeting, what is asked of the client to prove, and the end of that.
    fn login_answer(&mut self, payload: &[u8], say: &mut Say) {
        match payload.first() {
            Some(10) if self.client.is_none() => {
                let greeting = Greeting::of(payload);
                self.server = greeting.map(|greeting| greeting.capabilities);
                if greeting.is_some_and(|greeting| greeting.mariadb) {
                    self.statements.system = "mariadb";
                }
            }
            Some(0) => {
                let compressed = capability::COMPRESS | capability::ZSTD;
                let both = self.client.unwrap_or(0) & self.server.unwrap_or(u32::MAX);
                self.phase = if both & compressed == 0 { Phase::Commands } else { Phase::Beyond };
                if self.phase == Phase::Beyond {
                    say.tunnel();
                }
            }
            _ => {}
        }
    }
}
