//! The decision point: whether a grant that somebody asks for is approved, needs a person, or is refused.
//!
//! Policies are Cedar, in two sets: `hard.cedar` forbids for good, `gate.cedar` permits, with or without a person.
//! Absent: HTTP, storage, and every text of an agent: policy sees only what was resolved (M 86).

mod cases;
mod cedar;
mod decision;
mod finding;

pub use self::cases::{CaseOutcome, CaseResult, run_cases};
pub use self::cedar::CedarDecisionPoint;
pub use self::decision::{DecisionPoint, PolicyError, Question};
pub use self::finding::PolicyFinding;
pub use marque_intent::Ruling;
