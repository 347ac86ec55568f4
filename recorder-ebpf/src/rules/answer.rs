//! What a filter says about a socket, as far as the facts are known.

/// Yes, no, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// It does not match.
    No = 0,
    /// It matches.
    Yes = 1,
    /// A fact that decides is not known yet.
    NotYet = 2,
}

impl Answer {
    /// One of both is enough.
    #[inline(always)]
    pub fn or(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Yes, _) | (_, Answer::Yes) => Answer::Yes,
            (Answer::No, Answer::No) => Answer::No,
            _ => Answer::NotYet,
        }
    }

    /// Both are needed.
    #[inline(always)]
    pub fn and(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::No, _) | (_, Answer::No) => Answer::No,
            (Answer::Yes, Answer::Yes) => Answer::Yes,
            _ => Answer::NotYet,
        }
    }

    /// The opposite.
    #[inline(always)]
    pub fn not(self) -> Answer {
        match self {
            Answer::No => Answer::Yes,
            Answer::Yes => Answer::No,
            Answer::NotYet => Answer::NotYet,
        }
    }
}

impl From<bool> for Answer {
    #[inline(always)]
    fn from(yes: bool) -> Answer {
        if yes { Answer::Yes } else { Answer::No }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{self, No, NotYet, Yes};

    #[test]
    fn what_is_not_known_yet_holds_up_only_where_it_decides() {
        let pairs = [(Yes, Yes), (Yes, No), (No, No), (Yes, NotYet), (No, NotYet), (NotYet, NotYet)];
        let or: Vec<Answer> = pairs.iter().map(|(a, b)| a.or(*b)).collect();
        assert_eq!(or, [Yes, Yes, No, Yes, NotYet, NotYet]);
        let and: Vec<Answer> = pairs.iter().map(|(a, b)| b.and(*a)).collect();
        assert_eq!(and, [Yes, No, No, NotYet, No, NotYet]);
        assert_eq!([Yes, No, NotYet].map(Answer::not), [No, Yes, NotYet]);
    }
}
