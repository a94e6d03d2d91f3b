#![doc = include_str!("README.md")]

#[cfg(feature = "axum")]
mod axum_server;
mod binding;
mod cached;
mod challenge;
mod claims;
mod clock;
mod credentials;
mod details;
mod fetch;
mod keys;
mod kills;
mod layer;
mod metadata;
mod refusal;
mod replays;
mod settings;
mod statements;
mod status;
mod token;
mod url;
mod verifier;

#[cfg(feature = "axum")]
pub use axum_server::metadata_route;
pub use cached::Freshness;
pub use challenge::Refused;
pub use claims::{Actor, Envelope, Intent};
pub use clock::{Clock, HostClock};
pub use credentials::{ClientCertificate, Presentation, Scheme};
pub use details::{Detail, Need};
pub use fetch::{Fetch, FetchError, FetchFuture, FetchRequest, Fetched};
#[cfg(feature = "ureq")]
pub use fetch::{HttpsFetch, HttpsFetchError};
pub use keys::KeySource;
pub use layer::{Verify, VerifyLayer};
pub use marque_dpop::Nonces;
pub use marque_jose::{Confirmation, Thumbprint};
pub use refusal::{Lack, Outage, ProofFault, Refusal, RequestFault, TokenFault};
pub use replays::{MemoryReplays, Replays, ReplaysFuture, ReplaysUnavailable, Use, UseKey, Used};
pub use settings::{
    Binding, KillCheck, MAX_LEEWAY, SettingsError, StatusCheck, VerifierLimits, VerifierSettings,
};
pub use token::VerifiedToken;
pub use url::{HttpsUrl, HttpsUrlError};
pub use verifier::Verifier;
