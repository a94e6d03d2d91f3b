//! Who is logged in: a random text that the person's browser or terminal has, and a row that its digest names.
//!
//! The row says what the login said, for as long as the document allows; every replica reads it. Absent: cookies as
//! headers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_exchange::LoggedIn;
use marque_intent::{Approver, Decider, Digest, GroupName, MfaEvidence, Person, Principal};
use marque_registry::ApproverLogin;
use marque_store::{Failure, KeptChange};
use serde::{Deserialize, Serialize};

use super::{Approvers, LoginError};

/// The cookie of a login that has begun. `__Host-`: secure, of this host alone, for every path (RFC 6265bis §4.1.3.2).
pub(crate) const LOGIN_COOKIE: &str = "__Host-marque-login";
/// The cookie of somebody who is logged in.
pub(crate) const SESSION_COOKIE: &str = "__Host-marque-approver";
/// What a terminal's session begins with, so that it is nothing else, and found where it should not be.
const TERMINAL_PREFIX: &str = "mqa_";
const KIND: &str = "approver_session";
/// The length of the random text: 32 bytes in Base64.
const ID_LEN: usize = 43;

/// What is kept of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionRow {
    /// The provider and our name there, so that no session outlives a change of either.
    pub(super) client_id: String,
    pub(super) person: Person,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) groups: BTreeSet<GroupName>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) known_as: BTreeSet<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mfa: Option<MfaEvidence>,
    pub(super) logged_in_at: Timestamp,
    pub(super) terminal: bool,
}

/// What somebody shows to say who they are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A browser's cookie.
    Cookie(String),
    /// A terminal's bearer token.
    Bearer(String),
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cookie(_) => "Cookie(..)",
            Self::Bearer(_) => "Bearer(..)",
        })
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    key: String,
    id: String,
    row: SessionRow,
    expires_at: Timestamp,
}

impl Session {
    /// Who.
    pub(crate) fn person(&self) -> &Person {
        &self.row.person
    }

    /// When it ends.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether a browser has it, which sends cookies wherever a page tells it to.
    pub(crate) fn is_of_a_browser(&self) -> bool {
        !self.row.terminal
    }
}

impl SessionRow {
    /// What a login says, in this trust domain's words.
    pub(super) fn of(
        logged_in: LoggedIn,
        settings: &ApproverLogin,
        known_as: impl Fn(&str) -> BTreeSet<Principal>,
        terminal: bool,
    ) -> Result<Self, LoginError> {
        let LoggedIn { subject, groups, at, acr, amr, email } = logged_in;
        let person =
            Person::new(settings.issuer(), &subject).map_err(|_no_person| LoginError::NoPerson)?;
        let mapped = groups.iter().filter_map(|theirs| settings.groups().get(theirs));
        let mut known_as = known_as(&subject);
        known_as.extend(email.and_then(|email| format!("email:{email}").parse().ok()));
        Ok(Self {
            client_id: settings.client_id().to_owned(),
            person,
            // Every name was checked with the document.
            groups: mapped.filter_map(|ours| ours.parse().ok()).collect(),
            known_as,
            mfa: MfaEvidence::of_login(acr.as_deref(), &amr, Some(at), settings.mfa_acr()),
            logged_in_at: at,
            terminal,
        })
    }
}

impl Approvers {
    /// Begins a session; the text that names it.
    pub(super) async fn begin_session(&self, row: &SessionRow) -> Result<String, LoginError> {
        let settings = self.provider()?.settings();
        let id = self.random_text::<32>().map_err(LoginError::unavailable)?;
        let until =
            self.now().saturating_add(settings.session()).map_err(LoginError::unavailable)?;
        let change =
            KeptChange::new(KIND, &key(&id), row, until).map_err(LoginError::unavailable)?;
        let event = Event::new(EventKind::ApproverLoggedIn, self.now())
            .with_actor(Approver::Person(row.person.clone()).to_string());
        // Nobody is logged in of whom the log does not say it.
        let kept = self.store.keep_on_record(vec![change], event).await;
        if !kept.map_err(LoginError::unavailable)? {
            return Err(LoginError::unavailable("the session's name is taken"));
        }
        Ok(if row.terminal { format!("{TERMINAL_PREFIX}{id}") } else { id })
    }

    /// The session that is shown, if it stands.
    pub(crate) async fn session(&self, shown: &Shown) -> Result<Option<Session>, Failure> {
        let Some(provider) = &self.provider else { return Ok(None) };
        let (id, terminal) = match shown {
            Shown::Cookie(id) => (Some(id.as_str()), false),
            Shown::Bearer(token) => (token.strip_prefix(TERMINAL_PREFIX), true),
        };
        let Some(id) = id.filter(|id| id.len() == ID_LEN) else { return Ok(None) };
        let key = key(id);
        let Some(kept) = self.store.kept(KIND, &key, self.now()).await? else { return Ok(None) };
        let row: SessionRow = kept.read()?;
        let settings = provider.settings();
        let stands = row.terminal == terminal
            && row.client_id == settings.client_id()
            && row.person.issuer() == settings.issuer();
        Ok(stands.then(|| Session { key, id: id.to_owned(), row, expires_at: kept.until }))
    }

    /// Ends a session. One that has ended is no error.
    pub(crate) async fn log_out(&self, session: &Session) -> Result<(), Failure> {
        if let Some(kept) = self.store.kept(KIND, &session.key, self.now()).await? {
            self.store.keep(vec![kept.taken_away()]).await?;
        }
        Ok(())
    }

    /// What a page of ours has to send along with a browser's session.
    pub(crate) fn csrf_token(&self, session: &Session) -> String {
        self.secret.tag(&format!("csrf/{}", session.id))
    }

    /// Whether this is that.
    pub(crate) fn is_csrf_token(&self, session: &Session, token: &str) -> bool {
        self.secret.is_tag(token, &format!("csrf/{}", session.id))
    }

    /// The person as the one who decides now. Factors that were shown too long ago were not shown.
    pub(crate) fn decider(&self, session: &Session) -> Decider {
        let SessionRow { person, groups, known_as, mfa, terminal, .. } = &session.row;
        let most = self.document.approver_login().map(|login| login.mfa_max_age());
        let fresh = |mfa: &&MfaEvidence| {
            most.and_then(|most| mfa.at.saturating_add(most).ok())
                .is_some_and(|until| self.now() < until)
        };
        self.desk.on_duty(Decider {
            approver: Approver::Person(person.clone()),
            groups: groups.clone(),
            known_as: self.namesakes.with(known_as.clone()),
            mfa: mfa.as_ref().filter(fresh).cloned(),
            client: Some(if *terminal { "terminal" } else { "browser" }.to_owned()),
        })
    }

    /// What the approvers' provider calls somebody, in the names that owners and delegators have.
    pub(super) fn names_of(&self, subject: &str) -> BTreeSet<Principal> {
        let provider = self.document.approver_login().map(ApproverLogin::issuer);
        let issuers = self.document.oidc_issuers().iter();
        issuers
            .filter(|issuer| Some(issuer.issuer()) == provider)
            .filter_map(|issuer| Principal::person(issuer.name(), subject).ok())
            .collect()
    }
}

fn key(id: &str) -> String {
    Digest::of(format!("marque/approver-session/v1|{id}").as_bytes()).to_string()
}
