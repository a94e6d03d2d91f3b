//! Intents, the decisions about them and the posture that is decided by, as operators reach them.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{
    DecisionRecord, Holding, Intent, IntentFilter, IntentId, OpenBy, OpenCount, Posture,
    PostureScope, PostureState, Reason,
};

use super::{AdminError, Operator};
use crate::approvers::{Told, Word};

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

/// Intents, what was decided about them, and how alert deciding is.
pub trait IntentDoor {
    /// Intents, in the order of the filter.
    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>>;

    /// One intent.
    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>>;

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

    /// What is remembered of approvers' decisions, by approver.
    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>>;

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

    /// Sets a posture signal; gives all that are set then.
    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>>;

    /// The posture signals that are set.
    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>>;
}
