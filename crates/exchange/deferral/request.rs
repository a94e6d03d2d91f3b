//! What clients send about deferrals: whether they accept one, and polls.

use std::collections::BTreeSet;

use super::{DeferralCode, DeferralKind};
use crate::{OAuthError, form::Form, request::invalid};

/// Whether the client accepts a deferred answer (draft-ietf-oauth-deferred-token-response-01, `completion_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompletionMode {
    /// It does not: it wants a token or a refusal.
    Immediate,
    /// It does.
    Deferred,
}

/// The one value of `completion_mode` that means something here; others are ignored, as the draft wants it.
const DEFERRED: &str = "deferred";
/// What a poll must not carry: it neither begins a request nor changes one.
const NOT_IN_A_POLL: [&str; 14] = [
    "completion_mode",
    "client_notification_token",
    "scope",
    "audience",
    "resource",
    "authorization_details",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "assertion",
    "login_hint",
    "binding_message",
];

/// A poll.
#[derive(Debug)]
pub(crate) struct PollRequest {
    pub(crate) kind: DeferralKind,
    pub(crate) shown: Shown,
}

/// What a poll shows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// What may be a code.
    Code(DeferralCode),
    /// What cannot be one: it reads like any other unknown one, once the client is known.
    NoCode,
    /// It is malformed, and told so where such polls are taken at all.
    Malformed(&'static str),
}

impl CompletionMode {
    pub(crate) fn read(form: &Form<'_>) -> Result<Self, OAuthError> {
        let Some(text) = form.value("completion_mode") else { return Ok(Self::Immediate) };
        let mut seen = BTreeSet::new();
        if !text.split(' ').filter(|value| !value.is_empty()).all(|value| seen.insert(value)) {
            return Err(invalid("completion_mode repeats a value"));
        }
        Ok(if seen.contains(DEFERRED) { Self::Deferred } else { Self::Immediate })
    }
}

impl PollRequest {
    /// A poll with a deferral code.
    pub(crate) fn deferred(form: &Form<'_>) -> Self {
        let shown = Shown::read(form, "deferral_code", "deferral_code is missing");
        Self { kind: DeferralKind::DeferredTokenResponse, shown }
    }

    /// A poll with an authentication request id (CIBA Core 10.1).
    pub(crate) fn ciba(form: &Form<'_>) -> Self {
        let shown = Shown::read(form, "auth_req_id", "auth_req_id is missing");
        Self { kind: DeferralKind::Ciba, shown }
    }
}

impl Shown {
    fn read(form: &Form<'_>, name: &'static str, missing: &'static str) -> Self {
        if NOT_IN_A_POLL.into_iter().any(|name| form.value(name).is_some()) {
            return Self::Malformed("a poll carries the code and the client's credentials alone");
        }
        match form.value(name) {
            Some(text) => DeferralCode::shown(text).map_or(Self::NoCode, Self::Code),
            None => Self::Malformed(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OAuthErrorCode;

    fn form(body: &str) -> Form<'_> {
        Form::parse(body.as_bytes(), &["audience", "resource"]).unwrap()
    }

    #[test]
    fn oauth_18_1_only_completion_mode_deferred_accepts_a_deferral() {
        for (mode, expected) in [
            ("", CompletionMode::Immediate),
            ("completion_mode=", CompletionMode::Immediate),
            ("completion_mode=immediate", CompletionMode::Immediate),
            ("completion_mode=Deferred", CompletionMode::Immediate),
            ("completion_mode=deferredly", CompletionMode::Immediate),
            ("completion_mode=deferred", CompletionMode::Deferred),
            ("completion_mode=immediate+deferred", CompletionMode::Deferred),
        ] {
            assert_eq!(CompletionMode::read(&form(mode)).unwrap(), expected, "{mode}");
        }
        let twice = CompletionMode::read(&form("completion_mode=deferred+deferred")).unwrap_err();
        assert_eq!(twice.code(), OAuthErrorCode::InvalidRequest);
    }

    #[test]
    fn oauth_18_a_poll_changes_nothing_of_what_was_asked() {
        let code = "A".repeat(43);
        let poll = format!("deferral_code={code}&client_assertion=x&client_id=y");
        let shown = |body: &str| PollRequest::deferred(&form(body)).shown;
        assert!(matches!(shown(&poll), Shown::Code(_)));
        for name in NOT_IN_A_POLL {
            assert!(matches!(shown(&format!("{poll}&{name}=x")), Shown::Malformed(_)), "{name}");
        }
        for missing in ["", "deferral_code=", "auth_req_id=x"] {
            assert!(matches!(shown(missing), Shown::Malformed(_)), "{missing}");
        }
        // Whatever cannot be a code is an unknown one, and told so only to a client that is known.
        assert!(matches!(PollRequest::ciba(&form("auth_req_id=x")).shown, Shown::NoCode));
    }
}
