//! The authorities of one trust domain, opened and ready to mint.

use std::sync::Arc;

use jiff::Timestamp;
use marque_jose::{JwkSet, Signer};
use marque_keys::{KeyManager, KeyPurpose, SigningKey, SlotId};
use marque_spiffe::{Bundle, Environment, Random, TrustDomain};
use rustls_pki_types::CertificateDer;

use crate::{
    AuthorityConfig, AuthorityError, AuthorityStore, JwtSvidTemplate, MintedJwtSvid, MintedWitSvid,
    MintedX509Svid, P256PublicKey, PrivateKeyPkcs8, WitSvidTemplate, X509SvidTemplate,
    certificate::{Validity, plus_seconds, whole_second},
    jwt::JwtAuthority,
    open::{Active, Opening},
    signer::{CertificateSigner, TokenSigner},
    wit::WitAuthority,
    x509::{Leaf, X509Authority},
};

/// The active authorities of one trust domain.
#[derive(Debug)]
pub struct Authority {
    config: AuthorityConfig,
    bundle: Arc<Bundle>,
    x509: X509Authority,
    jwt: JwtAuthority,
    wit: Option<WitAuthority>,
    access_token: Arc<TokenSigner>,
    checkpoint: SigningKey,
    random: Arc<dyn Random>,
    created: Vec<SlotId>,
}

impl Authority {
    /// Opens the authorities of a trust domain: makes the keys that are not there yet, and takes up the others.
    ///
    /// Opening is idempotent, also after it was interrupted. Each record is saved before its key signs for anybody.
    ///
    /// # Errors
    /// Settings that cannot be used, a failing key manager or store, and records, keys or roots that do not belong
    /// together: the messages say what to do.
    pub async fn open(
        config: AuthorityConfig,
        keys: Arc<dyn KeyManager>,
        store: &dyn AuthorityStore,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let now = whole_second(now)?;
        let mut opening =
            Opening::begin(&config, keys.as_ref(), store, random.as_ref(), now).await?;
        let x509 = opening.active(KeyPurpose::X509Authority).await?;
        let jwt = opening.active(KeyPurpose::JwtSvid).await?;
        let access_token = opening.active(KeyPurpose::AccessToken).await?;
        let checkpoint = opening.active(KeyPurpose::AuditCheckpoint).await?;
        let wit =
            if config.wit_svids { Some(opening.active(KeyPurpose::WitSvid).await?) } else { None };
        let bundle = Arc::new(opening.bundle()?);
        let root = opening.root(&x509.record)?;
        let created = opening.into_created();
        let authority = Self {
            x509: X509Authority::new(x509.record.slot, root, CertificateSigner(x509.key))?,
            jwt: jwt_authority(&config, jwt)?,
            wit: wit.map(|wit| wit_authority(&config, wit)).transpose()?,
            access_token: Arc::new(TokenSigner::new(access_token.key)?),
            checkpoint: checkpoint.key,
            bundle,
            random,
            created,
            config,
        };
        authority.check_has_not_ended(now)?;
        Ok(authority)
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    /// The trust domain's environment.
    pub fn environment(&self) -> Environment {
        self.config.environment
    }

    /// The bundle: the root and the keys for JWT-SVIDs and WIT-SVIDs. Keys for access tokens and checkpoints are never part of it.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle)
    }

    /// The slots whose keys were made when this authority was opened; empty when all were found again.
    pub fn created(&self) -> &[SlotId] {
        &self.created
    }

    /// When the first of the authorities ends; it opens no more from then on. No SVID outlasts the key that signed it.
    pub fn ends_at(&self) -> Timestamp {
        self.ends().fold(Timestamp::MAX, |first, (_, at)| first.min(at))
    }

    /// Makes a key pair and mints an X.509-SVID for it.
    ///
    /// # Errors
    /// [`AuthorityError::Template`], [`AuthorityError::Ended`], or whatever kept the SVID from being made or from passing
    /// the check after minting.
    pub fn mint_x509_svid(
        &self,
        template: &X509SvidTemplate,
        now: Timestamp,
    ) -> Result<MintedX509Svid, AuthorityError> {
        let validity = self.x509_validity(template, now)?;
        let (private_key, public_key) = PrivateKeyPkcs8::generate()?;
        let chain = self.sign_x509_svid(template, &public_key, validity, now)?;
        let Validity { not_before, not_after } = validity;
        Ok(MintedX509Svid {
            spiffe_id: template.spiffe_id.clone(),
            chain,
            private_key,
            not_before,
            not_after,
        })
    }

    /// Mints an X.509-SVID for a public key whose private half is elsewhere, with a node for example. That the caller
    /// holds the private half is the caller's channel to prove. The chain is leaf first, without the root.
    ///
    /// # Errors
    /// As [`Authority::mint_x509_svid`].
    pub fn mint_x509_svid_for(
        &self,
        template: &X509SvidTemplate,
        public_key: &P256PublicKey,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let validity = self.x509_validity(template, now)?;
        self.sign_x509_svid(template, public_key, validity, now)
    }

    /// Mints a JWT-SVID.
    ///
    /// # Errors
    /// As [`Authority::mint_x509_svid`].
    pub fn mint_jwt_svid(
        &self,
        template: &JwtSvidTemplate,
        now: Timestamp,
    ) -> Result<MintedJwtSvid, AuthorityError> {
        self.mint_jwt(None, template, now)
    }

    /// Mints a JWT-SVID that names an issuer, as verifiers want it which find keys by OpenID Connect discovery. `issuer` is the
    /// `iss`: one that publishes the keys of the bundle.
    ///
    /// # Errors
    /// As [`Authority::mint_x509_svid`].
    pub fn mint_jwt_svid_of(
        &self,
        issuer: &str,
        template: &JwtSvidTemplate,
        now: Timestamp,
    ) -> Result<MintedJwtSvid, AuthorityError> {
        self.mint_jwt(Some(issuer), template, now)
    }

    fn mint_jwt(
        &self,
        issuer: Option<&str>,
        template: &JwtSvidTemplate,
        now: Timestamp,
    ) -> Result<MintedJwtSvid, AuthorityError> {
        template.check(self.trust_domain()).map_err(AuthorityError::Template)?;
        let ceiling = self.config.max_jwt_svid_lifetime;
        self.jwt.mint((template, issuer), ceiling, &self.bundle, self.random.as_ref(), now)
    }

    /// Makes the holder's key pair and mints a WIT-SVID that is bound to it.
    ///
    /// # Errors
    /// [`AuthorityError::NoWitSvids`] where none are issued; otherwise as [`Authority::mint_x509_svid`].
    pub fn mint_wit_svid(
        &self,
        template: &WitSvidTemplate,
        now: Timestamp,
    ) -> Result<MintedWitSvid, AuthorityError> {
        let wit = self.wit.as_ref().ok_or(AuthorityError::NoWitSvids)?;
        template.check(self.trust_domain()).map_err(AuthorityError::Template)?;
        let ceiling = self.config.max_wit_svid_lifetime;
        wit.mint(template, ceiling, &self.bundle, self.random.as_ref(), now)
    }

    /// The signer of access tokens (ES256).
    pub fn access_token_signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.access_token) as Arc<dyn Signer>
    }

    /// The key set of the token endpoint: the keys for access tokens alone, with use `sig`.
    pub fn access_token_keys(&self) -> JwkSet {
        JwkSet { keys: vec![self.access_token.jwk()] }
    }

    /// The key for checkpoints of the audit log (Ed25519).
    pub fn checkpoint_key(&self) -> &SigningKey {
        &self.checkpoint
    }

    fn x509_validity(
        &self,
        template: &X509SvidTemplate,
        now: Timestamp,
    ) -> Result<Validity, AuthorityError> {
        template.check(self.trust_domain()).map_err(AuthorityError::Template)?;
        self.x509.validity(template.lifetime, self.config.max_x509_svid_lifetime, now)
    }

    fn sign_x509_svid(
        &self,
        template: &X509SvidTemplate,
        public_key: &P256PublicKey,
        validity: Validity,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let leaf = Leaf { template, public_key, validity };
        Ok(vec![self.x509.mint(&leaf, &self.bundle, self.random.as_ref(), now)?])
    }

    /// The authorities whose SVIDs end with them.
    fn ends(&self) -> impl Iterator<Item = (&SlotId, Timestamp)> {
        let wit = self.wit.as_ref().map(|wit| (wit.slot(), wit.ends_at()));
        let always =
            [(self.x509.slot(), self.x509.ends_at()), (self.jwt.slot(), self.jwt.ends_at())];
        always.into_iter().chain(wit)
    }

    fn check_has_not_ended(&self, now: Timestamp) -> Result<(), AuthorityError> {
        for (slot, at) in self.ends() {
            if now >= at {
                return Err(AuthorityError::Ended { slot: slot.clone(), at });
            }
        }
        Ok(())
    }
}

fn jwt_authority(
    config: &AuthorityConfig,
    Active { record, key }: Active,
) -> Result<JwtAuthority, AuthorityError> {
    let ends_at = end_of_token_key(config, record.created_at)?;
    Ok(JwtAuthority::new(record.slot, Arc::new(TokenSigner::new(key)?), ends_at))
}

fn wit_authority(
    config: &AuthorityConfig,
    Active { record, key }: Active,
) -> Result<WitAuthority, AuthorityError> {
    let ends_at = end_of_token_key(config, record.created_at)?;
    Ok(WitAuthority::new(record.slot, Arc::new(TokenSigner::new(key)?), ends_at))
}

/// A key for tokens has no certificate that says when it ends: it lasts as long as a root made at the same time.
fn end_of_token_key(
    config: &AuthorityConfig,
    created_at: Timestamp,
) -> Result<Timestamp, AuthorityError> {
    let lifetime = i64::try_from(config.ca_lifetime.as_secs())
        .map_err(|_range| AuthorityError::Time(created_at))?;
    plus_seconds(created_at, lifetime)
}

#[cfg(test)]
mod tests;
