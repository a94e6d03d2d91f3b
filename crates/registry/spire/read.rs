//! Members of SPIRE's messages in any of the forms that its versions give them.

use serde_json::{Map, Value};

/// Why a file is not what SPIRE prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpireError {
    /// It is no JSON.
    #[error("is no JSON: {0}")]
    NotJson(String),
    /// It is JSON of another shape.
    #[error("is not what SPIRE prints: {0}")]
    Shape(&'static str),
    /// A member is of another kind.
    #[error("{place}: `{member}` is not {expected}")]
    Member {
        /// Which entry or bundle.
        place: String,
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// There is more than fits.
    #[error("has more than {0}")]
    TooMany(usize),
    /// The list goes on elsewhere.
    #[error("is one page of a longer list (`next_page_token` is set): have SPIRE print all of it")]
    OnePage,
}

/// The members of one message, taken one by one.
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    place: String,
    taken: Vec<&'static str>,
}

impl<'a> Members<'a> {
    pub(super) fn of(value: &'a Value, place: String) -> Result<Self, SpireError> {
        let members = value.as_object().ok_or(SpireError::Shape("an element is no object"))?;
        Ok(Self { members, place, taken: Vec::new() })
    }

    /// A member by its name in snake case, under that name or the one in camel case; `null` is none.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.taken.push(name);
        let found = self.members.get(name).or_else(|| self.members.get(&camel(name)));
        found.filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<String, SpireError> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    pub(super) fn switch(&mut self, name: &'static str) -> Result<bool, SpireError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A whole number from 0 on, as a number or a text (as protobuf writes 64 bits); absent is 0.
    pub(super) fn number(&mut self, name: &'static str) -> Result<u64, SpireError> {
        let number = match self.take(name) {
            None => Some(0),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        number.ok_or_else(|| self.wrong(name, "a whole number from 0 on"))
    }

    pub(super) fn list(&mut self, name: &'static str) -> Result<&'a [Value], SpireError> {
        match self.take(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, SpireError> {
        let items = self.list(name)?.iter().map(|item| item.as_str().map(ToOwned::to_owned));
        items.collect::<Option<_>>().ok_or_else(|| self.wrong(name, "a list of texts"))
    }

    /// A SPIFFE ID: `{trust_domain, path}`, or a text.
    pub(super) fn spiffe_id(&mut self, name: &'static str) -> Result<String, SpireError> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value) => {
                let mut parts = Members::of(value, self.place.clone())?;
                let (trust_domain, path) = (parts.text("trust_domain")?, parts.text("path")?);
                Ok(format!("spiffe://{}{path}", trust_domain_name(&trust_domain)))
            }
        }
    }

    /// A message within this one.
    pub(super) fn message(&mut self, name: &'static str) -> Result<Option<Self>, SpireError> {
        let place = format!("{}: `{name}`", self.place);
        self.take(name).map(|value| Members::of(value, place)).transpose()
    }

    /// The members that nobody took and that say something.
    pub(super) fn rest(&self) -> Vec<String> {
        let known = |name: &&String| {
            !self.taken.iter().any(|taken| *taken == name.as_str() || camel(taken) == **name)
        };
        let says = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty() && text != "0",
            Value::Number(number) => number.as_u64() != Some(0),
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            Value::Bool(true) => true,
        };
        let members = self.members.iter().filter(|(name, value)| known(name) && says(value));
        members.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn wrong(&self, member: &'static str, expected: &'static str) -> SpireError {
        SpireError::Member { place: self.place.clone(), member, expected }
    }
}

/// The name alone, where it is written as a SPIFFE ID.
pub(super) fn trust_domain_name(text: &str) -> &str {
    text.strip_prefix("spiffe://").unwrap_or(text)
}

/// The elements of a list that stands under `name`, or alone; a single message is a list of one.
pub(super) fn elements<'a>(
    document: &'a Value,
    name: &'static str,
    single: &str,
    most: usize,
) -> Result<Vec<&'a Value>, SpireError> {
    let found: Vec<&Value> = match document {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => {
            let page = members.get("next_page_token").or_else(|| members.get("nextPageToken"));
            if page.and_then(Value::as_str).is_some_and(|token| !token.is_empty()) {
                return Err(SpireError::OnePage);
            }
            match members.get(name) {
                Some(Value::Array(items)) => items.iter().collect(),
                Some(Value::Null) => Vec::new(),
                Some(_) => return Err(SpireError::Shape("the list is none")),
                None if members.contains_key(single) || members.contains_key(&camel(single)) => {
                    vec![document]
                }
                None => {
                    return Err(SpireError::Shape("it has neither a list nor one of its elements"));
                }
            }
        }
        _ => return Err(SpireError::Shape("it is neither an object nor a list")),
    };
    if found.len() > most { Err(SpireError::TooMany(most)) } else { Ok(found) }
}

pub(super) fn json(bytes: &[u8]) -> Result<Value, SpireError> {
    serde_json::from_slice(bytes).map_err(|error| SpireError::NotJson(error.to_string()))
}

/// `snake_case` as protobuf's JSON has it.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
