//! What the user wants kept, or blanked, beside the default: `header=x-tenant`, `query=page@8080`, `json=iban`, `cards`, `tokens`.

use std::fmt;
use std::str::FromStr;

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The value of a header line, by its name in lower case.
    Header(String),
    /// The value of a parameter of a query or of a form, by its name in lower case.
    Query(String),
    /// The value of a key in JSON, by its plain form ([`plain`]).
    Json(String),
    /// Numbers of payment cards.
    Cards,
    /// Tokens and keys that are known by how they look.
    Tokens,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub subject: Subject,
    /// Only where one of the connection's ports is in this closed range.
    pub ports: Option<(u16, u16)>,
}

/// Headers that framing or recognition needs: their values are always kept.
const NEEDED: [&str; 7] =
    ["connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"];

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let (subject, ports) = match text.rsplit_once('@') {
            Some((subject, ports)) => (subject, Some(range(ports)?)),
            None => (text, None),
        };
        let subject = match subject.split_once('=') {
            Some((_, "")) => return Err(format!("{text:?}: the name is empty")),
            Some(("header", name)) => Subject::Header(name.to_ascii_lowercase()),
            Some(("query", name)) => Subject::Query(name.to_ascii_lowercase()),
            Some(("json", name)) => Subject::Json(plain(name.as_bytes())),
            None if subject == "cards" => Subject::Cards,
            None if subject == "tokens" => Subject::Tokens,
            _ => {
                return Err(format!(
                    "{text:?} is none of header=NAME, query=NAME, json=KEY, cards and tokens, each with @PORT or @PORT-PORT behind it if wanted"
                ));
            }
        };
        Ok(Rule { subject, ports })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Header(name) => write!(f, "header={name}")?,
            Subject::Query(name) => write!(f, "query={name}")?,
            Subject::Json(key) => write!(f, "json={key}")?,
            Subject::Cards => f.write_str("cards")?,
            Subject::Tokens => f.write_str("tokens")?,
        }
        match self.ports {
            Some((first, last)) if first == last => write!(f, "@{first}"),
            Some((first, last)) => write!(f, "@{first}-{last}"),
            None => Ok(()),
        }
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("{text:?} is not a port or a range such as 8000-9000")),
    }
}

/// A key as it is compared: lower case, letters and digits alone, so that `apiKey`, `api_key` and `API-KEY` are one.
pub fn plain(name: &[u8]) -> String {
    let kept = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    kept.map(|byte| byte.to_ascii_lowercase() as char).collect()
}

/// All rules of a recording.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    redact: Vec<Rule>,
    reveal: Vec<Rule>,
}

impl Rules {
    /// What is to be blanked beside the default, and what is not.
    ///
    /// # Errors
    /// A header that cannot be blanked, since messages could not be told apart without it.
    pub fn new(redact: Vec<Rule>, reveal: Vec<Rule>) -> Result<Rules, String> {
        let is_needed =
            |rule: &&Rule| matches!(&rule.subject, Subject::Header(name) if NEEDED.contains(&name.as_str()));
        match redact.iter().find(is_needed) {
            Some(Rule { subject: Subject::Header(name), .. }) => {
                Err(format!("header={name} cannot be blanked: where messages end is told by it"))
            }
            _ => Ok(Rules { redact, reveal }),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.redact.is_empty() && self.reveal.is_empty()
    }

    /// Those that hold for a connection with these ports.
    pub fn of(&self, ports: [u16; 2]) -> Applied<'_> {
        Applied { rules: self, ports }
    }
}

/// The rules of a connection.
#[derive(Clone, Copy)]
pub struct Applied<'a> {
    rules: &'a Rules,
    ports: [u16; 2],
}

impl Applied<'_> {
    fn any(&self, rules: &[Rule], is_meant: impl Fn(&Subject) -> bool) -> bool {
        let holds = |rule: &Rule| {
            rule.ports.is_none_or(|(first, last)| self.ports.iter().any(|port| (first..=last).contains(port)))
        };
        rules.iter().any(|rule| is_meant(&rule.subject) && holds(rule))
    }

    /// Whether such a value is to be blanked, where by default it `is_secret` or not.
    pub fn blanks(&self, is_secret: bool, is_meant: impl Fn(&Subject) -> bool + Copy) -> bool {
        (is_secret || self.any(&self.rules.redact, is_meant)) && !self.any(&self.rules.reveal, is_meant)
    }

    /// Whether anything is to be kept that is blanked by default.
    pub fn reveals(&self) -> bool {
        self.any(&self.rules.reveal, |_| true)
    }

    /// Whether anything is to be blanked that is kept by default.
    pub fn redacts(&self) -> bool {
        self.any(&self.rules.redact, |_| true)
    }
}

/// Whether the subject is the header, or parameter, of this name in any case.
pub fn is_named(subject: &Subject, name: &[u8], is_header: bool) -> bool {
    match subject {
        Subject::Header(wanted) => is_header && wanted.as_bytes().eq_ignore_ascii_case(name),
        Subject::Query(wanted) => !is_header && wanted.as_bytes().eq_ignore_ascii_case(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_hold_for_their_ports() {
        let rule = |text: &str| text.parse::<Rule>();
        assert_eq!(rule("json=Api-Key@8000-9000").unwrap().subject, Subject::Json("apikey".to_owned()));
        assert_eq!(rule("cards@443").unwrap(), Rule { subject: Subject::Cards, ports: Some((443, 443)) });
        for text in ["json=iban@8000-9000", "cards@443", "header=x-tenant", "query=page", "tokens"] {
            assert_eq!(rule(text).unwrap().to_string(), text);
        }
        for wrong in ["", "header", "header=", "body=x", "cards=1", "tokens@", "query=a@9-8", "json=k@70000"]
        {
            assert!(rule(wrong).is_err(), "{wrong:?}");
        }
        let rules =
            Rules::new(vec![rule("header=X-Tenant@8080").unwrap()], vec![rule("query=Page").unwrap()]);
        let rules = rules.unwrap();
        let tenant = |subject: &Subject| is_named(subject, b"x-tenant", true);
        assert!(rules.of([40_000, 8080]).blanks(false, tenant));
        assert!(!rules.of([40_000, 8081]).blanks(false, tenant));
        assert!(!rules.of([1, 2]).blanks(true, |subject| is_named(subject, b"PAGE", false)));
        assert!(rules.of([1, 2]).blanks(true, |subject| is_named(subject, b"PAGE", true)));
        assert!(rules.of([1, 2]).reveals() && !rules.of([1, 2]).redacts());
        assert!(Rules::new(vec![rule("header=content-length").unwrap()], Vec::new()).is_err());
    }
}
