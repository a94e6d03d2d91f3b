//! What a stream is told of one leaf of the log, or of a kill that no leaf tells of yet.
//!
//! Names are the same however often something is told: a SET's is a digest of stream, occasion, subject and event. Absent:
//! keeping and sending.

use jiff::Timestamp;
use marque_audit::{Event, EventKind, Leaf};
use marque_exchange::{TokenId, TokenLifeStore as _, TokenRecord};
use marque_intent::kill::{KillScope, StopPoint};
use marque_intent::{Intent, IntentId, IntentStore as _, OpenIntents as _};
use marque_jose::sha256;
use marque_registry::SsfTold;
use marque_spiffe::SpiffeId;
use marque_ssf::{
    CredentialChange, Event as Signal, InitiatingEntity, NewSet, Role, SetClaims, Subject,
};
use serde_json::json;
use std::collections::BTreeMap;

use super::stops::Stop;
use super::{SignalError, Signals, Stream};

/// How many open grants are looked at at a time.
const GRANTS: usize = 128;

/// What a stream is told of one occasion, or of a part of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) sets: Vec<SetClaims>,
    /// Which part is next; nothing where it is all.
    pub(super) next: Option<Part>,
}

/// A part of what a kill comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// What it names itself.
    Named,
    /// Grants and tokens, from after a grant on.
    Grants(Option<IntentId>),
}

/// How the part before the first grant is written. Rows of it come before those of the parts behind, which have ids.
const FIRST_GRANTS: &str = "0";

impl Part {
    /// What a cursor says.
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some(FIRST_GRANTS) => Self::Grants(None),
            Some(id) => id.parse().map_or(Self::Named, |id| Self::Grants(Some(id))),
            None => Self::Named,
        }
    }

    /// Whether nothing of grants was told before the part that a cursor names.
    pub(super) fn is_news(text: Option<&str>) -> bool {
        !matches!(Self::parse(text), Self::Grants(Some(_)))
    }

    /// As a cursor keeps it.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Named => "",
            Self::Grants(None) => FIRST_GRANTS,
            Self::Grants(Some(id)) => id.as_str(),
        }
    }
}

/// Something that happened, as every SET about it says.
struct Occasion<'a> {
    stream: &'a Stream,
    txn: String,
    by: InitiatingEntity,
    reason: &'static str,
    at: Timestamp,
}

impl Signals {
    /// What a leaf comes to for a stream, from the part that a cursor names.
    pub(super) async fn told(
        &self,
        stream: &Stream,
        leaf: &Leaf,
        part: Option<&str>,
    ) -> Result<Told, SignalError> {
        let event = leaf.event();
        match event.kind {
            EventKind::Kill => match Stop::of_event(event, &self.kills()) {
                Ok(stop) => self.told_of_stop(stream, &stop, Part::parse(part)).await,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, leaf = leaf.seq(), "a kill in the log does not read");
                    Ok(Told::default())
                }
            },
            EventKind::TokenRevoked => self.told_of_token(stream, leaf).await,
            EventKind::IntentRevoked
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentExpired => self.told_of_end(stream, leaf).await,
            _ => Ok(Told::default()),
        }
    }

    /// What a kill comes to: first what it names itself, for which nothing is read, then every grant and token that it ends.
    pub(super) async fn told_of_stop(
        &self,
        stream: &Stream,
        stop: &Stop,
        part: Part,
    ) -> Result<Told, SignalError> {
        let occasion = Occasion {
            stream,
            txn: format!("kill-{}", stop.at.as_microsecond()),
            by: initiator(&stop.actor),
            reason: "stopped by the kill switch",
            at: stop.at,
        };
        let after = match part {
            Part::Named => {
                let next = stop.mode.stops(StopPoint::Use).then_some(Part::Grants(None));
                return Ok(Told { sets: self.named(&occasion, stop), next });
            }
            Part::Grants(after) => after,
        };
        let (intents, last) = self.perhaps_ended(stop, after).await?;
        let mut sets = Vec::new();
        for intent in intents.iter().filter(|intent| stop.may_end_of(intent)) {
            if intent.uses().is_empty() {
                continue;
            }
            let tokens = self.store.tokens_of(intent.id()).await;
            let tokens = tokens.map_err(SignalError::unavailable)?;
            let open: Vec<&TokenRecord> =
                tokens.iter().filter(|token| token.expires_at > stop.at).collect();
            let (ended, others): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|token| stop.ends(token, intent));
            if !ended.is_empty() && others.is_empty() && is_wanted(stream, intent.agent()) {
                sets.extend(self.of_grant(&occasion, intent));
            } else {
                sets.extend(ended.into_iter().filter_map(|token| self.of_token(&occasion, token)));
            }
        }
        Ok(Told { sets, next: last.map(|last| Part::Grants(Some(last))) })
    }

    /// The grants of which a kill may end something, a part at a time, and the last one that was looked at. What derives
    /// from a token is of the same grant, so that a kill of a token is about one.
    async fn perhaps_ended(
        &self,
        stop: &Stop,
        after: Option<IntentId>,
    ) -> Result<(Vec<Intent>, Option<IntentId>), SignalError> {
        if let KillScope::Credential(id) = &stop.scope {
            let Ok(id) = id.as_str().parse::<TokenId>() else { return Ok((Vec::new(), None)) };
            let found = self.store.tokens(vec![id]).await.map_err(SignalError::unavailable)?;
            return Ok((found.into_iter().map(|(_, intent)| intent).collect(), None));
        }
        let page = self.store.unended(after, GRANTS).await.map_err(SignalError::unavailable)?;
        Ok((page.intents, page.last))
    }

    /// What a kill says of whom it names, where that has a name elsewhere, too.
    fn named(&self, occasion: &Occasion<'_>, stop: &Stop) -> Vec<SetClaims> {
        let (by, at) = (occasion.by, occasion.at);
        let (subject, has_identity) = match &stop.scope {
            KillScope::Agent(agent) if is_wanted(occasion.stream, agent) => {
                (Subject::Uri(agent.to_string()), true)
            }
            KillScope::TrustDomain | KillScope::All => {
                (Subject::Uri(self.document.name().id().to_string()), true)
            }
            // Who a person is, is for those alone who hear of everything.
            KillScope::Delegator(person) if hears_of_all(occasion.stream) => {
                match self.person(person.as_str()) {
                    Some(person) => (person, false),
                    None => return Vec::new(),
                }
            }
            _ => return Vec::new(),
        };
        let mut sets = Vec::new();
        if stop.mode.stops(StopPoint::Use) {
            let revoked = Signal::session_revoked(by, occasion.reason, at);
            sets.extend(self.set(occasion, SsfTold::SessionRevoked, &subject, &revoked));
        }
        if has_identity && stop.mode.stops(StopPoint::Issue) {
            let change = ("x509", CredentialChange::Revoke);
            let reason = "no identity is issued any more";
            let change = Signal::credential_change(change, by, reason, at);
            sets.extend(self.set(occasion, SsfTold::CredentialChange, &subject, &change));
        }
        sets
    }

    /// `<name of the issuer>:<sub>`, as the issuer itself calls them.
    fn person(&self, name: &str) -> Option<Subject> {
        let (issuer, sub) = name.split_once(':')?;
        let mut issuers = self.document.oidc_issuers().iter();
        let iss = issuers.find(|known| known.name() == issuer)?.issuer().to_owned();
        Some(Subject::IssSub { iss, sub: sub.to_owned() })
    }

    /// A grant that ended before the tokens of it: revoked, given back, ended with what it hung on.
    async fn told_of_end(&self, stream: &Stream, leaf: &Leaf) -> Result<Told, SignalError> {
        let event = leaf.event();
        let id = event.intent.as_deref().and_then(|id| id.parse::<IntentId>().ok());
        let Some(id) = id else { return Ok(Told::default()) };
        let intent = self.store.find(&id).await.map_err(SignalError::unavailable)?;
        let Some(intent) = intent else { return Ok(Told::default()) };
        let tokens = self.store.tokens_of(&id).await.map_err(SignalError::unavailable)?;
        let open: Vec<&TokenRecord> =
            tokens.iter().filter(|token| token.expires_at > event.time).collect();
        if open.is_empty() {
            return Ok(Told::default());
        }
        let reason = match event.kind {
            EventKind::IntentRevoked => "the grant was revoked",
            EventKind::IntentCompleted => "the work is done",
            EventKind::IntentCancelled => "the grant was given back",
            _ => "the grant has ended",
        };
        let occasion = self.occasion(stream, leaf, reason);
        let sets = if is_wanted(stream, intent.agent()) {
            self.of_grant(&occasion, &intent).into_iter().collect()
        } else {
            open.into_iter().filter_map(|token| self.of_token(&occasion, token)).collect()
        };
        Ok(Told { sets, next: None })
    }

    /// One token that was revoked; each that derives from it has a leaf of its own.
    async fn told_of_token(&self, stream: &Stream, leaf: &Leaf) -> Result<Told, SignalError> {
        let id = leaf.event().token_id.as_deref().and_then(|id| id.parse::<TokenId>().ok());
        let Some(id) = id else { return Ok(Told::default()) };
        let found = self.store.tokens(vec![id]).await.map_err(SignalError::unavailable)?;
        let occasion = self.occasion(stream, leaf, "the token was revoked");
        let sets = found.iter().filter_map(|(token, _)| self.of_token(&occasion, token)).collect();
        Ok(Told { sets, next: None })
    }

    fn occasion<'a>(&self, stream: &'a Stream, leaf: &Leaf, reason: &'static str) -> Occasion<'a> {
        let event: &Event = leaf.event();
        Occasion {
            stream,
            txn: format!("leaf-{}", leaf.seq()),
            by: initiator(event.actor.as_deref().unwrap_or_default()),
            reason,
            at: event.time,
        }
    }

    /// A grant is a session of the application that holds it; its tokens name it in `intent.id`.
    fn of_grant(&self, occasion: &Occasion<'_>, intent: &Intent) -> Option<SetClaims> {
        if !is_for(occasion.stream, &intent.grant().audiences) {
            return None;
        }
        let parts = BTreeMap::from([
            (Role::Application, Subject::Uri(intent.agent().to_string())),
            (Role::Session, Subject::Opaque(intent.id().as_str().to_owned())),
        ]);
        let event = Signal::session_revoked(occasion.by, occasion.reason, occasion.at);
        self.set(occasion, SsfTold::SessionRevoked, &Subject::Complex(parts), &event)
    }

    /// A token is about who holds it, whoever the grant was given to.
    fn of_token(&self, occasion: &Occasion<'_>, token: &TokenRecord) -> Option<SetClaims> {
        let stream = occasion.stream;
        if !is_wanted(stream, &token.client) || !is_for(stream, &token.audiences) {
            return None;
        }
        let (iss, jti) = (self.issuer.as_str().to_owned(), token.id.as_str().to_owned());
        let event = Signal::session_revoked(occasion.by, occasion.reason, occasion.at);
        self.set(occasion, SsfTold::SessionRevoked, &Subject::JwtId { iss, jti }, &event)
    }

    fn set(
        &self,
        occasion: &Occasion<'_>,
        told: SsfTold,
        subject: &Subject,
        event: &Signal,
    ) -> Option<SetClaims> {
        let settings = &occasion.stream.settings;
        settings.tells(told).then(|| {
            let about = json!([
                self.document.name().as_str(),
                settings.name(),
                occasion.txn,
                event.kind().as_str(),
                subject.to_value(),
            ]);
            let digest = sha256(about.to_string().as_bytes());
            self.claims(occasion.stream, (&name(&digest), Some(&occasion.txn)), subject, event)
        })
    }

    /// The claims of a SET of this instant.
    pub(super) fn claims(
        &self,
        stream: &Stream,
        (jti, txn): (&str, Option<&str>),
        subject: &Subject,
        event: &Signal,
    ) -> SetClaims {
        SetClaims::new(NewSet {
            issuer: self.issuer.as_str(),
            audience: stream.settings.audience(),
            jti,
            txn,
            subject,
            event,
            issued_at: self.clock.now(),
        })
    }
}

/// The name of a SET.
pub(super) fn name(digest: &[u8]) -> String {
    format!("set_{}", hex::encode(digest.get(..16).unwrap_or_default()))
}

fn is_wanted(stream: &Stream, agent: &SpiffeId) -> bool {
    let wanted = stream.settings.agents();
    wanted.is_empty() || wanted.iter().any(|pattern| pattern.matches(agent))
}

fn hears_of_all(stream: &Stream) -> bool {
    stream.settings.agents().is_empty() && stream.settings.audiences().is_empty()
}

fn is_for(stream: &Stream, audiences: &[String]) -> bool {
    let wanted = stream.settings.audiences();
    wanted.is_empty() || audiences.iter().any(|audience| wanted.contains(audience))
}

/// Who it was, of whom the log says it in words.
fn initiator(actor: &str) -> InitiatingEntity {
    match actor.split(':').next().unwrap_or_default() {
        "operator" | "person" => InitiatingEntity::Admin,
        "spiffe" => InitiatingEntity::User,
        "policy" => InitiatingEntity::Policy,
        _ => InitiatingEntity::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_written_and_comes_in_the_order_of_telling() {
        let id = "int_0000000000000000000000000a";
        for part in [Part::Named, Part::Grants(None)] {
            assert_eq!(Part::parse(Some(part.as_str()).filter(|text| !text.is_empty())), part);
        }
        assert_eq!(Part::parse(None), Part::Named);
        assert!(Part::Named.as_str() < FIRST_GRANTS && FIRST_GRANTS < id);
    }
}
