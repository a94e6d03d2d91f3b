//! Trust-domain documents, registration entries and the index from selectors to identities.
//!
//! [`TrustDomainFolder::load`] reads what a platform team reviews (`trust-domain.toml`,
//! `entries/*.toml`, the bundles it federates with and `crls/`), naming every mistake by file and line. [`Registry`] holds the entries of one
//! trust domain and answers, from an immutable [`Snapshot`], which of them a set of selectors earns. What a SPIRE server prints of
//! its own is parsed here, too ([`parse_spire_entries`]).
//!
//! Deliberately absent: how selectors are found (`marque-attest`), minting (`marque-authority`), the
//! `playbooks/` and `policy/` beside the entries (`marque-intent`, `marque-policy`), and the
//! storage engine behind [`EntryStore`].

mod document;
mod entry;
mod error;
mod fields;
mod finding;
mod folder;
mod index;
mod lifetime;
mod near;
mod registry;
mod shared_map;
mod spire;
mod splay;
mod store;
mod template;
mod view;

pub use document::{
    APPROVER_LOGIN, AddressRange, AddressRangeError, ApprovalSettings, ApproverLogin,
    AttestationSettings, AuditSettings, AuditSink, AuthoritySettings, AuthorizationServer,
    BrokerRule, BundleEndpoint, BundleEndpointProfile, BundleEndpointSettings,
    BundleFetchingSettings, ChatIdentity, ChatIntegration, ChatPerson, ClientCeiling,
    DEFAULT_STALENESS, DENIAL_CLASSES, DecisionPointRule, DecisionSettings, DenialSettings,
    DownstreamSettings, DuplicateRule, DuplicateRuleError, EngineSettings, Federation, GrantKind,
    GrantSettings, HashReaders, HashReadersError, HostSettings, HumanRole, IdentitySettings,
    IssuerKeys, JwtSvidAlgorithm, KeySettings, KubeletAuth, KubeletEndpoint, KubernetesSettings,
    LifetimeSettings, LimitSettings, MAX_APPROVER_GROUPS, MAX_AUDIT_SINKS,
    MAX_AUTHORIZATION_SERVERS, MAX_CHAT_IDENTITIES, MAX_CHAT_INTEGRATIONS, MAX_CLIENT_CEILINGS,
    MAX_DECISION_POINTS, MAX_DOWNSTREAM_SERVERS, MAX_FEDERATIONS, MAX_FOREIGN_CLIENTS,
    MAX_HUMAN_ROLES, MAX_ISSUER_NAME, MAX_LISTED, MAX_OIDC_ISSUERS, MAX_SSF_STREAMS,
    MAX_SSF_TRANSMITTERS, MAX_TICKET_SYSTEMS, MAX_WEBHOOKS, MAX_WITNESSES, NonceDemand,
    OidcDiscoverySettings, OidcIssuer, OperatorPrincipal, OperatorRule, ParentSettings,
    PlaybookSettings, PostCheckSettings, ReferenceType, ReferenceTypeError, ResourceServer,
    Revocation, STALENESS, ScriptSettings, ServerAddress, ServerAddressError, SharingRule,
    SharingRuleError, SinkContent, SinkTarget, SinkTargetError, SpireSettings, SsfDelivery,
    SsfEffect, SsfHeard, SsfStream, SsfTold, SsfTransmitter, SyslogTarget, SystemdSettings, Tenant,
    TenantError, TicketAnswer, TicketSystem, TicketUrl, TicketUrlError, TokenBinding, TokenRule,
    TokenServiceSettings, TrustDomainDocument, UnixSettings, UnknownJwtSvidAlgorithm,
    UpstreamSettings, UpstreamSigner, VaultSettings, Webhook, WebhookUrl, WebhookUrlError, Witness,
    WitnessSettings, WorkloadApiSettings, boundary, chain_boundary, shared_approvers, shared_root,
};
pub use entry::{
    AllowedAudience, AllowedAudienceError, DelegateRights, Entry, EntryId, EntryIdError, EntryRole,
    EntryRoleError, EntrySource, MAX_AUDIENCES, MAX_DNS_NAMES, MAX_SELECTORS, NewEntry, Owner,
    OwnerError, RESERVED_SEGMENT, SPIRE_SEGMENT, SharingReason, SharingReasonError,
};
pub use error::RegistryError;
pub use finding::{Finding, FindingCode};
pub use folder::TrustDomainFolder;
pub use lifetime::{Lifetime, LifetimeError};
pub use near::{Missing, NearEntry};
pub use registry::{Registry, Snapshot};
pub use spire::{
    MAX_SPIRE_BUNDLES, MAX_SPIRE_ENTRIES, SpireBundle, SpireBundleError, SpireEntry, SpireError,
    parse_spire_bundles, parse_spire_entries,
};
pub use splay::{Splay, SplayError};
pub use store::{EntryStore, EntryStoreError};
pub use template::{
    Derivation, Derived, IdTemplate, IdTemplateError, MAX_TEMPLATE_IDENTITIES, Placeholder,
    PlaceholderError, TEMPLATE_SELECTORS, Template, TemplateRefusal, ValuePattern,
    ValuePatternError,
};
pub use view::RegistryView;
