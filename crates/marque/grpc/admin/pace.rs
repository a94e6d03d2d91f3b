//! Refusals of requests and how families of agents stand, as operators see them; and letting a family ask again.
//!
//! Absent on purpose: the rules, and what an agent is told, which is the HTTP edge's.

use jiff::Timestamp;
use marque_intent::pace::{Family, Standing};
use marque_intent::{DENIALS_PAGE, DenialRecord};
use serde::Serialize;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::{AdminService, requests};
use crate::error;

impl AdminService {
    pub(super) async fn refusals(
        &self,
        request: Request<proto::FindRefusalsRequest>,
    ) -> Result<Response<proto::FindRefusalsResponse>, Status> {
        self.operator("FindRefusals", &request).await?;
        let request = request.into_inner();
        let found = if request.id.is_empty() {
            self.door.refusals(requests::refusals(request)?).await.map_err(error::admin)?
        } else {
            let id = requests::denial_id(&request.id)?;
            vec![self.door.refusal(id).await.map_err(error::admin)?]
        };
        let refusals = found.into_iter().map(refusal).collect();
        Ok(Response::new(proto::FindRefusalsResponse { refusals }))
    }

    pub(super) async fn standings(
        &self,
        request: Request<proto::ListStandingsRequest>,
    ) -> Result<Response<proto::ListStandingsResponse>, Status> {
        self.operator("ListStandings", &request).await?;
        let proto::ListStandingsRequest {} = request.into_inner();
        let now = self.door.now();
        let found = self.door.standings().await.map_err(error::admin)?;
        let held = |(family, one): &(Family, Standing)| standing(family, one, now);
        let standings = found.iter().filter_map(held).collect();
        Ok(Response::new(proto::ListStandingsResponse { standings }))
    }

    pub(super) async fn release(
        &self,
        request: Request<proto::ReleaseFamilyRequest>,
    ) -> Result<Response<proto::ReleaseFamilyResponse>, Status> {
        let operator = self.operator("ReleaseFamily", &request).await?;
        let proto::ReleaseFamilyRequest { agent, reason } = request.into_inner();
        let (family, reason) = (requests::family(&agent)?, requests::reason(&reason)?);
        let released = self.door.release(family.clone(), reason, operator).await;
        let was_held = released.map_err(error::admin)?;
        Ok(Response::new(proto::ReleaseFamilyResponse { family: family.to_string(), was_held }))
    }
}

fn refusal(record: DenialRecord) -> proto::RequestRefusal {
    let DenialRecord { id, at, agent, playbook, ticket, intent, denial } = record;
    let retry = denial.retry();
    proto::RequestRefusal {
        id: id.to_string(),
        at: Some(timestamp(at)),
        agent: agent.to_string(),
        playbook: playbook.map(|id| id.to_string()).unwrap_or_default(),
        ticket: ticket.map(|ticket| ticket.to_string()).unwrap_or_default(),
        intent: intent.map(|id| id.to_string()).unwrap_or_default(),
        code: denial.code().as_str().to_owned(),
        class: denial.class().as_str().to_owned(),
        detail: denial.detail().to_owned(),
        expected: denial.expected().unwrap_or_default().to_owned(),
        actual: denial.actual().unwrap_or_default().to_owned(),
        rules: denial.rules().to_vec(),
        policy_set: denial.policy_set().map(ToString::to_string).unwrap_or_default(),
        retry_allowed: retry.allowed,
        retry_after_s: retry.after.map(|wait| wait.as_secs()),
        tries_left: retry.max,
        about: denial.subject().map(ToString::to_string).unwrap_or_default(),
        remediation: denial.remediation().sentence().to_owned(),
        doc: format!("{DENIALS_PAGE}#{}", denial.code()),
        guide: denial.code().guide().to_owned(),
    }
}

/// A family that is held, or had a cooldown in the last day; the others have nothing to show.
fn standing(family: &Family, standing: &Standing, now: Timestamp) -> Option<proto::FamilyStanding> {
    let Standing { cooldowns, quarantine, said: _ } = standing;
    let last = cooldowns.last();
    let (agent, class) = match (quarantine, last) {
        (Some(quarantine), _) => (&quarantine.agent, quarantine.class),
        (None, Some(cooldown)) => (&cooldown.agent, cooldown.class),
        (None, None) => return None,
    };
    Some(proto::FamilyStanding {
        family: family.to_string(),
        quarantined_at: quarantine.as_ref().map(|quarantine| timestamp(quarantine.at)),
        agent: agent.to_string(),
        class: class.as_str().to_owned(),
        cooldowns: u32::try_from(cooldowns.len()).unwrap_or(u32::MAX),
        cooling_until: standing.cooling(now).map(|cooldown| timestamp(cooldown.until)),
    })
}

/// The refusal of a request.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalView {
    /// What the agent was told as `request_id`.
    pub id: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Who asked.
    pub agent: String,
    /// For which playbook; empty where it named none.
    pub playbook: String,
    /// For which change ticket; empty where it named none.
    pub ticket: String,
    /// The intent that was refused; empty where none was made.
    pub intent: String,
    /// The stable code.
    pub code: String,
    /// Its class.
    pub class: String,
    /// What failed.
    pub detail: String,
    /// What was wanted, where the detail does not say it all.
    pub expected: String,
    /// What was found.
    pub actual: String,
    /// The policies that decided.
    pub rules: Vec<String>,
    /// Their set.
    pub policy_set: String,
    /// Whether trying again can help.
    pub retry_allowed: bool,
    /// How long to wait first, in seconds.
    pub retry_after_s: Option<u64>,
    /// How many further tries there were.
    pub tries_left: Option<u32>,
    /// Another intent that it is about.
    pub about: String,
    /// What to do.
    pub remediation: String,
    /// Where the code is explained.
    pub doc: String,
    /// What an operator does about it.
    pub guide: String,
}

impl From<proto::RequestRefusal> for RefusalView {
    fn from(refusal: proto::RequestRefusal) -> Self {
        let proto::RequestRefusal {
            id,
            at,
            agent,
            playbook,
            ticket,
            intent,
            code,
            class,
            detail,
            expected,
            actual,
            rules,
            policy_set,
            retry_allowed,
            retry_after_s,
            tries_left,
            about,
            remediation,
            doc,
            guide,
        } = refusal;
        Self {
            id,
            at: at.and_then(from_timestamp),
            agent,
            playbook,
            ticket,
            intent,
            code,
            class,
            detail,
            expected,
            actual,
            rules,
            policy_set,
            retry_allowed,
            retry_after_s,
            tries_left,
            about,
            remediation,
            doc,
            guide,
        }
    }
}

/// How a family of agents stands.
#[derive(Debug, Clone, Serialize)]
pub struct StandingView {
    /// A SPIFFE ID without the segment that names the instance.
    pub family: String,
    /// Since when it is in quarantine, if it is.
    pub quarantined_at: Option<Timestamp>,
    /// The agent whose refusals were too many.
    pub agent: String,
    /// Of which class the last of them were.
    pub class: String,
    /// How many cooldowns there were in a day.
    pub cooldowns: u32,
    /// Until when a cooldown runs, if one does.
    pub cooling_until: Option<Timestamp>,
}

impl From<proto::FamilyStanding> for StandingView {
    fn from(standing: proto::FamilyStanding) -> Self {
        let proto::FamilyStanding {
            family,
            quarantined_at,
            agent,
            class,
            cooldowns,
            cooling_until,
        } = standing;
        Self {
            family,
            quarantined_at: quarantined_at.and_then(from_timestamp),
            agent,
            class,
            cooldowns,
            cooling_until: cooling_until.and_then(from_timestamp),
        }
    }
}
