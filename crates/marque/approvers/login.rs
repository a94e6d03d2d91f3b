//! A login from its first redirect to a session (RFC 9700 §2.1, OpenID Connect Core §3.1).
//!
//! What was asked is sealed into a cookie of the browser that asked, so another browser cannot finish it; its `state` is
//! remembered when it is used, so that nobody finishes it twice. A terminal gets its session over a loopback redirect and a
//! code of its own (RFC 8252 §7.3, RFC 7636), after the person has seen and confirmed it. Absent: headers and pages.

use std::time::Duration;

use futures::future::BoxFuture;
use marque_exchange::{Freshness, ProofKind, ReplayKey, ReplayStore as _, SingleUse};
use marque_jose::{Thumbprint, base64url, sha256};
use marque_store::KeptChange;
use serde::{Deserialize, Serialize};

use super::Approvers;
use super::provider::{Attempt, CodeError, Provider};
use super::session::SessionRow;

/// How long somebody may take to log in.
const LOGIN_TIME: Duration = Duration::from_mins(10);
/// How long a terminal may take to collect what it waits for, from the login on.
const TERMINAL_TIME: Duration = Duration::from_mins(2);
const LOGIN: &str = "login";
const TERMINAL: &str = "terminal";
const CODES: &str = "approver_code";
/// The longest `code`, `state` and such.
pub(crate) const MAX_PARAMETER: usize = 2048;

/// A terminal that waits for a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TerminalDoor {
    /// The port on the loopback address at which it listens.
    pub(crate) port: u16,
    /// What proves that it is the one: the digest of its secret (RFC 7636, `S256`).
    pub(crate) challenge: String,
    /// What it wants back.
    pub(crate) state: String,
}

/// A login that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the browser goes.
    pub(crate) url: String,
    /// What it carries meanwhile.
    pub(crate) cookie: String,
}

/// What the provider sent a browser back with.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
}

/// A login that is done.
#[derive(Debug)]
pub(crate) enum Entered {
    /// A browser has a session.
    Browser {
        /// What names it.
        session: String,
    },
    /// A terminal waits for the person's word.
    Terminal {
        /// What the page sends back when they give it.
        sealed: String,
        /// What the terminal shows, too.
        check: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Confirmation {
    row: SessionRow,
    door: TerminalDoor,
    id: String,
}

#[derive(Serialize, Deserialize)]
struct CodeRow {
    row: SessionRow,
    challenge: String,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The trust domain has no approver login.
    #[error("there is no approver login")]
    NotOffered,
    /// The browser has not begun this login, or too long ago.
    #[error("the login was not begun here, or too long ago")]
    NotBegun,
    /// The answer is not to what was asked.
    #[error("the answer is to another login")]
    State,
    /// The answer came once before.
    #[error("the answer was used before")]
    Replayed,
    /// The answer is of another provider (RFC 9207).
    #[error("the answer is of another provider")]
    Issuer,
    /// The provider let nobody in.
    #[error("the provider refused")]
    Refused,
    /// What came is no answer.
    #[error("the answer is malformed")]
    Malformed,
    /// The code was worth nothing.
    #[error("the code was not accepted")]
    Code(#[source] CodeErrorInside),
    /// What logged in is no person.
    #[error("no person logged in")]
    NoPerson,
    /// Too many logins at once.
    #[error("too many logins at once")]
    Busy,
    /// The provider or the store did not answer.
    #[error("the login cannot be finished now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What was wrong with a code.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct CodeErrorInside(CodeError);

impl LoginError {
    pub(super) fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotOffered => "login_not_offered",
            Self::NotBegun => "login_not_begun",
            Self::State => "login_state_mismatch",
            Self::Replayed => "login_replayed",
            Self::Issuer => "login_issuer_mismatch",
            Self::Refused => "login_refused",
            Self::Malformed => "login_malformed",
            Self::Code(_) => "login_code_refused",
            Self::NoPerson => "login_no_person",
            Self::Busy => "login_busy",
            Self::Unavailable(_) => "login_unavailable",
        }
    }
}

impl Approvers {
    pub(super) fn provider(&self) -> Result<&Provider, LoginError> {
        self.provider.as_ref().ok_or(LoginError::NotOffered)
    }

    /// Begins a login of one browser.
    pub(crate) fn begin_login(
        &self,
        fresh: bool,
        terminal: Option<TerminalDoor>,
    ) -> Result<Begun, LoginError> {
        let provider = self.provider()?;
        let random = || self.random_text::<32>().map_err(LoginError::unavailable);
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let attempt = Attempt { state, nonce, verifier, fresh, terminal };
        let url = provider.authorization_url(&attempt);
        let cookie = self.secret.seal(LOGIN, &attempt, self.now(), &*self.random);
        Ok(Begun { url, cookie: cookie.map_err(LoginError::unavailable)? })
    }

    /// Finishes the login of the browser with this cookie. Refusals are on record.
    pub(crate) fn finish_login<'a>(
        &'a self,
        cookie: Option<&'a str>,
        answered: Answered,
    ) -> BoxFuture<'a, Result<Entered, LoginError>> {
        Box::pin(self.entered(cookie, answered))
    }

    async fn entered(
        &self,
        cookie: Option<&str>,
        answered: Answered,
    ) -> Result<Entered, LoginError> {
        let entered = self.enter(cookie, answered).await;
        if let Err(error) = &entered {
            let code = error.code();
            tracing::info!(error = error as &dyn std::error::Error, code, "a login was refused");
            // What is not even of a browser that asked is anybody's noise.
            if !matches!(error, LoginError::NotOffered | LoginError::NotBegun | LoginError::Busy) {
                self.record_refusal(code).await;
            }
        }
        entered
    }

    async fn enter(&self, cookie: Option<&str>, answered: Answered) -> Result<Entered, LoginError> {
        let provider = self.provider()?;
        let _place = self.places.try_acquire().map_err(|_none| LoginError::Busy)?;
        let Answered { code, state, iss, error } = answered;
        let now = self.now();
        let attempt: Attempt = cookie
            .and_then(|cookie| self.secret.open(LOGIN, cookie, LOGIN_TIME, now))
            .ok_or(LoginError::NotBegun)?;
        if state.as_deref() != Some(attempt.state.as_str()) {
            return Err(LoginError::State);
        }
        match iss.as_deref() {
            Some(iss) if iss == provider.settings().issuer() => {}
            None if !provider.settings().iss_parameter() => {}
            Some(_) | None => return Err(LoginError::Issuer),
        }
        self.use_up(&attempt.state).await?;
        if error.is_some() {
            return Err(LoginError::Refused);
        }
        let code = code.ok_or(LoginError::Malformed)?;
        let logged_in =
            provider.redeem(code, attempt.clone(), now).await.map_err(|error| match error {
                CodeError::Unavailable(error) => LoginError::Unavailable(error),
                CodeError::IdToken(marque_exchange::LoginRefusal::Keys) => {
                    LoginError::unavailable("the provider's keys are missing or too old")
                }
                other => LoginError::Code(CodeErrorInside(other)),
            })?;
        let names = |subject: &str| self.names_of(subject);
        let terminal = attempt.terminal.is_some();
        let row = SessionRow::of(logged_in, provider.settings(), names, terminal)?;
        match attempt.terminal {
            None => Ok(Entered::Browser { session: self.begin_session(&row).await? }),
            Some(door) => {
                let check = check_of(&door.challenge);
                let id = attempt.state;
                let confirmation = Confirmation { row, door, id };
                let sealed = self.secret.seal(TERMINAL, &confirmation, now, &*self.random);
                let sealed = sealed.map_err(LoginError::unavailable)?;
                Ok(Entered::Terminal { sealed, check })
            }
        }
    }

    /// The person has confirmed: where their browser takes the terminal's code.
    pub(crate) async fn confirm_terminal(&self, sealed: &str) -> Result<String, LoginError> {
        self.provider()?;
        let now = self.now();
        let confirmation: Option<Confirmation> =
            self.secret.open(TERMINAL, sealed, TERMINAL_TIME, now);
        let Confirmation { row, door, id } = confirmation.ok_or(LoginError::NotBegun)?;
        self.use_up(&format!("confirmed/{id}")).await?;
        let code = self.random_text::<32>().map_err(LoginError::unavailable)?;
        let until = now.saturating_add(TERMINAL_TIME).map_err(LoginError::unavailable)?;
        let kept = CodeRow { row, challenge: door.challenge };
        let change = KeptChange::new(CODES, &digest(&code), &kept, until);
        let change = change.map_err(LoginError::unavailable)?;
        if !self.store.keep(vec![change]).await.map_err(LoginError::unavailable)? {
            return Err(LoginError::unavailable("the code is taken"));
        }
        Ok(format!("http://127.0.0.1:{}/?code={code}&state={}", door.port, door.state))
    }

    /// A terminal redeems its code, once.
    pub(crate) async fn terminal_session(
        &self,
        code: &str,
        verifier: &str,
    ) -> Result<String, LoginError> {
        self.provider()?;
        let found = self.store.kept(CODES, &digest(code), self.now()).await;
        let found = found.map_err(LoginError::unavailable)?.ok_or(LoginError::State)?;
        // Gone before anything is said of it: a code is worth one try.
        if !self.store.keep(vec![found.taken_away()]).await.map_err(LoginError::unavailable)? {
            return Err(LoginError::Replayed);
        }
        let CodeRow { row, challenge } = found.read().map_err(LoginError::unavailable)?;
        if base64url::encode(sha256(verifier.as_bytes())) != challenge {
            return Err(LoginError::State);
        }
        self.begin_session(&row).await
    }

    /// Remembers that a state was used; it is for one login of one provider.
    async fn use_up(&self, state: &str) -> Result<(), LoginError> {
        let holder = Thumbprint::new(sha256(self.provider()?.settings().issuer().as_bytes()));
        let until = self.now().saturating_add(LOGIN_TIME).map_err(LoginError::unavailable)?;
        let key = ReplayKey::new(ProofKind::LoginState, &holder, state);
        match self.store.remember(vec![SingleUse { key, until }]).await {
            Ok(Freshness::Fresh) => Ok(()),
            Ok(Freshness::Replayed) => Err(LoginError::Replayed),
            Err(error) => Err(LoginError::unavailable(error)),
        }
    }
}

/// What a person compares on the page and in the terminal.
pub(crate) fn check_of(challenge: &str) -> String {
    let hex = hex::encode(sha256(challenge.as_bytes()));
    let (one, two) = (hex.get(0..4).unwrap_or_default(), hex.get(4..8).unwrap_or_default());
    format!("{one}-{two}").to_uppercase()
}

fn digest(code: &str) -> String {
    hex::encode(sha256(format!("marque/approver-code/v1|{code}").as_bytes()))
}
