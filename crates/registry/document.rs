//! `trust-domain.toml`: what a trust domain is, and the ceilings over everything in it.

mod approvals;
mod approver_login;
mod attestation;
mod audit;
mod authorities;
mod authorization_servers;
mod broker;
mod bundles;
mod chat;
mod clients;
mod decisions;
mod denials;
mod downstream;
mod entry_rules;
mod federation;
mod grants;
mod hosts;
mod identities;
mod issuer_keys;
mod keys;
mod lifetimes;
mod limits;
mod oidc_discovery;
mod oidc_issuers;
mod operators;
mod playbooks;
mod post_checks;
mod read;
mod resource_servers;
mod ssf;
mod tenant;
mod ticket_systems;
mod token_service;
mod trust_domain;
mod upstream;
mod webhooks;
mod workload_api;

pub use approvals::ApprovalSettings;
pub use approver_login::{APPROVER_LOGIN, ApproverLogin, MAX_APPROVER_GROUPS, shared_approvers};
pub use attestation::{
    AttestationSettings, EngineSettings, KubeletAuth, KubeletEndpoint, KubernetesSettings,
    ParentSettings, ScriptSettings, SystemdSettings, UnixSettings,
};
pub use audit::{
    AuditSettings, AuditSink, HashReaders, HashReadersError, MAX_AUDIT_SINKS, MAX_WITNESSES,
    SinkContent, SinkTarget, SinkTargetError, SyslogTarget, Witness, WitnessSettings,
};
pub use authorities::{AuthoritySettings, JwtSvidAlgorithm, UnknownJwtSvidAlgorithm};
pub use authorization_servers::{
    AuthorizationServer, GrantKind, MAX_AUTHORIZATION_SERVERS, MAX_FOREIGN_CLIENTS, chain_boundary,
};
pub use broker::{BrokerRule, ReferenceType, ReferenceTypeError};
pub use bundles::{
    AddressRange, AddressRangeError, BundleEndpointSettings, BundleFetchingSettings,
};
pub use chat::{
    ChatIdentity, ChatIntegration, ChatPerson, MAX_CHAT_IDENTITIES, MAX_CHAT_INTEGRATIONS,
};
pub use clients::{ClientCeiling, MAX_CLIENT_CEILINGS};
pub use decisions::{DecisionPointRule, DecisionSettings, MAX_DECISION_POINTS};
pub use denials::{DENIAL_CLASSES, DenialSettings, DuplicateRule, DuplicateRuleError};
pub use downstream::{DownstreamSettings, MAX_DOWNSTREAM_SERVERS};
pub use federation::{
    BundleEndpoint, BundleEndpointProfile, DEFAULT_STALENESS, Federation, MAX_FEDERATIONS,
    STALENESS, boundary,
};
pub use grants::GrantSettings;
pub use hosts::HostSettings;
pub use identities::{IdentitySettings, SharingRule, SharingRuleError};
pub use issuer_keys::{IssuerKeys, MAX_ISSUER_NAME};
pub use keys::{KeySettings, TokenRule};
pub use lifetimes::LifetimeSettings;
pub use limits::LimitSettings;
pub use oidc_discovery::OidcDiscoverySettings;
pub use oidc_issuers::{MAX_OIDC_ISSUERS, OidcIssuer};
pub use operators::{OperatorPrincipal, OperatorRule};
pub use playbooks::{HumanRole, MAX_HUMAN_ROLES, PlaybookSettings};
pub use post_checks::PostCheckSettings;
pub use resource_servers::{MAX_LISTED, ResourceServer, Revocation, TokenBinding};
pub use ssf::{
    MAX_SSF_STREAMS, MAX_SSF_TRANSMITTERS, SsfDelivery, SsfEffect, SsfHeard, SsfStream, SsfTold,
    SsfTransmitter,
};
pub use tenant::{Tenant, TenantError};
pub use ticket_systems::{
    MAX_TICKET_SYSTEMS, TicketAnswer, TicketSystem, TicketUrl, TicketUrlError,
};
pub use token_service::{NonceDemand, TokenServiceSettings};
pub use trust_domain::TrustDomainDocument;
pub use upstream::{
    ServerAddress, ServerAddressError, SpireSettings, UpstreamSettings, UpstreamSigner,
    VaultSettings, shared_root,
};
pub use webhooks::{MAX_WEBHOOKS, Webhook, WebhookUrl, WebhookUrlError};
pub use workload_api::WorkloadApiSettings;
