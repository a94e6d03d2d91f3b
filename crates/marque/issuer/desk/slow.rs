//! Policy as the desk asks it: rules that take their time are evaluated on threads that may wait, a few at once, so that
//! whoever asks a long question holds up no thread on which everybody's requests are answered.

use std::sync::Arc;
use std::time::Duration;

use marque_intent::{Ruling, Verdict};
use marque_policy::{DecisionPoint, PolicyError, Question, SlowRules, Veto, with_risk};
use tokio::sync::Semaphore;

/// How many questions are evaluated at once; more wait.
const MAX_AT_ONCE: usize = 4;
/// How long a question waits for its turn. Each takes a quarter of a second at most.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Where the rules of one trust domain that take their time are evaluated.
#[derive(Debug)]
pub(in crate::issuer) struct SlowRoom(Arc<Semaphore>);

impl Default for SlowRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_AT_ONCE)))
    }
}

impl SlowRoom {
    /// What policy and the playbook's thresholds say, as [`marque_policy::ruled`]. What has no slow rules is decided at once.
    ///
    /// # Errors
    /// As for [`DecisionPoint::decide`], and [`PolicyError::Busy`].
    pub(super) async fn ruled(
        &self,
        point: &dyn DecisionPoint,
        question: &Question<'_>,
    ) -> Result<Verdict, PolicyError> {
        let mut verdict = point.decide_quickly(question)?;
        if let Some(rules) = point.slow()
            && !matches!(verdict.ruling, Ruling::Deny { .. })
        {
            verdict = Veto::applied(self.veto(rules, question.to_json()).await?, verdict);
        }
        Ok(with_risk(verdict, question))
    }

    async fn veto(
        &self,
        rules: Arc<dyn SlowRules>,
        question: serde_json::Value,
    ) -> Result<Option<Veto>, PolicyError> {
        let place = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.0).acquire_owned()).await;
        let place = place.map_err(|_elapsed| PolicyError::Busy(MAX_WAIT))?;
        let place = place.map_err(|_closed| PolicyError::Stopped)?;
        let evaluated = tokio::task::spawn_blocking(move || {
            let veto = rules.veto(&question);
            // An evaluation that nobody waits for any more holds its place until it ends by itself.
            drop(place);
            veto
        });
        evaluated.await.map_err(|_stopped| PolicyError::Stopped)?
    }
}

#[cfg(test)]
mod tests;
