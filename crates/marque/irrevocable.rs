//! What no kill and no revocation reaches: tokens for resource servers that hear of no token's end (M 121).
//!
//! Whether one hears of it, `[[resource_servers]]` of the trust domain's document says. Absent: ending anything.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_exchange::TokenRecord;
use marque_intent::{Intent, PlaybookSet};
use marque_registry::{ResourceServer, TrustDomainDocument};
use serde::Serialize;

/// Where tokens of a grant stay good until they expire, whatever is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irrevocable {
    /// The resource servers that hear of no end.
    pub audiences: Vec<String>,
    /// When the last token that is out expires; absent while none is.
    pub until: Option<Timestamp>,
}

/// Tokens that a kill stops, and that stay good where nobody hears of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outliving {
    /// How many tokens.
    pub count: usize,
    /// Where they stay good.
    pub audiences: BTreeSet<String>,
    /// When the last of them expires.
    pub until: Option<Timestamp>,
}

impl Irrevocable {
    /// Of an intent's grant; `None` where every end of it is heard of.
    pub(crate) fn of(
        intent: &Intent,
        document: &TrustDomainDocument,
        now: Timestamp,
    ) -> Option<Self> {
        let grant = intent.grant();
        let audiences = deaf(&grant.audiences, document);
        if audiences.is_empty() {
            return None;
        }
        let ends = intent.uses().iter().map(|used| used.token_expires_at);
        let until = ends.filter(|end| *end > now).max();
        Some(Self { audiences, until })
    }
}

impl Irrevocable {
    /// Of whatever is stopped now: the audiences of the document and the playbooks that hear of no end, and when the last token
    /// that may be out for them has expired. `None` where all of them hear of it.
    pub(crate) fn at_most(
        document: &TrustDomainDocument,
        playbooks: &PlaybookSet,
        now: Timestamp,
    ) -> Option<Self> {
        let servers = document.resource_servers().iter().map(ResourceServer::audience);
        // One that names parameters is told as it is written.
        let permitted = playbooks.iter().flat_map(|playbook| playbook.permissions());
        let permitted: Vec<String> = permitted
            .into_iter()
            .filter_map(|one| one.strip_prefix("audience ").map(str::to_owned))
            .collect();
        let audiences: BTreeSet<String> = servers.map(str::to_owned).chain(permitted).collect();
        let audiences = deaf(&Vec::from_iter(audiences), document);
        let until = now.checked_add(document.max_access_token_lifetime()).ok();
        (!audiences.is_empty()).then_some(Self { audiences, until })
    }
}

impl Outliving {
    /// Takes up a token that is stopped.
    pub(crate) fn add(&mut self, token: &TokenRecord, document: &TrustDomainDocument) {
        let audiences = deaf(&token.audiences, document);
        if !audiences.is_empty() {
            self.count += 1;
            self.audiences.extend(audiences);
            self.until = self.until.max(Some(token.expires_at));
        }
    }
}

/// Those that hear of no token's end.
fn deaf(audiences: &[String], document: &TrustDomainDocument) -> Vec<String> {
    audiences.iter().filter(|audience| !document.hears_of_ends(audience)).cloned().collect()
}
