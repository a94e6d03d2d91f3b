//! Whatever is asked, in whatever order: the limits hold, and nobody stretches a cooldown by asking.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use proptest::prelude::*;

use super::{Asked, PaceKey, PaceRow, PaceRows, PaceSettings, Turn};
use crate::fixtures::at;
use crate::{Denial, DenialCode};

const CODES: [DenialCode; 6] = [
    DenialCode::ParamsSchemaInvalid,
    DenialCode::AgentNotAllowed,
    DenialCode::TicketMissing,
    DenialCode::RiskTooHigh,
    DenialCode::PolicyUnavailable,
    DenialCode::KillSwitchAgent,
];

#[derive(Debug, Clone)]
struct Step {
    seconds: i64,
    agent: usize,
    /// None where nothing else refuses it.
    refused: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_i64..120, 0_usize..3, proptest::option::of(0..CODES.len()))
        .prop_map(|(seconds, agent, refused)| Step { seconds, agent, refused });
    proptest::collection::vec(step, 1..200)
}

fn agent(number: usize) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/worker/{number}").parse().unwrap()
}

fn read(rows: &PaceRows) -> PaceRows {
    // As a store gives them back.
    rows.iter()
        .map(|(key, row)| {
            let text = serde_json::to_string(row).unwrap();
            (key.clone(), serde_json::from_str::<PaceRow>(&text).unwrap())
        })
        .collect()
}

proptest! {
    #[test]
    fn the_limits_hold_whatever_is_asked(steps in steps()) {
        let settings = PaceSettings::default();
        let mut rows = PaceRows::default();
        let mut accepted: [VecDeque<Timestamp>; 3] = Default::default();
        let mut now = at(0);
        for step in steps {
            now = now.checked_add(Duration::from_secs(u64::try_from(step.seconds).unwrap())).unwrap();
            let asked = Asked::by(&agent(step.agent), None);
            let before = rows.standing(&asked.family);
            let held = before.quarantine.is_some() || before.cooling(now).is_some();
            let turn = Turn { asked: &asked, rows: &rows, settings: &settings, now };
            let written = match (step.refused, turn.check()) {
                (None, Ok(())) => {
                    prop_assert!(!held, "asked while it was held");
                    let recent = &mut accepted[step.agent];
                    recent.push_back(now);
                    while recent.front().is_some_and(|first| {
                        first.checked_add(Duration::from_secs(60)).unwrap() <= now
                    }) {
                        recent.pop_front();
                    }
                    prop_assert!(recent.len() <= 20);
                    turn.keep(true, &|_| false).rows
                }
                (None, Err(denial)) => turn.refuse(denial, None).rows,
                (Some(code), checked) => {
                    let denial = checked.err().unwrap_or_else(|| Denial::new(CODES[code], "no"));
                    let stop = denial.code() == DenialCode::KillSwitchAgent;
                    let refused = turn.refuse(denial, None);
                    let told = refused.told.code();
                    let pace = [DenialCode::Quarantined, DenialCode::CooldownAfterDenial];
                    prop_assert!(!held || stop || pace.contains(&told), "{told}");
                    refused.rows
                }
            };
            written.into_iter().for_each(|(key, row)| rows.insert(key, row));
            rows = read(&rows);
            let after = rows.standing(&asked.family);
            if held {
                prop_assert_eq!(&after.cooldowns, &before.cooldowns, "asking stretched it");
                prop_assert_eq!(&after.quarantine, &before.quarantine);
            }
            prop_assert!(before.quarantine.is_none() || after.quarantine.is_some());
            if let Some(PaceRow::Agent(row)) = rows.get(&PaceKey::Agent(asked.agent.clone())) {
                prop_assert!(row.asked.len() <= 20);
                prop_assert!(row.denied.values().all(|instants| instants.len() <= 200));
            }
        }
    }
}
