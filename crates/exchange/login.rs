//! A person who logs in to approve: an ID token that answers one request of ours (OpenID Connect Core §3.1.3.7).
//!
//! It is verified as any ID token is, and then as the answer that was asked for: its nonce, when and how the person logged
//! in. Deliberately absent: the request, the code, sessions, and who may approve.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::oidc::{IdTokenError, OidcIssuer, OidcKeys, PersonVerifier};

/// How long after it was issued the answer to a login is taken.
const MAX_AGE: Duration = Duration::from_mins(5);

/// Verifies the answers of one provider.
#[derive(Debug)]
pub struct LoginVerifier {
    persons: PersonVerifier,
    leeway: Duration,
}

/// The provider.
#[derive(Debug, Clone)]
pub struct LoginRules {
    /// What its keys are called.
    pub name: String,
    /// Its issuer identifier.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// The claim that lists somebody's groups.
    pub groups_claim: Option<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Somebody who logged in just now, or before and was remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// By the provider's stable name.
    pub subject: String,
    /// The provider's groups.
    pub groups: BTreeSet<String>,
    /// When the person proved who they are; never later than now.
    pub at: Timestamp,
    /// The class of the login, in the provider's words (`acr`).
    pub acr: Option<String>,
    /// Its methods (`amr`, RFC 8176).
    pub amr: BTreeSet<String>,
    /// The person's mail address, where the provider has verified it.
    pub email: Option<String>,
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Why the answer to a login is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginRefusal {
    /// The keys of the provider are too old to believe.
    #[error("the provider's keys are missing or too old")]
    Keys,
    /// It is no ID token of the provider for us that is good now.
    #[error("it is no acceptable ID token")]
    IdToken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answers another request.
    #[error("it answers another request")]
    Nonce,
    /// It does not say when the person logged in, or says that they will.
    #[error("it does not say when the person logged in")]
    AuthTime,
    /// The person logged in longer ago than was asked for.
    #[error("the person logged in too long ago")]
    Stale,
}

impl LoginVerifier {
    /// For the answers of one provider.
    pub fn new(rules: LoginRules, keys: Arc<dyn OidcKeys>) -> Self {
        let LoginRules { name, issuer, client_id, groups_claim, leeway } = rules;
        let issuer = OidcIssuer {
            name,
            issuer,
            audiences: BTreeSet::from([client_id]),
            max_age: MAX_AGE,
            groups_claim,
            required_claims: BTreeMap::new(),
        };
        let persons = PersonVerifier::new(vec![issuer], keys, leeway);
        Self { persons, leeway }
    }

    /// Verifies the answer to the request with this nonce, which asked for a login no older than `max_age`.
    ///
    /// # Errors
    /// The first reason that was found.
    pub fn verify(
        &self,
        id_token: &str,
        nonce: &str,
        max_age: Option<Duration>,
        now: Timestamp,
    ) -> Result<LoggedIn, LoginRefusal> {
        let person = self.persons.verify(id_token, now).map_err(|error| match error {
            IdTokenError::StaleKeys(_) => LoginRefusal::Keys,
            other => LoginRefusal::IdToken(Box::new(other)),
        })?;
        if person.claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(LoginRefusal::Nonce);
        }
        let authentication = &person.authentication;
        // One from the future is within the leeway, or was refused before.
        let at = authentication.auth_time.map(|at| at.timestamp().min(now));
        let at = at.ok_or(LoginRefusal::AuthTime)?;
        let fresh = |most: Duration| {
            at.saturating_add(most.saturating_add(self.leeway)).is_ok_and(|until| now <= until)
        };
        if !max_age.is_none_or(fresh) {
            return Err(LoginRefusal::Stale);
        }
        let (acr, amr) = (authentication.acr.clone(), authentication.amr.iter().cloned().collect());
        let verified = person.claims.get("email_verified").and_then(Value::as_bool) == Some(true);
        let email = person.claims.get("email").and_then(Value::as_str).filter(|_| verified);
        let email = email.map(str::to_owned);
        Ok(LoggedIn { subject: person.sub, groups: person.groups, at, acr, amr, email })
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::START;
    use serde_json::json;

    use super::*;
    use crate::fixture::login::{LOGIN, Login};

    fn verifier(login: Login) -> LoginVerifier {
        let rules = LoginRules {
            name: "approver_login".to_owned(),
            issuer: LOGIN.to_owned(),
            client_id: "marque-prod".to_owned(),
            groups_claim: Some("groups".to_owned()),
            leeway: Duration::from_secs(5),
        };
        LoginVerifier::new(rules, Arc::new(login))
    }

    fn answer(members: &Value) -> Value {
        let mut claims = Login::alice();
        claims["nonce"] = "n-1".into();
        claims["auth_time"] = START.as_second().into();
        for (name, value) in members.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn verify(members: &Value, max_age: Option<u64>) -> Result<LoggedIn, LoginRefusal> {
        let login = Login::new();
        let token = login.sign(&answer(members));
        verifier(login).verify(&token, "n-1", max_age.map(Duration::from_secs), START)
    }

    #[test]
    fn an_answer_names_who_logged_in_when_and_how() {
        let alice = verify(&json!({}), Some(60)).unwrap();
        assert_eq!((alice.subject.as_str(), alice.at, alice.acr), ("alice", START, None));
        assert!(alice.groups.contains("sre") && alice.amr.is_empty());
        let how = json!({"acr": "two", "amr": ["pwd", "otp"], "email": "a@example.org", "email_verified": true});
        let alice = verify(&how, None).unwrap();
        assert_eq!((alice.acr.as_deref(), alice.amr.len()), (Some("two"), 2));
        assert_eq!(alice.email.as_deref(), Some("a@example.org"));
        for unverified in [
            json!({"email": "a@example.org"}),
            json!({"email": "a@example.org", "email_verified": "true"}),
        ] {
            assert_eq!(verify(&unverified, None).unwrap().email, None);
        }
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        assert!(matches!(verify(&json!({"nonce": "n-2"}), None), Err(LoginRefusal::Nonce)));
        assert!(matches!(verify(&json!({"nonce": null}), None), Err(LoginRefusal::Nonce)));
    }

    #[test]
    fn a_login_is_dated_and_no_older_than_was_asked_for() {
        let ago = |seconds: i64| json!({"auth_time": START.as_second() - seconds});
        assert!(verify(&ago(65), Some(60)).is_ok());
        assert!(matches!(verify(&ago(66), Some(60)), Err(LoginRefusal::Stale)));
        assert_eq!(verify(&ago(-4), Some(60)).unwrap().at, START);
        assert!(matches!(verify(&ago(-60), Some(60)), Err(LoginRefusal::IdToken(_))));
        let login = Login::new();
        let mut undated = answer(&json!({}));
        undated.as_object_mut().unwrap().remove("auth_time");
        let token = login.sign(&undated);
        let refused = verifier(login).verify(&token, "n-1", None, START);
        assert!(matches!(refused, Err(LoginRefusal::AuthTime)));
    }

    #[test]
    fn a_workloads_token_or_one_for_another_logs_nobody_in() {
        for members in [
            json!({"sub": "spiffe://prod.example.org/agent/a"}),
            json!({"aud": "another"}),
            json!({"iss": "https://other.example.org"}),
            json!({"exp": START.as_second()}),
            json!({"cnf": {"jkt": "x"}}),
        ] {
            let refused = verify(&members, None);
            assert!(matches!(refused, Err(LoginRefusal::IdToken(_))), "{members}");
        }
        let (login, other) = (Login::new(), Login::new());
        let token = other.sign(&answer(&json!({})));
        let refused = verifier(login).verify(&token, "n-1", None, START);
        assert!(matches!(refused, Err(LoginRefusal::IdToken(_))));
    }
}
