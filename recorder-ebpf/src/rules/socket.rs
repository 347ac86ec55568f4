//! Whether a socket is recorded, as far as it tells by itself.

use super::{
    answer::Answer,
    nets::{is_known, match_nets},
    ports::{match_either, match_port},
    sample::is_kept,
};
use retrospan_formats::config::{MAX_NETNS, Net, PortRange, side};

/// A list of ranges of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Either,
    Local,
    Remote,
}

/// Where rules are read.
pub trait Rules {
    fn ranges(&self, of: Ends) -> u32;
    fn range(&self, of: Ends, index: usize) -> PortRange;
    fn nets(&self) -> u32;
    fn net(&self, index: usize) -> Net;
    fn namespaces(&self) -> u32;
    fn namespace(&self, index: usize) -> u32;
}

/// What is known of a socket: 0 is what is not known.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub listens: bool,
    pub local: ([u32; 4], u16),
    pub remote: ([u32; 4], u16),
    pub netns: u32,
    /// A constant of [`side`].
    pub side: u32,
}

/// Whether every kind of rule that is in use matches.
#[inline(always)]
pub fn is_included(rules: &impl Rules, facts: &Facts) -> Answer {
    let mut answer = Answer::Yes;
    each_kind(rules, facts, true, |kind| {
        answer = answer.and(kind);
        answer != Answer::No
    });
    answer
}

/// Whether any kind of rule that is in use matches.
#[inline(always)]
pub fn is_excluded(rules: &impl Rules, facts: &Facts) -> Answer {
    let mut answer = Answer::No;
    each_kind(rules, facts, false, |kind| {
        answer = answer.or(kind);
        answer != Answer::Yes
    });
    answer
}

/// Tells what each kind of rule in use says, as long as `go_on`. A listener at any address is in every network where `anywhere`.
#[inline(always)]
fn each_kind(rules: &impl Rules, facts: &Facts, anywhere: bool, mut go_on: impl FnMut(Answer) -> bool) {
    let Facts { listens, local, remote, netns, .. } = *facts;
    let used = rules.namespaces();
    if used != 0 && !go_on(match_namespace(rules, used, netns)) {
        return;
    }
    let used = rules.ranges(Ends::Either);
    if used != 0
        && !go_on(match_either(|index| rules.range(Ends::Either, index), used, local.1, remote.1, listens))
    {
        return;
    }
    let used = rules.ranges(Ends::Local);
    if used != 0 && !go_on(match_port(|index| rules.range(Ends::Local, index), used, local.1, false)) {
        return;
    }
    let used = rules.ranges(Ends::Remote);
    if used != 0 && !go_on(match_port(|index| rules.range(Ends::Remote, index), used, remote.1, listens)) {
        return;
    }
    let used = rules.nets();
    if used != 0 {
        go_on(match_nets(|index| rules.net(index), used, local.0, remote.0, listens, anywhere));
    }
}

#[inline(always)]
fn match_namespace(rules: &impl Rules, used: u32, netns: u32) -> Answer {
    let mut index = 0;
    while index < MAX_NETNS {
        if index < used as usize && rules.namespace(index) == netns {
            return Answer::Yes;
        }
        index += 1;
    }
    Answer::No
}

/// Whether it is on the wanted side; [`side::ANY`] where that is not known is on neither.
#[inline(always)]
pub fn is_on_side(wanted: u32, facts: &Facts) -> Answer {
    Answer::from(wanted == side::ANY || wanted == facts.side)
}

/// Whether it is one of the connections that are recorded. What listens always is.
#[inline(always)]
pub fn is_sampled(one_in: u32, facts: &Facts) -> Answer {
    let Facts { listens, local, remote, .. } = *facts;
    if one_in < 2 || listens {
        return Answer::Yes;
    }
    if local.1 == 0 || remote.1 == 0 || !is_known(local.0) || !is_known(remote.0) {
        return Answer::NotYet;
    }
    Answer::from(is_kept(local, remote, one_in))
}

#[cfg(test)]
mod tests {
    use super::super::nets::tests::words;
    use super::*;
    use retrospan_formats::config::{Namespaces, Nets, Ranges, SocketRules};

    impl Rules for SocketRules {
        fn ranges(&self, of: Ends) -> u32 {
            self.of(of).used
        }
        fn range(&self, of: Ends, index: usize) -> PortRange {
            self.of(of).ranges[index]
        }
        fn nets(&self) -> u32 {
            self.nets.used
        }
        fn net(&self, index: usize) -> Net {
            self.nets.nets[index]
        }
        fn namespaces(&self) -> u32 {
            self.netns.used
        }
        fn namespace(&self, index: usize) -> u32 {
            self.netns.inodes[index]
        }
    }

    trait Lists {
        fn of(&self, ends: Ends) -> &Ranges;
    }

    impl Lists for SocketRules {
        fn of(&self, ends: Ends) -> &Ranges {
            match ends {
                Ends::Either => &self.either,
                Ends::Local => &self.local,
                Ends::Remote => &self.remote,
            }
        }
    }

    fn ranges(first: u16, last: u16) -> Ranges {
        let mut ranges = Ranges { used: 1, ..Ranges::default() };
        ranges.ranges[0] = PortRange { first, last };
        ranges
    }

    fn host(address: &str) -> Nets {
        let mut nets = Nets { used: 1, ..Nets::default() };
        nets.nets[0] = Net { address: words(address), mask: [u32::MAX; 4] };
        nets
    }

    fn facts(local: (&str, u16), remote: (&str, u16)) -> Facts {
        let end = |(address, port)| (words(address), port);
        Facts { listens: false, local: end(local), remote: end(remote), netns: 7, side: side::CLIENT }
    }

    #[test]
    fn kinds_that_include_must_all_match_and_one_that_excludes_is_enough() {
        let rules =
            SocketRules { remote: ranges(5432, 5432), nets: host("10.0.0.5"), ..SocketRules::default() };
        let of = |remote| {
            let facts = facts(("10.0.0.1", 40_000), remote);
            (is_included(&rules, &facts), is_excluded(&rules, &facts))
        };
        assert_eq!(of(("10.0.0.5", 5432)), (Answer::Yes, Answer::Yes));
        assert_eq!(of(("10.0.0.5", 5433)), (Answer::No, Answer::Yes));
        assert_eq!(of(("10.0.0.6", 5432)), (Answer::No, Answer::Yes));
        assert_eq!(of(("10.0.0.6", 5433)), (Answer::No, Answer::No));
    }

    #[test]
    fn nothing_asked_lets_all_through() {
        let (rules, facts) = (SocketRules::default(), facts(("0.0.0.0", 0), ("0.0.0.0", 0)));
        assert_eq!((is_included(&rules, &facts), is_excluded(&rules, &facts)), (Answer::Yes, Answer::No));
    }

    #[test]
    fn what_is_not_known_is_waited_for() {
        let rules = SocketRules { local: ranges(80, 80), ..SocketRules::default() };
        let facts = facts(("10.0.0.1", 0), ("10.0.0.5", 80));
        assert_eq!(
            (is_included(&rules, &facts), is_excluded(&rules, &facts)),
            (Answer::NotYet, Answer::NotYet)
        );
    }

    #[test]
    fn namespaces_and_sides_are_exact() {
        let mut netns = Namespaces { used: 1, ..Namespaces::default() };
        netns.inodes[0] = 7;
        let rules = SocketRules { netns, ..SocketRules::default() };
        let here = facts(("10.0.0.1", 1), ("10.0.0.5", 80));
        assert_eq!(is_included(&rules, &here), Answer::Yes);
        assert_eq!(is_included(&rules, &Facts { netns: 8, ..here }), Answer::No);
        assert_eq!(is_on_side(side::CLIENT, &here), Answer::Yes);
        assert_eq!(is_on_side(side::SERVER, &here), Answer::No);
        assert_eq!(is_on_side(side::ANY, &here), Answer::Yes);
    }

    #[test]
    fn samples_are_of_connections() {
        let connected = facts(("10.0.0.1", 1), ("10.0.0.5", 80));
        assert_eq!(is_sampled(0, &connected), Answer::Yes);
        assert_eq!(is_sampled(1, &connected), Answer::Yes);
        assert_eq!(is_sampled(u32::MAX, &connected), Answer::No);
        assert_eq!(is_sampled(u32::MAX, &Facts { listens: true, ..connected }), Answer::Yes);
        assert_eq!(is_sampled(2, &facts(("10.0.0.1", 0), ("10.0.0.5", 80))), Answer::NotYet);
        assert_eq!(is_sampled(2, &facts(("0.0.0.0", 9), ("10.0.0.5", 80))), Answer::NotYet);
    }
}
