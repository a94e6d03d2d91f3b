//! A playbook: a reviewed, versioned procedure. Who may ask, with which parameters, what it permits, for how long, who
//! approves (specs/intents.md 1).
//!
//! A playbook is read from TOML without defaults: a field that is missing, unknown, or part of the format and not
//! enforced yet is an error with its line. Absent: deciding; a playbook is a ceiling, policy says yes or no.

mod checks;
mod diff;
mod document;
mod exception;
mod id;
pub(crate) mod lines;
mod lint;
mod parameters;
mod pattern;
mod phase;
mod report;
mod sections;
mod set;
mod summary;
mod template;
mod unsupported;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use marque_spiffe::{SpiffeId, SpiffeIdPattern, TrustDomain};
use serde_json::Value;

pub use self::diff::{Difference, DocumentRules, Effect, Rule, changes_what_is_enforced, diff};
pub(crate) use self::exception::today;
pub use self::exception::{
    Exception, ExceptionId, ExceptionIdError, ExceptionStanding, MAX_EXCEPTION, MAX_EXCEPTION_RUNS,
    PinnedException, Relaxed,
};
pub use self::id::{PlaybookId, PlaybookIdError};
pub use self::lint::{LintFinding, Severity, lint};
pub(crate) use self::parameters::{Parameters, is_bounded_schema};
pub(crate) use self::pattern::LinearPattern;
pub use self::phase::{Phase, PhaseName, PhaseNameError};
pub use self::sections::approval::ApprovalMode;
pub(crate) use self::sections::change::TicketDemand;
pub use self::sections::enforcement::Enforcement;
pub use self::sections::head::PlaybookStatus;
pub(crate) use self::sections::permits::DetailTemplate;
pub use self::sections::time::Times;
pub(crate) use self::sections::time::duration;
pub(crate) use self::sections::tools::ToolTemplate;
pub use self::sections::workflow::WorkflowLabel;
pub use self::set::{Overdue, PlaybookFinding, PlaybookSet};
pub(crate) use self::set::{read_with, toml_files};
pub use self::summary::{PhaseSummary, PlaybookSummary, TicketSummary};
pub(crate) use self::template::{Template, Variable};
pub(crate) use self::value::ValueTemplate;
use crate::approval::ApprovalPlan;
use crate::delegators::Delegators;
use crate::digest::Digest;
use crate::emergency::Emergency;
use crate::ends::EndingRules;
use crate::evidence::{Demands, RiskRules};
use crate::grant::{Delivery, PinnedPlaybook, Scope};
use crate::open::Caps;
use crate::post_check::PostCheckUrl;
use crate::provisions::LogDemands;
use crate::rights::{Limits, OnBehalf, ToolId};
use crate::ticket::TicketCondition;
use crate::window::{CalendarName, Window};

/// The largest playbook file, in bytes.
pub const MAX_PLAYBOOK_BYTES: usize = 64 * 1024;
/// The longest life of one token that a playbook may give.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The longest that any clock of a playbook may run.
pub const MAX_CLOCK: Duration = Duration::from_secs(24 * 60 * 60);
/// The most uses that a playbook may give.
pub const MAX_USES: u32 = 100;
/// The domain tag of a playbook's digest: none, the digest is the plain SHA-256 of the canonical document.
const DOCUMENT_TAG: &str = "";

/// One thing that is wrong with a playbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlaybookError {
    line: Option<usize>,
    message: String,
}

impl PlaybookError {
    pub(crate) fn new(line: Option<usize>, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    /// The line, from 1, where it is known.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A playbook that passed every check.
#[derive(Debug, Clone)]
pub struct Playbook {
    id: PlaybookId,
    version: NonZeroU64,
    digest: Digest,
    title: String,
    owner: String,
    author: Option<String>,
    review_by: Date,
    tenant: String,
    trust_domain: TrustDomain,
    status: PlaybookStatus,
    purpose: Option<String>,
    data_classes: Vec<String>,
    risk: RiskRules,
    agents: Vec<SpiffeIdPattern>,
    pub(crate) parameters: Parameters,
    pub(crate) resources: Vec<Template>,
    pub(crate) audience: Template,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) details: Vec<DetailTemplate>,
    delivery: Delivery,
    time: Times,
    pub(crate) ticket: Option<TicketDemand>,
    windows: Vec<Window>,
    blackouts: BTreeSet<CalendarName>,
    approval_mode: ApprovalMode,
    approval: Option<ApprovalPlan>,
    pub(crate) tools: BTreeMap<ToolId, ToolTemplate>,
    pub(crate) constraints: BTreeMap<String, ValueTemplate>,
    limits: Limits,
    on_behalf: Option<OnBehalf>,
    delegators: Option<Delegators>,
    workflow: BTreeSet<WorkflowLabel>,
    logging: LogDemands,
    phases: Vec<Arc<Self>>,
    phase: Option<Phase>,
    exception: Option<PinnedException>,
    ends: EndingRules,
    caps: Caps,
    demands: Demands,
    enforcement: Enforcement,
    pub(crate) object: Option<Template>,
    notified: BTreeSet<String>,
    post_check: Option<PostCheckUrl>,
    emergency: Option<Emergency>,
}

impl Playbook {
    /// Reads one playbook.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one thing.
    pub fn parse(text: &str) -> Result<Self, Vec<PlaybookError>> {
        checks::parse(text)
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> &PlaybookId {
        &self.id
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version.get()
    }

    /// SHA-256 over the canonical JSON of the whole document.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The title, for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Who wrote it; who answers for it, where it does not say.
    #[must_use]
    pub fn author(&self) -> &str {
        self.author.as_deref().unwrap_or(&self.owner)
    }

    /// The day on which its review is due.
    #[must_use]
    pub const fn review_by(&self) -> Date {
        self.review_by
    }

    /// The tenant's label.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The trust domain that it belongs to.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The webhooks that are told when its work is reported as done.
    #[must_use]
    pub const fn notified(&self) -> &BTreeSet<String> {
        &self.notified
    }

    /// Who is asked whether the work that was reported as done was done.
    #[must_use]
    pub const fn post_check(&self) -> Option<&PostCheckUrl> {
        self.post_check.as_ref()
    }

    /// Whether it is in use.
    #[must_use]
    pub const fn status(&self) -> PlaybookStatus {
        self.status
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// The classes of data that it touches.
    #[must_use]
    pub fn data_classes(&self) -> &[String] {
        &self.data_classes
    }

    /// How its risk is counted, and what follows of it.
    #[must_use]
    pub const fn risk_rules(&self) -> &RiskRules {
        &self.risk
    }

    /// What it demands of whoever asks, beside being one of its agents.
    #[must_use]
    pub const fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Whether what policy says of it is enforced.
    #[must_use]
    pub const fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// The risk score that it starts from, 0 to 100.
    #[must_use]
    pub const fn risk(&self) -> u32 {
        self.risk.base
    }

    /// Who may ask for it.
    #[must_use]
    pub fn agents(&self) -> &[SpiffeIdPattern] {
        &self.agents
    }

    /// The JSON Schema of its parameters.
    #[must_use]
    pub const fn parameter_schema(&self) -> &Value {
        self.parameters.schema()
    }

    /// The scopes that it permits.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// How its grants are delivered.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Its clocks and counts.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.time
    }

    /// When its grants may be used; always if there are none.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The calendars that forbid to use its grants.
    #[must_use]
    pub const fn blackouts(&self) -> &BTreeSet<CalendarName> {
        &self.blackouts
    }

    /// What it wants of the ticket that a request names, beside its form.
    #[must_use]
    pub fn ticket_condition(&self) -> Option<&TicketCondition> {
        self.ticket.as_ref()?.condition.as_ref()
    }

    /// How it is approved.
    #[must_use]
    pub const fn approval_mode(&self) -> ApprovalMode {
        self.approval_mode
    }

    /// Who approves where a person has to; absent if nobody can.
    #[must_use]
    pub const fn approval(&self) -> Option<&ApprovalPlan> {
        self.approval.as_ref()
    }

    /// The numbers that bound each of its grants.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether and to whom its grants may be handed on; absent if not at all.
    #[must_use]
    pub const fn on_behalf(&self) -> Option<&OnBehalf> {
        self.on_behalf.as_ref()
    }

    /// On whose behalf its grants may be used; absent if on nobody's but their own agent's.
    #[must_use]
    pub const fn delegators(&self) -> Option<&Delegators> {
        self.delegators.as_ref()
    }

    /// What an agent has to say of where in a workflow it acts.
    #[must_use]
    pub const fn workflow(&self) -> &BTreeSet<WorkflowLabel> {
        &self.workflow
    }

    /// What the log must be able to say of its grants.
    #[must_use]
    pub const fn logging(&self) -> &LogDemands {
        &self.logging
    }

    /// What ends its grants beside their fixed clocks.
    #[must_use]
    pub const fn ends(&self) -> &EndingRules {
        &self.ends
    }

    /// How many of its grants may be open at once.
    #[must_use]
    pub const fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The resources that it lets somebody touch. Where parameters stand in one, so do their names.
    pub fn resources(&self) -> impl Iterator<Item = String> {
        self.resources.iter().map(ToString::to_string)
    }

    /// What it permits, in the words of [`crate::HumanJob`]: `scope NAME`, `tool SERVER.NAME`, `audience URL` and
    /// `action TYPE:NAME`. Where parameters stand in an audience, so do their names.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<String> {
        let scopes = self.scopes.iter().map(|scope| format!("scope {scope}"));
        let tools = self.tools.keys().map(|tool| format!("tool {tool}"));
        let actions = self.details.iter().flat_map(|detail| {
            detail.actions.iter().map(|action| format!("action {}:{action}", detail.kind))
        });
        let audience = std::iter::once(format!("audience {}", self.audience));
        scopes.chain(tools).chain(actions).chain(audience).collect()
    }

    /// What holds for it as an emergency playbook; absent if it is none.
    #[must_use]
    pub const fn emergency(&self) -> Option<&Emergency> {
        self.emergency.as_ref()
    }

    /// Whether this agent may ask for it: its patterns match and it is in use.
    #[must_use]
    pub fn is_for(&self, agent: &SpiffeId) -> bool {
        self.status.is_requestable() && self.agents.iter().any(|pattern| pattern.matches(agent))
    }

    /// The pin that a grant carries.
    #[must_use]
    pub fn pin(&self) -> PinnedPlaybook {
        PinnedPlaybook {
            id: self.id.clone(),
            version: self.version.get(),
            digest: self.digest,
            title: self.title.clone(),
            owner: self.owner.clone(),
            data_classes: self.data_classes.clone(),
            purpose: self.purpose.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
