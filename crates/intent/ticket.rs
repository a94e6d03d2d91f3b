//! Change tickets: what a grant wants of one, and whether what its system says of it will do.
//!
//! Absent: asking the system, which is an edge's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;
use crate::evidence::TicketEvidence;
use crate::request::TicketRef;
use crate::text::bounded;

/// Keeps digests of tickets from being taken for others.
const STATE_TAG: &str = "marque/ticket/v1";
/// How much of a title is kept, in characters.
const MAX_TITLE_CHARS: usize = 120;

/// The name of a ticket system: 1 to 32 of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketSystemName(String);

/// The text is not the name of a ticket system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ticket system's name has 1 to 32 of the characters `a-z`, `0-9` and `-`")]
pub struct TicketSystemNameError;

/// What a grant wants of its ticket, whenever it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketCondition {
    /// Which system knows it.
    pub system: TicketSystemName,
    /// The states in which it will do.
    pub states: BTreeSet<String>,
    /// The parameters that its fields of the same names have to repeat.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bind: BTreeSet<String>,
    /// Whether the grant is revoked when the ticket is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoke_on_close: bool,
}

/// A ticket as its system tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TicketFacts {
    /// The state, by the name that playbooks use.
    pub state: String,
    /// Whether that state is an end.
    pub closed: bool,
    /// The title.
    pub title: String,
    /// The fields that the system is asked for and the ticket has, by the names that playbooks use.
    pub fields: BTreeMap<String, String>,
    /// When the work is planned: from and until, where the ticket says so.
    pub planned: Option<(Timestamp, Timestamp)>,
}

/// Why a system says nothing of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketLookupError {
    /// It has no such ticket.
    #[error("there is no such ticket")]
    Unknown,
    /// It gave no answer that can be used. The text is for operators.
    #[error("{0}")]
    Unavailable(String),
}

impl TicketLookupError {
    /// The refusal that comes of it: what cannot be found out does not hold.
    #[must_use]
    pub fn denial(&self, system: &TicketSystemName) -> Denial {
        match self {
            Self::Unknown => {
                Denial::new(DenialCode::TicketMissing, format!("`{system}` has no such ticket"))
            }
            // The agent may read the detail of this class, so it is in the log alone.
            Self::Unavailable(_) => Denial::new(
                DenialCode::TicketSystemUnavailable,
                format!("`{system}` cannot be asked right now"),
            ),
        }
    }
}

impl TicketCondition {
    /// Whether a ticket will do: it is open, in one of the states, and about these parameters. When its work is planned is not
    /// looked at here ([`crate::Schedule::planned`]).
    ///
    /// # Errors
    /// `ticket_closed`, `ticket_state` or `ticket_not_bound`.
    pub fn judge(
        &self,
        ticket: &TicketRef,
        parameters: &Map<String, Value>,
        facts: &TicketFacts,
        checked_at: Timestamp,
    ) -> Result<TicketEvidence, Denial> {
        let TicketFacts { state, closed, title, fields, planned } = facts;
        if *closed {
            let detail = format!("the ticket is `{}`, which is an end", bounded(state, 40));
            return Err(Denial::new(DenialCode::TicketClosed, detail));
        }
        if !self.states.contains(state) {
            let states: Vec<&str> = self.states.iter().map(String::as_str).collect();
            let detail =
                format!("the ticket is `{}`, not {}", bounded(state, 40), states.join(" or "));
            return Err(Denial::new(DenialCode::TicketState, detail));
        }
        let mut bound = BTreeMap::new();
        for name in &self.bind {
            let Some(value) = fields.get(name).filter(|field| is(parameters.get(name), field))
            else {
                let detail = format!("the ticket is not about this `{name}`");
                return Err(Denial::new(DenialCode::TicketNotBound, detail));
            };
            bound.insert(name.clone(), value.clone());
        }
        let planned_text = planned.map(|(from, until)| [from.to_string(), until.to_string()]);
        let looked_at = json!({
            "system": self.system, "ticket": ticket, "state": state, "bound": bound, "planned": planned_text,
        });
        let state_hash = Digest::of_document(STATE_TAG, &looked_at).map_err(|_source| {
            Denial::new(DenialCode::TicketSystemUnavailable, "the ticket has no digest")
        })?;
        Ok(TicketEvidence {
            system: self.system.to_string(),
            state: state.clone(),
            title: bounded(title, MAX_TITLE_CHARS),
            state_hash,
            checked_at,
            bound,
            planned_from: planned.map(|(from, _)| from),
            planned_until: planned.map(|(_, until)| until),
        })
    }
}

/// Whether a field says what a parameter does.
fn is(parameter: Option<&Value>, field: &str) -> bool {
    match parameter {
        Some(Value::String(text)) => text == field,
        Some(Value::Number(number)) => number.to_string() == field,
        Some(Value::Bool(value)) => value.to_string() == field,
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
    }
}

impl TicketSystemName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TicketSystemName {
    type Err = TicketSystemNameError;

    fn from_str(text: &str) -> Result<Self, TicketSystemNameError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TicketSystemNameError)
        }
    }
}

impl TryFrom<String> for TicketSystemName {
    type Error = TicketSystemNameError;

    fn try_from(text: String) -> Result<Self, TicketSystemNameError> {
        text.parse()
    }
}

impl From<TicketSystemName> for String {
    fn from(name: TicketSystemName) -> Self {
        name.0
    }
}

impl fmt::Display for TicketSystemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition() -> TicketCondition {
        TicketCondition {
            system: "itsm".parse().unwrap(),
            states: ["approved".to_owned(), "implementing".to_owned()].into(),
            bind: ["service".to_owned(), "replicas".to_owned()].into(),
            revoke_on_close: true,
        }
    }

    fn facts() -> TicketFacts {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        TicketFacts {
            state: "approved".to_owned(),
            title: "Rotate\u{1b}[31m the certificate".to_owned(),
            fields: [field("service", "checkout"), field("replicas", "3")].into(),
            ..TicketFacts::default()
        }
    }

    fn judged(facts: &TicketFacts) -> Result<TicketEvidence, DenialCode> {
        let parameters = json!({"service": "checkout", "replicas": 3, "list": []});
        let ticket = "CHG-1842".parse().unwrap();
        let judged = condition().judge(
            &ticket,
            parameters.as_object().unwrap(),
            facts,
            Timestamp::UNIX_EPOCH,
        );
        judged.map_err(|denial| denial.code())
    }

    #[test]
    fn a_ticket_will_do_in_a_state_of_the_playbook_and_about_the_same_parameters() {
        let evidence = judged(&facts()).unwrap();
        assert_eq!(evidence.state, "approved");
        assert!(!evidence.title.contains('\u{1b}'), "{:?}", evidence.title);
        let field = |facts: &mut TicketFacts, name: &str, value: &str| {
            facts.fields.insert(name.to_owned(), value.to_owned());
        };
        for (spoil, code) in [
            (
                (|facts| facts.state = "new".to_owned()) as fn(&mut TicketFacts),
                DenialCode::TicketState,
            ),
            (|facts| facts.state = String::new(), DenialCode::TicketState),
            (|facts| facts.closed = true, DenialCode::TicketClosed),
            (|facts| facts.fields.clear(), DenialCode::TicketNotBound),
        ] {
            let mut spoilt = facts();
            spoil(&mut spoilt);
            assert_eq!(judged(&spoilt), Err(code));
        }
        for (name, value) in [("service", "Checkout"), ("service", ""), ("replicas", "03")] {
            let mut other = facts();
            field(&mut other, name, value);
            assert_eq!(judged(&other), Err(DenialCode::TicketNotBound), "{name}");
        }
    }

    #[test]
    fn the_digest_is_over_what_was_looked_at_and_nothing_else() {
        let first = judged(&facts()).unwrap().state_hash;
        let with = |change: fn(&mut TicketFacts)| {
            let mut facts = facts();
            change(&mut facts);
            judged(&facts).unwrap().state_hash
        };
        assert_eq!(with(|facts| facts.title = "Another title".to_owned()), first);
        assert_ne!(with(|facts| facts.state = "implementing".to_owned()), first);
        let planned = |facts: &mut TicketFacts| {
            facts.planned = Some((Timestamp::UNIX_EPOCH, Timestamp::MAX));
        };
        assert_ne!(with(planned), first);
    }

    #[test]
    fn what_cannot_be_found_out_does_not_hold() {
        let system = condition().system;
        let code = |error: TicketLookupError| error.denial(&system).code();
        assert_eq!(code(TicketLookupError::Unknown), DenialCode::TicketMissing);
        let down = TicketLookupError::Unavailable("secret-host: refused".to_owned());
        assert!(!down.denial(&system).detail().contains("secret-host"));
        assert_eq!(code(down), DenialCode::TicketSystemUnavailable);
    }
}
