//! Which request an answer belongs to: they are answered in order, but for those that are quiet, whose
//! answers may be left out.
//!
//! After a loss nothing is paired until the count is certain again: once a client that has never sent a
//! request while an answer was due sends one, it has had all before. Requests that carry a number of their
//! own, which the answer repeats, need no count.

use std::collections::VecDeque;

use crate::parts::Direction;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// What the exchange is called by.
    key: u64,
    /// See [`super::commands::kind`].
    pub(super) kind: u32,
    /// Of the binary protocol: what its answers are called by.
    pub(super) opcode: u8,
    /// An ordinary answer is left out.
    pub(super) quiet: bool,
    /// What the answer repeats.
    opaque: Option<u128>,
    /// Its place in the count is certain.
    in_order: bool,
}

/// What a request says of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) kind: u32,
    pub(super) opcode: u8,
    pub(super) quiet: bool,
    pub(super) opaque: Option<u128>,
}

/// The requests of a connection that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    waiting: VecDeque<Waiting>,
    next_key: u64,
    /// Requests may have been missed, or answers.
    broken: bool,
    /// A request was sent while an answer was due, and another one had come.
    pipelined: bool,
    /// An answer has come since the last request.
    responded: bool,
    /// So many of the first are quiet, and answered already if an answer that could not be told from theirs
    /// was theirs.
    reached: usize,
    last_opaque: Option<u128>,
    /// Opaques are the same again and again.
    is_constant: bool,
}

/// Requests remembered at most; a peer that never answers must not cost memory.
const MAX_WAITING: usize = 4096;

impl Pairing {
    /// A request begins. `answering`: an answer is under way.
    pub(super) fn begin(&mut self, answering: bool) {
        if self.responded && !self.broken && self.waiting.iter().any(|waiting| !waiting.quiet) {
            self.pipelined = true;
        }
        if self.broken && self.responded && !self.pipelined && !answering {
            self.waiting.clear();
            (self.broken, self.reached) = (false, 0);
        }
        self.responded = false;
    }

    /// The request that has begun waits for its answer. Returns what its exchange is called by.
    pub(super) fn push(&mut self, asked: Asked) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        if asked.opaque.is_some() {
            self.is_constant |= self.last_opaque == asked.opaque;
            self.last_opaque = asked.opaque;
        }
        let Asked { kind, opcode, quiet, opaque } = asked;
        let in_order = !self.broken;
        if self.waiting.len() == MAX_WAITING {
            self.broken = true;
        } else if in_order || self.is_certain(opaque) {
            self.waiting.push_back(Waiting { key, kind, opcode, quiet, opaque, in_order });
        }
        key
    }

    /// It tells one request from another, so that none has to be counted.
    fn is_certain(&self, opaque: Option<u128>) -> bool {
        opaque.is_some_and(|opaque| opaque != 0) && !self.is_constant
    }

    /// An answer begins that fits some requests. Returns the key of the one that it answers, as far as that
    /// is certain, and tells of those before it that have got none.
    pub(super) fn answer(
        &mut self,
        fits: impl Fn(&Waiting) -> bool,
        opaque: Option<u128>,
        no_answer: impl FnMut(u64),
    ) -> Option<u64> {
        self.responded = true;
        let same = |waiting: &Waiting| waiting.opaque == opaque && fits(waiting);
        if self.is_certain(opaque)
            && let Some(index) = self.waiting.iter().position(same)
        {
            return self.take(index, no_answer);
        }
        let in_order = |waiting: &&Waiting| waiting.in_order;
        let first_due = self.waiting.iter().take_while(in_order).position(|waiting| !waiting.quiet);
        let certain = self.waiting.iter().take_while(in_order).count();
        if certain == 0 {
            return None;
        }
        let due = first_due.map_or(certain, |index| index + 1);
        let may_repeat = |waiting: &Waiting| opaque.is_none() || waiting.opaque == opaque;
        let mut fitting = (self.reached..due)
            .filter(|&index| fits(&self.waiting[index]) && may_repeat(&self.waiting[index]));
        match (fitting.next(), fitting.next()) {
            (Some(index), None) => self.take(index, no_answer),
            (Some(index), Some(_)) => {
                self.reached = index + 1;
                None
            }
            (None, _) => {
                // It answers something that was not seen, or not understood.
                self.waiting.clear();
                (self.broken, self.reached) = (true, 0);
                None
            }
        }
    }

    /// Takes out the request at that place, and those before it that will get no answer any more.
    fn take(&mut self, index: usize, mut no_answer: impl FnMut(u64)) -> Option<u64> {
        let taken = self.waiting.remove(index)?;
        let quiet = |waiting: &Waiting| waiting.quiet;
        let mut at = 0;
        for _ in 0..index {
            if quiet(&self.waiting[at]) {
                self.waiting.remove(at).into_iter().for_each(|waiting| no_answer(waiting.key));
            } else {
                at += 1;
            }
        }
        self.reached = 0;
        Some(taken.key)
    }

    /// Nothing more will be answered.
    pub(super) fn closed(&mut self, mut no_answer: impl FnMut(u64)) {
        if !self.broken {
            self.waiting.iter().filter(|waiting| waiting.quiet).for_each(|waiting| no_answer(waiting.key));
        }
        self.waiting.clear();
        self.reached = 0;
    }

    /// Messages of this direction may be missing.
    pub(super) fn lost(&mut self, direction: Direction) {
        match direction {
            Direction::Requests => self.responded = false,
            Direction::Responses => {
                // What has a number of its own may still be answered.
                let is_constant = self.is_constant;
                self.waiting
                    .retain(|waiting| waiting.opaque.is_some_and(|opaque| opaque != 0) && !is_constant);
                self.waiting.iter_mut().for_each(|waiting| waiting.in_order = false);
                self.reached = 0;
                // Of what came before the first request nothing is known.
                self.responded = self.next_key > 0;
            }
        }
        self.broken = true;
    }
}
