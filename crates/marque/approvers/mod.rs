//! Approvers: the desk at which all of them decide, and those who are no local operators: people who log in at the trust
//! domain's provider, and people whose word a signed callback passes on.
//!
//! A login becomes a session, a session becomes a [`marque_intent::Decider`], and from there on the rules are `intent`'s as
//! for anybody. No workload gets here: nothing takes an SVID or an access token, and a person is never built from a SPIFFE
//! ID. Absent: HTTP, pages, and which approval counts.

mod callback;
mod desk;
mod lifts;
mod login;
mod looks;
mod names;
mod provider;
mod refusals;
mod sealed;
mod secrets;
mod session;
mod told;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_exchange::IssuerUrl;
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Clock, Environment, Random};
use marque_store::Store;
use tokio::sync::Semaphore;

pub(crate) use self::callback::{CallbackError, CallbackHeaders};
pub(crate) use self::desk::ApprovalDeskParts;
pub use self::desk::{ApprovalDesk, DecisionError, Word};
pub(crate) use self::lifts::{LiftError, Standing};
pub(crate) use self::login::{
    Answered, Entered, LoginError, MAX_PARAMETER, TerminalDoor, check_of,
};
pub(crate) use self::looks::Looks;
pub(crate) use self::sealed::LoginSecret;
pub(crate) use self::secrets::{line as secret_line, webhook_key};
pub(crate) use self::session::{LOGIN_COOKIE, SESSION_COOKIE, Session, Shown};
pub use self::told::{Eligibility, Held, Told};

use self::callback::Integration;
use self::names::Namesakes;
use self::provider::Provider;
use self::refusals::Refusals;
use crate::issuer::KillSwitch;
use crate::oidc::OidcKeyRing;

/// How many logins are finished at a time: each asks the provider for a token.
const MAX_AT_ONCE: usize = 16;

/// The approvers of one trust domain.
#[derive(Debug)]
pub struct Approvers {
    document: Arc<TrustDomainDocument>,
    provider: Option<Provider>,
    integrations: Vec<Integration>,
    secret: Arc<LoginSecret>,
    store: Arc<Store>,
    desk: Arc<ApprovalDesk>,
    kill_switch: Arc<KillSwitch>,
    namesakes: Namesakes,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    places: Semaphore,
    refusals: Refusals,
}

/// What approvers are opened with.
pub(crate) struct ApproversParts<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) issuer: IssuerUrl,
    pub(crate) keys: &'a Arc<OidcKeyRing>,
    pub(crate) secret: Arc<LoginSecret>,
    pub(crate) store: Arc<Store>,
    pub(crate) desk: Arc<ApprovalDesk>,
    pub(crate) kill_switch: Arc<KillSwitch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Approvers {
    /// Reads secrets and certificates; nobody is asked for anything yet. `None` where the document has no approvers but
    /// operators.
    pub(crate) fn open(
        document: &Arc<TrustDomainDocument>,
        parts: ApproversParts<'_>,
    ) -> anyhow::Result<Option<Self>> {
        let ApproversParts {
            folder,
            issuer,
            keys,
            secret,
            store,
            desk,
            kill_switch,
            clock,
            random,
        } = parts;
        let provider = document
            .approver_login()
            .map(|login| Provider::open(login, &issuer, folder, keys, &clock))
            .transpose()
            .context("read [approver_login]")?;
        let integrations = document.chat_integrations().iter();
        let integrations: Vec<Integration> = integrations
            .map(|integration| Integration::open(integration, folder))
            .collect::<anyhow::Result<_>>()
            .context("read [[chat_integrations]]")?;
        if provider.is_none() && integrations.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            document: Arc::clone(document),
            provider,
            integrations,
            secret,
            store,
            desk,
            kill_switch,
            namesakes: Namesakes::of(document),
            clock,
            random,
            places: Semaphore::new(MAX_AT_ONCE),
            refusals: Refusals::default(),
        }))
    }

    /// Where they decide.
    pub(crate) fn desk(&self) -> &ApprovalDesk {
        &self.desk
    }

    /// How old a login with more than one factor may be where one is asked for.
    pub(crate) fn mfa_max_age(&self) -> Duration {
        self.document.approver_login().map(|login| login.mfa_max_age()).unwrap_or_default()
    }

    /// How long somebody stays logged in.
    pub(crate) fn session_time(&self) -> Duration {
        self.document.approver_login().map(|login| login.session()).unwrap_or_default()
    }

    /// The trust domain and its environment.
    pub(crate) fn place(&self) -> (&str, Environment) {
        (self.document.name().as_str(), self.document.environment())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts it on record that somebody did not come in, unless that is there often enough.
    async fn record_refusal(&self, code: &'static str) {
        let now = self.now();
        let Some(more) = self.refusals.tell(code, now) else { return };
        let mut event = Event::new(EventKind::ApproverLoginRefused, now).with_detail("why", code);
        if more > 0 {
            event = event.with_detail("unrecorded_before", more);
        }
        if let Err(error) = self.store.append(event).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a refused login could not be recorded");
        }
    }

    /// Random bytes as a text for URLs.
    fn random_text<const N: usize>(&self) -> Result<String, marque_spiffe::RandomError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes)?;
        Ok(marque_jose::base64url::encode(bytes))
    }
}
