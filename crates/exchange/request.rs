//! Token and introspection requests, parsed from form bodies into types (RFC 8693 §2.1, RFC 7662 §2.1).
//!
//! Everything that can be refused without a key or a store is refused here. Deliberately absent: verification of any
//! token; a request holds them unverified.

use std::collections::BTreeSet;

use marque_intent::{IntentId, Scope};
use marque_jose::CompactToken;

use crate::{
    Challenge, OAuthError, OAuthErrorCode, Presented,
    details::parse_intent_reference,
    form::{Form, FormError},
};

/// The one grant type.
pub const GRANT_TYPE_TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of a client assertion that is a JWT-SVID.
pub const ASSERTION_TYPE_JWT_SPIFFE: &str =
    "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// The token type of a JWT, which is what a JWT-SVID is.
pub const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The token type of what is issued.
pub const TOKEN_TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The token type of a transaction token.
pub const TOKEN_TYPE_TXN_TOKEN: &str = "urn:ietf:params:oauth:token-type:txn_token";
/// The token type of an identity assertion authorization grant.
pub const TOKEN_TYPE_ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// The longest `audience` or `resource`, in bytes.
pub const MAX_TARGET_BYTES: usize = 2048;

/// A well-formed request to the token endpoint.
#[derive(Debug)]
pub struct TokenRequest {
    pub(crate) client: ClientCredentials,
    pub(crate) grant: GrantRequest,
}

/// What is asked for, by `grant_type`.
#[derive(Debug)]
pub(crate) enum GrantRequest {
    /// RFC 8693.
    Exchange(Box<ExchangeRequest>),
}

/// A well-formed request for a token exchange.
#[derive(Debug)]
pub(crate) struct ExchangeRequest {
    pub(crate) subject_token: CompactToken,
    pub(crate) audiences: BTreeSet<String>,
    pub(crate) resources: BTreeSet<String>,
    /// `None` when the parameter was absent: then everything that was granted is meant.
    pub(crate) scopes: Option<BTreeSet<Scope>>,
    pub(crate) intent: IntentId,
}

/// A well-formed request for introspection.
#[derive(Debug)]
pub struct IntrospectionRequest {
    pub(crate) client: ClientCredentials,
    pub(crate) token: CompactToken,
}

/// How the client authenticates: by one JWT-SVID, and by nothing else.
#[derive(Debug)]
pub(crate) struct ClientCredentials {
    pub(crate) assertion: CompactToken,
    pub(crate) client_id: Option<String>,
}

impl TokenRequest {
    /// Reads a request from its form body and what came beside it.
    ///
    /// # Errors
    /// Any code but `access_denied`, by what is wrong.
    pub fn parse(body: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        let form = parse_form(body, &["audience", "resource"])?;
        match form.value("grant_type") {
            None => Err(invalid("grant_type is missing")),
            Some(GRANT_TYPE_TOKEN_EXCHANGE) => Ok(Self {
                client: ClientCredentials::read(&form, presented)?,
                grant: GrantRequest::Exchange(Box::new(ExchangeRequest::read(&form)?)),
            }),
            Some(_) => Err(OAuthError::new(
                OAuthErrorCode::UnsupportedGrantType,
                "the only grant type here is token exchange",
            )),
        }
    }
}

impl ExchangeRequest {
    fn read(form: &Form) -> Result<Self, OAuthError> {
        let subject_token = subject(form)?;
        refuse_actor(form)?;
        match form.value("requested_token_type") {
            None | Some(TOKEN_TYPE_ACCESS_TOKEN) => {}
            Some(_) => return Err(invalid("only access tokens are issued here")),
        }
        let details = form.value("authorization_details");
        let details =
            details.ok_or_else(|| invalid("authorization_details must name an approved intent"))?;
        Ok(Self {
            subject_token,
            audiences: targets(form, "audience", |_| true)?,
            resources: targets(form, "resource", is_absolute_uri)?,
            scopes: form.value("scope").map(parse_scopes).transpose()?,
            intent: parse_intent_reference(details)?,
        })
    }
}

impl IntrospectionRequest {
    /// Reads a request from its form body; see [`TokenRequest::parse`].
    ///
    /// # Errors
    /// `invalid_request` or `invalid_client`.
    pub fn parse(body: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        let form = parse_form(body, &[])?;
        let client = ClientCredentials::read(&form, presented)?;
        let token = form.value("token").ok_or_else(|| invalid("token is missing"))?;
        Ok(Self { client, token: CompactToken::from_string(token.to_owned()) })
    }
}

impl ClientCredentials {
    /// Exactly one method (RFC 6749 §2.3), and only the one that we know.
    fn read(form: &Form, presented: &Presented) -> Result<Self, OAuthError> {
        let assertion = form.value("client_assertion");
        let assertion_type = form.value("client_assertion_type");
        let by_assertion = assertion.is_some() || assertion_type.is_some();
        let by_secret = form.value("client_secret").is_some();
        if [by_assertion, by_secret, presented.authorization.is_present()]
            .into_iter()
            .filter(|used| *used)
            .count()
            > 1
        {
            return Err(invalid("a client authenticates by one method alone"));
        }
        if presented.authorization.is_present() {
            let header = presented.authorization.one().unwrap_or_default();
            let basic = header.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "));
            let challenge = if basic { Challenge::Basic } else { Challenge::Bearer };
            return Err(unauthenticated("clients authenticate by a JWT-SVID in client_assertion")
                .with_challenge(challenge));
        }
        match (assertion, assertion_type) {
            (Some(assertion), Some(ASSERTION_TYPE_JWT_SPIFFE)) => Ok(Self {
                assertion: CompactToken::from_string(assertion.to_owned()),
                client_id: form.value("client_id").map(str::to_owned),
            }),
            (Some(_), Some(_)) => {
                Err(unauthenticated("the only client assertions here are of type jwt-spiffe"))
            }
            (Some(_), None) => Err(invalid("client_assertion_type is missing")),
            (None, Some(_)) => Err(invalid("client_assertion is missing")),
            (None, None) => {
                Err(unauthenticated("clients authenticate by a JWT-SVID in client_assertion"))
            }
        }
    }
}

fn parse_form(body: &[u8], repeatable: &[&str]) -> Result<Form, OAuthError> {
    Form::parse(body, repeatable).map_err(|error| {
        invalid(match error {
            FormError::TooLarge => "the form is too large",
            FormError::TooManyFields => "the form has too many fields",
            FormError::Encoding => "the form is not properly encoded",
            FormError::Repeated => "a parameter is repeated",
        })
    })
}

fn subject(form: &Form) -> Result<CompactToken, OAuthError> {
    match (form.value("subject_token"), form.value("subject_token_type")) {
        (Some(token), Some(TOKEN_TYPE_JWT)) => Ok(CompactToken::from_string(token.to_owned())),
        (Some(_), Some(_)) => Err(invalid("the subject token is a JWT-SVID, of token type jwt")),
        (Some(_), None) => Err(invalid("subject_token_type is missing")),
        (None, _) => Err(invalid("subject_token is missing")),
    }
}

fn refuse_actor(form: &Form) -> Result<(), OAuthError> {
    match (form.value("actor_token"), form.value("actor_token_type")) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(invalid("actor_token_type is missing")),
        (None, Some(_)) => Err(invalid("actor_token_type without actor_token")),
        (Some(_), Some(_)) => {
            Err(invalid("actor tokens are not accepted: an agent exchanges its own SVID"))
        }
    }
}

fn parse_scopes(text: &str) -> Result<BTreeSet<Scope>, OAuthError> {
    let refused = || {
        OAuthError::new(OAuthErrorCode::InvalidScope, "scope is not a list of plain scope tokens")
    };
    text.split(' ')
        .map(|scope| scope.parse().map_err(|error| refused().with_source(error)))
        .collect()
}

fn targets(
    form: &Form,
    name: &'static str,
    fits: fn(&str) -> bool,
) -> Result<BTreeSet<String>, OAuthError> {
    let values: BTreeSet<String> = form.values(name).map(str::to_owned).collect();
    let plain = |value: &String| {
        value.len() <= MAX_TARGET_BYTES && !value.chars().any(char::is_control) && fits(value)
    };
    if values.iter().all(plain) {
        Ok(values)
    } else {
        Err(OAuthError::new(
            OAuthErrorCode::InvalidTarget,
            "a resource is an absolute URI without fragment",
        ))
    }
}

/// RFC 8707 §2: an absolute URI without a fragment. User info is refused as well: it only ever hides the host.
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?']).next());
    let plain = |c: char| {
        c.is_ascii_graphic()
            && !matches!(c, '#' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    scheme_fits
        && !rest.is_empty()
        && rest.chars().all(plain)
        && authority.is_none_or(|authority| !authority.is_empty() && !authority.contains('@'))
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}

fn unauthenticated(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidClient, description)
}

#[cfg(test)]
mod tests;
