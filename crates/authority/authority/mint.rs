//! Minting, by whichever keys sign at the moment.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::Authority;
use crate::{
    AuthorityError, JwtSvidTemplate, MintedJwtSvid, MintedWitSvid, MintedX509Svid, P256PublicKey,
    PrivateKeyPkcs8, WitSvidTemplate, X509SvidTemplate, certificate::Validity, snapshot::Snapshot,
    x509::Leaf,
};

impl Authority {
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
        let snapshot = self.snapshot.load();
        let validity = self.x509_validity(&snapshot, template, now)?;
        let (private_key, public_key) = PrivateKeyPkcs8::generate()?;
        let chain = self.sign_x509_svid(
            &snapshot,
            &Leaf { template, public_key: &public_key, validity },
            now,
        )?;
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
        let snapshot = self.snapshot.load();
        let validity = self.x509_validity(&snapshot, template, now)?;
        self.sign_x509_svid(&snapshot, &Leaf { template, public_key, validity }, now)
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
        let snapshot = self.snapshot.load();
        let (ceiling, bundle) = (snapshot.config.max_jwt_svid_lifetime, &snapshot.bundle);
        snapshot.jwt.mint((template, issuer), ceiling, bundle, self.random.as_ref(), now)
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
        let snapshot = self.snapshot.load();
        let wit = snapshot.wit.as_ref().ok_or(AuthorityError::NoWitSvids)?;
        template.check(self.trust_domain()).map_err(AuthorityError::Template)?;
        let ceiling = snapshot.config.max_wit_svid_lifetime;
        wit.mint(template, ceiling, &snapshot.bundle, self.random.as_ref(), now)
    }

    fn x509_validity(
        &self,
        snapshot: &Snapshot,
        template: &X509SvidTemplate,
        now: Timestamp,
    ) -> Result<Validity, AuthorityError> {
        template.check(self.trust_domain()).map_err(AuthorityError::Template)?;
        snapshot.x509.validity(template.lifetime, snapshot.config.max_x509_svid_lifetime, now)
    }

    fn sign_x509_svid(
        &self,
        snapshot: &Snapshot,
        leaf: &Leaf<'_>,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        snapshot.x509.mint(leaf, &snapshot.bundle, self.random.as_ref(), now)
    }
}
