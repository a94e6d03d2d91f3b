//! What a transmitter says, verified, and what it comes to: bad news about somebody whom it may stop stops them.
//!
//! Nothing that a transmitter says lets anybody do anything. The stop comes first, then the record: a SET that was not
//! recorded is sent again, and stops nobody twice, to whichever replicas it comes. Absent: HTTP.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_exchange::{OidcKeys as _, TokenId, TokenLifeStore as _};
use marque_intent::IntentStore as _;
use marque_intent::kill::{KillName, KillScope};
use marque_registry::{SsfEffect, SsfHeard};
use marque_spiffe::SpiffeId;
use marque_ssf::{
    EventType, Expected, Role, SecurityEvent, SetError, SetErrorCode, Subject, UnverifiedSet,
};
use marque_store::KeptChange;
use serde::{Deserialize, Serialize};

use super::stops::{TooManyStops, admit, is_stopped, order, origin};
use super::{Signals, Transmitter, count_received};

/// How far a transmitter's clock may differ from ours.
const LEEWAY: Duration = Duration::from_mins(1);
/// The rows of SETs that were used, by transmitter and name.
const SEEN: &str = "ssf_seen";

/// Why a SET was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// There is no such transmitter or stream, or its token was not shown.
    #[error("nobody who is known is calling")]
    Unauthenticated,
    /// The SET is refused.
    #[error("the event is refused")]
    Refused(#[source] SetError),
    /// The issuer's keys are too old to believe.
    #[error("the keys of the transmitter are missing or too old")]
    StaleKeys,
    /// It would stop one more than its transmitter may.
    #[error("the transmitter stops too many")]
    TooMany(#[source] TooManyStops),
    /// It could not be kept; what it stops is stopped.
    #[error("the event could not be kept")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ReceiveError {
    /// What the transmitter is told; nothing where it is to send the same again.
    pub(crate) const fn code(&self) -> Option<SetErrorCode> {
        match self {
            Self::Unauthenticated => Some(SetErrorCode::AuthenticationFailed),
            Self::Refused(error) => Some(error.code()),
            Self::StaleKeys | Self::TooMany(_) | Self::Unavailable(_) => None,
        }
    }
}

/// A SET that was used.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
}

impl Signals {
    /// Takes a SET of a transmitter.
    pub(crate) async fn receive(
        &self,
        name: &str,
        bearer: Option<&str>,
        set: &str,
    ) -> Result<(), ReceiveError> {
        let transmitter = self.transmitters.iter().find(|one| one.settings.name() == name);
        let is_known = |one: &&Transmitter| bearer.is_some_and(|bearer| one.bearer.is(bearer));
        let transmitter = transmitter.filter(is_known).ok_or(ReceiveError::Unauthenticated)?;
        let taken = self.take(transmitter, set).await;
        count_received(
            transmitter,
            match &taken {
                Ok(result) => result,
                Err(ReceiveError::Refused(_) | ReceiveError::Unauthenticated) => "refused",
                Err(ReceiveError::TooMany(_)) => "too_many",
                Err(ReceiveError::StaleKeys | ReceiveError::Unavailable(_)) => "unavailable",
            },
        );
        taken.map(drop)
    }

    async fn take(
        &self,
        transmitter: &Transmitter,
        set: &str,
    ) -> Result<&'static str, ReceiveError> {
        let now = self.clock.now();
        let event = self.verified(transmitter, set, now)?;
        let key = format!("{}/{}", transmitter.settings.name(), event.jti);
        let seen = self.store.kept(SEEN, &key, now).await;
        // Where nobody knows, it is taken for new: to stop somebody twice does no harm.
        if seen.is_ok_and(|seen| seen.is_some()) {
            return Ok("repeated");
        }
        let Some(scope) = self.whom(transmitter, &event.subject).await? else {
            tracing::info!(
                transmitter = transmitter.settings.name(),
                event = event.event.kind().as_str(),
                "an event is about nobody whom its transmitter may stop"
            );
            return Ok("nobody");
        };
        let stops = stops(transmitter, &event);
        let already = {
            let _alone = self.stopping.alone(&scope).await;
            let already = is_stopped(&scope, &self.kills());
            if stops && !already {
                self.stop(transmitter, &event, &scope, now).await?;
            }
            already
        };
        let result = if stops { "stopped" } else { "recorded" };
        let record = self.record(transmitter, &event, &scope, (result, already), now);
        let until = event.issued_at.saturating_add(transmitter.settings.max_age() + 2 * LEEWAY);
        let unavailable = |error| ReceiveError::Unavailable(Box::new(error));
        let row = KeptChange::new(SEEN, &key, &Seen { at: now }, until.unwrap_or(Timestamp::MAX));
        let row = row.map_err(unavailable)?;
        // Of two that came at the same time one is recorded.
        self.store.keep_on_record(vec![row], record).await.map_err(unavailable)?;
        Ok(result)
    }

    fn verified(
        &self,
        transmitter: &Transmitter,
        set: &str,
        now: Timestamp,
    ) -> Result<SecurityEvent, ReceiveError> {
        let settings = &transmitter.settings;
        let set = UnverifiedSet::parse(set).map_err(ReceiveError::Refused)?;
        let keys = self.keys.keys(settings.key_name(), now);
        let keys = keys.map_err(|_stale| ReceiveError::StaleKeys)?;
        let expected = Expected {
            issuer: settings.issuer(),
            audience: settings.audience(),
            max_age: settings.max_age(),
            leeway: LEEWAY,
        };
        set.verify(&expected, &keys, now).map_err(|error| {
            if matches!(error, SetError::Key) {
                self.keys.missing(settings.key_name());
            }
            ReceiveError::Refused(error)
        })
    }

    async fn stop(
        &self,
        transmitter: &Transmitter,
        event: &SecurityEvent,
        scope: &KillScope,
        now: Timestamp,
    ) -> Result<(), ReceiveError> {
        let (name, kind) = (transmitter.settings.name(), event.event.kind().as_str());
        let actor = format!("ssf:{name}");
        admit(&actor, &self.kills(), now).map_err(|limit| {
            tracing::error!(transmitter = name, event = kind, ?scope, %limit, "nobody was stopped");
            ReceiveError::TooMany(limit)
        })?;
        tracing::warn!(transmitter = name, event = kind, ?scope, "a shared signal stops somebody");
        let origin = origin(transmitter.settings.issuer(), &event.jti);
        let reason = format!("{kind}, says {name}");
        let order = order(scope.clone(), (actor, Some(origin)), &reason);
        let order = order.map_err(|error| ReceiveError::Unavailable(Box::new(error)))?;
        let stopped = self.store.kill(order, now).await;
        stopped.map(drop).map_err(|error| ReceiveError::Unavailable(Box::new(error)))
    }

    fn record(
        &self,
        transmitter: &Transmitter,
        event: &SecurityEvent,
        scope: &KillScope,
        (effect, already): (&'static str, bool),
        now: Timestamp,
    ) -> Event {
        let mut leaf = Event::new(EventKind::SsfReceived, now)
            .with_actor(format!("ssf:{}", transmitter.settings.name()))
            .with_detail("event", event.event.kind().as_str())
            .with_detail("subject", event.subject.to_value())
            .with_detail("jti", event.jti.as_str())
            .with_detail("issued_at", event.issued_at.to_string())
            .with_detail("effect", effect);
        if already {
            leaf = leaf.with_detail("already", true);
        }
        if let KillScope::Agent(agent) = scope {
            leaf = leaf.with_agent(agent.clone());
        }
        leaf
    }

    /// Whom a subject is about, as far as its transmitter may stop them. Of several names the first that is one counts; of
    /// a session of an application for somebody it is the application that is stopped.
    async fn whom(
        &self,
        transmitter: &Transmitter,
        subject: &Subject,
    ) -> Result<Option<KillScope>, ReceiveError> {
        for name in names(subject) {
            if let Some(scope) = self.called(transmitter, name).await? {
                return Ok(Some(scope));
            }
        }
        Ok(None)
    }

    async fn called(
        &self,
        transmitter: &Transmitter,
        name: &Subject,
    ) -> Result<Option<KillScope>, ReceiveError> {
        Ok(match name {
            Subject::Uri(uri) => {
                let agent = uri.parse::<SpiffeId>().ok();
                agent.filter(|agent| may_stop(transmitter, agent)).map(KillScope::Agent)
            }
            Subject::IssSub { iss, sub } => {
                let issuer = transmitter.settings.persons().get(iss);
                let name = issuer.map(|issuer| format!("{issuer}:{sub}"));
                name.and_then(|name| name.parse::<KillName>().ok()).map(KillScope::Delegator)
            }
            Subject::JwtId { iss, jti } if iss == self.issuer.as_str() => {
                self.token(transmitter, jti).await?
            }
            Subject::JwtId { .. }
            | Subject::Opaque(_)
            | Subject::Email(_)
            | Subject::PhoneNumber(_)
            | Subject::Account(_)
            | Subject::Did(_)
            | Subject::SamlAssertion { .. }
            | Subject::Aliases(_)
            | Subject::Complex(_) => None,
        })
    }

    /// A token of ours whose holder the transmitter may stop.
    async fn token(
        &self,
        transmitter: &Transmitter,
        jti: &str,
    ) -> Result<Option<KillScope>, ReceiveError> {
        let Ok(id) = jti.parse::<TokenId>() else { return Ok(None) };
        let found = self.store.tokens(vec![id]).await;
        let found = found.map_err(|error| ReceiveError::Unavailable(Box::new(error)))?;
        let holder = found.first().map(|(token, _)| &token.client);
        let is_theirs = holder.is_some_and(|holder| may_stop(transmitter, holder));
        Ok(jti.parse().ok().filter(|_| is_theirs).map(KillScope::Credential))
    }
}

/// Every name in a subject, those of the application first: what has parts has none within them that have.
fn names(subject: &Subject) -> Vec<&Subject> {
    match subject {
        Subject::Aliases(names) => names.iter().collect(),
        Subject::Complex(parts) => {
            let roles = [Role::Application, Role::User, Role::Session];
            roles.iter().filter_map(|role| parts.get(role)).flat_map(names).collect()
        }
        simple => vec![simple],
    }
}

fn may_stop(transmitter: &Transmitter, agent: &SpiffeId) -> bool {
    transmitter.settings.agents().iter().any(|pattern| pattern.matches(agent))
}

/// Whether an event stops whom it is about.
fn stops(transmitter: &Transmitter, event: &SecurityEvent) -> bool {
    let heard = match event.event.kind() {
        EventType::SessionRevoked => SsfHeard::SessionRevoked,
        EventType::CredentialChange => SsfHeard::CredentialChange,
        EventType::AssuranceLevelChange => SsfHeard::AssuranceLevelChange,
        EventType::DeviceComplianceChange => SsfHeard::DeviceComplianceChange,
        EventType::RiskLevelChange => SsfHeard::RiskLevelChange,
        EventType::TokenClaimsChange
        | EventType::SessionEstablished
        | EventType::SessionPresented
        | EventType::Verification
        | EventType::StreamUpdated => return false,
    };
    event.event.is_bad_news() && transmitter.settings.effect(heard) == SsfEffect::Stop
}
