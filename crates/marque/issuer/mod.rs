//! The issuer role: one trust domain's authorities, registry, intents, token service and log, wired together.
//!
//! [`Lasting`] is what lives as long as the process. [`Issuer`] is that with the rules of one folder as it was read: what the
//! edges see of it is one generation, which a request keeps from its beginning to its end. Neither knows a protocol.
//! `served` has the generation of the moment.

mod admin_door;
mod authorities;
mod broker;
mod builds;
mod bundle_endpoint;
pub(crate) mod ceremony;
mod change_control;
mod cloud_findings;
mod desk;
mod doors;
mod downstream;
mod endings;
mod figures;
pub mod folder;
mod foreign;
mod generation;
mod growing;
mod http_door;
mod key_store;
mod keys;
pub mod kill;
mod lasting;
mod minting;
mod noting;
mod pruning;
mod readiness;
mod reconfigured;
mod registrar;
pub mod reload;
pub(crate) mod run;
mod sequencing;
pub mod serve;
pub(crate) mod served;
mod signing_guard;
pub(crate) mod sockets;
mod store;
mod token_config;
mod upkeep;
mod versions;
mod watch;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use marque_exchange::{ClientAuthenticator, IssuerUrl, TokenService};
use marque_policy::PolicyInfo;
use marque_registry::{Registry, TrustDomainDocument};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::desk::{DeskError, IntentDesk};
pub use self::kill::KillSwitch;
pub use self::lasting::Lasting;
pub use self::registrar::{Registrar, RegistrarError};
pub use self::run::run;

pub(crate) use self::lasting::IssuerParts;

use self::folder::FolderFiles;
use self::foreign::Foreign;
use crate::approvers::{ApprovalDesk, Approvers};
use crate::federation::Federations;
use crate::oidc::OidcKeyRing;
use crate::post_checks::PostChecks;
use crate::sinks::Sinks;
use crate::ssf::Signals;
use crate::webhooks::Webhooks;
use crate::witnesses::Witnesses;

/// The registries of every trust domain that a process serves, for asking whether a process is an agent of any.
pub(crate) type Neighbours = Arc<OnceLock<Vec<Arc<Registry>>>>;

/// One trust domain's issuer, by the rules of its folder as that was read once.
#[derive(Debug)]
pub struct Issuer {
    lasting: Arc<Lasting>,
    document: Arc<TrustDomainDocument>,
    tokens: Arc<TokenService>,
    intents: Arc<IntentDesk>,
    federations: Arc<Federations>,
    /// The files of the folder that is served.
    files: FolderFiles,
    /// Its policies, as they are written.
    policies: Vec<PolicyInfo>,
    foreign: Arc<Foreign>,
    oidc_keys: Arc<OidcKeyRing>,
    approval_desk: Arc<ApprovalDesk>,
    approvers: Option<Arc<Approvers>>,
    webhooks: Arc<Webhooks>,
    sinks: Arc<Sinks>,
    witnesses: Arc<Witnesses>,
    post_checks: Arc<PostChecks>,
    signals: Arc<Signals>,
    /// What JWT-SVIDs name as their issuer.
    svid_issuer: Option<IssuerUrl>,
    /// The folder.
    path: PathBuf,
    /// Says when nobody works by these rules any more.
    over: Over,
    /// Generations before this one by which somebody still worked when this was made.
    earlier: Vec<CancellationToken>,
}

/// Says when it is dropped.
#[derive(Debug)]
struct Over {
    told: CancellationToken,
    _telling: DropGuard,
}

impl Default for Over {
    fn default() -> Self {
        let told = CancellationToken::new();
        Self { _telling: told.clone().drop_guard(), told }
    }
}

impl Over {
    fn token(&self) -> CancellationToken {
        self.told.clone()
    }
}

/// An issuer is what lasts of it, and the rules on top.
impl Deref for Issuer {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.lasting
    }
}

impl Issuer {
    /// The token service.
    #[must_use]
    pub fn tokens(&self) -> &TokenService {
        &self.tokens
    }

    /// Who authenticates the callers of the HTTP edge.
    #[must_use]
    pub fn authenticator(&self) -> &ClientAuthenticator {
        self.tokens.authenticator()
    }

    /// Where intents are asked for.
    #[must_use]
    pub fn intents(&self) -> &IntentDesk {
        &self.intents
    }
}
