//! Shared signals (SSF 1.0, CAEP 1.0): who is told what was stopped here, and whose word stops somebody here.
//!
//! Telling follows the log, which has every stop in the transaction of its effect: what a leaf comes to is kept for each
//! stream in one transaction with how far the stream has come, and goes away when its receiver has it. So nothing that stops
//! somebody ever waits for a receiver, and each is told at least once. Absent: HTTP in, and who may stop whom by hand.

mod bearer;
mod courier;
mod deliver;
mod direct;
mod outbox;
mod poll;
mod push;
mod receiver;
mod stops;
mod told;
mod view;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_exchange::{Endpoint, IssuerUrl};
use marque_intent::IntentStore;
use marque_intent::kill::KillState;
use marque_jose::SigningKeys;
use marque_registry::{SsfStream, SsfTransmitter, TrustDomainDocument};
use marque_spiffe::{Clock, Random};
use marque_ssf::SetErrorCode;
use marque_store::{Failure, Store};
use serde_json::{Value, json};

use self::bearer::Bearer;
use self::push::Delivery;
use self::stops::Stopping;
use crate::cursor::TurnError;
use crate::oidc::OidcKeyRing;

pub(crate) use self::poll::{MAX_POLL_BYTES, PollRequest};
pub(crate) use self::receiver::ReceiveError;
pub use self::view::{AsideView, SignalDirection, SignalView};

/// Where SETs come in, below the issuer; a transmitter's name follows.
pub(crate) const EVENTS_PATH: &str = "/ssf/events";
/// Where they are fetched, below the issuer; a stream's name follows.
pub(crate) const POLL_PATH: &str = "/ssf/poll";
/// Where the metadata of a transmitter is (SSF 1.0 section 7.1); the issuer's path follows.
pub(crate) const CONFIGURATION_PATH: &str = "/.well-known/ssf-configuration";
/// How many SETs became of what the log says, by stream and result.
const SENT: &str = "marque_ssf_sets_total";
/// How many SETs came in, by transmitter and result.
const RECEIVED: &str = "marque_ssf_received_total";

/// The streams and transmitters of one trust domain.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<Arc<Stream>>,
    transmitters: Vec<Transmitter>,
    document: Arc<TrustDomainDocument>,
    issuer: IssuerUrl,
    signing: Arc<dyn SigningKeys>,
    keys: Arc<OidcKeyRing>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    stopping: Stopping,
}

/// A stream, ready to be delivered.
#[derive(Debug)]
struct Stream {
    settings: SsfStream,
    delivery: Delivery,
}

/// A transmitter, ready to be listened to.
#[derive(Debug)]
struct Transmitter {
    settings: SsfTransmitter,
    bearer: Bearer,
}

/// What signals are opened with.
pub(crate) struct SignalsParts {
    pub(crate) issuer: IssuerUrl,
    /// The keys of access tokens sign signals too.
    pub(crate) signing: Arc<dyn SigningKeys>,
    pub(crate) keys: Arc<OidcKeyRing>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// Why a stream was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignalError {
    /// There is no such stream.
    #[error("there is no such stream")]
    NotFound,
    /// Its receiver did not take it.
    #[error("the event was not taken: {0}")]
    NotTaken(String),
    /// It cannot be kept, read or signed.
    #[error("the event cannot be kept, read or signed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SignalError {
    fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<Failure> for SignalError {
    fn from(error: Failure) -> Self {
        Self::unavailable(error)
    }
}

impl From<TurnError> for SignalError {
    fn from(error: TurnError) -> Self {
        Self::unavailable(error)
    }
}

impl Signals {
    /// Reads secrets and certificates; nobody is called yet.
    pub(crate) fn open(
        document: &Arc<TrustDomainDocument>,
        folder: &Path,
        parts: SignalsParts,
    ) -> anyhow::Result<Self> {
        let SignalsParts { issuer, signing, keys, store, clock, random } = parts;
        let stream = |settings: &SsfStream| {
            let delivery = Delivery::open(settings, folder, &clock);
            let delivery =
                delivery.with_context(|| format!("prepare the stream `{}`", settings.name()))?;
            Ok(Arc::new(Stream { settings: settings.clone(), delivery }))
        };
        let transmitter = |settings: &SsfTransmitter| {
            let bearer = Bearer::open(folder, settings.secret_file());
            let bearer =
                bearer.with_context(|| format!("prepare to listen to `{}`", settings.name()))?;
            Ok(Transmitter { settings: settings.clone(), bearer })
        };
        Ok(Self {
            streams: document.ssf_streams().iter().map(stream).collect::<anyhow::Result<_>>()?,
            transmitters: document
                .ssf_transmitters()
                .iter()
                .map(transmitter)
                .collect::<anyhow::Result<_>>()?,
            document: Arc::clone(document),
            issuer,
            signing,
            keys,
            store,
            clock,
            random,
            stopping: Stopping::default(),
        })
    }

    /// Who is stopped, as known here and now.
    fn kills(&self) -> Arc<KillState> {
        IntentStore::kill_state(&*self.store).borrow().clone()
    }

    fn stream(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.iter().find(|stream| stream.settings.name() == name)
    }

    /// What a receiver may know of us (SSF 1.0 section 7.1). Streams are made in the trust domain's folder: there is no
    /// endpoint to manage them.
    pub(crate) fn configuration(&self) -> Value {
        json!({
            "spec_version": "1_0",
            "issuer": self.issuer.as_str(),
            "jwks_uri": Endpoint::Jwks.url(&self.issuer),
            "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
            "default_subjects": "ALL",
        })
    }
}

fn count_sent(stream: &Stream, result: &'static str) {
    let name = stream.settings.name().to_owned();
    metrics::counter!(SENT, "stream" => name, "result" => result).increment(1);
}

fn count_received(transmitter: &Transmitter, result: &'static str) {
    let name = transmitter.settings.name().to_owned();
    metrics::counter!(RECEIVED, "transmitter" => name, "result" => result).increment(1);
}

/// The codes that a receiver may answer with that are told on: whatever else it writes is not shown.
fn known_code(code: &str) -> &'static str {
    let codes = [
        SetErrorCode::InvalidRequest,
        SetErrorCode::InvalidKey,
        SetErrorCode::InvalidIssuer,
        SetErrorCode::InvalidAudience,
        SetErrorCode::AuthenticationFailed,
        SetErrorCode::AccessDenied,
    ];
    codes.iter().map(|known| known.as_str()).find(|known| *known == code).unwrap_or("unknown_code")
}
