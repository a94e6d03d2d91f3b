//! What more of each field of each kind of document means. Every field of the formats has its line here; one that has none
//! cannot be ordered, and a test holds the tables against the schemas.
//!
//! Playbooks have theirs in `marque-intent`.

use marque_intent::DiffRule as Rule;
use marque_intent::DocumentRules;
use marque_intent::Effect::{Narrower, Unclear, Wider};
use marque_registry::Lifetime;

const PERMIT: Rule = Rule::Entry { added: Wider, removed: Narrower };
const DEMAND: Rule = Rule::Entry { added: Narrower, removed: Wider };
const NEITHER: Rule = Rule::Entry { added: Unclear, removed: Unclear };
const MOST: Rule = Rule::AtMost { absent: Rule::WITHOUT };
const SOME: Rule = Rule::AtMost { absent: Rule::UNKNOWN };
const LEAST: Rule = Rule::AtLeast { absent: Rule::UNKNOWN };
const ON: Rule = Rule::Toggle { wide: true, absent: Some(true) };
const OFF: Rule = Rule::Toggle { wide: true, absent: Some(false) };
const SWITCH: Rule = Rule::Toggle { wide: true, absent: None };
const OTHER: Rule = Rule::Unordered;
const WORDS: Rule = Rule::Words;

const fn most(absent: i128) -> Rule {
    Rule::AtMost { absent }
}

const MINUTE: i128 = 60;
const HOUR: i128 = 60 * MINUTE;

const NONCES: Rule =
    Rule::Order { ranks: &[("optional", 0), ("required", 1)], absent: Rule::UNKNOWN };
const BINDINGS: Rule = Rule::Order { ranks: &[("optional", 0), ("required", 1)], absent: 0 };
const SHARING: Rule = Rule::Order { ranks: &[("report", 0), ("deny", 1)], absent: 0 };
const WITHOUT_EXPIRY: Rule = Rule::Order { ranks: &[("warn", 0), ("refuse", 1)], absent: 0 };
const DUPLICATES: Rule = Rule::Order { ranks: &[("allow", 0), ("deny", 1)], absent: 1 };
const OVERDUE: Rule = Rule::Order { ranks: &[("warn", 0), ("refuse", 1)], absent: 0 };
const HASHES: Rule = Rule::Order { ranks: &[("public", 0), ("readers", 1)], absent: 0 };
const EFFECTS: Rule = Rule::Order { ranks: &[("record", 0), ("stop", 1)], absent: 1 };

fn seconds(text: &str) -> Option<u64> {
    text.parse::<Lifetime>().ok().map(|length| length.as_duration().as_secs())
}

const fn rules(
    rules: &'static [(&'static str, Rule)],
    lists: &'static [&'static str],
) -> DocumentRules {
    DocumentRules {
        rules,
        lists,
        names: &[
            &["integration", "user"],
            &["name"],
            &["user"],
            &["uid"],
            &["spiffe_id"],
            &["trust_domain"],
            &["audience"],
            &["id"],
        ],
        seconds,
    }
}

/// Of `trust-domain.toml`.
pub(super) const TRUST_DOMAIN: DocumentRules = rules(
    SETTINGS,
    &[
        "operators",
        "resource_servers",
        "clients",
        "authorization_servers",
        "brokers",
        "federation",
        "oidc_issuers",
        "ticket_systems",
        "webhooks",
        "chat_integrations",
        "chat_identities",
        "human_roles",
        "decision_points",
        "audit.sinks",
        "audit.witnesses",
        "ssf_streams",
        "ssf_transmitters",
    ],
);

const SETTINGS: &[(&str, Rule)] = &[
    ("name", OTHER),
    ("environment", OTHER),
    ("tenant", OTHER),
    ("lifetimes.authority", MOST),
    ("lifetimes.x509_svid", MOST),
    ("lifetimes.jwt_svid", MOST),
    ("lifetimes.wit_svid", SOME),
    ("lifetimes.refresh_hint", MOST),
    ("authorities.jwt_svid", OTHER),
    ("authorities.name_constraints", Rule::Toggle { wide: false, absent: Some(false) }),
    ("issuer.listen", OTHER),
    ("issuer.url", OTHER),
    ("tokens.max_lifetime", MOST),
    // Off, tokens can no longer be bound in this way: that is less offered and less asked.
    ("token_service.dpop", OTHER),
    ("token_service.mutual_tls", OTHER),
    ("token_service.wit_client_authentication", SWITCH),
    ("token_service.deferred", SWITCH),
    ("token_service.ciba", SWITCH),
    ("token_service.jwt_introspection", ON),
    ("token_service.token_status_list", ON),
    ("token_service.transaction_tokens", SWITCH),
    ("token_service.identity_chaining", SWITCH),
    ("token_service.id_jag", SWITCH),
    ("token_service.dpop_nonce", NONCES),
    ("token_service.attestation_challenge", NONCES),
    ("token_service.verified_svids", WORDS),
    ("workload_api.x509_svid", ON),
    ("workload_api.jwt_svid", ON),
    ("workload_api.wit_svid", SWITCH),
    ("workload_api.envoy_sds", ON),
    ("workload_api.splay", WORDS),
    ("operators.*", PERMIT),
    ("operators.*.user", OTHER),
    ("operators.*.uid", OTHER),
    ("operators.*.groups", Rule::Permits),
    // Whoever is known under more names counts twice less often.
    ("operators.*.persons", Rule::Demands),
    ("operators.*.emails", Rule::Demands),
    ("resource_servers.*", NEITHER),
    ("resource_servers.*.audience", OTHER),
    ("resource_servers.*.spiffe_ids", Rule::Permits),
    ("resource_servers.*.binding", BINDINGS),
    ("resource_servers.*.revocation", OTHER),
    ("resource_servers.*.session_tags", OTHER),
    ("resource_servers.*.scopes", Rule::Ceiling),
    ("resource_servers.*.max_token_lifetime", MOST),
    ("clients.*", DEMAND),
    ("clients.*.spiffe_id", OTHER),
    ("clients.*.scopes", Rule::Ceiling),
    ("clients.*.audiences", Rule::Ceiling),
    ("clients.*.max_token_lifetime", MOST),
    ("authorization_servers.*", PERMIT),
    ("authorization_servers.*.name", OTHER),
    ("authorization_servers.*.environment", OTHER),
    ("authorization_servers.*.issuer", OTHER),
    ("authorization_servers.*.grants_for", Rule::Permits),
    ("authorization_servers.*.scopes", Rule::Ceiling),
    ("authorization_servers.*.grants_of", Rule::Permits),
    ("authorization_servers.*.jwks_file", OTHER),
    ("authorization_servers.*.jwks_uri", OTHER),
    ("authorization_servers.*.ca_file", OTHER),
    ("authorization_servers.*.max_staleness", most(HOUR)),
    ("authorization_servers.*.clients.*", OTHER),
    ("brokers.*", PERMIT),
    ("brokers.*.spiffe_id", OTHER),
    ("brokers.*.references", Rule::Permits),
    ("brokers.*.identities", Rule::Permits),
    ("brokers.*.audiences", Rule::Permits),
    ("federation.*", PERMIT),
    ("federation.*.trust_domain", OTHER),
    ("federation.*.environment", OTHER),
    ("federation.*.bundle", OTHER),
    ("federation.*.url", OTHER),
    ("federation.*.profile", OTHER),
    ("federation.*.endpoint_spiffe_id", OTHER),
    ("federation.*.ca_file", OTHER),
    ("federation.*.max_staleness", most(72 * HOUR)),
    ("limits.connections", most(4096)),
    ("limits.connections_per_uid", most(256)),
    ("limits.streams_per_connection", most(100)),
    ("limits.calls", most(16_384)),
    ("limits.calls_per_uid", most(4096)),
    ("limits.calls_per_broker", most(4096)),
    ("limits.requests_per_second_per_uid", most(2000)),
    ("limits.request_burst_per_uid", most(4000)),
    ("limits.message_bytes", most(65_536)),
    ("limits.header_list_bytes", most(16_384)),
    ("limits.pending_resets", most(20)),
    ("limits.local_error_resets", most(100)),
    ("limits.https_connections", most(1024)),
    ("limits.https_connections_per_address", most(256)),
    ("limits.handshake", most(5)),
    ("limits.keepalive_interval", most(30)),
    ("limits.keepalive_timeout", most(20)),
    ("limits.drain", most(5)),
    ("grants.max_open_per_agent", most(1000)),
    ("grants.max_open_per_delegator", most(1000)),
    ("grants.max_open_per_target", most(1000)),
    ("keys.kind", OTHER),
    ("keys.module", OTHER),
    ("keys.token", OTHER),
    ("keys.pin_file", OTHER),
    ("keys.sessions", WORDS),
    ("keys.checkpoint_key", OTHER),
    ("identities.sharing", SHARING),
    ("identities.sharing_window", LEAST),
    ("identities.without_expiry", WITHOUT_EXPIRY),
    ("denials.recent", Rule::AtLeast { absent: 10 * MINUTE }),
    ("denials.window", Rule::AtLeast { absent: 10 * MINUTE }),
    ("denials.path_window", Rule::AtLeast { absent: HOUR }),
    ("denials.cooldowns", OTHER),
    ("denials.other_paths", most(2)),
    ("denials.requests_per_minute", most(20)),
    ("denials.requests_per_task", most(50)),
    ("denials.open_per_playbook", most(16)),
    ("denials.duplicate_grants", DUPLICATES),
    ("denials.budgets.*", SOME),
    ("attestation.log_selectors", Rule::Permits),
    ("attestation.unix.max_executable_mib", most(256)),
    ("attestation.unix.max_concurrent", most(8)),
    ("attestation.unix.max_remembered_digests", most(4096)),
    ("attestation.docker", PERMIT),
    ("attestation.docker.socket", OTHER),
    ("attestation.docker.timeout", SOME),
    ("attestation.docker.max_response_kib", most(1024)),
    ("attestation.docker.max_concurrent", most(8)),
    ("attestation.docker.cgroup_root", OTHER),
    ("attestation.podman", PERMIT),
    ("attestation.podman.socket", OTHER),
    ("attestation.podman.timeout", SOME),
    ("attestation.podman.max_response_kib", most(1024)),
    ("attestation.podman.max_concurrent", most(8)),
    ("attestation.podman.cgroup_root", OTHER),
    ("attestation.kubernetes", PERMIT),
    ("attestation.kubernetes.kubelet", OTHER),
    ("attestation.kubernetes.server_name", OTHER),
    ("attestation.kubernetes.ca_file", OTHER),
    ("attestation.kubernetes.token_file", OTHER),
    ("attestation.kubernetes.client_certificate_file", OTHER),
    ("attestation.kubernetes.client_key_file", OTHER),
    ("attestation.kubernetes.skip_kubelet_verification", OFF),
    ("attestation.kubernetes.timeout", SOME),
    ("attestation.kubernetes.max_response_mib", most(16)),
    ("attestation.kubernetes.attempts", most(60)),
    ("attestation.kubernetes.interval_ms", most(500)),
    ("attestation.kubernetes.max_list_age_ms", most(1000)),
    ("attestation.kubernetes.cgroup_root", OTHER),
    ("attestation.systemd", PERMIT),
    ("attestation.systemd.bus", OTHER),
    ("attestation.systemd.timeout", most(2)),
    ("attestation.systemd.max_concurrent", most(16)),
    ("attestation.script", PERMIT),
    // With none of the four there are usual ones.
    ("attestation.script.python", Rule::PermitsSome),
    ("attestation.script.node", Rule::PermitsSome),
    ("attestation.script.perl", Rule::PermitsSome),
    ("attestation.script.ruby", Rule::PermitsSome),
    ("attestation.script.max_script_kib", most(16_384)),
    ("attestation.script.max_concurrent", most(8)),
    ("attestation.script.max_remembered_digests", most(4096)),
    ("attestation.parent", PERMIT),
    ("attestation.parent.kinds", Rule::PermitsOrAll),
    ("oidc_issuers.*", PERMIT),
    ("oidc_issuers.*.name", OTHER),
    ("oidc_issuers.*.environment", OTHER),
    ("oidc_issuers.*.issuer", OTHER),
    ("oidc_issuers.*.audiences", Rule::Permits),
    ("oidc_issuers.*.jwks_file", OTHER),
    ("oidc_issuers.*.jwks_uri", OTHER),
    ("oidc_issuers.*.ca_file", OTHER),
    ("oidc_issuers.*.max_staleness", most(HOUR)),
    ("oidc_issuers.*.max_age", most(HOUR)),
    ("oidc_issuers.*.groups_claim", OTHER),
    ("oidc_issuers.*.required_claims.*", Rule::Fixed),
    ("ticket_systems.*", NEITHER),
    ("ticket_systems.*.name", OTHER),
    ("ticket_systems.*.url", OTHER),
    ("ticket_systems.*.ca_file", OTHER),
    ("ticket_systems.*.timeout", WORDS),
    ("ticket_systems.*.max_age", SOME),
    ("ticket_systems.*.closed", Rule::Demands),
    ("ticket_systems.*.header.name", OTHER),
    ("ticket_systems.*.header.file", OTHER),
    ("ticket_systems.*.answer.state", OTHER),
    ("ticket_systems.*.answer.title", WORDS),
    ("ticket_systems.*.answer.planned_from", OTHER),
    ("ticket_systems.*.answer.planned_until", OTHER),
    ("ticket_systems.*.fields.*", OTHER),
    ("ticket_systems.*.states.*", OTHER),
    ("approver_login", PERMIT),
    ("approver_login.environment", OTHER),
    ("approver_login.issuer", OTHER),
    ("approver_login.authorization_endpoint", OTHER),
    ("approver_login.token_endpoint", OTHER),
    ("approver_login.jwks_file", OTHER),
    ("approver_login.jwks_uri", OTHER),
    ("approver_login.ca_file", OTHER),
    ("approver_login.max_staleness", most(HOUR)),
    ("approver_login.client_id", OTHER),
    ("approver_login.client_secret_file", OTHER),
    ("approver_login.groups_claim", OTHER),
    ("approver_login.lift_groups", Rule::Permits),
    ("approver_login.mfa_acr", Rule::Permits),
    ("approver_login.scopes", OTHER),
    ("approver_login.mfa_max_age", most(5 * MINUTE)),
    ("approver_login.session", most(15 * MINUTE)),
    ("approver_login.iss_parameter", Rule::Toggle { wide: false, absent: Some(true) }),
    ("approver_login.groups.*", PERMIT),
    ("webhooks.*", PERMIT),
    ("webhooks.*.name", OTHER),
    ("webhooks.*.url", OTHER),
    ("webhooks.*.ca_file", OTHER),
    ("webhooks.*.secret_file", OTHER),
    ("webhooks.*.events", Rule::PermitsOrAll),
    ("chat_integrations.*", PERMIT),
    ("chat_integrations.*.name", OTHER),
    ("chat_integrations.*.secret_file", OTHER),
    ("chat_identities.*", PERMIT),
    ("chat_identities.*.integration", OTHER),
    ("chat_identities.*.user", OTHER),
    ("chat_identities.*.subject", OTHER),
    ("chat_identities.*.operator", OTHER),
    ("chat_identities.*.groups", Rule::Permits),
    ("playbooks.overdue", OVERDUE),
    ("human_roles.*", DEMAND),
    ("human_roles.*.name", OTHER),
    // A playbook that permits all of it is refused: of less is sooner all.
    ("human_roles.*.scopes", OTHER),
    ("decisions.observe_until", OTHER),
    ("decision_points.*", DEMAND),
    ("decision_points.*.name", OTHER),
    ("decision_points.*.url", OTHER),
    ("decision_points.*.ca_file", OTHER),
    ("decision_points.*.timeout", WORDS),
    ("approvals.max_per_hour", most(60)),
    ("approvals.max_pending", most(200)),
    ("approvals.operator_mfa", OFF),
    ("post_checks.ca_file", OTHER),
    ("post_checks.timeout", WORDS),
    ("audit.hashes", HASHES),
    ("audit.readers", Rule::Permits),
    ("audit.reader_groups", Rule::Permits),
    // One more sees the log; one less leaves no copy outside.
    ("audit.sinks.*", Rule::Entry { added: Wider, removed: Unclear }),
    ("audit.sinks.*.name", OTHER),
    ("audit.sinks.*.sends", OTHER),
    ("audit.sinks.*.format", OTHER),
    ("audit.sinks.*.to", OTHER),
    ("audit.sinks.*.ca_file", OTHER),
    ("audit.sinks.*.bearer_file", OTHER),
    ("audit.sinks.*.every", WORDS),
    ("audit.witness_quorum", LEAST),
    ("audit.witness_every", WORDS),
    ("audit.witnesses.*", NEITHER),
    ("audit.witnesses.*.name", OTHER),
    ("audit.witnesses.*.url", OTHER),
    ("audit.witnesses.*.key", OTHER),
    ("audit.witnesses.*.ca_file", OTHER),
    ("bundle_endpoint.https_spiffe", OTHER),
    ("bundle_endpoint.https_spiffe_url", OTHER),
    ("bundle_fetching.private_addresses", Rule::Permits),
    ("bundle_fetching.redirect_hosts", Rule::Permits),
    ("upstream", NEITHER),
    ("upstream.kind", OTHER),
    ("upstream.roots", Rule::Permits),
    ("upstream.url", OTHER),
    ("upstream.mount", OTHER),
    ("upstream.namespace", OTHER),
    ("upstream.token_file", OTHER),
    ("upstream.ca_file", OTHER),
    ("upstream.timeout", NEITHER),
    ("oidc_discovery", NEITHER),
    ("oidc_discovery.issuer", OTHER),
    ("ssf_streams.*", Rule::Entry { added: Wider, removed: Unclear }),
    ("ssf_streams.*.name", OTHER),
    ("ssf_streams.*.audience", OTHER),
    ("ssf_streams.*.delivery", OTHER),
    ("ssf_streams.*.endpoint", OTHER),
    ("ssf_streams.*.ca_file", OTHER),
    ("ssf_streams.*.secret_file", OTHER),
    ("ssf_streams.*.events", Rule::PermitsOrAll),
    ("ssf_streams.*.agents", Rule::PermitsOrAll),
    ("ssf_streams.*.audiences", Rule::PermitsOrAll),
    ("ssf_transmitters.*", DEMAND),
    ("ssf_transmitters.*.name", OTHER),
    ("ssf_transmitters.*.environment", OTHER),
    ("ssf_transmitters.*.issuer", OTHER),
    ("ssf_transmitters.*.audience", OTHER),
    ("ssf_transmitters.*.jwks_file", OTHER),
    ("ssf_transmitters.*.jwks_uri", OTHER),
    ("ssf_transmitters.*.ca_file", OTHER),
    ("ssf_transmitters.*.max_staleness", SOME),
    ("ssf_transmitters.*.secret_file", OTHER),
    ("ssf_transmitters.*.agents", Rule::Demands),
    ("ssf_transmitters.*.persons", Rule::Demands),
    ("ssf_transmitters.*.max_age", LEAST),
    ("ssf_transmitters.*.effects.*", EFFECTS),
];

/// Of one entry, but for its identity and selectors, which are told in sentences of their own.
pub(super) const ENTRY: DocumentRules = rules(
    &[
        ("role", OTHER),
        // Whoever answers for an agent may not approve for it.
        ("owner", OTHER),
        ("hint", WORDS),
        ("x509_lifetime", MOST),
        ("jwt_lifetime", MOST),
        ("dns_names", Rule::Permits),
        ("federates_with", Rule::Permits),
        ("repository", OTHER),
        ("audiences", Rule::Ceiling),
        ("may_delegate", ON),
        ("may_act_for_others", ON),
        ("expires_at", OTHER),
        ("shared", Rule::Toggle { wide: true, absent: Some(false) }),
        ("reason", WORDS),
    ],
    &[],
);

/// Of one template.
pub(super) const TEMPLATE: DocumentRules = rules(
    &[
        ("id", OTHER),
        ("spiffe_id", OTHER),
        ("max_identities", MOST),
        ("window", WORDS),
        // What a value has to look like; without a pattern any will do.
        ("values.*", Rule::Fixed),
        // Fewer selectors are more processes.
        ("selectors", Rule::Demands),
        ("role", OTHER),
        ("owner", OTHER),
        ("hint", WORDS),
        ("x509_lifetime", MOST),
        ("jwt_lifetime", MOST),
        ("dns_names", Rule::Permits),
        ("federates_with", Rule::Permits),
        ("repository", OTHER),
        ("audiences", Rule::Ceiling),
        ("may_delegate", ON),
        ("may_act_for_others", ON),
        ("expires_at", OTHER),
    ],
    &[],
);

/// Of an exception.
pub(super) const EXCEPTION: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("id", OTHER),
        ("playbook", OTHER),
        ("version", OTHER),
        ("agent", OTHER),
        ("owner", WORDS),
        ("reason", WORDS),
        ("review_by", WORDS),
        ("from", OTHER),
        ("expires_at", OTHER),
        ("runs", MOST),
        ("parameters.*", Rule::Fixed),
        ("relaxes.approvals", LEAST),
    ],
    &[],
);

/// Of a calendar.
pub(super) const CALENDAR: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("name", OTHER),
        ("owner", WORDS),
        ("reason", WORDS),
        ("review_by", WORDS),
        ("emergency", OFF),
        ("fixed", Rule::Demands),
        ("recurring", Rule::Demands),
    ],
    &[],
);

/// Of a roster.
pub(super) const ROSTER: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("group", OTHER),
        ("time_zone", OTHER),
        ("shifts", Rule::Permits),
        // One has the duty for the other.
        ("delegations", OTHER),
    ],
    &[],
);

/// Of a human role, by which nothing is granted.
pub(super) const ROLE: DocumentRules =
    rules(&[("name", WORDS), ("permissions", WORDS), ("playbooks", WORDS)], &[]);

/// Of relations: what they are worth is the policies' to say.
pub(super) const RELATIONS: DocumentRules = rules(
    &[
        ("thing.*", NEITHER),
        ("thing.*.id", OTHER),
        ("thing.*.in", OTHER),
        ("thing.*.relations.*", Rule::Permits),
    ],
    &["thing"],
);
