//! The signing authorities of a trust domain, and the minting of every SVID.
//!
//! An [`Authority`] holds the active key of each purpose: the self-signed root for X.509-SVIDs, and separate keys for
//! JWT-SVIDs, WIT-SVIDs, access tokens and audit checkpoints. All but the last take turns: a key is prepared, so that verifiers
//! get to know it, signs, and stays published until everything that it signed has ended. One that is believed to be in wrong
//! hands is tainted and revoked. Its records are stored before a key signs anything for anybody.
//! Whatever it mints is parsed again and verified by its own bundle before it leaves. Before that, each key looks at the
//! bytes that it is to sign and signs nothing outside of its ceiling ([`SigningGuard`]).
//!
//! Deliberately absent: sockets, the storage engine (see [`AuthorityStore`]), who is entitled to which SVID, caches, and
//! who calls [`Authority::keep_up`]. A root carries no URI name constraints unless the document wants them, because rustls-webpki
//! refuses every certificate below one that does.

mod authority;
mod ceiling;
mod ceremony;
mod certificate;
mod config;
mod downstream;
mod earlier;
mod error;
mod followed;
mod intermediate;
mod jwt;
mod list;
mod order;
mod probe;
mod published;
mod reconfigure;
mod record;
mod refusal;
mod root;
mod round;
mod schedule;
mod signer;
mod snapshot;
mod subject_key;
#[cfg(test)]
mod testing;
mod wit;
mod x509;

pub use authority::{Authority, Heard, Hearing, Trusted};
pub use ceiling::{
    Breach, CeilingRefusal, RequiredClaim, SigningAlarm, SigningGuard, TokenForm,
    TokenServiceCeiling,
};
pub use ceremony::Ceremony;
pub use config::{AuthorityConfig, ConfigError};
pub use downstream::{DownstreamRequest, DownstreamRequestError, SignedDownstream};
pub use earlier::EarlierLifetimes;
pub use error::{AuthorityError, RootProblem, SelfCheckError, TemplateError};
pub use followed::{
    FollowedBundle, FollowedKey, FollowedRoot, FollowedUse, LeftOut, MAX_FOLLOWED_KEYS,
    MAX_FOLLOWED_ROOTS, ToldBundle, ToldBundleError, ToldKey, ToldRoot,
};
pub use intermediate::{
    CertificateRequest, SignedAuthority, SignedAuthorityError, UpstreamAuthority, UpstreamError,
    UpstreamRule,
};
pub use jwt::{JwtSvidTemplate, MintedJwtSvid};
pub use list::AuthorityView;
pub use order::{AuthorityDecision, AuthorityOrder, AuthorityStep, MAX_PUBLISHED_KEYS};
pub use reconfigure::Reconfiguration;
pub use record::{
    AuthorityRecord, AuthorityState, AuthorityStore, AuthorityStoreError, AuthorityTimes,
    UpstreamCertificates,
};
pub use refusal::OrderRefusal;
pub use round::OrderedBy;
pub use schedule::NextStep;
pub use subject_key::{P256PublicKey, PrivateKeyPkcs8};
pub use wit::{MintedWitSvid, WitSvidTemplate};
pub use x509::{MintedX509Svid, X509SvidTemplate};
