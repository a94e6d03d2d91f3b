//! What an issuer offers to its operators.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{LogStore, VerifierKey};
use marque_authority::{
    AuthorityView, CertificateRequest, OrderRefusal, SignedAuthorityError, UpstreamError,
};
use marque_exchange::{TokenId, TokenRecord};
use marque_intent::kill::{KillMode, KillScope, KillState};
use marque_intent::pace::{Family, Standing};
use marque_intent::{
    Approver, ChangeError, Decider, DecisionRecord, Denial, DenialCode, DenialFilter, DenialId,
    DenialRecord, GroupName, Holding, Intent, IntentFilter, IntentId, IntentStoreError,
    MfaEvidence, OpenBy, OpenCount, PlaybookSet, Posture, PostureScope, PostureState, Principal,
    Reason, Rosters,
};
use marque_registry::{Entry, EntryId, NewEntry, RegistryError, Snapshot, TrustDomainDocument};
use marque_spiffe::{SelectorSet, SpiffeId};

use super::authorities::AuthorityChange;
use super::upstream::UpstreamStanding;
use crate::approvers::{DecisionError, Told, Word};
use crate::discovery::Published;
use crate::federation::{FederationError, Federations};
use crate::identities::{Denials, SharedIdentities};
use crate::issuer::folder::FolderFiles;
use crate::issuer::kill::{DrillReport, Impact, KillError, LiftAsk};
use crate::issuer::reload::{FolderStanding, ReloadReport};
use crate::sinks::SinkView;
use crate::ssf::SignalView;
use crate::telemetry::health::NotReady;
use crate::webhooks::WebhookView;

/// A posture signal as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPosture {
    /// What it is about.
    pub scope: PostureScope,
    /// How alert.
    pub posture: Posture,
    /// Why.
    pub reason: Reason,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A kill as somebody orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKillOrder {
    /// Whom.
    pub scope: KillScope,
    /// How far.
    pub mode: KillMode,
    /// Why.
    pub reason: Reason,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// One trust domain, as its operators reach it. Whoever implements it trusts its callers: that the caller is an
/// operator and no agent was decided before.
pub trait AdminDoor: Debug + Send + Sync {
    /// The trust domain's document, which says who its operators are.
    fn document(&self) -> Arc<TrustDomainDocument>;

    /// The registration entries.
    fn registry(&self) -> Arc<Snapshot>;

    /// The agents that these selectors attest as, in every trust domain that this process serves: an agent of one is no
    /// operator of another.
    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId>;

    /// The playbooks.
    fn playbooks(&self) -> Arc<PlaybookSet>;

    /// The files of the folder that is served.
    fn sources(&self) -> FolderFiles;

    /// How the daemon is.
    fn status(&self) -> DaemonStatus;

    /// The keys of the signing authorities.
    fn authorities(&self) -> Vec<AuthorityView>;

    /// The upstream whose bundle the own one follows.
    fn upstream(&self) -> Option<UpstreamStanding>;

    /// Takes a step in the life of a key. Gives the name of the key.
    fn change_authority(
        &self,
        change: AuthorityChange,
        operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>>;

    /// Makes the next key of the X.509 authority, unless it is there, and asks for its certificate.
    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>>;

    /// What keeps requests from being served.
    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>>;

    /// Measures what is not counted as it happens.
    fn measure(&self) -> BoxFuture<'_, ()>;

    /// Adds an entry.
    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>>;

    /// Removes an entry that an operator added.
    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Intents, in the order of the filter.
    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>>;

    /// One intent.
    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>>;

    /// Who is on duty when.
    fn rosters(&self) -> Arc<Rosters>;

    /// What is remembered of approvers' decisions, by approver.
    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>>;

    /// One intent with all that an operator has to see before they decide; from now on they have seen it.
    fn look_at(&self, operator: Operator, id: IntentId) -> BoxFuture<'_, Result<Told, AdminError>>;

    /// Approves, denies or ends an intent. The same key with the same word is answered as before.
    fn decide(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        key: Option<String>,
    ) -> BoxFuture<'_, Result<Told, AdminError>>;

    /// How many grants are open by agent, delegator or target.
    fn open_counts(&self, by: OpenBy) -> BoxFuture<'_, Result<Vec<OpenCount>, AdminError>>;

    /// Ends every intent that counts against one agent, delegator or target, with all that was asked for under them. Gives
    /// those that this ended.
    fn revoke_held(
        &self,
        operator: Operator,
        holding: Holding,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, AdminError>>;

    /// Refusals of requests, newest first.
    fn refusals(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>>;

    /// One refusal of a request.
    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>>;

    /// The families of agents that are in quarantine or had a cooldown in the last day.
    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>>;

    /// Lets a family ask again; whether it was held.
    fn release(
        &self,
        family: Family,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>>;

    /// Records what was found about a break-glass grant that is over.
    fn review(
        &self,
        operator: Operator,
        id: IntentId,
        finding: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>>;

    /// Takes away what an agent wrote about an intent that is over.
    fn erase(
        &self,
        operator: Operator,
        id: IntentId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>>;

    /// What an agent wrote and was sealed, by name. That it is read is on record first.
    fn payloads(
        &self,
        operator: Operator,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Vec<(&'static str, String)>, AdminError>>;

    /// What is kept of an intent's tokens, the oldest first.
    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>>;

    /// What is kept of tokens, by their ids, from the one behind `after` on: one page, empty behind the last.
    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>>;

    /// What is kept of one token.
    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>>;

    /// Ends a token and all that derives from it. Gives those that this ended, the named one first.
    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>>;

    /// Stops issuance and use at once.
    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>>;

    /// What is killed now.
    fn kill_state(&self) -> Arc<KillState>;

    /// Whether something is in force here of which no other replica can hear yet.
    fn kills_kept_here_only(&self) -> bool;

    /// Whom a kill would hit; changes nothing.
    fn kill_impact(
        &self,
        scope: KillScope,
        mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>>;

    /// Measures how fast a kill spreads, with one that hits nobody.
    fn kill_drill(&self, operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>>;

    /// Asks for a kill, by its id or its epoch, to be lifted, or relaxed to a mode that stops less.
    fn ask_lift(
        &self,
        kill: String,
        to: Option<KillMode>,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>>;

    /// Wishes to lift a kill that another person may confirm.
    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>>;

    /// Confirms another person's wish.
    fn confirm_lift(
        &self,
        ask: String,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>>;

    /// Sets a posture signal; gives all that are set then.
    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>>;

    /// The posture signals that are set.
    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>>;

    /// The log.
    fn log(&self) -> Arc<dyn LogStore>;

    /// The key that verifies the log's checkpoints.
    fn log_key(&self) -> VerifierKey;

    /// Who is told what happens, and how far each has come.
    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>>;

    /// The newest checkpoint that enough witnesses have cosigned; `None` while there is none.
    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>>;

    /// What clouds fetch to verify tokens, by issuer.
    fn published(&self) -> Vec<Published>;

    /// The relationships with other trust domains.
    fn federations(&self) -> Arc<Federations>;

    /// Where the log is pushed, and how far each has come.
    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>>;

    /// Has the folder read anew and put in force; a dry run only says what that would come to. One that is refused is no
    /// error.
    fn reload(
        &self,
        operator: Operator,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>>;

    /// How the folder in force stands to its files.
    fn folder(&self) -> BoxFuture<'_, FolderStanding>;

    /// The streams and transmitters of shared signals, and how far each has come.
    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>>;

    /// Sends a stream's receiver an event that says nothing but that events arrive, with what it is to hear again.
    fn verify_signals(
        &self,
        stream: String,
        state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Sends a webhook a message of no event.
    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Sends a webhook what was put aside: the message of one leaf, or all of it. Gives how many were taken.
    fn redeliver(&self, name: String, leaf: Option<u64>) -> BoxFuture<'_, Result<u64, AdminError>>;

    /// Which identities are shared.
    fn sharing(&self) -> Arc<SharedIdentities>;

    /// Whom the doors of the trust domain refused lately.
    fn denials(&self) -> Arc<Denials>;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Records that an agent came to the operators' socket and was refused.
    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>>;
}

/// How a daemon is; the rest of the status comes from what the door shows anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Since when it runs.
    pub started_at: Timestamp,
    /// The sequence number of the trust bundle.
    pub bundle_sequence: u64,
    /// How many rows of the store were found not to read.
    pub unreadable_rows: usize,
}

/// A token, and whether it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStanding {
    /// What is kept of it.
    pub record: TokenRecord,
    /// Why it may not be used any more, if it may not.
    pub ended: Option<Denial>,
}

/// A local user who may use the admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    approver: Approver,
    groups: BTreeSet<GroupName>,
    known_as: BTreeSet<Principal>,
    has_mfa: bool,
}

impl Operator {
    /// Only the gate makes one, after it looked at the process.
    pub(super) const fn new(
        approver: Approver,
        groups: BTreeSet<GroupName>,
        known_as: BTreeSet<Principal>,
        has_mfa: bool,
    ) -> Self {
        Self { approver, groups, known_as, has_mfa }
    }

    /// The approver groups that the operator is in now, by the document and the rosters.
    #[cfg(test)]
    pub(super) const fn groups(&self) -> &BTreeSet<GroupName> {
        &self.groups
    }

    /// The operator as the one who decides, with all that is known of them.
    #[must_use]
    pub fn decider(&self, now: Timestamp) -> Decider {
        Decider {
            groups: self.groups.clone(),
            known_as: self.known_as.clone(),
            mfa: self.has_mfa.then(|| MfaEvidence::of_host(now)),
            client: Some("admin socket".to_owned()),
            ..Decider::from(self.approver())
        }
    }

    /// The operator as the one who approves or denies.
    #[must_use]
    pub fn approver(&self) -> Approver {
        self.approver.clone()
    }
}

/// The form in audit records.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.approver(), f)
    }
}

/// An agent was refused at the operators' socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it called.
    pub method: &'static str,
    /// The local user it ran as.
    pub user: Approver,
    /// The agents that the process, or one of its ancestors, attests as; never empty.
    pub agents: Vec<SpiffeId>,
    /// The intent that the call was about.
    pub intent: Option<IntentId>,
    /// The code that it was told.
    pub code: DenialCode,
}

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was asked for.
        what: &'static str,
        /// The id that was given.
        id: String,
    },
    /// The intent's rules refuse it.
    #[error("refused")]
    Refused(#[source] Denial),
    /// The registration's rules refuse it.
    #[error("the entry is refused")]
    Entry(#[source] RegistryError),
    /// The rules of federation refuse it.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The receiver of a stream did not take an event.
    #[error("{0}")]
    EventNotTaken(String),
    /// The kill switch's rules refuse it.
    #[error(transparent)]
    Kill(KillError),
    /// The life of the key that it is about refuses it.
    #[error(transparent)]
    Authority(OrderRefusal),
    /// A certificate that somebody else signed cannot be an authority's.
    #[error("the certificate is refused")]
    SignedAuthority(#[source] SignedAuthorityError),
    /// Whoever signs certificates signed none.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// A webhook's receiver did not take a message.
    #[error("{0}")]
    NotTaken(String),
    /// Nothing was done, because it could not be recorded.
    #[error("the store is not available, nothing was done")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<KillError> for AdminError {
    fn from(error: KillError) -> Self {
        match error {
            KillError::Store(source) => Self::Unavailable(source),
            KillError::NotStanding(id) => Self::NotFound { what: "kill", id },
            error => Self::Kill(error),
        }
    }
}

impl AdminError {
    /// Why storage did not change the intent `id`.
    #[must_use]
    pub fn of_change(id: &IntentId, error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::NotFound { what: "intent", id: id.to_string() },
            ChangeError::Refused(denial) => Self::Refused(denial),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl AdminError {
    /// Why nothing was decided about the intent `id`.
    #[must_use]
    pub fn of_decision(id: &IntentId, error: DecisionError) -> Self {
        match error {
            DecisionError::NotFound => Self::NotFound { what: "intent", id: id.to_string() },
            DecisionError::Denied(denial) => Self::Refused(denial),
            DecisionError::MfaNeeded => {
                let detail = "a login with more than one factor is needed";
                Self::Refused(Denial::new(DenialCode::ApproverNotEligible, detail))
            }
            DecisionError::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<IntentStoreError> for AdminError {
    fn from(error: IntentStoreError) -> Self {
        error.into_denial().map_or_else(Self::Unavailable, Self::Refused)
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        Self::Entry(error)
    }
}
