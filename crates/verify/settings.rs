//! What a verifier is told: whom it believes, who it is, and its limits.

use std::sync::Arc;
use std::time::Duration;

use marque_dpop::{HttpUri, Nonces};

use crate::cached::Freshness;
use crate::clock::{Clock, HostClock};
use crate::fetch::Fetch;
use crate::keys::KeySource;
use crate::replays::{MemoryReplays, Replays};
use crate::url::HttpsUrl;
use crate::verifier::Verifier;

/// The largest leeway: more is a clock that somebody has to repair.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Which tokens are accepted by how they are bound (RFC 8705, RFC 9449). A bound token always needs its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Binding {
    /// Bound and unbound ones.
    #[default]
    Optional,
    /// Bound ones, by either means.
    Required,
    /// Those that are bound to a DPoP key.
    Dpop,
    /// Those that are bound to a certificate.
    Certificate,
}

impl Binding {
    /// Whether a token that is bound to a DPoP key is accepted.
    pub(crate) const fn admits_dpop(self) -> bool {
        !matches!(self, Self::Certificate)
    }

    /// Whether a token that is bound to a certificate is accepted.
    pub(crate) const fn admits_certificates(self) -> bool {
        !matches!(self, Self::Dpop)
    }
}

/// Whether a token's status is looked up in the issuer's Token Status List.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusCheck {
    /// Never: a token is good until it expires.
    Off,
    /// Where the token says where its status is.
    #[default]
    WherePresent,
    /// Always: a token that does not say is refused.
    Required,
}

/// Whether the epoch of the issuer's kill switch has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KillCheck {
    /// No: a kill is seen when a copy of a status list is fetched again, or not at all.
    #[default]
    Off,
    /// Yes, and it is no older than this: a server that is cut off from the issuer refuses. Every token needs a status.
    Required(Freshness),
}

impl KillCheck {
    /// Fetched again after one second, good for nothing after two.
    #[must_use]
    pub const fn required() -> Self {
        let (refresh_after, stale_after) = (Duration::from_secs(1), Duration::from_secs(2));
        Self::Required(Freshness { refresh_after, stale_after })
    }
}

/// Limits, each with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifierLimits {
    /// How far the clocks of issuer and server may differ: 5 s, at most [`MAX_LEEWAY`].
    pub leeway: Duration,
    /// The longest life of a token, from `iat` to `exp`: one hour.
    pub token_life: Duration,
    /// The keys: fetched again after 5 min, good for nothing after 1 h.
    pub keys: Freshness,
    /// Status lists: fetched again after 15 s, good for nothing after 2 min. A list's own `ttl` and `exp` may say less.
    pub status: Freshness,
    /// The least time between two attempts to fetch one document: 10 s.
    pub retry_after: Duration,
    /// How many uses are remembered at once by the memory that comes with the verifier: 100 000.
    pub replays: usize,
}

impl Default for VerifierLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            leeway: seconds(5),
            token_life: seconds(3600),
            keys: Freshness { refresh_after: seconds(300), stale_after: seconds(3600) },
            status: Freshness { refresh_after: seconds(15), stale_after: seconds(120) },
            retry_after: seconds(10),
            replays: 100_000,
        }
    }
}

/// The settings of a [`Verifier`].
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// The issuer identifier, exactly as `iss` has it.
    pub issuer: HttpsUrl,
    /// The identifier of this resource server, exactly as `aud` has it; what its metadata calls `resource` (RFC 9728).
    pub resource: HttpsUrl,
    /// Scheme, host and port at which clients reach this server, as their proofs name it: `https://api.example.org`. The
    /// origin of `resource`, unless something stands between. A request's own `Host` is never asked.
    pub origin: String,
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// The scopes that this server knows, for its metadata.
    pub scopes: Vec<String>,
    /// The types of `authorization_details` that it knows, for its metadata.
    pub detail_types: Vec<String>,
    /// How tokens must be bound.
    pub binding: Binding,
    /// Whether the status of tokens is looked up.
    pub status: StatusCheck,
    /// Whether the epoch of the kill switch has to be known: an issuer that does not publish it is never believed then.
    pub kills: KillCheck,
    /// Limits.
    pub limits: VerifierLimits,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The memory of uses; `None` for one in this process.
    pub replays: Option<Arc<dyn Replays>>,
    /// Demands of every DPoP proof a nonce of these (RFC 9449 §9), so that none can be made in store.
    pub nonces: Option<Nonces>,
    /// Takes every token once, whatever its issuer says of it.
    pub single_use: bool,
}

/// Why there is no verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// [`VerifierSettings::origin`] is not `http` or `https` with host and port alone.
    #[error("the origin is not a scheme with a host and a port")]
    Origin,
    /// A scope or type of details with characters that no scope has.
    #[error("a scope or type of details has characters that it may not have")]
    Scope,
    /// The kill switch is to be heeded, and status lists, in which it shows, are not.
    #[error("the kill switch shows in the status of tokens, which is not looked up")]
    KillsWithoutStatus,
    /// A limit is zero, above its greatest, or a document would go stale before it is fetched again.
    #[error("the limit `{0}` is out of its bounds")]
    Limit(&'static str),
}

impl VerifierSettings {
    /// The settings of a server that takes tokens of `issuer` for `resource`, with every default.
    #[must_use]
    pub fn new(issuer: HttpsUrl, resource: HttpsUrl) -> Self {
        Self {
            issuer,
            origin: resource.origin().to_owned(),
            resource,
            keys: KeySource::Metadata,
            scopes: Vec::new(),
            detail_types: Vec::new(),
            binding: Binding::default(),
            status: StatusCheck::default(),
            kills: KillCheck::default(),
            limits: VerifierLimits::default(),
            clock: Arc::new(HostClock),
            replays: None,
            nonces: None,
            single_use: false,
        }
    }

    /// A verifier with these settings. Nothing is fetched before the first token comes.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn verifier(mut self, fetch: Arc<dyn Fetch>) -> Result<Verifier, SettingsError> {
        self.check()?;
        let capacity = self.limits.replays;
        let now = self.clock.now();
        let replays =
            self.replays.take().unwrap_or_else(|| Arc::new(MemoryReplays::new(now, capacity)));
        Ok(Verifier::new(self, fetch, replays))
    }

    fn check(&self) -> Result<(), SettingsError> {
        let authority = self.origin.split_once("://").map(|(_scheme, authority)| authority);
        let plain = authority.is_some_and(|authority| !authority.contains('/'));
        if !plain || self.origin.parse::<HttpUri>().is_err() {
            return Err(SettingsError::Origin);
        }
        if !self.scopes.iter().chain(&self.detail_types).all(|scope| is_scope(scope)) {
            return Err(SettingsError::Scope);
        }
        let limits = &self.limits;
        let goes_stale =
            |it: Freshness| it.stale_after.is_zero() || it.stale_after < it.refresh_after;
        let kills_go_stale = match self.kills {
            KillCheck::Off => false,
            KillCheck::Required(_) if self.status == StatusCheck::Off => {
                return Err(SettingsError::KillsWithoutStatus);
            }
            KillCheck::Required(freshness) => goes_stale(freshness),
        };
        for (name, out_of_bounds) in [
            ("kills", kills_go_stale),
            ("leeway", limits.leeway > MAX_LEEWAY),
            ("token_life", limits.token_life.is_zero()),
            ("keys", goes_stale(limits.keys)),
            ("status", goes_stale(limits.status)),
            ("retry_after", limits.retry_after.is_zero()),
            ("replays", limits.replays == 0),
        ] {
            if out_of_bounds {
                return Err(SettingsError::Limit(name));
            }
        }
        Ok(())
    }
}

/// `scope-token` of RFC 6749 §3.3.
pub(crate) fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.bytes().all(fits)
}
