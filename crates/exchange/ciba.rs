//! The polling form of OpenID Client-Initiated Backchannel Authentication (CIBA Core 1.0), for clients that speak it: a
//! second way to begin a deferral.
//!
//! The person who is asked is an approver, and what is asked for is a playbook in `authorization_details`. Who answers is
//! not authenticated to the client: no ID token is issued, and `openid` in the scope means nothing. Deliberately absent:
//! ping and push, signed requests, user codes.

mod service;

use std::time::Duration;

use marque_intent::{Appeal, AskedOf, BindingMessage};
use serde_json::{Value, json};

use crate::{
    Asked, Deferred, OAuthError, OAuthErrorCode, Presented,
    client::ClientCredentials,
    details::IntentReference,
    form::Form,
    request::{invalid, parse_form},
};

/// A well-formed authentication request.
#[derive(Debug)]
pub struct BackchannelRequest {
    client: ClientCredentials,
    hint: Hint,
    message: Option<BindingMessage>,
    asked: Asked,
    intent: IntentReference,
    requested_expiry: Option<Duration>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hint {
    /// A group or user, by name.
    Login(AskedOf),
    /// Somebody named in a way that names nobody here: no token that this service issued or knows names an approver.
    Nobody,
}

/// A successful answer: how to collect the token.
#[derive(Debug)]
pub struct BackchannelResponse(Deferred);

/// What belongs to another form of CIBA. To ignore it would be to do something else than was asked.
const REFUSED: [(&str, &str); 2] = [
    ("request", "signed authentication requests are not taken"),
    ("client_notification_token", "the delivery mode is poll; nobody is notified"),
];

impl BackchannelRequest {
    /// Reads a request from its form body and what came beside it (CIBA Core 7.1).
    ///
    /// # Errors
    /// `invalid_request`, `invalid_client`, `invalid_scope`, `invalid_target`, `invalid_authorization_details` or
    /// `invalid_binding_message`.
    pub fn parse(body: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        let form = parse_form(body, &["audience", "resource"])?;
        let client = ClientCredentials::read(&form, presented)?;
        for (name, description) in REFUSED {
            if form.value(name).is_some() {
                return Err(invalid(description));
            }
        }
        let (asked, intent) = asked(&form)?;
        Ok(Self {
            client,
            hint: Hint::read(&form)?,
            message: message(&form)?,
            asked,
            intent,
            requested_expiry: requested_expiry(&form)?,
        })
    }

    /// What the approvers are to see; `None` where nobody is asked.
    fn appeal(&self) -> Option<Appeal> {
        match &self.hint {
            Hint::Login(asked) => {
                Some(Appeal { asked: asked.clone(), message: self.message.clone() })
            }
            Hint::Nobody => None,
        }
    }
}

impl Hint {
    /// Exactly one of the three hints.
    fn read(form: &Form<'_>) -> Result<Self, OAuthError> {
        let hints =
            ["login_hint", "login_hint_token", "id_token_hint"].map(|name| form.value(name));
        match hints {
            [Some(login), None, None] => Ok(login.parse().map_or(Self::Nobody, Self::Login)),
            [None, Some(_), None] | [None, None, Some(_)] => Ok(Self::Nobody),
            [None, None, None] => Err(invalid("login_hint is missing")),
            _ => Err(invalid("there is more than one hint of whom to ask")),
        }
    }
}

impl BackchannelResponse {
    /// The body of the answer. It holds the code: it is for the wire and for nothing else.
    pub fn expose_json(&self) -> Value {
        let Self(Deferred { code, expires_in, interval, intent }) = self;
        json!({
            "auth_req_id": code.expose_code(),
            "expires_in": expires_in.as_secs(),
            "interval": interval.as_secs(),
            "intent_id": intent.as_str(),
        })
    }
}

fn message(form: &Form<'_>) -> Result<Option<BindingMessage>, OAuthError> {
    let refused = || {
        OAuthError::new(
            OAuthErrorCode::InvalidBindingMessage,
            "a binding message has at most 64 printable ASCII characters",
        )
    };
    form.value("binding_message")
        .map(|text| text.parse().map_err(|error| refused().with_source(error)))
        .transpose()
}

/// Every CIBA client sends `openid`; there is no grant that it could be a scope of.
fn asked(form: &Form<'_>) -> Result<(Asked, IntentReference), OAuthError> {
    let (mut asked, intent) = Asked::read(form)?;
    if let Some(scopes) = &mut asked.scopes {
        scopes.retain(|scope| scope.as_str() != "openid");
    }
    asked.scopes = asked.scopes.filter(|scopes| !scopes.is_empty());
    Ok((asked, intent))
}

fn requested_expiry(form: &Form<'_>) -> Result<Option<Duration>, OAuthError> {
    let Some(text) = form.value("requested_expiry") else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(seconds) if digits && seconds > 0 => Ok(Some(Duration::from_secs(seconds))),
        Ok(_) | Err(_) => Err(invalid("requested_expiry is a positive number of seconds")),
    }
}

#[cfg(test)]
mod tests;
