//! Further decision points: those of the document, over AuthZEN. Each may refuse; none permits, and one that cannot answer
//! refuses.

use marque_intent::{Denial, DenialCode};
use marque_policy::{Question, Veto};

use crate::authzen::ExternalPoint;

/// Every further decision point of a trust domain, in the order of its document.
#[derive(Debug, Default)]
pub(in crate::issuer) struct FurtherPoints {
    pub(in crate::issuer) external: Vec<ExternalPoint>,
}

impl FurtherPoints {
    /// The first refusal, if there is one.
    ///
    /// # Errors
    /// `policy_unavailable`: one of them gave no answer.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Option<Veto>, Denial> {
        if self.external.is_empty() {
            return Ok(None);
        }
        let body = question.to_json();
        for point in &self.external {
            match point.evaluate(&body).await {
                Ok(None) => {}
                Ok(Some(veto)) => return Ok(Some(veto)),
                Err(error) => {
                    let (error, name) = (&error as &dyn std::error::Error, point.name());
                    tracing::error!(error, name, "a decision point gave no answer");
                    let detail = format!("the decision point `{name}` gave no answer");
                    return Err(Denial::new(DenialCode::PolicyUnavailable, detail));
                }
            }
        }
        Ok(None)
    }
}
