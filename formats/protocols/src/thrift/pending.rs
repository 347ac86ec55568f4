//! Which call an answer belongs to: the first open one of the same method and sequence number.
//!
//! Many clients give every message the same number; then the order decides, as far as it is certain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Calls of a connection that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Pending {
    open: VecDeque<Call>,
    next: u64,
    /// Times that messages may have been missed.
    losses: u32,
    /// Calls of the same method and number have been open at once: a client does not wait for an answer
    /// before it goes on.
    ahead: bool,
    /// Calls whose method is not known had one number while no answer came: some of them may want none, and whose the next
    /// answer is cannot be told.
    blind: bool,
}

#[derive(Debug)]
struct Call {
    /// None where it is not known.
    method: Option<Arc<str>>,
    sequence: u32,
    key: u64,
    /// Losses before it.
    losses: u32,
}

/// Calls that wait at most; those that are never answered must not cost memory.
const MAX_OPEN: usize = 4096;

impl Call {
    fn is(&self, method: Option<&str>, sequence: u32) -> bool {
        let same = match (self.method.as_deref(), method) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.sequence == sequence && same
    }
}

impl Pending {
    /// A request. Returns the key of its exchange. `answered`: an answer will come.
    pub(super) fn call(&mut self, method: Option<&Arc<str>>, sequence: u32, answered: bool) -> u64 {
        let key = self.next;
        self.next += 1;
        if !answered {
            return key;
        }
        let name = method.map(|method| &**method);
        let unknown = |call: &Call| call.method.is_none() && call.is(None, sequence);
        if name.is_none() && (self.blind || self.open.iter().any(unknown)) {
            self.blind = true;
            self.open.retain(|call| call.method.is_some());
            return key;
        }
        let losses = self.losses;
        if losses > 0 {
            // One that was open before a loss has its answer in it, if this client waits for answers.
            self.open.retain(|call| call.losses == losses || !call.is(name, sequence));
        }
        self.ahead |= self.open.iter().any(|call| call.is(name, sequence));
        if self.ahead && losses > 0 {
            // Others like it may have been sent before.
            return key;
        }
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Call { method: method.cloned(), sequence, key, losses });
        key
    }

    /// The key of the exchange that an answer belongs to.
    pub(super) fn answer(&mut self, method: Option<&str>, sequence: u32) -> Option<u64> {
        let at = self.open.iter().position(|call| call.is(method, sequence))?;
        Some(self.open.remove(at)?.key)
    }

    /// Messages may have been missed: of several calls that are alike none can be told from the others.
    pub(super) fn lost(&mut self) {
        self.losses = self.losses.wrapping_add(1);
        if !self.ahead {
            return;
        }
        let mut alike: BTreeMap<_, u32> = BTreeMap::new();
        for call in &self.open {
            *alike.entry((call.sequence, call.method.clone())).or_default() += 1;
        }
        self.open.retain(|call| alike.get(&(call.sequence, call.method.clone())) == Some(&1));
    }
}
