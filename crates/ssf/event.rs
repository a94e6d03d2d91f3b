//! What happened: the event types of CAEP 1.0 and of the framework itself, and which of them is bad news.
//!
//! Deliberately absent: whom it happened to, and what is done about it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What the names of CAEP's event types begin with.
pub const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
/// What the names of the framework's own begin with.
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

/// A type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// A session has ended (CAEP 3.1).
    SessionRevoked,
    /// What a token says of its subject is no longer so (CAEP 3.2).
    TokenClaimsChange,
    /// A credential was made, changed or taken away (CAEP 3.3).
    CredentialChange,
    /// How sure one is of who it is has changed (CAEP 3.4).
    AssuranceLevelChange,
    /// A device follows its rules, or no longer does (CAEP 3.5).
    DeviceComplianceChange,
    /// A session has begun (CAEP 3.6).
    SessionEstablished,
    /// A session was seen (CAEP 3.7).
    SessionPresented,
    /// How risky somebody is has changed (CAEP 3.8).
    RiskLevelChange,
    /// The receiver is to see that events arrive (SSF 1.0 section 8.1.4).
    Verification,
    /// The state of the stream has changed (SSF 1.0 section 8.1.5).
    StreamUpdated,
}

/// What happened to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialChange {
    /// It is there from now on.
    Create,
    /// It is worth nothing from now on.
    Revoke,
    /// It is another one.
    Update,
    /// It is gone.
    Delete,
}

/// Who brought it about (CAEP 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitiatingEntity {
    /// An administrator.
    Admin,
    /// The subject.
    User,
    /// A rule.
    Policy,
    /// The transmitter.
    System,
}

/// One event, its members checked as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    kind: EventType,
    members: Map<String, Value>,
}

/// Why something is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Its type is not known here.
    #[error("the type of the event is not known")]
    Type,
    /// What it says is not an object, or a member that its type must have is missing or another.
    #[error("the members of the event are not those of its type")]
    Members,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::SessionRevoked,
        Self::TokenClaimsChange,
        Self::CredentialChange,
        Self::AssuranceLevelChange,
        Self::DeviceComplianceChange,
        Self::SessionEstablished,
        Self::SessionPresented,
        Self::RiskLevelChange,
        Self::Verification,
        Self::StreamUpdated,
    ];

    /// The last part of its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session-revoked",
            Self::TokenClaimsChange => "token-claims-change",
            Self::CredentialChange => "credential-change",
            Self::AssuranceLevelChange => "assurance-level-change",
            Self::DeviceComplianceChange => "device-compliance-change",
            Self::SessionEstablished => "session-established",
            Self::SessionPresented => "session-presented",
            Self::RiskLevelChange => "risk-level-change",
            Self::Verification => "verification",
            Self::StreamUpdated => "stream-updated",
        }
    }

    /// Its name: a URI.
    #[must_use]
    pub fn uri(self) -> String {
        let family = match self {
            Self::Verification | Self::StreamUpdated => SSF,
            _ => CAEP,
        };
        format!("{family}{}", self.as_str())
    }

    /// The type of this name.
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

impl CredentialChange {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Revoke => "revoke",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl InitiatingEntity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Policy => "policy",
            Self::System => "system",
        }
    }
}

impl Event {
    /// The end of a session.
    #[must_use]
    pub fn session_revoked(by: InitiatingEntity, reason: &str, at: Timestamp) -> Self {
        Self { kind: EventType::SessionRevoked, members: told(by, reason, at) }
    }

    /// What became of a credential of this type, such as `x509`.
    #[must_use]
    pub fn credential_change(
        (credential_type, change): (&str, CredentialChange),
        by: InitiatingEntity,
        reason: &str,
        at: Timestamp,
    ) -> Self {
        let mut members = told(by, reason, at);
        members.insert("credential_type".to_owned(), credential_type.into());
        members.insert("change_type".to_owned(), change.as_str().into());
        Self { kind: EventType::CredentialChange, members }
    }

    /// A proof that events arrive, with what the receiver asked to hear again.
    #[must_use]
    pub fn verification(state: Option<&str>) -> Self {
        let state = state.map(|state| ("state".to_owned(), state.into()));
        Self { kind: EventType::Verification, members: state.into_iter().collect() }
    }

    /// Reads what a SET says of one type of event.
    ///
    /// # Errors
    /// See [`EventError`].
    pub fn parse(uri: &str, value: &Value) -> Result<Self, EventError> {
        let kind = EventType::of_uri(uri).ok_or(EventError::Type)?;
        let members = value.as_object().ok_or(EventError::Members)?.clone();
        let event = Self { kind, members };
        let required: &[(&str, &[&str])] = match kind {
            EventType::CredentialChange => &[
                ("change_type", &["create", "revoke", "update", "delete"]),
                ("credential_type", &[]),
            ],
            EventType::AssuranceLevelChange => &[("current_level", &[])],
            EventType::DeviceComplianceChange => {
                &[("current_status", &["compliant", "not-compliant"])]
            }
            EventType::RiskLevelChange => &[("current_level", &["LOW", "MEDIUM", "HIGH"])],
            EventType::StreamUpdated => &[("status", &["enabled", "paused", "disabled"])],
            EventType::SessionRevoked
            | EventType::TokenClaimsChange
            | EventType::SessionEstablished
            | EventType::SessionPresented
            | EventType::Verification => &[],
        };
        let fits = |(name, values): &(&str, &[&str])| {
            let text = event.text(name);
            text.is_some_and(|text| values.is_empty() || values.contains(&text))
        };
        if required.iter().all(fits) { Ok(event) } else { Err(EventError::Members) }
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> EventType {
        self.kind
    }

    /// What it says, as it is written.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Whether it says that its subject is to be trusted less than before. Where the event leaves it open, it does.
    #[must_use]
    pub fn is_bad_news(&self) -> bool {
        match self.kind {
            EventType::SessionRevoked => true,
            EventType::CredentialChange => {
                matches!(self.text("change_type"), Some("revoke" | "delete"))
            }
            EventType::AssuranceLevelChange => self.text("change_direction") != Some("increase"),
            EventType::DeviceComplianceChange => self.text("current_status") != Some("compliant"),
            EventType::RiskLevelChange => self.text("current_level") == Some("HIGH"),
            EventType::TokenClaimsChange
            | EventType::SessionEstablished
            | EventType::SessionPresented
            | EventType::Verification
            | EventType::StreamUpdated => false,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}

fn told(by: InitiatingEntity, reason: &str, at: Timestamp) -> Map<String, Value> {
    let members = [
        ("event_timestamp", at.as_second().into()),
        ("initiating_entity", by.as_str().into()),
        ("reason_admin", json!({ "en": reason })),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specifications() {
        assert_eq!(
            EventType::SessionRevoked.uri(),
            "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
        );
        assert_eq!(
            EventType::Verification.uri(),
            "https://schemas.openid.net/secevent/ssf/event-type/verification"
        );
        for kind in EventType::ALL {
            assert_eq!(EventType::of_uri(&kind.uri()), Some(kind));
        }
        assert_eq!(EventType::of_uri("session-revoked"), None);
    }

    #[test]
    fn bad_news_is_what_lowers_trust_and_what_leaves_it_open() {
        for (kind, members, bad) in [
            (EventType::SessionRevoked, json!({}), true),
            (
                EventType::CredentialChange,
                json!({ "credential_type": "pin", "change_type": "revoke" }),
                true,
            ),
            (
                EventType::CredentialChange,
                json!({ "credential_type": "pin", "change_type": "delete" }),
                true,
            ),
            (
                EventType::CredentialChange,
                json!({ "credential_type": "pin", "change_type": "update" }),
                false,
            ),
            (EventType::AssuranceLevelChange, json!({ "current_level": "nist-aal1" }), true),
            (
                EventType::AssuranceLevelChange,
                json!({ "current_level": "nist-aal1", "change_direction": "decrease" }),
                true,
            ),
            (
                EventType::AssuranceLevelChange,
                json!({ "current_level": "nist-aal2", "change_direction": "increase" }),
                false,
            ),
            (EventType::DeviceComplianceChange, json!({ "current_status": "not-compliant" }), true),
            (EventType::DeviceComplianceChange, json!({ "current_status": "compliant" }), false),
            (EventType::RiskLevelChange, json!({ "current_level": "HIGH" }), true),
            (EventType::RiskLevelChange, json!({ "current_level": "MEDIUM" }), false),
            (EventType::SessionEstablished, json!({}), false),
            (EventType::Verification, json!({ "state": "x" }), false),
        ] {
            let event = Event::parse(&kind.uri(), &members).unwrap();
            assert_eq!(event.is_bad_news(), bad, "{kind:?} {members}");
        }
    }

    #[test]
    fn an_event_without_what_its_type_must_have_is_refused() {
        for (kind, members) in [
            (EventType::SessionRevoked, json!([])),
            (EventType::CredentialChange, json!({ "credential_type": "pin" })),
            (
                EventType::CredentialChange,
                json!({ "credential_type": "pin", "change_type": "lost" }),
            ),
            (EventType::DeviceComplianceChange, json!({ "current_status": true })),
            (EventType::RiskLevelChange, json!({ "current_level": "high" })),
            (EventType::StreamUpdated, json!({})),
        ] {
            assert_eq!(Event::parse(&kind.uri(), &members), Err(EventError::Members), "{members}");
        }
        assert_eq!(Event::parse("urn:other", &json!({})), Err(EventError::Type));
    }
}
