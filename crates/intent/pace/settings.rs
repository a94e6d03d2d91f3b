//! The numbers, each with its default.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::denial::DenialClass;

/// The most further tries that a budget may have.
pub const MAX_BUDGET: u32 = 10_000;

/// How much asking is too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaceSettings {
    /// How long a refusal is repeated to the same request.
    pub recent: Duration,
    /// How long a refusal counts against its budget.
    pub window: Duration,
    /// Budgets other than those of the table, in further tries.
    pub budgets: BTreeMap<DenialClass, u32>,
    /// How long the first, the second and every later cooldown of a day is.
    pub cooldowns: [Duration; 3],
    /// How long other ways to a target that was refused are counted.
    pub path_window: Duration,
    /// How many other ways to it may be tried.
    pub other_paths: u32,
    /// Requests of one agent in a minute.
    pub per_minute: u32,
    /// Requests of one agent for one task.
    pub per_task: u32,
    /// Intents that one agent has open of one playbook.
    pub open_per_playbook: u32,
    /// Whether one agent may have the same open more than once.
    pub duplicates: bool,
}

impl Default for PaceSettings {
    fn default() -> Self {
        Self {
            recent: Duration::from_mins(10),
            window: Duration::from_mins(10),
            budgets: BTreeMap::new(),
            cooldowns: [1, 5, 30].map(Duration::from_mins),
            path_window: Duration::from_hours(1),
            other_paths: 2,
            per_minute: 20,
            per_task: 50,
            open_per_playbook: 16,
            duplicates: false,
        }
    }
}

impl PaceSettings {
    /// How many further tries there are after a refusal of this class.
    #[must_use]
    pub fn budget(&self, class: DenialClass) -> u32 {
        self.budgets.get(&class).copied().unwrap_or_else(|| class.budget())
    }
}
