//! Token, introspection and revocation requests, parsed from form bodies into types (RFC 8693 §2.1, RFC 7662 §2.1, RFC 7009
//! §2.1).
//!
//! Everything that can be refused without a key or a store is refused here. Deliberately absent: verification of any
//! token; a request holds them unverified.

mod kinds;

use std::collections::BTreeSet;

use marque_intent::Scope;
use marque_jose::CompactToken;

use crate::{
    AnswerForm, Asked, OAuthError, OAuthErrorCode, Presented,
    chaining::{GRANT_TYPE_JWT_BEARER, redeem::AssertionRequest},
    client::ClientCredentials,
    deferral::{CompletionMode, GRANT_TYPE_CIBA, GRANT_TYPE_DEFERRED, PollRequest},
    details::{IntentReference, RequestDetails},
    form::{Form, FormError},
    txn::TransactionContext,
};

pub(crate) use kinds::{RequestedToken, SubjectTokenType};

/// The grant type of token exchange.
pub const GRANT_TYPE_TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of a client assertion that is a JWT-SVID.
pub const ASSERTION_TYPE_JWT_SPIFFE: &str =
    "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// The token type of a JWT, which is what a JWT-SVID is.
pub const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The token type of what is issued.
pub const TOKEN_TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The token type of a person's ID token.
pub const TOKEN_TYPE_ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
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
    /// A grant of another domain (RFC 7523 §2.1).
    Assertion(Box<AssertionRequest>),
    /// The collection of a deferred token, by either protocol.
    Poll(PollRequest),
}

/// A well-formed request for a token exchange.
#[derive(Debug)]
pub(crate) struct ExchangeRequest {
    pub(crate) subject_token: CompactToken,
    pub(crate) subject_token_type: SubjectTokenType,
    pub(crate) actor_token: Option<CompactToken>,
    pub(crate) requested: RequestedToken,
    pub(crate) asked: Asked,
    pub(crate) intent: IntentReference,
    pub(crate) completion: CompletionMode,
    /// What is said of the transaction that a transaction token is for.
    pub(crate) transaction: TransactionContext,
}

/// A well-formed request for introspection.
#[derive(Debug)]
pub struct IntrospectionRequest {
    pub(crate) client: ClientCredentials,
    pub(crate) token: CompactToken,
    pub(crate) form: AnswerForm,
}

/// A well-formed request for revocation.
#[derive(Debug)]
pub struct RevocationRequest {
    pub(crate) client: ClientCredentials,
    pub(crate) token: CompactToken,
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
            Some(GRANT_TYPE_JWT_BEARER) => Ok(Self {
                client: ClientCredentials::read(&form, presented)?,
                grant: GrantRequest::Assertion(Box::new(AssertionRequest::read(&form)?)),
            }),
            Some(GRANT_TYPE_DEFERRED) => Ok(Self {
                client: ClientCredentials::read(&form, presented)?,
                grant: GrantRequest::Poll(PollRequest::deferred(&form)),
            }),
            Some(GRANT_TYPE_CIBA) => Ok(Self {
                client: ClientCredentials::read(&form, presented)?,
                grant: GrantRequest::Poll(PollRequest::ciba(&form)),
            }),
            Some(_) => Err(OAuthError::new(
                OAuthErrorCode::UnsupportedGrantType,
                "this grant type is not offered",
            )),
        }
    }
}

impl Asked {
    /// What is asked for, and of which intent.
    pub(crate) fn read(form: &Form<'_>) -> Result<(Self, IntentReference), OAuthError> {
        let details = form.value("authorization_details").map(RequestDetails::parse).transpose()?;
        let RequestDetails { intent, narrower, rights } = details.unwrap_or_default();
        let asked = Self {
            audiences: targets(form, "audience", |_| true)?,
            resources: targets(form, "resource", is_absolute_uri)?,
            scopes: form.value("scope").map(parse_scopes).transpose()?,
            authorization_details: narrower,
            rights,
        };
        Ok((asked, intent))
    }
}

impl ExchangeRequest {
    fn read(form: &Form<'_>) -> Result<Self, OAuthError> {
        let (subject_token, subject_token_type) = subject(form)?;
        let requested = RequestedToken::of(form.value("requested_token_type"))
            .ok_or_else(|| invalid("tokens of the requested type are not issued here"))?;
        let (asked, intent) = Asked::read(form)?;
        Ok(Self {
            subject_token,
            subject_token_type,
            actor_token: actor(form)?,
            requested,
            asked,
            intent,
            completion: CompletionMode::read(form)?,
            transaction: match requested {
                RequestedToken::TransactionToken => TransactionContext::read(form)?,
                // Unknown parameters are ignored (RFC 6749 §3.2).
                _ => TransactionContext::default(),
            },
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
        Ok(Self { client, token: named_token(&form)?, form: AnswerForm::default() })
    }

    /// The form in which the answer is wanted.
    #[must_use]
    pub const fn form(&self) -> AnswerForm {
        self.form
    }

    /// Asks for the answer in this form.
    #[must_use]
    pub const fn answered_as(mut self, form: AnswerForm) -> Self {
        self.form = form;
        self
    }
}

impl RevocationRequest {
    /// Reads a request from its form body; see [`TokenRequest::parse`].
    ///
    /// # Errors
    /// `invalid_request` or `invalid_client`.
    pub fn parse(body: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        let form = parse_form(body, &[])?;
        let client = ClientCredentials::read(&form, presented)?;
        Ok(Self { client, token: named_token(&form)? })
    }
}

/// The token of a request about it. `token_type_hint` is for servers that cannot tell what a token is (RFC 7009 §2.1,
/// RFC 7662 §2.1), so whatever it says is ignored.
fn named_token(form: &Form<'_>) -> Result<CompactToken, OAuthError> {
    let token = form.value("token").ok_or_else(|| invalid("token is missing"))?;
    Ok(CompactToken::from_string(token.to_owned()))
}

pub(crate) fn parse_form<'a>(body: &'a [u8], repeatable: &[&str]) -> Result<Form<'a>, OAuthError> {
    Form::parse(body, repeatable).map_err(|error| {
        invalid(match error {
            FormError::TooLarge => "the form is too large",
            FormError::TooManyFields => "the form has too many fields",
            FormError::FieldTooLarge => "a field of the form is too large",
            FormError::Encoding => "the form is not properly encoded",
            FormError::Repeated => "a parameter is repeated",
        })
    })
}

fn subject(form: &Form<'_>) -> Result<(CompactToken, SubjectTokenType), OAuthError> {
    match (form.value("subject_token"), form.value("subject_token_type")) {
        (Some(token), Some(urn)) => match SubjectTokenType::of(urn) {
            Some(kind) => Ok((CompactToken::from_string(token.to_owned()), kind)),
            None => Err(invalid("subject tokens of this type are not accepted here")),
        },
        (Some(_), None) => Err(invalid("subject_token_type is missing")),
        (None, _) => Err(invalid("subject_token is missing")),
    }
}

/// An actor is an agent, and shows an SVID. RFC 8693 §2.1: the type with the token and never without it.
fn actor(form: &Form<'_>) -> Result<Option<CompactToken>, OAuthError> {
    match (form.value("actor_token"), form.value("actor_token_type")) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid("actor_token_type is missing")),
        (None, Some(_)) => Err(invalid("actor_token_type without actor_token")),
        (Some(token), Some(TOKEN_TYPE_JWT)) => {
            Ok(Some(CompactToken::from_string(token.to_owned())))
        }
        (Some(_), Some(_)) => Err(invalid("the actor token is an SVID, of token type jwt")),
    }
}

pub(crate) fn parse_scopes(text: &str) -> Result<BTreeSet<Scope>, OAuthError> {
    let refused = || {
        OAuthError::new(OAuthErrorCode::InvalidScope, "scope is not a list of plain scope tokens")
    };
    text.split(' ')
        .map(|scope| scope.parse().map_err(|error| refused().with_source(error)))
        .collect()
}

fn targets(
    form: &Form<'_>,
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

pub(crate) fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}

#[cfg(test)]
mod tests;
