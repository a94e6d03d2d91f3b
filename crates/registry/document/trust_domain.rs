//! The document itself: a field for each table, and how each is read by the other rooms.

use std::path::Path;
use std::time::Duration;

use marque_spiffe::{Environment, TrustDomain};

use super::{
    APPROVER_LOGIN, ApprovalSettings, ApproverLogin, AttestationSettings, AuditSettings, AuditSink,
    AuthoritySettings, AuthorizationServer, BrokerRule, BundleEndpointSettings,
    BundleFetchingSettings, ChatIdentity, ChatIntegration, ClientCeiling, DecisionPointRule,
    DecisionSettings, DenialSettings, DownstreamSettings, Federation, GrantSettings, HostSettings,
    IdentitySettings, IssuerKeys, KeySettings, LifetimeSettings, LimitSettings,
    OidcDiscoverySettings, OidcIssuer, OperatorRule, PlaybookSettings, PostCheckSettings,
    ResourceServer, SsfStream, SsfTransmitter, Tenant, TicketSystem, TokenServiceSettings,
    UpstreamSettings, Webhook, WorkloadApiSettings, read,
};
use crate::finding::Finding;
use crate::lifetime::Lifetime;

/// The document of one trust domain, checked.
///
/// ```toml
/// name = "prod.example.org"            # the name alone, without `spiffe://`
/// environment = "production"           # or "non-production"; read from nowhere else
/// tenant = "example"                   # [a-z0-9-]{1,63}
///
/// [lifetimes]                          # required; "30s", "5m", "1h", "30d"
/// authority = "30d"                    # of each signing key; at most 3650d. The next one is prepared at half of it
/// x509_svid = "1h"                     # ceiling and default; at most 1/6 of the authority's and 24h
/// jwt_svid = "5m"                      # ceiling and default; at most 1/6 of the authority's and 1h
/// wit_svid = "1h"                      # may be absent: as `x509_svid`; ceiling and default, with the limits of that
/// refresh_hint = "5m"                  # how often others fetch the bundle; at most 24h, and about 1/9 of the authority's
///
/// [authorities]                        # may be absent
/// jwt_svid = "ES256"                   # or "RS256"; the next key for JWT-SVIDs takes it up
/// path_length = 0                      # 0 to 3: authorities between a root and an SVID; the next root takes it up
///
/// [issuer]
/// listen = "127.0.0.1:8443"            # of the HTTPS edge: an address and a port
/// url = "https://issuer.example.org"   # how clients name it; may be absent: https://localhost:<port>
///
/// [tokens]
/// max_lifetime = "10m"                 # of an access token; at most 1h
///
/// [workload_api]                       # may be absent; what is switched off answers `Unimplemented`
/// x509_svid = true
/// jwt_svid = true
/// wit_svid = true                      # when absent: true in non-production, false in production
/// envoy_sds = true
/// splay = "0s"                         # how far a change for every stream is spread; at most 10s
///
/// [[operators]]                        # who may use the admin socket beside the daemon's own user
/// user = "alice"                       # or `uid = 1000`; exactly one of the two
/// groups = ["platform-sre"]            # the approver groups of this operator; may be absent
/// persons = ["corp:248289"]            # who the same person is where they log in: `<issuer>:<sub>`; may be absent
/// emails = ["alice@example.org"]       # the addresses of the same person, as owners are written; may be absent
///
/// [[federation]]                       # another trust domain whose bundle some entries get
/// trust_domain = "partner.example.org"
/// environment = "production"           # must be the own one
/// bundle = "federation/partner.example.org.json"   # its SPIFFE bundle document, below the folder
/// url = "https://partner.example.org/spiffe/bundle"   # where it is fetched; may be absent, then nothing is
/// profile = "https_web"                # or "https_spiffe"
/// ca_file = "federation/partner-ca.pem"   # for https_web: PEM, below the folder or absolute
/// # endpoint_spiffe_id = "spiffe://partner.example.org/bundle"   # for https_spiffe, which needs `bundle`, too
///
/// [limits]                             # of each socket; may be absent, see [`LimitSettings`]
/// connections_per_uid = 256
/// [[brokers]]                          # who may fetch SVIDs for other workloads; absent: nobody
/// spiffe_id = "spiffe://prod.example.org/service/supervisor"   # of this trust domain, unique
/// references = ["pid"]                 # how it may refer to them: "pid", "kubernetes"
/// identities = ["spiffe://prod.example.org/agent/*"]           # whose SVIDs it may get
/// audiences = ["https://gateway.prod.example.org/k8s"]         # of JWT-SVIDs; may be absent: none
/// ```
///
/// `[approvals]` is described at [`ApprovalSettings`], `[[resource_servers]]` at [`ResourceServer`], `[grants]` at [`GrantSettings`], `[[clients]]` at [`ClientCeiling`], `[[authorization_servers]]` at
/// [`AuthorizationServer`], `[bundle_endpoint]` at [`BundleEndpointSettings`], `[bundle_fetching]` at
/// [`BundleFetchingSettings`], `[oidc_discovery]` at [`OidcDiscoverySettings`], `[token_service]` at [`TokenServiceSettings`], `[[oidc_issuers]]` at [`OidcIssuer`],
/// `[[ticket_systems]]` at [`TicketSystem`], `[approver_login]` at
/// [`ApproverLogin`], `[denials]` at [`DenialSettings`], `[decisions]` at [`DecisionSettings`], `[[decision_points]]` at
/// [`DecisionPointRule`], `[[webhooks]]` at [`Webhook`], `[[chat_integrations]]` at [`ChatIntegration`], `[[chat_identities]]` at
/// [`ChatIdentity`], `[identities]` at [`IdentitySettings`], `[keys]` at [`KeySettings`], `[playbooks]` and `[[human_roles]]` at [`PlaybookSettings`],
/// `[attestation]` at [`AttestationSettings`], `[post_checks]` at [`PostCheckSettings`], `[audit]` at [`AuditSettings`],
/// `[[ssf_streams]]` at [`SsfStream`], `[[ssf_transmitters]]` at [`SsfTransmitter`], `[upstream]` at [`UpstreamSettings`],
/// `[downstream]` at [`DownstreamSettings`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomainDocument {
    pub(super) name: TrustDomain,
    pub(super) environment: Environment,
    pub(super) tenant: Tenant,
    pub(super) lifetimes: LifetimeSettings,
    pub(super) authorities: AuthoritySettings,
    pub(super) workload_api: WorkloadApiSettings,
    pub(super) token_service: TokenServiceSettings,
    pub(super) hosts: HostSettings,
    pub(super) operators: Vec<OperatorRule>,
    pub(super) resource_servers: Vec<ResourceServer>,
    pub(super) clients: Vec<ClientCeiling>,
    pub(super) authorization_servers: Vec<AuthorizationServer>,
    pub(super) brokers: Vec<BrokerRule>,
    pub(super) max_access_token_lifetime: Lifetime,
    pub(super) federation: Vec<Federation>,
    pub(super) bundle_endpoint: BundleEndpointSettings,
    pub(super) bundle_fetching: BundleFetchingSettings,
    pub(super) oidc_discovery: Option<OidcDiscoverySettings>,
    pub(super) limits: LimitSettings,
    pub(super) grants: GrantSettings,
    pub(super) identities: IdentitySettings,
    pub(super) keys: KeySettings,
    pub(super) denials: DenialSettings,
    pub(super) attestation: AttestationSettings,
    pub(super) oidc_issuers: Vec<OidcIssuer>,
    pub(super) ticket_systems: Vec<TicketSystem>,
    pub(super) approver_login: Option<ApproverLogin>,
    pub(super) webhooks: Vec<Webhook>,
    pub(super) chat_integrations: Vec<ChatIntegration>,
    pub(super) chat_identities: Vec<ChatIdentity>,
    pub(super) playbooks: PlaybookSettings,
    pub(super) decisions: DecisionSettings,
    pub(super) decision_points: Vec<DecisionPointRule>,
    pub(super) approvals: ApprovalSettings,
    pub(super) post_checks: PostCheckSettings,
    pub(super) audit: AuditSettings,
    pub(super) ssf_streams: Vec<SsfStream>,
    pub(super) ssf_transmitters: Vec<SsfTransmitter>,
    pub(super) upstream: Option<UpstreamSettings>,
    pub(super) downstream: Option<DownstreamSettings>,
}

impl TrustDomainDocument {
    /// Reads a document; `file` is what findings call it.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Finding>> {
        read::read(file, text)
    }

    /// The trust domain's name.
    pub fn name(&self) -> &TrustDomain {
        &self.name
    }

    /// Which side of the firebreak it is on.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// How far playbooks may be only observed.
    pub fn decisions(&self) -> &DecisionSettings {
        &self.decisions
    }

    /// The further decision points, in their order.
    pub fn decision_points(&self) -> &[DecisionPointRule] {
        &self.decision_points
    }

    /// Where the private keys are.
    pub fn keys(&self) -> &KeySettings {
        &self.keys
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// With what the signing authorities sign.
    pub fn authorities(&self) -> AuthoritySettings {
        self.authorities
    }

    /// How long the root lives.
    pub fn ca_lifetime(&self) -> Duration {
        self.lifetimes.authority.as_duration()
    }

    /// Ceiling and default for X.509-SVIDs.
    pub fn x509_svid_lifetime(&self) -> Duration {
        self.lifetimes.x509_svid.as_duration()
    }

    /// Ceiling and default for JWT-SVIDs.
    pub fn jwt_svid_lifetime(&self) -> Duration {
        self.lifetimes.jwt_svid.as_duration()
    }

    /// Ceiling and default for WIT-SVIDs.
    pub fn wit_svid_lifetime(&self) -> Duration {
        self.lifetimes.wit_svid.as_duration()
    }

    /// What the token service offers.
    pub fn token_service(&self) -> &TokenServiceSettings {
        &self.token_service
    }

    /// Which profiles the sockets serve.
    pub fn workload_api(&self) -> &WorkloadApiSettings {
        &self.workload_api
    }

    /// How often others should fetch the bundle (TB-3).
    pub fn refresh_hint(&self) -> Duration {
        self.lifetimes.refresh_hint.as_duration()
    }

    /// Where the issuer is to be found.
    pub fn hosts(&self) -> &HostSettings {
        &self.hosts
    }

    /// How much approvers are asked.
    pub fn approvals(&self) -> &ApprovalSettings {
        &self.approvals
    }

    /// Who may use the admin socket beside the daemon's own user.
    pub fn operators(&self) -> &[OperatorRule] {
        &self.operators
    }

    /// Who may be the audience of a token.
    pub fn resource_servers(&self) -> &[ResourceServer] {
        &self.resource_servers
    }

    /// The most that certain clients may ever hold.
    pub fn clients(&self) -> &[ClientCeiling] {
        &self.clients
    }

    /// The authorization servers of other domains.
    pub fn authorization_servers(&self) -> &[AuthorizationServer] {
        &self.authorization_servers
    }

    /// Whose keys verify ID tokens and grants, by the name that is theirs alone.
    pub fn issuer_keys(&self) -> impl Iterator<Item = (&str, &IssuerKeys)> {
        let of_grants = self.authorization_servers.iter();
        let of_grants = of_grants.filter_map(|server| Some((server.name(), server.keys()?)));
        let of_people = self.oidc_issuers.iter().map(|issuer| (issuer.name(), issuer.keys()));
        let of_approvers = self.approver_login.iter().map(|login| (APPROVER_LOGIN, login.keys()));
        let of_signals = self.ssf_transmitters.iter().map(|one| (one.key_name(), one.keys()));
        of_people.chain(of_grants).chain(of_approvers).chain(of_signals)
    }

    /// The other trust domains whose bundles entries may ask for.
    pub fn federation(&self) -> &[Federation] {
        &self.federation
    }

    /// How the own bundle is served.
    pub const fn bundle_endpoint(&self) -> &BundleEndpointSettings {
        &self.bundle_endpoint
    }

    /// Where the bundles of others may be fetched.
    pub const fn bundle_fetching(&self) -> &BundleFetchingSettings {
        &self.bundle_fetching
    }

    /// How clouds verify JWT-SVIDs; `None` where they do not.
    pub const fn oidc_discovery(&self) -> Option<&OidcDiscoverySettings> {
        self.oidc_discovery.as_ref()
    }

    /// What happens when one identity is used by more than one program.
    pub fn identities(&self) -> &IdentitySettings {
        &self.identities
    }

    /// How much asking is too much.
    pub fn denials(&self) -> &DenialSettings {
        &self.denials
    }

    /// Which attestors there are and what each may spend.
    pub fn attestation(&self) -> &AttestationSettings {
        &self.attestation
    }

    /// Who vouches for people.
    pub fn oidc_issuers(&self) -> &[OidcIssuer] {
        &self.oidc_issuers
    }

    /// How people who approve log in; `None` where nobody does.
    pub fn approver_login(&self) -> Option<&ApproverLogin> {
        self.approver_login.as_ref()
    }

    /// Where the log is pushed.
    pub fn audit_sinks(&self) -> &[AuditSink] {
        self.audit.sinks()
    }

    /// Who is told what was stopped.
    pub fn ssf_streams(&self) -> &[SsfStream] {
        &self.ssf_streams
    }

    /// Whose word stops somebody here.
    pub fn ssf_transmitters(&self) -> &[SsfTransmitter] {
        &self.ssf_transmitters
    }

    /// Who is told what happens.
    pub fn webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }

    /// The programs that pass on decisions.
    pub fn chat_integrations(&self) -> &[ChatIntegration] {
        &self.chat_integrations
    }

    /// Who their users are.
    pub fn chat_identities(&self) -> &[ChatIdentity] {
        &self.chat_identities
    }

    /// What is demanded of every playbook.
    pub fn playbooks(&self) -> &PlaybookSettings {
        &self.playbooks
    }

    /// Who signs the X.509 authority's certificate; nobody where it signs itself.
    pub const fn upstream(&self) -> Option<&UpstreamSettings> {
        self.upstream.as_ref()
    }

    /// Whose authorities are signed here; `None` where nobody's are.
    pub const fn downstream(&self) -> Option<&DownstreamSettings> {
        self.downstream.as_ref()
    }

    /// How playbooks' post-checks are asked.
    pub const fn post_checks(&self) -> &PostCheckSettings {
        &self.post_checks
    }

    /// Who may read the log over HTTPS.
    pub const fn audit(&self) -> &AuditSettings {
        &self.audit
    }

    /// Where change tickets are looked up.
    pub fn ticket_systems(&self) -> &[TicketSystem] {
        &self.ticket_systems
    }

    /// Who may fetch SVIDs for other workloads (BR-2).
    pub fn brokers(&self) -> &[BrokerRule] {
        &self.brokers
    }

    /// The ceiling for access tokens.
    pub fn max_access_token_lifetime(&self) -> Duration {
        self.max_access_token_lifetime.as_duration()
    }

    /// What each socket of the trust domain lets its clients do.
    pub fn limits(&self) -> &LimitSettings {
        &self.limits
    }

    /// How many grants may be open at once.
    pub fn grants(&self) -> &GrantSettings {
        &self.grants
    }
}
