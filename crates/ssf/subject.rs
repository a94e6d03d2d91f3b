//! Subject identifiers (RFC 9493; SSF 1.0 section 3): whom or what an event is about.
//!
//! Every format that is known is read whole: a member too many or too few is refused, so that two readers never see two
//! subjects. Deliberately absent: who that is here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The longest text within a subject, in bytes: that of a SPIFFE ID.
pub const MAX_SUBJECT_BYTES: usize = 2048;
/// The most names of one subject in the format `aliases`.
pub const MAX_ALIASES: usize = 16;

/// Whom or what an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `uri`: a name with a scheme, such as a SPIFFE ID.
    Uri(String),
    /// `iss_sub`: somebody, as an issuer calls them.
    IssSub {
        /// The issuer.
        iss: String,
        /// What it calls them.
        sub: String,
    },
    /// `jwt_id`: one token.
    JwtId {
        /// Its issuer.
        iss: String,
        /// Its `jti`.
        jti: String,
    },
    /// `opaque`: a name that means something to both sides.
    Opaque(String),
    /// `email`.
    Email(String),
    /// `phone_number`.
    PhoneNumber(String),
    /// `account`: an `acct:` URI.
    Account(String),
    /// `did`: a decentralised identifier.
    Did(String),
    /// `saml_assertion_id`.
    SamlAssertion {
        /// Its issuer.
        issuer: String,
        /// Its id.
        assertion_id: String,
    },
    /// `aliases`: several names of one subject, none of them `aliases` or `complex`.
    Aliases(Vec<Self>),
    /// `complex`: what the event is about by its parts, none of them `complex`.
    Complex(BTreeMap<Role, Self>),
}

/// What a part of a complex subject is (SSF 1.0 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A person.
    User,
    /// A device.
    Device,
    /// A session.
    Session,
    /// An application.
    Application,
    /// A tenant.
    Tenant,
    /// A unit of an organisation.
    OrgUnit,
    /// A group.
    Group,
}

/// Why something is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is not an object with a `format`.
    #[error("the subject is not an object with a `format`")]
    Shape,
    /// Its format is not known here.
    #[error("the format of the subject is not known")]
    Format,
    /// A member of its format is missing, mistyped, empty or longer than [`MAX_SUBJECT_BYTES`], or there is one too many.
    #[error("the members of the subject are not those of its format")]
    Members,
    /// `aliases` or `complex` within one of them, or more than [`MAX_ALIASES`] names.
    #[error("the subject is nested, or has too many parts")]
    Nested,
}

impl Role {
    /// Every part that there is.
    pub const ALL: [Self; 7] = [
        Self::User,
        Self::Device,
        Self::Session,
        Self::Application,
        Self::Tenant,
        Self::OrgUnit,
        Self::Group,
    ];

    /// The name of the member.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Device => "device",
            Self::Session => "session",
            Self::Application => "application",
            Self::Tenant => "tenant",
            Self::OrgUnit => "org_unit",
            Self::Group => "group",
        }
    }
}

impl Subject {
    /// Reads a subject.
    ///
    /// # Errors
    /// See [`SubjectError`].
    pub fn parse(value: &Value) -> Result<Self, SubjectError> {
        let members = value.as_object().ok_or(SubjectError::Shape)?;
        let format = members.get("format").and_then(Value::as_str).ok_or(SubjectError::Shape)?;
        match format {
            "aliases" => aliases(members),
            "complex" => complex(members),
            _ => Self::simple(format, members),
        }
    }

    fn simple(format: &str, members: &Map<String, Value>) -> Result<Self, SubjectError> {
        Ok(match format {
            "uri" => Self::Uri(one(members, "uri")?),
            "iss_sub" => {
                let [iss, sub] = texts(members, ["iss", "sub"])?;
                Self::IssSub { iss, sub }
            }
            "jwt_id" => {
                let [iss, jti] = texts(members, ["iss", "jti"])?;
                Self::JwtId { iss, jti }
            }
            "opaque" => Self::Opaque(one(members, "id")?),
            "email" => Self::Email(one(members, "email")?),
            "phone_number" => Self::PhoneNumber(one(members, "phone_number")?),
            "account" => Self::Account(one(members, "uri")?),
            "did" => Self::Did(one(members, "url")?),
            "saml_assertion_id" => {
                let [issuer, assertion_id] = texts(members, ["issuer", "assertion_id"])?;
                Self::SamlAssertion { issuer, assertion_id }
            }
            _ => return Err(SubjectError::Format),
        })
    }

    /// The subject as it is written.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Uri(uri) => json!({ "format": "uri", "uri": uri }),
            Self::IssSub { iss, sub } => json!({ "format": "iss_sub", "iss": iss, "sub": sub }),
            Self::JwtId { iss, jti } => json!({ "format": "jwt_id", "iss": iss, "jti": jti }),
            Self::Opaque(id) => json!({ "format": "opaque", "id": id }),
            Self::Email(email) => json!({ "format": "email", "email": email }),
            Self::PhoneNumber(number) => {
                json!({ "format": "phone_number", "phone_number": number })
            }
            Self::Account(uri) => json!({ "format": "account", "uri": uri }),
            Self::Did(url) => json!({ "format": "did", "url": url }),
            Self::SamlAssertion { issuer, assertion_id } => json!({
                "format": "saml_assertion_id", "issuer": issuer, "assertion_id": assertion_id,
            }),
            Self::Aliases(names) => {
                let names: Vec<Value> = names.iter().map(Self::to_value).collect();
                json!({ "format": "aliases", "identifiers": names })
            }
            Self::Complex(parts) => {
                let mut members = Map::from_iter([("format".to_owned(), "complex".into())]);
                for (role, part) in parts {
                    members.insert(role.as_str().to_owned(), part.to_value());
                }
                Value::Object(members)
            }
        }
    }
}

fn aliases(members: &Map<String, Value>) -> Result<Subject, SubjectError> {
    if members.len() != 2 {
        return Err(SubjectError::Members);
    }
    let names = members.get("identifiers").and_then(Value::as_array);
    let names = names.filter(|names| !names.is_empty()).ok_or(SubjectError::Members)?;
    if names.len() > MAX_ALIASES {
        return Err(SubjectError::Nested);
    }
    let name = |name: &Value| match Subject::parse(name)? {
        Subject::Aliases(_) | Subject::Complex(_) => Err(SubjectError::Nested),
        simple => Ok(simple),
    };
    Ok(Subject::Aliases(names.iter().map(name).collect::<Result<_, _>>()?))
}

fn complex(members: &Map<String, Value>) -> Result<Subject, SubjectError> {
    let mut parts = BTreeMap::new();
    for (name, value) in members.iter().filter(|(name, _)| *name != "format") {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == name);
        let role = role.ok_or(SubjectError::Members)?;
        match Subject::parse(value)? {
            Subject::Complex(_) => return Err(SubjectError::Nested),
            part => parts.insert(role, part),
        };
    }
    if parts.is_empty() { Err(SubjectError::Members) } else { Ok(Subject::Complex(parts)) }
}

fn one(members: &Map<String, Value>, name: &str) -> Result<String, SubjectError> {
    let [text] = texts(members, [name])?;
    Ok(text)
}

/// The texts of exactly these members, beside `format`.
fn texts<const N: usize>(
    members: &Map<String, Value>,
    names: [&str; N],
) -> Result<[String; N], SubjectError> {
    if members.len() != N + 1 {
        return Err(SubjectError::Members);
    }
    let found = names.map(|name| {
        let text = members.get(name).and_then(Value::as_str).unwrap_or_default();
        let fits = (1..=MAX_SUBJECT_BYTES).contains(&text.len());
        (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
    });
    if found.iter().any(Option::is_none) {
        return Err(SubjectError::Members);
    }
    Ok(found.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_reads_back_as_it_was_written() {
        for subject in [
            json!({ "format": "uri", "uri": "spiffe://prod.example.org/agent/a" }),
            json!({ "format": "iss_sub", "iss": "https://login.example.org", "sub": "248289" }),
            json!({ "format": "jwt_id", "iss": "https://issuer.example.org", "jti": "tok_1" }),
            json!({ "format": "opaque", "id": "stream" }),
            json!({ "format": "email", "email": "alice@example.org" }),
            json!({ "format": "phone_number", "phone_number": "+12065550100" }),
            json!({ "format": "account", "uri": "acct:alice@example.org" }),
            json!({ "format": "did", "url": "did:example:123" }),
            json!({ "format": "saml_assertion_id", "issuer": "a", "assertion_id": "b" }),
            json!({ "format": "aliases", "identifiers": [{ "format": "opaque", "id": "a" }] }),
            json!({
                "format": "complex",
                "application": { "format": "uri", "uri": "spiffe://prod.example.org/agent/a" },
                "session": { "format": "opaque", "id": "int_1" },
            }),
        ] {
            assert_eq!(Subject::parse(&subject).unwrap().to_value(), subject);
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        let alias =
            json!({ "format": "aliases", "identifiers": [{ "format": "opaque", "id": "a" }] });
        let many = vec![json!({ "format": "opaque", "id": "a" }); MAX_ALIASES + 1];
        for (bad, because) in [
            (json!("spiffe://prod.example.org/agent/a"), SubjectError::Shape),
            (json!({ "uri": "a" }), SubjectError::Shape),
            (json!({ "format": 1 }), SubjectError::Shape),
            (json!({ "format": "URI", "uri": "a" }), SubjectError::Format),
            (json!({ "format": "ip-addresses", "ip-addresses": [] }), SubjectError::Format),
            (json!({ "format": "uri" }), SubjectError::Members),
            (json!({ "format": "uri", "uri": "" }), SubjectError::Members),
            (json!({ "format": "uri", "uri": ["a"] }), SubjectError::Members),
            (json!({ "format": "uri", "uri": "a\n" }), SubjectError::Members),
            (json!({ "format": "uri", "uri": "a", "sub": "b" }), SubjectError::Members),
            (json!({ "format": "iss_sub", "iss": "a" }), SubjectError::Members),
            (json!({ "format": "aliases", "identifiers": [] }), SubjectError::Members),
            (json!({ "format": "aliases", "identifiers": [alias] }), SubjectError::Nested),
            (json!({ "format": "aliases", "identifiers": many }), SubjectError::Nested),
            (json!({ "format": "complex" }), SubjectError::Members),
            (
                json!({ "format": "complex", "robot": { "format": "opaque", "id": "a" } }),
                SubjectError::Members,
            ),
            (
                json!({ "format": "complex", "user": { "format": "complex", "user": { "format": "opaque", "id": "a" } } }),
                SubjectError::Nested,
            ),
        ] {
            assert_eq!(Subject::parse(&bad), Err(because), "{bad}");
        }
        let uri = |length| json!({ "format": "uri", "uri": "a".repeat(length) });
        assert!(Subject::parse(&uri(MAX_SUBJECT_BYTES)).is_ok());
        assert_eq!(Subject::parse(&uri(MAX_SUBJECT_BYTES + 1)), Err(SubjectError::Members));
    }
}
