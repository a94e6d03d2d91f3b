//! What can go wrong with authorities. No variant carries key material or a token.

use jiff::Timestamp;
use marque_keys::{KeyError, KeyPurpose, SlotId};
use marque_spiffe::{
    JwtSvidError, RandomError, SpiffeId, TrustDomain, WitSvidError, X509SvidError,
};

use crate::{
    AuthorityStoreError, ConfigError, OrderRefusal, SignedAuthorityError, ToldBundleError,
    UpstreamError,
};

/// Why an authority could not be opened or did not mint.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The settings cannot be used.
    #[error("the settings of the authorities cannot be used")]
    Config(#[source] ConfigError),
    /// The records could not be loaded or saved.
    #[error("could not {operation} the record of an authority")]
    Store {
        /// `load` or `change`.
        operation: &'static str,
        /// The store's error.
        source: AuthorityStoreError,
    },
    /// The key manager failed.
    #[error("could not {operation} the key `{slot}`")]
    Keys {
        /// What was tried: `load`, `make` or `remove`.
        operation: &'static str,
        /// The key.
        slot: SlotId,
        /// The key manager's error.
        source: KeyError,
    },
    /// The key manager could not say which keys it has.
    #[error("could not list the keys")]
    KeyList(#[source] KeyError),
    /// A step in the life of a key was not taken.
    #[error(transparent)]
    Refused(OrderRefusal),
    /// Two records have the same slot.
    #[error("there are two records of the key `{slot}`; restore the store from a backup")]
    DuplicateRecord {
        /// The slot.
        slot: SlotId,
    },
    /// A record was saved and is not there.
    #[error("the record of the key `{slot}` was saved and the store does not hold it")]
    NotKept {
        /// The slot.
        slot: SlotId,
    },
    /// Two records of one purpose are active.
    #[error("two keys for `{purpose}` are active; restore the store from a backup")]
    SeveralActive {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// There are records of a purpose and none of them is active.
    #[error(
        "no key for `{purpose}` is active although there are records of some; restore the store from a backup"
    )]
    NoneActive {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// The private key of a record is not with the key manager.
    #[error(
        "the private key `{slot}` is on record and missing from the key manager; restore it from a backup, or start with \
         the folder of keys and the sealing key that belong to this store (every replica on one store needs the same)"
    )]
    KeyMissing {
        /// The slot.
        slot: SlotId,
    },
    /// The private key in the slot is another one than the record says.
    #[error(
        "the private key `{slot}` is not the one on record; the folder of keys and the store are of two installations, so \
         start with the pair that belongs together"
    )]
    KeyChanged {
        /// The slot.
        slot: SlotId,
    },
    /// A record holds a public key that is none.
    #[error("the record of `{slot}` holds an unusable public key; restore the store from a backup")]
    PublicKey {
        /// The slot.
        slot: SlotId,
    },
    /// A root certificate, new or on record, is not what a root has to be.
    #[error("the root certificate of `{slot}` is refused")]
    Root {
        /// The slot.
        slot: SlotId,
        /// What is wrong with it.
        source: RootProblem,
    },
    /// A certificate that somebody else signed, new or on record, cannot be the authority's.
    #[error("the signed certificate of `{slot}` is refused")]
    SignedAuthority {
        /// The slot.
        slot: SlotId,
        /// What is wrong with it.
        source: SignedAuthorityError,
    },
    /// Whoever signs certificates signed none.
    #[error("no certificate was signed for `{slot}`")]
    Upstream {
        /// The slot.
        slot: SlotId,
        /// Why not.
        source: UpstreamError,
    },
    /// The upstream did not tell its bundle.
    #[error("the bundle of the upstream was not told")]
    Unheard(#[source] UpstreamError),
    /// What the upstream told cannot be its bundle.
    #[error("the bundle of the upstream is refused")]
    ToldBundle(#[source] ToldBundleError),
    /// The first X.509 authority is signed by an offline root, and was not yet.
    #[error(
        "`{trust_domain}` has no X.509 authority yet, and an offline root signs it: run `marque authority csr --offline` with the          settings of this daemon, have the request signed, and bring it back with `marque authority import --offline`"
    )]
    NotSignedYet {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// The authority has ended, and no other one has taken its place.
    #[error(
        "the authority `{slot}` ended at {at} and no other one has taken its place; the log says why, and `marque authority list` \
         shows which there are"
    )]
    Ended {
        /// The slot.
        slot: SlotId,
        /// Its end.
        at: Timestamp,
    },
    /// The trust domain issues no WIT-SVIDs.
    #[error("no WIT-SVIDs are issued in this trust domain")]
    NoWitSvids,
    /// The trust domain signs for no servers below.
    #[error("no CA certificates are signed for others in this trust domain")]
    NoDownstream,
    /// The certificate of the authority that signs permits none below it.
    #[error(
        "the certificate of `{slot}` leaves no room for another authority below it (its path length is 0); with `path_length` in \
         [authorities] the next one does: `marque authority prepare x509-authority`, then `activate` it"
    )]
    NoRoom {
        /// The slot.
        slot: SlotId,
    },
    /// The instant has no form in certificates and tokens.
    #[error("the time {0} is outside of what certificates and tokens can say")]
    Time(Timestamp),
    /// No randomness for a serial number or token id.
    #[error("could not draw a serial number")]
    Random(#[source] RandomError),
    /// ring could not make the key pair of an SVID; it never says why.
    #[error("could not generate the key of an SVID")]
    SubjectKey,
    /// rcgen could not build a certificate.
    #[error("could not build {what}")]
    Build {
        /// Which certificate.
        what: &'static str,
        /// rcgen's error, which has lost its own source.
        source: rcgen::Error,
    },
    /// A token could not be signed.
    #[error("could not sign a token")]
    Sign(#[source] marque_jose::SignError),
    /// The bundle could not be made of the authorities.
    #[error("could not make the bundle")]
    Bundle(#[source] marque_spiffe::BundleError),
    /// The template asks for what is not minted.
    #[error("the template is refused")]
    Template(#[source] TemplateError),
    /// What was minted is not what was asked for. It was thrown away.
    #[error("the SVID for `{id}` failed the check after minting and was thrown away")]
    SelfCheck {
        /// The SPIFFE ID asked for.
        id: SpiffeId,
        /// What is wrong with it.
        source: SelfCheckError,
    },
}

/// Why a template is refused before anything is signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The SPIFFE ID is of another trust domain.
    #[error("`{id}` is not of the trust domain `{trust_domain}`")]
    OtherTrustDomain {
        /// The SPIFFE ID.
        id: SpiffeId,
        /// The authority's trust domain.
        trust_domain: TrustDomain,
    },
    /// The SPIFFE ID is that of the trust domain itself (X5-2).
    #[error("an SVID needs a SPIFFE ID with a path")]
    NoPath,
    /// The lifetime is below a second.
    #[error("an SVID lasts at least one second")]
    Lifetime,
    /// Too many DNS names.
    #[error("an X.509-SVID has at most {} DNS names", crate::X509SvidTemplate::MAX_DNS_NAMES)]
    DnsNames,
    /// No audience (JW-7).
    #[error("a JWT-SVID needs an audience")]
    NoAudience,
    /// An audience is empty, too long, or holds control characters.
    #[error(
        "an audience has 1 to {} bytes and no control characters",
        crate::JwtSvidTemplate::MAX_AUDIENCE_BYTES
    )]
    Audience,
    /// Too many audiences.
    #[error("a JWT-SVID has at most {} audiences", crate::JwtSvidTemplate::MAX_AUDIENCES)]
    Audiences,
    /// The 65 bytes are not an uncompressed point of P-256.
    #[error("the public key is not an uncompressed point of P-256")]
    PublicKey,
}

/// How a root certificate differs from what a root has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootProblem {
    /// There is none on record.
    #[error("the record holds no certificate; restore the store from a backup")]
    Missing,
    /// It is not exactly one DER certificate.
    #[error("it is not exactly one DER certificate")]
    Malformed,
    /// Its key is not the one on record.
    #[error("its public key is not the one on record")]
    PublicKey,
    /// It is not signed by its own key.
    #[error("it is not signed by its own key")]
    Signature,
    /// Basic constraints or key usage are not those of a root (X5-3, X5-5).
    #[error("its basic constraints or its key usage are not those of a root")]
    Usage,
    /// Its one URI name is not the trust domain's.
    #[error("its name is not exactly `spiffe://{0}`; the store belongs to another trust domain")]
    Name(TrustDomain),
    /// Its subject names another environment.
    #[error(
        "it was made for another environment than `{0}`; an environment never changes, so give the other one a trust domain \
         of its own"
    )]
    Environment(marque_spiffe::Environment),
    /// It has an extension that a root of this kind does not have, or one of them twice or none.
    #[error("its extensions are not those of a root")]
    Extensions,
}

/// What the check after minting found.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// The certificate does not verify as an X.509-SVID by the own bundle.
    #[error("it does not verify by the own bundle")]
    X509(#[source] X509SvidError),
    /// The token does not verify as a JWT-SVID by the own bundle.
    #[error("it does not verify by the own bundle")]
    Jwt(#[source] JwtSvidError),
    /// The token does not verify as a WIT-SVID by the own bundle.
    #[error("it does not verify by the own bundle")]
    Wit(#[source] WitSvidError),
    /// It verifies, and says something else than was asked for.
    #[error("its {0} is not what was asked for")]
    Differs(&'static str),
}
