//! Every metric of the daemon: its name, kind, labels and meaning. What is not in here is not exported, and
//! `docs/telemetry.md` has a row for each.
//!
//! No label names a workload, a person, a ticket or a token: the values of each are few and are ours. Deliberately absent:
//! counting.

/// A metric as it is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described {
    /// Its name; that of a counter ends in `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The names of its labels.
    #[cfg_attr(not(test), expect(dead_code, reason = "held against the documentation by tests"))]
    pub(crate) labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub(crate) text: &'static str,
}

/// What kind of number it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// Is what it is now.
    Gauge,
    /// Is counted by size; these are the upper bounds, in seconds.
    Histogram(&'static [f64]),
}

/// Bounds for what the daemon does itself.
const CHECKS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Bounds for what people do: a second to a day.
const WAITS: &[f64] =
    &[1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0];
/// Bounds for how long credentials live: ten seconds to a month, after which it is standing privilege.
const LIVES: &[f64] = &[
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    14400.0,
    43200.0,
    86400.0,
    604_800.0,
    2_592_000.0,
];

macro_rules! metrics {
    ($($constant:ident $name:literal $kind:expr, [$($label:literal),*], $text:literal;)+) => {
        $(#[doc = $text] pub(crate) const $constant: &str = $name;)+

        /// All of them, in the order of the documentation.
        pub(crate) const METRICS: &[Described] = &[
            $(Described { name: $name, kind: $kind, labels: &[$($label),*], text: $text },)+
        ];
    };
}

use Kind::{Counter, Gauge, Histogram};

// The six numbers first, then what they stand on, then the daemon itself. Those without a constant of their own elsewhere
// are named here once.
#[expect(dead_code, reason = "some are counted in other crates, which name them themselves")]
mod names {
    use super::*;

    metrics! {
        WORKFLOWS "marque_workflows" Gauge, ["trust_domain", "credential"],
            "Agent workflows by what they work with: `short_lived` (an agent and playbook with a token in the last 30 days) or `stored_secret` (as the inventory says; absent without one)";
        SHORT_LIVED_RATIO "marque_workflows_short_lived_ratio" Gauge, ["trust_domain"],
            "The share of agent workflows on short-lived credentials; absent where no inventory says how many have stored secrets";
        PRIVILEGED "marque_privileged_actions_total" Counter, ["trust_domain", "through"],
            "Uses of grants that were redeemed for a token, through a `playbook` or a `break_glass` one";
        LIFETIME "marque_credential_lifetime_seconds" Histogram(LIVES), ["trust_domain"],
            "How long the tokens of grants were given to live";
        MEDIAN_LIFETIME "marque_credential_lifetime_median_seconds" Gauge, ["trust_domain"],
            "The median lifetime of the last 4096 tokens of grants of at most 60 days";
        DENIED "marque_elevation_denied_total" Counter, ["trust_domain", "stage", "code", "class"],
            "Refusals on record, by where (`request`, `approval`, `token`, `change`), code and class";
        PRODUCTION_CHANGES "marque_production_changes_total" Counter, ["trust_domain", "linked"],
            "Redeemed uses in a production trust domain, by what they are linked to: `ticket`, `approver`, `both` or `none`";
        SHARED "marque_shared_identities" Gauge, ["trust_domain"],
            "Identities that more than one program used in the last 30 days";
        SCOPE_VIOLATIONS "marque_scope_violations_total" Counter, ["trust_domain", "code"],
            "Attempts to do more than was granted: refusals of the classes boundary, attenuation and intent, and permissions that were asked for by name";
        BREAK_GLASS "marque_break_glass_total" Counter, ["trust_domain", "step"],
            "Steps of break-glass grants: `requested`, `activated`, `used`, `ended`, `reviewed`";
        BREAK_GLASS_30D "marque_break_glass_30d" Gauge, ["trust_domain"],
            "How often the glass was broken in the last 30 days";
        BREAK_GLASS_BEFORE "marque_break_glass_previous_30d" Gauge, ["trust_domain"],
            "How often the glass was broken in the 30 days before those: the trend";
        DECIDED "marque_requests_decided_total" Counter, ["trust_domain", "outcome", "by"],
            "Requests for intents by what came of them (`approved`, `denied`, `expired`) and by whom (`policy`, `person`, `nobody`)";
        WAIT "marque_approval_wait_seconds" Histogram(WAITS), ["trust_domain", "outcome"],
            "How long requests waited that a person approved or denied; show it beside the share of yes and of what policy approves by itself";
        APPROVAL_DECISIONS "marque_approval_decisions_total" Counter, ["decision"],
            "What operators said of intents that wait, by the decision";
        APPROVAL_SECONDS "marque_approval_decision_seconds" Histogram(WAITS), [],
            "How long operators had an intent before their eyes when they approved it";
        REFUSED "marque_denials_total" Counter, ["code", "class", "playbook"],
            "Requests for intents that were refused, by code, class and playbook";
        FOLLOWED_BY_BREAK_GLASS "marque_denial_followed_by_break_glass" Counter, ["code", "class", "playbook"],
            "Break-glass grants within an hour of a refusal of the same target";
        FOLLOWED_BY_SUCCESS "marque_denial_followed_by_success_within_1h" Counter, ["code", "class", "playbook"],
            "Grants within an hour of a refusal of the same target";
        ENDED "marque_intents_ended_total" Counter, ["for", "unreported"],
            "Intents that a clock, a parent or a lost agent ended, by `ended_for` and whether they were used and not reported";
        CHANGE_ENDED "marque_change_ended_grants_total" Counter, ["reason"],
            "Grants that change control ended, by why";
        TICKET_LOOKUPS "marque_ticket_lookups_total" Counter, ["system", "result"],
            "Questions to ticket systems, by system and by what came of them";
        POST_CHECKS "marque_post_checks_total" Counter, ["result"],
            "Post-checks of reported work, by what they said";
        WEBHOOKS "marque_webhook_messages_total" Counter, ["webhook", "result"],
            "Messages to webhooks, by webhook and by what came of them";
        SIGNALS_SENT "marque_ssf_sets_total" Counter, ["stream", "result"],
            "Security event tokens for streams, by stream and by what came of them";
        SIGNALS_RECEIVED "marque_ssf_received_total" Counter, ["transmitter", "result"],
            "Security event tokens of transmitters, by transmitter and by what came of them";
        SINK_PUSHES "marque_audit_sink_pushes_total" Counter, ["trust_domain", "sink", "result"],
            "Pushes of the log to audit sinks, by sink and by what came of them";
        SINK_LAG "marque_audit_sink_lag_records" Gauge, ["trust_domain", "sink"],
            "Records that an audit sink was not sent yet, or has no checkpoint of";
        WITNESS_SUBMISSIONS "marque_audit_witness_submissions_total" Counter, ["trust_domain", "witness", "result"],
            "Checkpoints that were submitted to witnesses, by witness and by what came of it: `cosigned`, `not_taken` or `refused`";
        WITNESS_LAG "marque_audit_witness_lag_records" Gauge, ["trust_domain", "witness"],
            "Records of the checkpoint that witnesses are shown which a witness has not cosigned yet";
        WAITING "marque_intents_pending" Gauge, ["trust_domain"],
            "Requests that wait for a person";
        OPEN "marque_grants_open" Gauge, ["trust_domain"],
            "Grants in force";
        TOKENS "marque_tokens_issued_total" Counter, ["trust_domain", "kind"],
            "Tokens that were given out: `access_token`, `transaction_token` or `authorization_grant`";
        SVIDS "marque_svids_issued_total" Counter, ["trust_domain", "kind"],
            "Identity documents that were minted: `x509-svid`, `jwt-svid` or `wit-svid`";
        CHECK "marque_check_seconds" Histogram(CHECKS), ["check"],
            "What checks cost: `attestation` (who calls), `decision` (policy), `exchange` (a token request as a whole), `record` (until what was decided is durable)";
        KILL_EPOCH "marque_kill_epoch" Gauge, ["trust_domain"],
            "Rises with every kill";
        FOLDER_RELOADS "marque_folder_reload_total" Counter, ["trust_domain", "result"],
            "Reloads of a trust domain's folder, by result: `reloaded`, `refused` (it has findings) or `failed` (nothing could be recorded)";
        FOLDER_LOADED "marque_folder_loaded_timestamp_seconds" Gauge, ["trust_domain"],
            "When the folder that is in force was read";
        FOLDER_REFUSED "marque_folder_refused" Gauge, ["trust_domain"],
            "Whether the last reload was refused, so that the folder in force is not the newest: 1 or 0";
        LOG_LEAVES "marque_log_leaves" Gauge, ["trust_domain"],
            "Leaves of the log";
        CHECKPOINT_LEAVES "marque_log_checkpoint_leaves" Gauge, ["trust_domain"],
            "Leaves that the newest signed checkpoint covers";
        READY "marque_ready" Gauge, ["trust_domain"],
            "1 where requests can be served";
        NOT_READY "marque_not_ready" Gauge, ["trust_domain", "reason"],
            "1 where this keeps requests from being served";
        AUTHORITIES_END "marque_authorities_end_timestamp_seconds" Gauge, ["trust_domain"],
            "When the first of the signing authorities ends, unless another one takes its place before";
        CERTIFICATE_DUE "marque_authority_certificate_due" Gauge, ["trust_domain"],
            "1 where the X.509 authority needs its next certificate from upstream and has none yet";
        UPSTREAM_HEARD "marque_upstream_bundle_heard_timestamp_seconds" Gauge, ["trust_domain"],
            "When the upstream told its bundle last, which the own one follows, in seconds since 1970";
        UPSTREAM_STALE "marque_upstream_bundle_stale" Gauge, ["trust_domain"],
            "1 where the upstream has not told its bundle for three of its refresh hints: what it took out is believed here still";
        SIGNING_REFUSED "marque_signing_refused_total" Counter, ["trust_domain", "purpose", "breach"],
            "Signatures that a key refused because what it was to sign is outside of its ceiling: a defect or an attack, whatever the number";
        UNREADABLE_ROWS "marque_unreadable_rows" Gauge, [],
            "Rows of the stores that were found not to read; nothing is done with them";
        BUNDLE_STALE "marque_federated_bundle_stale" Gauge, ["trust_domain", "federated"],
            "1 where no bundle of the federated trust domain is used: it is too old, or was never fetched";
        BUNDLE_REFRESHED "marque_federated_bundle_refreshed_timestamp_seconds" Gauge, ["trust_domain", "federated"],
            "When the bundle of the federated trust domain was fetched last, in seconds since 1970";
        TEMPLATE_IDENTITIES "marque_template_identities" Gauge, ["trust_domain", "template"],
            "Identities that a template has given and that were asked for within its window";
        TEMPLATE_REFUSALS "marque_template_refusals_total" Counter, ["trust_domain", "template"],
            "Calls for an identity that would have been one more than its template may give";
        LIMIT_REFUSALS "marque_limit_refusals_total" Counter, ["limit"],
            "What a limit of a socket has refused, by the name of the limit";
        PIN_REFUSALS "marque_pin_refusals_total" Counter, ["reason"],
            "Connections whose process was not, or no longer, the one that connected";
        UNKNOWN_CONTAINERS "marque_attestor_unknown_containers_total" Counter, ["attestor"],
            "Processes in containers that the engine does not know";
        UNHASHED "marque_unhashed_files_total" Counter, ["reason"],
            "Executables that were not hashed, by why";
        CONNECTIONS "marque_connections_open" Gauge, [],
            "Connections to Unix sockets that are open";
        CALLS "marque_calls_open" Gauge, [],
            "Calls on Unix sockets that are open, streams among them";
        EXPORTED "marque_telemetry_exported_total" Counter, ["signal"],
            "Spans, log records and metric points that a collector took";
        DROPPED "marque_telemetry_dropped_total" Counter, ["signal", "reason"],
            "Spans, log records and metric points that no collector took: `full` (more than may wait), `failed` (not taken) or `ended` (the daemon stopped)";
        BUILD "marque_build_info" Gauge, ["version"],
            "1, with the daemon's version";
        STARTED "marque_started_timestamp_seconds" Gauge, [],
            "When the daemon started, in seconds since 1970";
    }
}

pub(crate) use self::names::*;

/// Tells whoever counts what each metric is.
pub(super) fn describe() {
    for Described { name, kind, text, .. } in METRICS {
        match kind {
            Counter => metrics::describe_counter!(*name, *text),
            Gauge => metrics::describe_gauge!(*name, *text),
            Histogram(_) => metrics::describe_histogram!(*name, *text),
        }
    }
}
