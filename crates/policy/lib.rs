//! The decision point: whether a grant that somebody asks for is approved, needs a person, or is refused.
//!
//! Policies are Cedar, in two sets: `hard.cedar` forbids for good, `gate.cedar` permits, with or without a person; Rego
//! (feature `rego`) may refuse more. Absent: HTTP, storage, and every text of an agent: policy sees only what was resolved
//! or found out (M 86).

mod cases;
mod cedar;
mod decision;
mod facts;
mod finding;
mod judge;
#[cfg_attr(not(feature = "rego"), path = "no_rego.rs")]
mod rego;
#[cfg(test)]
mod shipped;
mod veto;

pub use self::cases::{CaseOutcome, CaseResult, run_cases};
pub use self::cedar::{CedarDecisionPoint, PolicyInfo, PolicyPart, SCHEMA};
pub use self::decision::{Act, DecisionPoint, PolicyError, Question, SlowRules};
pub use self::finding::PolicyFinding;
pub use self::judge::{judge, observed, ruled, with_risk};
pub use self::veto::Veto;
pub use marque_intent::{Ruling, Verdict};
