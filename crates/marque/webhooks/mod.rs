//! Webhooks out: who is told what happened, in the form of Standard Webhooks.
//!
//! The log already has every event, in the transaction of its effect: a webhook is a cursor over the log. It moves on when
//! its receiver has said yes, so that everything is told at least once and in order, over restarts and by one replica at a
//! time. What nobody takes in `MAX_TRIES` tries is put aside, where operators see it and send it again. What is
//! told are ids, codes, titles and links; never a secret, and never an agent's words.

mod courier;
mod message;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_audit::EventKind;
use marque_exchange::IssuerUrl;
use marque_intent::PlaybookSet;
use marque_registry::{TrustDomainDocument, Webhook};
use marque_spiffe::{Clock, Random};
use marque_store::Store;

use crate::approvers::webhook_key;
use crate::federation::{web, web_authorities};
use crate::outgoing::Destination;

pub(crate) use self::courier::WebhookError;
pub use self::state::{DeadLetterView, WebhookView};

/// The webhooks of one trust domain.
#[derive(Debug)]
pub(crate) struct Webhooks {
    hooks: Vec<Arc<Hook>>,
    document: Arc<TrustDomainDocument>,
    issuer: IssuerUrl,
    playbooks: Arc<PlaybookSet>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// One webhook, ready to be called.
pub(crate) struct Hook {
    name: String,
    destination: Destination,
    key: standardwebhooks::Webhook,
    wanted: BTreeSet<EventKind>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What webhooks are opened with.
pub(crate) struct WebhooksParts {
    pub(crate) issuer: IssuerUrl,
    pub(crate) playbooks: Arc<PlaybookSet>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Webhooks {
    /// Reads secrets and certificates; nobody is called yet.
    pub(crate) fn open(
        document: &Arc<TrustDomainDocument>,
        folder: &Path,
        parts: WebhooksParts,
    ) -> anyhow::Result<Self> {
        let WebhooksParts { issuer, playbooks, store, clock, random } = parts;
        let open = |webhook: &Webhook| {
            let hook = hook(webhook, folder, &clock);
            hook.with_context(|| format!("prepare the webhook `{}`", webhook.name()))
        };
        let hooks = document.webhooks().iter().map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self { hooks, document: Arc::clone(document), issuer, playbooks, store, clock, random })
    }

    fn hook(&self, name: &str) -> Option<&Arc<Hook>> {
        self.hooks.iter().find(|hook| hook.name == name)
    }
}

fn hook(webhook: &Webhook, folder: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<Hook>> {
    let tls = match webhook.ca_file() {
        Some(file) => Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?),
        None => None,
    };
    let wanted = kinds(webhook.events())
        .map_err(|unknown| anyhow::anyhow!("`{unknown}` is the name of no event"))?;
    Ok(Arc::new(Hook {
        name: webhook.name().to_owned(),
        destination: Destination::new(webhook.url().as_str(), tls)?,
        key: webhook_key(folder, webhook.secret_file())?,
        wanted,
    }))
}

/// What stands for several kinds of events.
fn groups() -> BTreeMap<&'static str, &'static [EventKind]> {
    BTreeMap::from([(
        "intent.ended",
        &[
            EventKind::IntentCancelled,
            EventKind::IntentCompleted,
            EventKind::IntentClosedUnreported,
            EventKind::IntentExpired,
            EventKind::IntentRevoked,
        ] as &[_],
    )])
}

/// The kinds of events that these names stand for: a kind without `org.marque.`, or the name of a group.
///
/// # Errors
/// The first name that stands for none.
pub(crate) fn kinds(names: &BTreeSet<String>) -> Result<BTreeSet<EventKind>, String> {
    let groups = groups();
    let mut kinds = BTreeSet::new();
    for name in names {
        if let Some(group) = groups.get(name.as_str()) {
            kinds.extend(group.iter().copied());
        } else {
            let kind = format!("org.marque.{name}").parse::<EventKind>();
            kinds.insert(kind.map_err(|_unknown| name.clone())?);
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_a_kind_or_of_several() {
        let of = |names: &[&str]| kinds(&names.iter().map(ToString::to_string).collect());
        assert_eq!(of(&["intent.pending"]), Ok(BTreeSet::from([EventKind::IntentPending])));
        assert_eq!(of(&["intent.ended"]).unwrap().len(), 5);
        for unknown in ["", "intent", "org.marque.intent.pending", "intent.*"] {
            assert_eq!(of(&[unknown]), Err(unknown.to_owned()));
        }
    }
}
