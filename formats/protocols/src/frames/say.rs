//! What frames mean, as a protocol tells it.

use super::runs::Runs;
use crate::operation::Status;
use crate::parts::{HeadInfo, What};

/// What a frame means: markers in front of it, behind its head, and behind it.
#[derive(Debug, Default)]
pub(crate) struct Say {
    pub(super) before: Vec<What>,
    pub(super) behind_head: Vec<What>,
    pub(super) after: Vec<What>,
    pub(super) lost: bool,
    pub(super) tunnel: bool,
    pub(super) keeps: Option<Runs>,
}

impl Say {
    /// What of this frame's head may be kept, where that is known only now: instead of what [`super::Codec::keep`] tells.
    pub(crate) fn keeps(&mut self, runs: Runs) {
        self.keeps = Some(runs);
    }

    /// A message begins with this frame. Its head may be told of later ([`Say::head`]).
    pub(crate) fn begin(&mut self) {
        self.before.push(What::Begin);
    }

    /// The head of the message under way is complete with the head of this frame.
    pub(crate) fn head(&mut self, info: HeadInfo) {
        self.behind_head.push(What::HeadEnd(info));
    }

    /// The message under way, whose end was not seen, was complete before this frame. Say it first.
    pub(crate) fn end_before(&mut self) {
        self.before.push(What::End { exact: false });
    }

    /// The head of the message under way was complete before this frame, which belongs to another one: say it first.
    pub(crate) fn head_before(&mut self, info: HeadInfo) {
        self.before.push(What::HeadEnd(info));
    }

    /// The message under way is complete with this frame.
    pub(crate) fn end(&mut self) {
        self.after.push(What::End { exact: true });
    }

    /// The message under way may be complete with this frame: if more of it follows, it was not.
    pub(crate) fn may_end(&mut self) {
        self.after.push(What::MayEnd);
    }

    /// A message is this frame.
    pub(crate) fn message(&mut self, info: HeadInfo) {
        self.begin();
        self.head(info);
        self.end();
    }

    /// A message begins and ends with this frame, which belongs to others, too: call it for those before the last.
    pub(crate) fn message_too(&mut self, info: HeadInfo) {
        self.before.extend([What::Begin, What::HeadEnd(info), What::End { exact: true }]);
    }

    /// An answer is complete with this frame, whose bytes are those of another message: say it behind that one.
    pub(crate) fn answered_too(&mut self, info: HeadInfo) {
        self.after.extend([What::Turned(false), What::Begin, What::HeadEnd(info), What::End { exact: true }]);
    }

    /// This frame goes on with the message of this key.
    pub(crate) fn resume(&mut self, key: u64) {
        self.before.push(What::Resume(key));
    }

    /// This frame belongs to an exchange that the answering side asks for. Say it first.
    pub(crate) fn turned(&mut self) {
        self.before.push(What::Turned(true));
    }

    /// How it went, as the message under way says now.
    pub(crate) fn status(&mut self, status: Status) {
        self.behind_head.push(What::Status(status));
    }

    /// The request of this key has got no answer, and none will come.
    pub(crate) fn no_answer(&mut self, key: u64) {
        self.before.push(What::NoAnswer(key));
    }

    /// Whoever sends this frame has given up the exchange of this key.
    pub(crate) fn cancelled(&mut self, key: u64) {
        self.after.push(What::Cancelled(key));
    }

    /// Whoever sends this frame had given up the exchange of this key before it. Say it before [`Say::turned`] of exchanges that
    /// the requesting side asks for.
    pub(crate) fn cancelled_before(&mut self, key: u64) {
        self.before.push(What::Cancelled(key));
    }

    /// What follows in this direction is not understood, until a call begins with a frame beyond doubt.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    /// Behind this frame nothing of this protocol follows in this direction (it is encrypted, or another protocol).
    pub(crate) fn tunnel(&mut self) {
        self.tunnel = true;
    }
}
