//! What a key for X.509 signs: X.509-SVIDs of its trust domain, its own root or the request for another certificate, and CA
//! certificates for servers below where the trust domain has some.

use std::time::Duration;

use jiff::Timestamp;
use marque_jose::PublicKey;
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use x509_parser::{
    certificate::TbsCertificate,
    certification_request::X509CertificationRequestInfo,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::OID_SIG_ECDSA_WITH_SHA256,
    prelude::FromDer as _,
    x509::X509Version,
};

use super::{Breach, SigningGuard};
use crate::{
    AuthorityConfig, X509SvidTemplate,
    certificate::{BACKDATED_SECONDS, Extensions, Validity},
    root::names_environment,
};

/// What one key for X.509 signs at most.
#[derive(Clone, Debug)]
pub(crate) struct CertificateCeiling {
    trust_domain: TrustDomain,
    max_lifetime: Duration,
    kind: Kind,
    guard: SigningGuard,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The certificate of the key itself, with exactly this path length.
    Root { path_length: u8 },
    /// The request that somebody else sign a certificate for the key.
    Request,
    /// Leaves that end with their root at the latest.
    Leaf { root_ends_at: Timestamp },
    /// Authorities of the same trust domain and environment, with this path length at most.
    Downstream { environment: Environment, ends_at: Timestamp, path_length: u8 },
    #[cfg(test)]
    Unbounded,
}

impl CertificateCeiling {
    /// The key signs its own root, and nothing else.
    pub(crate) fn of_root(config: &AuthorityConfig) -> Self {
        Self {
            trust_domain: config.trust_domain.clone(),
            max_lifetime: config.ca_lifetime,
            kind: Kind::Root { path_length: config.path_length },
            guard: config.guard.clone(),
        }
    }

    /// The key signs the request for its own certificate, and nothing else.
    pub(crate) fn of_request(config: &AuthorityConfig) -> Self {
        Self { kind: Kind::Request, ..Self::of_root(config) }
    }

    /// The key signs X.509-SVIDs, and nothing else: never another root.
    pub(crate) fn of_leaves(config: &AuthorityConfig, root_ends_at: Timestamp) -> Self {
        Self {
            trust_domain: config.trust_domain.clone(),
            max_lifetime: config.max_x509_svid_lifetime,
            kind: Kind::Leaf { root_ends_at },
            guard: config.guard.clone(),
        }
    }

    /// The key signs CA certificates with a path length of at most `path_length`, and nothing else. Where no server is below
    /// it signs none: they last no second.
    pub(crate) fn of_downstream(
        config: &AuthorityConfig,
        ends_at: Timestamp,
        path_length: u8,
    ) -> Self {
        Self {
            trust_domain: config.trust_domain.clone(),
            max_lifetime: config.max_downstream_lifetime.unwrap_or_default(),
            kind: Kind::Downstream { environment: config.environment, ends_at, path_length },
            guard: config.guard.clone(),
        }
    }

    /// No ceiling, for the tests of what else holds.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Self {
        let config = crate::testing::config("prod.example.org");
        Self { kind: Kind::Unbounded, ..Self::of_root(&config) }
    }

    pub(crate) fn guard(&self) -> &SigningGuard {
        &self.guard
    }

    /// Whether the key with the point `own_key` signs this `TBSCertificate` (RFC 5280 section 4.1), or this
    /// `CertificationRequestInfo` (RFC 2986 section 4.1) where that is what it is for.
    pub(crate) fn check(&self, message: &[u8], own_key: &[u8]) -> Result<(), Breach> {
        #[cfg(test)]
        if matches!(self.kind, Kind::Unbounded) {
            return Ok(());
        }
        if matches!(self.kind, Kind::Request) {
            return self.check_request(message, own_key);
        }
        let Ok(([], certificate)) = TbsCertificate::from_der(message) else {
            return Err(Breach::Unreadable);
        };
        let is_ours = certificate.version == X509Version::V3
            && certificate.signature.algorithm == OID_SIG_ECDSA_WITH_SHA256;
        if !is_ours {
            return Err(Breach::Unreadable);
        }
        let extensions = Extensions::read(&certificate).ok_or(Breach::Usage)?;
        let public_key = PublicKey::from_spki_der(certificate.public_key().raw)
            .map_err(|_refused| Breach::PublicKey)?;
        let is_own = public_key.point() == Some(own_key);
        let ends_at = match self.kind {
            Kind::Root { path_length } => {
                if extensions.path_length() != Some(path_length.into()) {
                    return Err(Breach::Usage);
                }
                self.check_root(&certificate, &extensions, is_own)?;
                None
            }
            Kind::Downstream { environment, ends_at, path_length } => {
                if extensions.path_length().is_none_or(|length| length > path_length.into()) {
                    return Err(Breach::Usage);
                }
                if !names_environment(&certificate, environment) {
                    return Err(Breach::Name);
                }
                self.check_downstream(&certificate, &extensions, is_own)?;
                Some(ends_at)
            }
            Kind::Leaf { root_ends_at } => {
                self.check_leaf(&extensions, is_own)?;
                Some(root_ends_at)
            }
            Kind::Request => return Err(Breach::Unreadable),
            #[cfg(test)]
            Kind::Unbounded => None,
        };
        self.check_validity(&certificate, ends_at)
    }

    fn check_root(
        &self,
        certificate: &TbsCertificate<'_>,
        extensions: &Extensions<'_>,
        is_own: bool,
    ) -> Result<(), Breach> {
        let host = self.trust_domain.as_str();
        if !extensions.has_root_usages() || !extensions.permits_only(host) {
            return Err(Breach::Usage);
        }
        if !is_own {
            return Err(Breach::PublicKey);
        }
        let is_self_issued = certificate.issuer().as_raw() == certificate.subject().as_raw();
        match extensions.names {
            Some((_, [GeneralName::URI(uri)]))
                if *uri == self.trust_domain.id().as_str() && is_self_issued =>
            {
                Ok(())
            }
            _ => Err(Breach::Name),
        }
    }

    fn check_downstream(
        &self,
        certificate: &TbsCertificate<'_>,
        extensions: &Extensions<'_>,
        is_own: bool,
    ) -> Result<(), Breach> {
        if !extensions.has_root_usages() {
            return Err(Breach::Usage);
        }
        if is_own {
            return Err(Breach::PublicKey);
        }
        // With the name of its issuer it would pass for a root.
        let is_self_issued = certificate.issuer().as_raw() == certificate.subject().as_raw();
        match extensions.names {
            Some((_, [GeneralName::URI(uri)]))
                if *uri == self.trust_domain.id().as_str() && !is_self_issued =>
            {
                Ok(())
            }
            _ => Err(Breach::Name),
        }
    }

    /// A request is for the key itself, and for a certificate that names the trust domain alone.
    fn check_request(&self, message: &[u8], own_key: &[u8]) -> Result<(), Breach> {
        let Ok(([], request)) = X509CertificationRequestInfo::from_der(message) else {
            return Err(Breach::Unreadable);
        };
        let public_key = PublicKey::from_spki_der(request.subject_pki.raw)
            .map_err(|_refused| Breach::PublicKey)?;
        if public_key.point() != Some(own_key) {
            return Err(Breach::PublicKey);
        }
        let asked =
            request.iter_attributes().find_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(asked) => Some(&asked.extensions),
                _ => None,
            });
        let names = asked.into_iter().flatten().filter_map(|extension| {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
                _ => None,
            }
        });
        let names: Vec<_> = names.flatten().collect();
        match names.as_slice() {
            [GeneralName::URI(uri)] if *uri == self.trust_domain.id().as_str() => Ok(()),
            _ => Err(Breach::Name),
        }
    }

    fn check_leaf(&self, extensions: &Extensions<'_>, is_own: bool) -> Result<(), Breach> {
        if !extensions.has_leaf_usages() {
            return Err(Breach::Usage);
        }
        if is_own {
            return Err(Breach::PublicKey);
        }
        // Critical: the subject of an X.509-SVID is empty, or says nothing that counts.
        let Some((true, [GeneralName::URI(uri), others @ ..])) = extensions.names else {
            return Err(Breach::Name);
        };
        let is_inside = uri
            .parse::<SpiffeId>()
            .is_ok_and(|id| *id.trust_domain() == self.trust_domain && id.has_path());
        let only_dns = others.iter().all(|name| matches!(name, GeneralName::DNSName(_)));
        if is_inside && only_dns && others.len() <= X509SvidTemplate::MAX_DNS_NAMES {
            Ok(())
        } else {
            Err(Breach::Name)
        }
    }

    fn check_validity(
        &self,
        certificate: &TbsCertificate<'_>,
        ends_at: Option<Timestamp>,
    ) -> Result<(), Breach> {
        let Validity { not_before, not_after } =
            Validity::read(certificate).ok_or(Breach::Lifetime)?;
        let backdated = Duration::from_secs(BACKDATED_SECONDS.unsigned_abs());
        let longest = self.max_lifetime.saturating_add(backdated);
        let lasts = Duration::try_from(not_after.duration_since(not_before));
        if !lasts.is_ok_and(|lasts| lasts <= longest) {
            return Err(Breach::Lifetime);
        }
        self.guard.check_end(not_after, self.max_lifetime, ends_at)
    }
}
