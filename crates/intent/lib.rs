//! Playbooks, intents, approvals, denials and grants: what an agent may ask for, what that means exactly, and how it
//! ends.
//!
//! Everything here is pure; time and randomness are handed in. Absent: HTTP, tokens, storage engines, and deciding,
//! which is the decision point's ([`Ruling`] is its answer).

mod appeal;
mod approval;
mod conditions;
mod delegation;
mod delegators;
mod denial;
mod digest;
mod drift;
mod emergency;
mod ends;
mod envelope;
mod evidence;
#[cfg(test)]
mod fixtures;
mod folder;
mod grant;
mod id;
pub mod kill;
mod lifecycle;
mod open;
pub mod pace;
mod parent;
mod playbook;
mod post_check;
mod provisions;
mod request;
mod resolve;
mod rights;
mod roles;
mod ruling;
mod secrets;
mod short_name;
mod store;
mod text;
mod ticket;
mod window;

pub use self::appeal::{
    Appeal, AskedOf, AskedOfError, BindingMessage, BindingMessageError, MAX_ASKED_CHARS,
    MAX_BINDING_MESSAGE_CHARS,
};
pub use self::approval::{
    Approval, ApprovalLevel, ApprovalLimits, ApprovalPlan, ApprovalQueue, ApprovalRule, Approver,
    Decider, DecisionMark, DecisionRecord, DecisionSummary, DenyReason, Exclusion, GroupName,
    GroupNameError, KnownApprovers, MAX_ALTERNATIVES, MAX_APPROVALS, MAX_LEVELS, MFA_MAX_AGE,
    MfaEvidence, MfaMethod, OPERATORS, Objection, Person, PersonError, PlanError, Principal,
    PrincipalError, PrincipalKind, RUBBER_STAMP_MS, Roster, RosterFinding, Rosters,
    UnknownDenyReason, UnknownExclusion,
};
pub use self::conditions::Conditions;
pub use self::delegation::{ForAgent, delegated};
pub use self::delegators::{Delegator, Delegators, MAX_DELEGATOR_TEXT, Persons};
pub use self::denial::{
    DENIALS_PAGE, Denial, DenialClass, DenialCode, DenialFilter, DenialId, DenialIdError,
    DenialRecord, MAX_DETAIL_CHARS, Problem, ProblemPolicy, ProblemRemediation, ProblemRetry,
    RefusedRequest, Remediation, Retry, UnknownDenialCode,
};
pub use self::digest::{CanonicalError, Digest, DigestSyntaxError};
pub use self::emergency::{AlertSink, AlertSinkError, Emergency, Responder, ResponderError};
pub use self::ends::EndingRules;
pub use self::envelope::{
    Bearings, Claimed, ClaimsError, Envelope, EnvelopeDocument, ResourceConstraints, RightsClaims,
};
pub use self::evidence::{
    AgentStanding, Category, CategoryError, Confidence, ConfidenceError, Demands, Evidence,
    History, MAX_RISK, Posture, PostureError, PostureScope, PostureSignal, PostureState,
    RiskAssessment, RiskFactor, RiskInputs, RiskName, RiskRules, TicketEvidence, UnknownRiskName,
    WindowEvidence, WorkingDay, WorkingDayError, WorkingHours,
};
pub use self::folder::files_in;
pub use self::grant::{
    APPROVAL_TAG, AuthorizationDetail, Delivery, Grant, GrantError, GrantTerms, MAX_GRANT_BYTES,
    PinnedPlaybook, Scope, ScopeError,
};
pub use self::id::{IntentId, IntentIdError};
pub use self::kill::{
    Agents, CredentialFacts, Kill, KillId, KillMode, KillName, KillOrder, KillRecord, KillScope,
    KillState, Lift, NewKill, NewLift, PlaybookVersion, StopPoint, ToolScope,
};
pub use self::lifecycle::{
    Course, DEFAULT_REPORT_WITHIN, Derive, EndReason, Intent, IntentChange, MAX_CLOCK_STEP_BACK,
    Narrowed, Narrowing, Outcome, RedeemedUse, Review, State, TokenFacts, UnknownEndReason,
    UnknownState, Use, break_glass_event, refused_request,
};
pub use self::open::{
    Caps, CapsInForce, Holding, MAX_OPEN_NAMES, OpenBy, OpenCount, OpenIntents, UnendedPage,
    UnknownOpenBy,
};
pub use self::parent::ParentIntent;
pub use self::playbook::{
    ApprovalMode, Difference, DocumentRules, Effect, Enforcement, Exception, ExceptionId,
    ExceptionIdError, ExceptionStanding, LintFinding, MAX_CLOCK, MAX_EXCEPTION, MAX_EXCEPTION_RUNS,
    MAX_PLAYBOOK_BYTES, MAX_TOKEN_LIFETIME, MAX_USES, Overdue, Phase, PhaseName, PhaseNameError,
    PhaseSummary, PinnedException, Playbook, PlaybookError, PlaybookFinding, PlaybookId,
    PlaybookIdError, PlaybookSet, PlaybookStatus, PlaybookSummary, Relaxed, Rule as DiffRule,
    Severity, TicketSummary, Times, WorkflowLabel, changes_what_is_enforced, diff as playbook_diff,
    lint,
};
pub use self::post_check::{PostCheck, PostCheckUrl, PostCheckUrlError};
pub use self::provisions::{LogDemands, LogField, PromptKept, Provisions};
pub use self::request::{
    IntentRequest, MAX_PARAMETERS, MAX_REQUEST_BYTES, MAX_REQUEST_DEPTH, TicketRef, TicketRefError,
};
pub use self::resolve::{Circumstances, Requester, check_request, resolve};
pub use self::rights::{
    ConstraintError, ConstraintValue, Constraints, Dimension, Label, LabelError, Limits,
    MAX_ARGUMENT_SCHEMAS, MAX_CONSTRAINT_TEXT, MAX_CONSTRAINT_VALUES, MAX_CONSTRAINTS,
    MAX_DELEGATION_DEPTH, MAX_DETAILS, MAX_LABEL_LEN, MAX_TOOLS, OnBehalf, Rights, ToolBounds,
    ToolId, ToolIdError, Wanted, WantedTool, Widening,
};
pub use self::roles::HumanJob;
pub use self::ruling::{Ruling, Verdict};
pub use self::secrets::{is_secret_name, looks_like_secret};
pub use self::store::{
    ChangeError, IdempotencyKey, IdempotencyKeyError, IntentFilter, IntentStore, IntentStoreError,
    ListOrder, MAX_LISTED, Preview, Release, Submitted,
};
pub use self::text::{
    Justification, MAX_JUSTIFICATION_CHARS, MAX_REASON_CHARS, Reason, TextTooLong,
};
pub use self::ticket::{
    TicketCondition, TicketFacts, TicketLookupError, TicketSystemName, TicketSystemNameError,
};
pub use self::window::{
    Calendar, CalendarName, CalendarNameError, CalendarSet, MAX_CALENDAR_BYTES, Recurrence,
    RecurrenceError, Schedule, Standing, Window, WindowError, Zone, ZoneError,
};
