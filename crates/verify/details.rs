//! `authorization_details` (RFC 9396): is what a request does covered by an entry of its token?
//!
//! Everything is compared as text, byte by byte; there are no wildcards. A list that an entry leaves out covers only a need
//! that leaves it out as well: it may mean everything to one server and nothing to another. An entry with a member that is not known here
//! covers nothing, because what the member forbids is not known either.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

/// One entry, as it stands in the token.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    kind: String,
    members: Map<String, Value>,
}

/// What a request does, to be covered by one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    kind: &'a str,
    action: &'a str,
    identifier: Option<&'a str>,
    location: Option<&'a str>,
    datatype: Option<&'a str>,
    privilege: Option<&'a str>,
}

const KNOWN: [&str; 6] = ["type", "actions", "identifier", "locations", "datatypes", "privileges"];

impl<'a> Need<'a> {
    /// An action, in the words of details of type `kind`.
    #[must_use]
    pub const fn new(kind: &'a str, action: &'a str) -> Self {
        Self { kind, action, identifier: None, location: None, datatype: None, privilege: None }
    }

    /// On this resource: an entry covers it that names the same, or something above it by whole segments.
    #[must_use]
    pub const fn on(self, identifier: &'a str) -> Self {
        Self { identifier: Some(identifier), ..self }
    }

    /// At this location.
    #[must_use]
    pub const fn at(self, location: &'a str) -> Self {
        Self { location: Some(location), ..self }
    }

    /// With data of this type.
    #[must_use]
    pub const fn with(self, datatype: &'a str) -> Self {
        Self { datatype: Some(datatype), ..self }
    }

    /// With this privilege.
    #[must_use]
    pub const fn privileged(self, privilege: &'a str) -> Self {
        Self { privilege: Some(privilege), ..self }
    }
}

impl Detail {
    /// `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Any member by its name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Whether the entry covers the need: the same type, the action among `actions`, and for everything else that the
    /// need says or the entry limits, the same in both. A need that leaves out what the entry limits is not covered.
    #[must_use]
    pub fn covers(&self, need: &Need<'_>) -> bool {
        self.kind == need.kind
            && self.members.keys().all(|name| KNOWN.contains(&name.as_str()))
            && self.has("actions", need.action)
            && match (self.member("identifier"), need.identifier) {
                (None, None) => true,
                (Some(Value::String(own)), Some(wanted)) => is_at_or_below(own, wanted),
                (Some(_) | None, _) => false,
            }
            && self.agrees("locations", need.location)
            && self.agrees("datatypes", need.datatype)
            && self.agrees("privileges", need.privilege)
    }

    fn agrees(&self, name: &str, wanted: Option<&str>) -> bool {
        match wanted {
            None => self.member(name).is_none(),
            Some(wanted) => self.has(name, wanted),
        }
    }

    fn has(&self, name: &str, wanted: &str) -> bool {
        let texts = self.member(name).and_then(Value::as_array);
        texts.is_some_and(|texts| {
            texts.iter().all(Value::is_string) && texts.iter().any(|text| text == wanted)
        })
    }
}

/// Whether `child` is `parent`, or below it by whole, plainly written segments: the rule by which the issuer narrows.
fn is_at_or_below(parent: &str, child: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
    let is_plain = |path: &str| {
        path.split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
    };
    // Behind a query or a fragment there are no segments.
    let open =
        !parent.is_empty() && !parent.ends_with('/') && !parent.contains(['?', '#', '*', '\\']);
    let below = child.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
    parent == child || (open && below.is_some_and(is_plain))
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        match members.get("type") {
            Some(Value::String(kind)) if !kind.is_empty() => {
                Ok(Self { kind: kind.clone(), members })
            }
            _ => Err(D::Error::custom("an entry without type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn detail(json: Value) -> Detail {
        serde_json::from_value(json).unwrap()
    }

    fn secret() -> Value {
        json!({
            "type": "k8s_object", "actions": ["get", "patch"],
            "identifier": "ns/ingress/secret/checkout-tls", "locations": ["https://k8s.example.org"],
        })
    }

    const NEED: Need<'static> = Need::new("k8s_object", "patch")
        .on("ns/ingress/secret/checkout-tls")
        .at("https://k8s.example.org");

    #[test]
    fn oauth_8_an_entry_covers_its_own_actions_on_its_own_resource() {
        assert!(detail(secret()).covers(&NEED));
        let open = detail(json!({"type": "t", "actions": ["a"]}));
        assert!(open.covers(&Need::new("t", "a")));
        let typed = detail(json!({"type": "t", "actions": ["a"], "datatypes": ["x", "y"]}));
        assert!(typed.covers(&Need::new("t", "a").with("y")));
    }

    #[test]
    fn oauth_8_whatever_differs_is_not_covered() {
        let id = "ns/ingress/secret/checkout-tls";
        let at = "https://k8s.example.org";
        for need in [
            Need::new("k8s", "patch").on(id).at(at),
            Need::new("k8s_object", "delete").on(id).at(at),
            Need::new("k8s_object", "PATCH").on(id).at(at),
            Need::new("k8s_object", "*").on(id).at(at),
            Need::new("k8s_object", "patch").on("ns/ingress/secret").at(at),
            Need::new("k8s_object", "patch").on("ns/ingress/secret/checkout-tls/").at(at),
            Need::new("k8s_object", "patch").on("ns/ingress/secret/../secret/checkout-tls").at(at),
            Need::new("k8s_object", "patch").on("*").at(at),
            Need::new("k8s_object", "patch").at(at),
            Need::new("k8s_object", "patch").on(id),
            Need::new("k8s_object", "patch").on(id).at("https://other.example.org"),
            NEED.with("anything"),
            NEED.privileged("admin"),
        ] {
            assert!(!detail(secret()).covers(&need), "{need:?}");
        }
    }

    #[test]
    fn oauth_8_an_identifier_covers_what_is_below_it_by_whole_segments() {
        for (own, wanted, covered) in [
            ("ns/ingress", "ns/ingress", true),
            ("ns/ingress", "ns/ingress/secret/checkout-tls", true),
            ("ns/ingress", "ns/ingress2", false),
            ("ns/ingress", "ns/ingress/", false),
            ("ns/ingress", "ns/ingress/../egress", false),
            ("ns/ingress", "ns/ingress/%2e%2e/egress", false),
            ("ns/ingress", "ns/ingress//x", false),
            ("ns/ingress/", "ns/ingress/x", false),
            ("", "/x", false),
            ("ns/*", "ns/*/x", false),
            ("https://a.example.org?x", "https://a.example.org?x/y", false),
        ] {
            let entry = detail(json!({"type": "t", "actions": ["a"], "identifier": own}));
            assert_eq!(entry.covers(&Need::new("t", "a").on(wanted)), covered, "{own} {wanted}");
        }
    }

    #[test]
    fn oauth_8_an_entry_that_is_not_understood_covers_nothing() {
        for (name, value) in [
            ("max_records", json!(1)),
            ("actions", json!("patch")),
            ("actions", json!(["patch", 1])),
            ("actions", json!(null)),
            ("identifier", json!(["ns/ingress/secret/checkout-tls"])),
            ("identifier", json!(null)),
            ("locations", json!("https://k8s.example.org")),
        ] {
            let mut entry = secret();
            entry[name] = value;
            assert!(!detail(entry.clone()).covers(&NEED), "{entry}");
        }
    }

    #[test]
    fn an_entry_has_a_type() {
        for json in [json!({}), json!({"type": 1}), json!({"type": ""}), json!([]), json!("t")] {
            assert!(serde_json::from_value::<Detail>(json.clone()).is_err(), "{json}");
        }
    }
}
