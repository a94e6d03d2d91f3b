//! Decisions that another program passes on, such as a chat: signed by the integration, about one of its users, whom a
//! file of ours links to a person.
//!
//! The form is Standard Webhooks'. The signature proves which integration speaks and nothing about the person: no factor of
//! theirs was shown, so what demands one is refused. Absent: who the integration believes, and HTTP.

use std::path::Path;
use std::time::Duration;

use marque_exchange::{Freshness, ProofKind, ReplayKey, ReplayStore as _, SingleUse};
use marque_intent::{Approver, Decider, Denial, DenialCode, GroupName, Person};
use marque_jose::{Thumbprint, sha256};
use marque_registry::{ChatIntegration, ChatPerson};
use standardwebhooks::Webhook;

use super::{Approvers, DecisionError, LoginSecret, Told, Word, webhook_key};

/// How far an integration's clock may differ from ours (Standard Webhooks).
const TOLERANCE: Duration = Duration::from_mins(5);
const MAX_ID: usize = 128;
/// How many signatures are looked at, of which an integration that changes its secret sends two.
const MAX_SIGNATURES: usize = 8;

/// An integration and its secret.
pub(super) struct Integration {
    name: String,
    key: Webhook,
}

impl std::fmt::Debug for Integration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Integration").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The three headers of a callback.
#[derive(Debug)]
pub(crate) struct CallbackHeaders<'a> {
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) signature: &'a str,
}

/// Why a callback decided nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallbackError {
    /// There is no such integration.
    #[error("no such integration")]
    Unknown,
    /// The signature is not the integration's, over exactly this.
    #[error("the signature is not good")]
    Signature,
    /// It is too old, or from the future.
    #[error("the timestamp is too far from now")]
    Timestamp,
    /// It came before.
    #[error("the message was used before")]
    Replayed,
    /// The decision was not taken.
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

impl Integration {
    pub(super) fn open(settings: &ChatIntegration, folder: &Path) -> anyhow::Result<Self> {
        let key = webhook_key(folder, settings.secret_file())?;
        Ok(Self { name: settings.name().to_owned(), key })
    }

    /// Whether one of the signatures is ours to believe.
    fn has_signed(
        &self,
        headers: &CallbackHeaders<'_>,
        timestamp: i64,
        body: &[u8],
        secret: &LoginSecret,
    ) -> bool {
        // Kept apart by full stops, so that none of them may be in an id.
        let id = headers.id;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'.';
        if !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(plain) {
            return false;
        }
        let Ok(expected) = self.key.sign(id, timestamp, body) else { return false };
        // Tags of both are compared, which takes the same time whatever they are.
        let expected = secret.tag(&expected);
        let same = |one: &str| secret.is_tag(&expected, one);
        headers.signature.split(' ').take(MAX_SIGNATURES).any(same)
    }
}

impl Approvers {
    /// Whether the message is of the integration, of now, and new. From then on it counts as used, whatever it says.
    pub(crate) async fn callback_is_good(
        &self,
        name: &str,
        headers: &CallbackHeaders<'_>,
        body: &[u8],
    ) -> Result<(), CallbackError> {
        let integration = self.integrations.iter().find(|one| one.name == name);
        let integration = integration.ok_or(CallbackError::Unknown)?;
        let timestamp: i64 = headers.timestamp.parse().map_err(|_nan| CallbackError::Signature)?;
        if !integration.has_signed(headers, timestamp, body, &self.secret) {
            return Err(CallbackError::Signature);
        }
        let now = self.now();
        let sent =
            jiff::Timestamp::from_second(timestamp).map_err(|_far| CallbackError::Timestamp)?;
        let unsigned = |duration: jiff::SignedDuration| duration.unsigned_abs();
        if unsigned(now.duration_since(sent)) > TOLERANCE {
            return Err(CallbackError::Timestamp);
        }
        let holder = Thumbprint::new(sha256(name.as_bytes()));
        let key = ReplayKey::new(ProofKind::Callback, &holder, headers.id);
        // For as long as any replica could take it, whatever its clock says.
        let until = sent.saturating_add(2 * TOLERANCE).unwrap_or(now);
        match self.store.remember(vec![SingleUse { key, until }]).await {
            Ok(Freshness::Fresh) => Ok(()),
            Ok(Freshness::Replayed) => Err(CallbackError::Replayed),
            Err(error) => Err(DecisionError::Unavailable(Box::new(error)).into()),
        }
    }

    /// Takes the decision of an integration's user, as that of the person whom they are linked to.
    pub(crate) async fn pass_on(
        &self,
        name: &str,
        user: &str,
        id: &marque_intent::IntentId,
        word: Word,
    ) -> Result<Told, CallbackError> {
        let decider = self.linked(name, user).ok_or_else(|| {
            let detail = "the user is linked to nobody here";
            DecisionError::Denied(Denial::new(DenialCode::ApproverNotEligible, detail))
        })?;
        Ok(self.desk.decide_if_heard(&decider, id, word, None).await?)
    }

    /// The person whom a user of an integration is linked to.
    fn linked(&self, name: &str, user: &str) -> Option<Decider> {
        let mut decider = self.linked_as_written(name, user)?;
        decider.known_as = self.namesakes.with(decider.names());
        Some(self.desk.on_duty(decider))
    }

    fn linked_as_written(&self, name: &str, user: &str) -> Option<Decider> {
        let mut identities = self.document.chat_identities().iter();
        let identity = identities.find(|one| one.integration() == name && one.user() == user)?;
        let client = Some(format!("callback {name}"));
        match identity.who() {
            ChatPerson::Person { subject, groups } => {
                let person = Person::new(self.document.approver_login()?.issuer(), subject).ok()?;
                Some(Decider {
                    approver: Approver::Person(person),
                    groups: parsed(groups),
                    known_as: self.names_of(subject),
                    mfa: None,
                    client,
                })
            }
            ChatPerson::Operator(user) => {
                let uid = nix::unistd::User::from_name(user).ok()??.uid.as_raw();
                let rules = self.document.operators().iter();
                let own: Vec<_> = rules.filter(|rule| rule.matches(uid, Some(user))).collect();
                if own.is_empty() {
                    return None;
                }
                Some(Decider {
                    groups: parsed(own.iter().flat_map(|rule| rule.groups())),
                    client,
                    ..Decider::from(Approver::Operator { uid, user: user.clone() })
                })
            }
        }
    }
}

/// Every name was checked with the document.
fn parsed<'a>(
    groups: impl IntoIterator<Item = &'a String>,
) -> std::collections::BTreeSet<GroupName> {
    groups.into_iter().filter_map(|group| group.parse().ok()).collect()
}
