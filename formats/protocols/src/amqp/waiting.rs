//! Requests that wait for their answer: on each channel they are answered in order.

use std::collections::VecDeque;

use super::methods::Method;
use super::operation::refusal;
use crate::frames::Say;
use crate::parts::{Direction, HeadInfo};

/// Requests that wait at most.
const MAX_OPEN: usize = 4096;

/// Those of a connection, of either side.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    open: VecDeque<Open>,
    /// A method was sent on a channel where the same one waited.
    ahead: bool,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) by: Direction,
    pub(super) channel: u16,
    pub(super) method: &'static Method,
    pub(super) key: u64,
    /// What a channel or connection is closed for.
    pub(super) code: Option<u16>,
    /// It may say that it does not wait.
    pub(super) may_not_wait: bool,
    /// Its answer may be among bytes that were lost.
    pub(super) may_be_lost: bool,
}

impl Waiting {
    pub(super) fn asked(&mut self, open: Open) {
        self.follows(open.by, open.channel, open.method);
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(open);
    }

    /// Who never asks ahead has got the answers before, if only among what was lost.
    fn follows(&mut self, by: Direction, channel: u16, method: &Method) {
        let same = |open: &Open| open.by == by && open.channel == channel && open.method.name == method.name;
        self.ahead |= self.open.iter().any(|open| same(open) && !open.may_be_lost);
        if !self.ahead {
            self.open.retain(|open| !same(open));
        }
    }

    /// A side closes a channel, or `all`: what clients wait for there will not come. `refused`: the server
    /// does, for this code, and of a connection it says for which method, which may be another one.
    pub(super) fn closed(
        &mut self,
        channel: u16,
        all: bool,
        refused: Option<(u16, [u16; 2])>,
        say: &mut Say,
    ) {
        self.open.retain(|open| {
            if open.by != Direction::Requests || !all && open.channel != channel || open.method.closes() {
                return true;
            }
            match refused.filter(|(_, method)| !all || [open.method.class, open.method.id] == *method) {
                Some((code, _)) => {
                    let (key, status) = (Some(open.key), refusal(code));
                    say.message_too(HeadInfo { key, status, ..HeadInfo::default() });
                }
                None => say.cancelled_before(open.key),
            }
            false
        });
    }

    /// Answers may be among bytes that were lost.
    pub(super) fn lost(&mut self) {
        self.open.iter_mut().for_each(|open| open.may_be_lost = true);
    }

    /// The request of the other side that is answered, where that is certain.
    pub(super) fn take(
        &mut self,
        by: Direction,
        channel: u16,
        asked: (u16, u16),
        say: &mut Say,
    ) -> Option<Open> {
        let of_channel = |open: &Open| open.by != by && open.channel == channel;
        let is_asked = |open: &Open| of_channel(open) && (open.method.class, open.method.id) == asked;
        let place = self.open.iter().position(is_asked)?;
        let open = self.open.remove(place)?;
        let mut certain = true;
        for other in self.open.iter_mut().filter(|other| open.may_be_lost && is_asked(other)) {
            // It may be the answer of this one.
            (certain, other.may_be_lost) = (false, true);
        }
        // Requests of a channel are answered in order: what is passed over did not wait.
        if by == Direction::Responses {
            let mut index = 0;
            self.open.retain(|passed| {
                index += 1;
                let unanswered = index <= place && of_channel(passed) && passed.may_not_wait;
                if unanswered && !passed.may_be_lost {
                    say.no_answer(passed.key);
                }
                !unanswered
            });
        }
        certain.then_some(open)
    }
}
