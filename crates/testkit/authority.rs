//! Trust domains that live as long as one test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use marque_jose::{CompactToken, HolderKey, Signer as _, sign_compact};
use marque_spiffe::{Bundle, BundleSource, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::{START, ScratchSigner};

/// The authorities of one trust domain: an X.509 root and keys for JWT-SVIDs and WIT-SVIDs.
#[derive(Debug)]
pub struct ScratchTrustDomain {
    trust_domain: TrustDomain,
    now: Timestamp,
    root: ScratchCa,
    signer: Arc<ScratchSigner>,
    wit_signer: Arc<ScratchSigner>,
}

/// A certificate authority, root or intermediate.
#[derive(Debug)]
pub struct ScratchCa {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// An X.509-SVID with its private key.
#[derive(Debug, Clone)]
pub struct ScratchX509Svid {
    /// Leaf first, root excluded.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8 in DER.
    pub private_key: Vec<u8>,
}

/// A [`BundleSource`] over fixed bundles.
#[derive(Debug, Default)]
pub struct ScratchBundles(Mutex<BTreeMap<TrustDomain, Arc<Bundle>>>);

impl ScratchTrustDomain {
    /// New authorities whose present is [`START`].
    ///
    /// # Panics
    /// `name` is no trust domain.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::at(name, START)
    }

    /// New authorities whose present is `now`.
    ///
    /// # Panics
    /// `name` is no trust domain.
    #[must_use]
    pub fn at(name: &str, now: Timestamp) -> Self {
        let trust_domain: TrustDomain = name.parse().expect("a trust domain");
        Self {
            root: ScratchCa::root(Self::ca_params_of(&trust_domain, now)),
            signer: Arc::new(ScratchSigner::generate("scratch-jwt-1")),
            wit_signer: Arc::new(ScratchSigner::generate("scratch-wit-1")),
            trust_domain,
            now,
        }
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The ID of a path such as `/agent/x`.
    ///
    /// # Panics
    /// The path breaks a rule.
    #[must_use]
    pub fn id(&self, path: &str) -> SpiffeId {
        format!("spiffe://{}{path}", self.trust_domain).parse().expect("a SPIFFE ID")
    }

    /// The bundle of all authorities.
    ///
    /// # Panics
    /// Never for what is made here.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        let bundle = Bundle::builder(self.trust_domain.clone())
            .x509_authority(self.root.certificate().clone())
            .and_then(|bundle| {
                bundle.jwt_authority(self.signer.key_id().clone(), self.signer.public_key().clone())
            })
            .and_then(|bundle| {
                let signer = &self.wit_signer;
                bundle.wit_authority(signer.key_id().clone(), signer.public_key().clone())
            })
            .expect("a certificate and two keys");
        Arc::new(bundle.sequence(1).build())
    }

    /// The key for JWT-SVIDs.
    #[must_use]
    pub const fn signer(&self) -> &Arc<ScratchSigner> {
        &self.signer
    }

    /// The key for WIT-SVIDs.
    #[must_use]
    pub const fn wit_signer(&self) -> &Arc<ScratchSigner> {
        &self.wit_signer
    }

    /// The X.509 authority.
    #[must_use]
    pub const fn root(&self) -> &ScratchCa {
        &self.root
    }

    /// A JWT-SVID. With several audiences `aud` is an array, with one a string.
    ///
    /// # Panics
    /// Never for what is made here.
    #[must_use]
    pub fn jwt_svid(
        &self,
        id: &SpiffeId,
        audience: &[&str],
        expires_at: Timestamp,
    ) -> CompactToken {
        let audience = match audience {
            [sole] => json!(sole),
            several => json!(several),
        };
        let (iat, exp) = (self.now.as_second(), expires_at.as_second());
        let claims = json!({ "sub": id.as_str(), "aud": audience, "iat": iat, "exp": exp });
        sign_compact(Some("JWT"), &claims, &*self.signer).expect("a signature")
    }

    /// A WIT-SVID for the holder of this key.
    ///
    /// # Panics
    /// Never for what is made here.
    #[must_use]
    pub fn wit_svid(
        &self,
        id: &SpiffeId,
        holder: &HolderKey,
        expires_at: Timestamp,
    ) -> CompactToken {
        let cnf = json!({ "jwk": holder.to_confirmation_jwk().to_value() });
        let exp = expires_at.as_second();
        let claims = json!({ "sub": id.as_str(), "cnf": cnf, "exp": exp });
        sign_compact(Some("wit+jwt"), &claims, &*self.wit_signer).expect("a signature")
    }

    /// An X.509-SVID that is valid for an hour, issued by the root.
    #[must_use]
    pub fn x509_svid(&self, id: &SpiffeId) -> ScratchX509Svid {
        self.root.issue(&self.leaf_params(id))
    }

    /// The parameters of a correct leaf, for tests that spoil one of them.
    ///
    /// # Panics
    /// Never for a SPIFFE ID.
    #[must_use]
    pub fn leaf_params(&self, id: &SpiffeId) -> CertificateParams {
        let mut params = params(self.now, Duration::from_secs(3600));
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    /// The parameters of a correct CA certificate, for intermediates and for tests that spoil one of them.
    #[must_use]
    pub fn ca_params(&self) -> CertificateParams {
        Self::ca_params_of(&self.trust_domain, self.now)
    }

    fn ca_params_of(trust_domain: &TrustDomain, now: Timestamp) -> CertificateParams {
        let mut params = params(now, Duration::from_secs(24 * 3600));
        params.distinguished_name.push(DnType::CommonName, trust_domain.as_str());
        params.subject_alt_names =
            vec![SanType::URI(trust_domain.id().as_str().try_into().expect("ASCII"))];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }
}

impl ScratchCa {
    /// A self-signed authority.
    ///
    /// # Panics
    /// The parameters do not make a certificate.
    #[must_use]
    pub fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    ///
    /// # Panics
    /// The parameters do not make a certificate.
    #[must_use]
    pub fn intermediate(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate issued by this authority with a new key; the chain holds nothing else.
    ///
    /// # Panics
    /// The parameters do not make a certificate.
    #[must_use]
    pub fn issue(&self, params: &CertificateParams) -> ScratchX509Svid {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        ScratchX509Svid { chain: vec![leaf.der().clone()], private_key: key.serialize_der() }
    }

    /// Another self-signed certificate of the same key.
    ///
    /// # Panics
    /// The parameters do not make a certificate.
    #[must_use]
    pub fn reissued(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.self_signed(self.issuer.key()).expect("a certificate").der().clone()
    }

    /// The certificate for a request (PKCS #10) in PEM, with all that the request asks for, in the times of `times`.
    ///
    /// # Panics
    /// It is no request, or asks for what cannot be signed.
    #[must_use]
    pub fn sign_request(&self, pem: &str, times: &CertificateParams) -> CertificateDer<'static> {
        let request = CertificateSigningRequestParams::from_pem(pem).expect("a request");
        self.sign_parsed_request(request, times)
    }

    /// The certificate for a request that was read, and perhaps changed.
    ///
    /// # Panics
    /// It asks for what cannot be signed.
    #[must_use]
    pub fn sign_parsed_request(
        &self,
        mut request: CertificateSigningRequestParams,
        times: &CertificateParams,
    ) -> CertificateDer<'static> {
        (request.params.not_before, request.params.not_after) = (times.not_before, times.not_after);
        request.params.use_authority_key_identifier_extension = true;
        request.signed_by(&self.issuer).expect("a certificate").der().clone()
    }

    /// A revocation list in DER, signed by this authority, that names the certificates with these serial numbers.
    ///
    /// # Panics
    /// The times are before 1970.
    #[must_use]
    pub fn revocation_list(
        &self,
        serials: &[&[u8]],
        this_update: Timestamp,
        next_update: Timestamp,
    ) -> Vec<u8> {
        let at = |moment: Timestamp| {
            let seconds = u64::try_from(moment.as_second()).expect("a time after 1970");
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(this_update),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: at(this_update),
            next_update: at(next_update),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a revocation list").der().to_vec()
    }

    /// The certificate of the authority.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

impl ScratchBundles {
    /// The bundles of these trust domains.
    #[must_use]
    pub fn of(trust_domains: &[&ScratchTrustDomain]) -> Self {
        let bundles =
            trust_domains.iter().map(|domain| (domain.trust_domain.clone(), domain.bundle()));
        Self(Mutex::new(bundles.collect()))
    }

    /// Takes the bundle of this trust domain in place of the one that was there.
    pub fn replace(&self, domain: &ScratchTrustDomain) {
        self.kept().insert(domain.trust_domain.clone(), domain.bundle());
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Arc<Bundle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BundleSource for ScratchBundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.kept().get(trust_domain).cloned()
    }
}

/// Valid from ten seconds before `now`, with a subject that is not empty.
fn params(now: Timestamp, lifetime: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = u64::try_from(now.as_second()).expect("a time after 1970");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Marque tests");
    params.not_before = epoch + Duration::from_secs(seconds - 10);
    params.not_after = epoch + Duration::from_secs(seconds) + lifetime;
    params
}
