//! `[[resource_servers]]`: who may be the audience of a token, and what such tokens are held to.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::SpiffeId;

use super::lifetimes::{MAX_ACCESS_TOKEN, optional_lifetime};
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// How many scopes, and how many audiences, one table may list.
pub const MAX_LISTED: usize = 64;

/// One of `[[resource_servers]]`: an audience, who may introspect tokens for it, and what it takes.
///
/// ```toml
/// [[resource_servers]]
/// audience = "https://gateway.prod.example.org/k8s"            # an absolute URI, unique
/// spiffe_ids = ["spiffe://prod.example.org/service/gateway"]   # who may introspect for it
/// revocation = "introspection"         # how it hears that a token ended: or "status_list", or "none"; may be absent, see below
/// binding = "optional"                 # may be absent; "required": tokens have to be bound to a key
/// scopes = ["secrets.update"]          # may be absent: whatever intents permit; at most 64
/// max_token_lifetime = "2m"            # may be absent; at most 1h
/// session_tags = "aws"                 # may be absent; tokens carry playbook and intent as session tags of AWS STS
/// ```
///
/// Where `revocation` is absent it is `introspection` if somebody may introspect for it, and `none` if nobody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    audience: String,
    spiffe_ids: Vec<SpiffeId>,
    revocation: Revocation,
    binding: TokenBinding,
    scopes: Option<BTreeSet<String>>,
    max_token_lifetime: Option<Lifetime>,
    aws_session_tags: bool,
    line: usize,
}

/// Whether a resource server takes tokens that are bound to no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenBinding {
    /// It does.
    #[default]
    Optional,
    /// It does not.
    Required,
}

/// How a resource server hears that a token ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It introspects.
    Introspection,
    /// It looks into the status list that the token names.
    StatusList,
    /// It looks at signatures alone: a token is good there until it expires.
    None,
}

impl ResourceServer {
    /// The audience: an absolute URI.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Who may introspect tokens for it.
    pub fn spiffe_ids(&self) -> &[SpiffeId] {
        &self.spiffe_ids
    }

    /// How it hears that a token ended before its time.
    pub const fn revocation(&self) -> Revocation {
        self.revocation
    }

    /// Whether tokens for it have to be bound to a key.
    pub const fn binding(&self) -> TokenBinding {
        self.binding
    }

    /// The only scopes that it takes. Text here; whoever issues tokens checks its form.
    pub const fn scopes(&self) -> Option<&BTreeSet<String>> {
        self.scopes.as_ref()
    }

    /// How long a token for it lives at most.
    pub fn max_token_lifetime(&self) -> Option<Duration> {
        self.max_token_lifetime.map(Lifetime::as_duration)
    }

    /// Whether tokens for it carry playbook and intent as session tags of AWS STS.
    pub const fn has_aws_session_tags(&self) -> bool {
        self.aws_session_tags
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

impl super::TrustDomainDocument {
    /// Whether the resource server of this audience hears that a token ended before its time; nobody knows it of one that
    /// the document does not name.
    pub fn hears_of_ends(&self, audience: &str) -> bool {
        let server = self.resource_servers.iter().find(|server| server.audience == audience);
        server.is_some_and(|server| server.revocation != Revocation::None)
    }
}

impl FromStr for Revocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "introspection" => Ok(Self::Introspection),
            "status_list" => Ok(Self::StatusList),
            "none" => Ok(Self::None),
            _ => Err("is none of `introspection`, `status_list` and `none`"),
        }
    }
}

impl FromStr for TokenBinding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err("is neither `required` nor `optional`"),
        }
    }
}

/// Whose session tags tokens carry.
struct SessionTags;

impl FromStr for SessionTags {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "aws" { Ok(Self) } else { Err("is not `aws`") }
    }
}

/// Reads `[[resource_servers]]`.
pub(super) fn read(tables: Vec<Fields<'_, '_>>, log: &mut Log<'_>) -> Vec<ResourceServer> {
    let mut audiences = BTreeSet::new();
    let read = tables.into_iter().filter_map(|table| resource_server(table, &mut audiences, log));
    read.collect()
}

fn resource_server(
    mut table: Fields<'_, '_>,
    audiences: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<ResourceServer> {
    let begins = table.line();
    let audience: Option<Lined<Audience>> = table.lined_text("audience", log);
    let spiffe_ids: Vec<SpiffeId> = table.texts("spiffe_ids", log);
    let revocation: Option<Lined<Revocation>> = table.optional_lined_text("revocation", log);
    let binding: Option<TokenBinding> = table.optional_text("binding", log);
    let scopes = listed::<Text>(&mut table, "scopes", log);
    let max_token_lifetime = max_token_lifetime(&mut table, log);
    let session_tags: Option<SessionTags> = table.optional_text("session_tags", log);
    table.finish(log);
    let Lined { value: Audience(audience), line } = audience?;
    if !audiences.insert(audience.clone()) {
        log.at(line, "`audience` in [resource_servers] is used twice");
        return None;
    }
    let revocation = match revocation {
        Some(Lined { value: Revocation::Introspection, line }) if spiffe_ids.is_empty() => {
            let message = "`revocation` in [resource_servers] is `introspection`, and `spiffe_ids` lets nobody introspect";
            log.at(line, message);
            return None;
        }
        Some(said) => said.value,
        None if spiffe_ids.is_empty() => Revocation::None,
        None => Revocation::Introspection,
    };
    let (binding, line) = (binding.unwrap_or_default(), begins);
    let aws_session_tags = session_tags.is_some();
    Some(ResourceServer {
        audience,
        spiffe_ids,
        revocation,
        binding,
        scopes,
        max_token_lifetime,
        aws_session_tags,
        line,
    })
}

/// `max_token_lifetime`, which may be absent.
pub(super) fn max_token_lifetime(
    table: &mut Fields<'_, '_>,
    log: &mut Log<'_>,
) -> Option<Lifetime> {
    optional_lifetime(table, "max_token_lifetime", MAX_ACCESS_TOKEN, log).map(|field| field.value)
}

/// A list of different texts; `None` where there is none, which is not the same as an empty one.
pub(super) fn listed<T>(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    log: &mut Log<'_>,
) -> Option<BTreeSet<String>>
where
    T: FromStr<Err: Display> + Into<String>,
{
    if !table.has(key) {
        return None;
    }
    let (line, name) = (table.line(), table.name().to_owned());
    let mut set = BTreeSet::new();
    for text in table.texts::<T>(key, log).into_iter().map(Into::into) {
        if set.contains(&text) {
            log.at(line, format!("`{key}` in {name}: `{text}` is there twice"));
        }
        set.insert(text);
    }
    if set.len() > MAX_LISTED {
        log.at(line, format!("`{key}` in {name} has more than {MAX_LISTED} entries"));
    }
    Some(set)
}

/// A text whose form others check.
pub(super) struct Text(String);

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err("is not a text of 1 to 256 bytes on one line");
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<Text> for String {
    fn from(Text(text): Text) -> Self {
        text
    }
}

/// An absolute URI, as far as an audience needs it: a scheme, a colon, and visible ASCII without a
/// fragment (RFC 8707 2, RFC 3986 4.3). Compared as text, never normalised.
pub(super) struct Audience(pub(super) String);

impl FromStr for Audience {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REFUSED: &str = "is not an absolute URI without a fragment";
        let (scheme, rest) = text.split_once(':').ok_or(REFUSED)?;
        let scheme_is_good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let rest_is_good = !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b));
        if text.len() > 2048 || !scheme_is_good || !rest_is_good {
            return Err(REFUSED);
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<Audience> for String {
    fn from(Audience(audience): Audience) -> Self {
        audience
    }
}
