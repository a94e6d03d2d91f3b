//! Templates: fixed text with values in `{{…}}`, filled in so that a value can never become structure.
//!
//! A value is percent-encoded but for `A-Z a-z 0-9 - . _ ~` (RFC 3986 section 2.3), is never empty, and never makes a
//! path segment `.` or `..`. Absent: expressions, conditions, anything that computes.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest template, and the longest text that comes of one, in bytes.
pub(crate) const MAX_RENDERED: usize = 2048;
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A template that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value(Variable),
}

/// What a template may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Variable {
    /// A parameter.
    Parameter(String),
    /// The agent's SPIFFE ID.
    AgentId,
    /// The agent's trust domain.
    AgentTrustDomain,
    /// The tenant's label.
    Tenant,
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => write!(f, "params.{name}"),
            Self::AgentId => f.write_str("agent.id"),
            Self::AgentTrustDomain => f.write_str("agent.trust_domain"),
            Self::Tenant => f.write_str("tenant"),
        }
    }
}

/// What kind of text a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An absolute URI: its scheme is literal.
    Uri,
    /// Any text.
    Text,
}

/// Where a value stands in a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the scheme's colon.
    Scheme,
    /// Between `//` and the next `/`: it chooses a host.
    Authority,
    /// After that.
    Rest,
}

/// As it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Value(variable) => write!(f, "{{{{{variable}}}}}"),
        })
    }
}

impl Template {
    pub(super) fn parse(text: &str, shape: Shape) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_RENDERED {
            return Err(format!("has 1 to {MAX_RENDERED} bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err("has printable ASCII characters only".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, next) = after.split_once("}}").ok_or("has `{{` without `}}`")?;
            push_literal(&mut parts, literal)?;
            parts.push(Part::Value(variable(name.trim())?));
            rest = next;
        }
        push_literal(&mut parts, rest)?;
        let template = Self { parts };
        match shape {
            Shape::Uri => template.check_uri()?,
            Shape::Text => {}
        }
        if template.render(|_| Some("x".to_owned())).is_err() {
            return Err("has an empty, `.` or `..` path segment".to_owned());
        }
        Ok(template)
    }

    /// The variables, each with its place.
    pub(super) fn variables(&self) -> Vec<(&Variable, Place)> {
        let mut before = String::new();
        let mut found = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => before.push_str(text),
                Part::Value(variable) => {
                    found.push((variable, place(&before)));
                    before.push('x');
                }
            }
        }
        found
    }

    /// The variable, where there is nothing else.
    pub(super) fn sole(&self) -> Option<&Variable> {
        match self.parts.as_slice() {
            [Part::Value(variable)] => Some(variable),
            _ => None,
        }
    }

    /// Fills in every value.
    pub(crate) fn render(
        &self,
        value: impl Fn(&Variable) -> Option<String>,
    ) -> Result<String, RenderError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Value(variable) => {
                    let text =
                        value(variable).ok_or_else(|| RenderError::Missing(variable.clone()))?;
                    if text.is_empty() {
                        return Err(RenderError::Empty(variable.clone()));
                    }
                    out.extend(utf8_percent_encode(&text, ENCODED));
                }
            }
        }
        if out.len() > MAX_RENDERED {
            return Err(RenderError::TooLong);
        }
        if out.split(['/', '?', '#']).any(|segment| segment == "." || segment == "..") {
            return Err(RenderError::DotSegment);
        }
        Ok(out)
    }

    fn check_uri(&self) -> Result<(), String> {
        let Some(Part::Literal(first)) = self.parts.first() else {
            return Err("must begin with a literal scheme".to_owned());
        };
        let (scheme, rest) = first.split_once(':').ok_or("must begin with a literal scheme")?;
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(fits) {
            return Err("must begin with a literal scheme in lower case".to_owned());
        }
        if rest.is_empty() && self.parts.len() == 1 {
            return Err("names nothing after its scheme".to_owned());
        }
        let forbidden = [' ', '#', '@', '"', '<', '>', '\\', '^', '`', '|', '*'];
        for part in &self.parts {
            if let Part::Literal(text) = part
                && let Some(bad) = text.chars().find(|c| forbidden.contains(c))
            {
                return Err(format!("has `{bad}`, which a URI here may not have"));
            }
        }
        Ok(())
    }
}

/// Why a template could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("`{0}` has no value")]
    Missing(Variable),
    #[error("`{0}` is empty")]
    Empty(Variable),
    #[error("the text that comes of it is longer than {MAX_RENDERED} bytes")]
    TooLong,
    #[error("a path segment would be `.` or `..`")]
    DotSegment,
}

fn push_literal(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.contains(['{', '}']) {
        return Err("has a single or unpaired brace; values stand in `{{…}}`".to_owned());
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

fn variable(name: &str) -> Result<Variable, String> {
    match name {
        "agent.id" => Ok(Variable::AgentId),
        "agent.trust_domain" => Ok(Variable::AgentTrustDomain),
        "tenant" => Ok(Variable::Tenant),
        other => match other.strip_prefix("params.") {
            Some(parameter) if !parameter.is_empty() => {
                Ok(Variable::Parameter(parameter.to_owned()))
            }
            _ => Err(format!(
                "asks for `{other}`; there are `params.<name>`, `agent.id`, `agent.trust_domain` and `tenant`"
            )),
        },
    }
}

fn place(before: &str) -> Place {
    match before.split_once(':') {
        None => Place::Scheme,
        Some((_, rest)) => match rest.strip_prefix("//") {
            Some(authority) if !authority.contains(['/', '?', '#']) => Place::Authority,
            // `scheme:/` could still become an authority by the value that follows.
            None if rest == "/" => Place::Authority,
            Some(_) | None => Place::Rest,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Result<Template, String> {
        Template::parse(text, Shape::Uri)
    }

    fn render(template: &Template, value: &str) -> Result<String, RenderError> {
        template.render(|_| Some(value.to_owned()))
    }

    #[test]
    fn a_value_never_becomes_structure() {
        let template = uri("k8s://eu-west-1/ns/ingress/secret/{{params.service}}-tls").unwrap();
        assert_eq!(
            render(&template, "shop").unwrap(),
            "k8s://eu-west-1/ns/ingress/secret/shop-tls"
        );
        assert_eq!(
            render(&template, "a/../../b?c#d&e=f%2f").unwrap(),
            "k8s://eu-west-1/ns/ingress/secret/a%2F..%2F..%2Fb%3Fc%23d%26e%3Df%252f-tls"
        );
        assert_eq!(
            render(&template, "{{tenant}}").unwrap(),
            "k8s://eu-west-1/ns/ingress/secret/%7B%7Btenant%7D%7D-tls"
        );
    }

    #[test]
    fn a_value_never_climbs_or_vanishes() {
        let template = uri("k8s://eu-west-1/ns/{{params.a}}/x").unwrap();
        assert_eq!(render(&template, ".."), Err(RenderError::DotSegment));
        assert_eq!(render(&template, "."), Err(RenderError::DotSegment));
        assert_eq!(
            render(&template, ""),
            Err(RenderError::Empty(Variable::Parameter("a".to_owned())))
        );
        let template = uri("k8s://eu-west-1/ns/.{{params.a}}/x").unwrap();
        assert_eq!(render(&template, "."), Err(RenderError::DotSegment));
    }

    #[test]
    fn a_text_that_grows_too_long_is_refused() {
        let template = uri("k8s:{{params.a}}").unwrap();
        assert!(render(&template, &"a".repeat(MAX_RENDERED - 4)).is_ok());
        assert_eq!(render(&template, &"a".repeat(MAX_RENDERED - 3)), Err(RenderError::TooLong));
    }

    #[test]
    fn the_place_of_a_value_is_known() {
        let places = |text: &str| {
            let template = uri(text).unwrap();
            template.variables().into_iter().map(|(_, place)| place).collect::<Vec<_>>()
        };
        assert_eq!(
            places("https://{{params.a}}.example.org/{{params.b}}"),
            [Place::Authority, Place::Rest]
        );
        assert_eq!(places("https://example.org{{params.a}}/x"), [Place::Authority]);
        assert_eq!(places("urn:x:{{params.a}}"), [Place::Rest]);
        assert_eq!(places("k8s:/{{params.a}}"), [Place::Authority]);
        assert_eq!(places("k8s:/x/{{params.a}}"), [Place::Rest]);
    }

    #[test]
    fn templates_that_are_none_are_refused() {
        for bad in [
            "",
            "no-scheme",
            "{{params.a}}://x",
            "HTTPS://example.org",
            "https:",
            "https://example.org/{{params.a",
            "https://example.org/params.a}}",
            "https://example.org/{params.a}",
            "https://example.org/{{params.}}",
            "https://example.org/{{grant.id}}",
            "https://example.org/{{params.a}}/../x",
            "https://example.org/a b",
            "https://example.org/*",
            "https://user@example.org/",
            "https://example.org/#x",
            "https://example.org/ä",
        ] {
            assert!(uri(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_number_of_segments_never_depends_on_the_value(value in any::<String>()) {
            let template = uri("k8s://eu-west-1/ns/{{params.a}}/secret?x={{params.a}}").unwrap();
            if let Ok(text) = render(&template, &value) {
                prop_assert_eq!(text.matches('/').count(), 5);
                prop_assert_eq!(text.matches('?').count(), 1);
                prop_assert!(text.is_ascii());
                let structural = text.contains(['#', '&', ' ', '@', '{', '*']);
                prop_assert!(!structural);
            }
        }

        #[test]
        fn different_values_never_make_the_same_text(one in any::<String>(), two in any::<String>()) {
            let template = uri("k8s://eu-west-1/{{params.a}}").unwrap();
            if let (Ok(first), Ok(second)) = (render(&template, &one), render(&template, &two)) {
                prop_assert_eq!(first == second, one == two);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z:/{}. *]{0,40}") {
            let _outcome = uri(&text);
        }
    }
}
