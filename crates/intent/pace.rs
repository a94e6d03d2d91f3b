//! How often, how soon and after which refusals an agent may ask (specs/intents.md 6): the rules, with time handed in.
//!
//! A refusal is repeated to the same request without asking anybody; other ways to a target that was refused are counted
//! over all playbooks; refusals have a budget by class, past which the agent's family cools down, and after the third time
//! in a day waits for a person. Everything that is counted is a row ([`PaceRows`]) that the store loads and writes in the
//! transaction that keeps or refuses the request. Absent: storage, and what an approver's queue takes.

mod family;
mod history;
mod hushed;
mod keys;
mod refusing;
mod rows;
mod rules;
mod settings;
mod similar;

pub use self::family::Family;
pub use self::hushed::{Again, HUSHED_FOR, Hushed, Repeated};
pub use self::keys::{Asked, Effect, Resolved};
pub use self::rows::{
    AgentPace, Cooldown, DeniedRequest, DeniedTarget, HISTORY, MAX_COUNTED, OpenIntent, OpenPace,
    PaceKey, PaceRow, PaceRows, Quarantine, RequestPace, RunsPace, Said, Standing, TargetPace,
    TaskPace,
};
pub use self::rules::{Counted, Kept, Refused, Turn};
pub use self::settings::{MAX_BUDGET, PaceSettings};
pub use self::similar::says_the_same;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
