//! One certificate: read strictly, with the checks that need no other certificate.

use jiff::Timestamp;
use marque_jose::PublicKey;
use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::{UnverifiedX509Svid, X509SvidError, read_certificate};
use crate::SpiffeId;

/// A parsed certificate at its position in the chain.
pub(super) struct Certificate<'a> {
    pub(super) x509: X509Certificate<'a>,
    pub(super) position: usize,
    pub(super) public_key: PublicKey,
    uri: Option<SpiffeId>,
}

/// Splits the first of several concatenated certificates off.
pub(super) fn split_first(der: &[u8], position: usize) -> Result<(&[u8], &[u8]), X509SvidError> {
    let (rest, _certificate) =
        X509Certificate::from_der(der).map_err(|_position| X509SvidError::Malformed(position))?;
    der.split_at_checked(der.len() - rest.len()).ok_or(X509SvidError::Malformed(position))
}

impl<'a> Certificate<'a> {
    /// Reads a certificate and refuses whatever cannot be part of any path here.
    pub(super) fn parse(der: &'a [u8], position: usize) -> Result<Self, X509SvidError> {
        if der.len() > UnverifiedX509Svid::MAX_CERTIFICATE_BYTES {
            return Err(X509SvidError::TooLong(position));
        }
        let x509 = read_certificate(der).ok_or(X509SvidError::Malformed(position))?;
        if x509.version() != X509Version::V3
            || x509.signature_algorithm != x509.tbs_certificate.signature
        {
            return Err(X509SvidError::Malformed(position));
        }
        check_extensions(&x509, position)?;
        let public_key = PublicKey::from_spki_der(x509.public_key().raw)
            .map_err(|source| X509SvidError::Key { position, source })?;
        let uri = uri(&x509, position)?;
        Ok(Self { x509, position, public_key, uri })
    }

    /// The SPIFFE ID of a leaf, after the checks of X5-1, X5-2 and X5-4 to X5-6.
    pub(super) fn leaf_id(&self) -> Result<SpiffeId, X509SvidError> {
        if self.is_ca() {
            return Err(X509SvidError::LeafIsCa);
        }
        // They belong into signing certificates alone.
        if self.extension(&OID_X509_EXT_NAME_CONSTRAINTS).is_some() {
            return Err(X509SvidError::UnknownExtension(self.position));
        }
        let id = self.uri.clone().ok_or(X509SvidError::NoUri)?;
        if !id.has_path() {
            return Err(X509SvidError::IdWithoutPath);
        }
        let names_critical =
            self.extension(&OID_X509_EXT_SUBJECT_ALT_NAME).is_some_and(|(critical, _)| critical);
        if self.x509.subject().iter().next().is_none() && !names_critical {
            return Err(X509SvidError::NamesNotCritical);
        }
        let usage = self.key_usage()?;
        if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
            return Err(X509SvidError::LeafKeyUsage);
        }
        self.check_extended_key_usage(false)?;
        Ok(id)
    }

    /// Whether this certificate may sign others in the trust domain of `leaf`, with `below` certificates between it and
    /// the leaf (X5-3).
    pub(super) fn check_signer(&self, leaf: &SpiffeId, below: usize) -> Result<(), X509SvidError> {
        let Some((_, ParsedExtension::BasicConstraints(constraints))) =
            self.extension(&OID_X509_EXT_BASIC_CONSTRAINTS)
        else {
            return Err(X509SvidError::NotASigner(self.position));
        };
        if !constraints.ca || !self.key_usage()?.key_cert_sign() {
            return Err(X509SvidError::NotASigner(self.position));
        }
        // Self-issued certificates count as well, which is stricter than RFC 5280.
        if constraints.path_len_constraint.is_some_and(|most| below as u64 > u64::from(most)) {
            return Err(X509SvidError::PathLength(self.position));
        }
        if self
            .uri
            .as_ref()
            .is_some_and(|id| id.has_path() || id.trust_domain() != leaf.trust_domain())
        {
            return Err(X509SvidError::SignerId(self.position));
        }
        if !self.permits(leaf) {
            return Err(X509SvidError::NameConstraints(self.position));
        }
        self.check_extended_key_usage(true)
    }

    /// Whether the name constraints, if there are any, let this SPIFFE ID stand below. Signing certificates in between have no
    /// other host in theirs.
    fn permits(&self, leaf: &SpiffeId) -> bool {
        let Some((_, ParsedExtension::NameConstraints(constraints))) =
            self.extension(&OID_X509_EXT_NAME_CONSTRAINTS)
        else {
            return true;
        };
        let trust_domain = leaf.trust_domain().as_str();
        let is_in = |subtrees: &Vec<GeneralSubtree<'_>>| {
            subtrees.iter().any(|subtree| is_within(trust_domain, subtree))
        };
        constraints.permitted_subtrees.as_ref().is_none_or(is_in)
            && !constraints.excluded_subtrees.as_ref().is_some_and(is_in)
    }

    pub(super) fn check_validity(
        &self,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), X509SvidError> {
        let position = self.position;
        let instant = |seconds| {
            Timestamp::from_second(seconds).map_err(|_range| X509SvidError::Malformed(position))
        };
        let validity = self.x509.validity();
        let not_before = instant(validity.not_before.timestamp())?;
        // "No well-defined end" is 99991231235959Z (RFC 5280 section 4.1.2.5), a day after the last instant of jiff.
        let not_after = instant(validity.not_after.timestamp().min(Timestamp::MAX.as_second()))?;
        if now < not_before {
            return Err(X509SvidError::NotYetValid { position, not_before });
        }
        // The last second belongs to the validity (RFC 5280 section 4.1.2.5).
        if now.as_second() > not_after.as_second() {
            return Err(X509SvidError::Expired { position, not_after });
        }
        Ok((not_before, not_after))
    }

    fn is_ca(&self) -> bool {
        matches!(
            self.extension(&OID_X509_EXT_BASIC_CONSTRAINTS),
            Some((_, ParsedExtension::BasicConstraints(constraints))) if constraints.ca
        )
    }

    fn key_usage(&self) -> Result<&x509_parser::extensions::KeyUsage, X509SvidError> {
        match self.extension(&OID_X509_EXT_KEY_USAGE) {
            Some((true, ParsedExtension::KeyUsage(usage))) => Ok(usage),
            Some((false, ParsedExtension::KeyUsage(_))) => {
                Err(X509SvidError::KeyUsageNotCritical(self.position))
            }
            _ => Err(X509SvidError::NoKeyUsage(self.position)),
        }
    }

    /// X5-6; a signing certificate may also say "any", which constrains nothing.
    fn check_extended_key_usage(&self, any_allowed: bool) -> Result<(), X509SvidError> {
        match self.extension(&OID_X509_EXT_EXTENDED_KEY_USAGE) {
            None => Ok(()),
            Some((_, ParsedExtension::ExtendedKeyUsage(usage)))
                if (usage.server_auth && usage.client_auth) || (any_allowed && usage.any) =>
            {
                Ok(())
            }
            Some(_) => Err(X509SvidError::ExtendedKeyUsage(self.position)),
        }
    }

    fn extension(
        &self,
        oid: &x509_parser::der_parser::Oid<'_>,
    ) -> Option<(bool, &ParsedExtension<'a>)> {
        self.x509
            .extensions()
            .iter()
            .find(|extension| extension.oid == *oid)
            .map(|extension| (extension.critical, extension.parsed_extension()))
    }
}

fn check_extensions(x509: &X509Certificate<'_>, position: usize) -> Result<(), X509SvidError> {
    let understood = [
        OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_EXTENDED_KEY_USAGE,
        OID_X509_EXT_SUBJECT_ALT_NAME,
    ];
    let mut seen = Vec::new();
    for extension in x509.extensions() {
        if seen.contains(&&extension.oid) {
            return Err(X509SvidError::DuplicateExtension(position));
        }
        seen.push(&extension.oid);
        let is_understood = understood.contains(&extension.oid);
        let parsed = extension.parsed_extension();
        // Other name constraints than those of URIs are not implemented, and passing over them, critical or not, would widen
        // what the issuer allowed.
        let is_refused = match parsed {
            ParsedExtension::NameConstraints(constraints) => !are_of_uris(constraints),
            _ if extension.oid == OID_X509_EXT_NAME_CONSTRAINTS => true,
            _ => extension.critical && !is_understood,
        };
        if is_refused {
            return Err(X509SvidError::UnknownExtension(position));
        }
        if is_understood
            && matches!(parsed, ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed)
        {
            return Err(X509SvidError::Malformed(position));
        }
    }
    Ok(())
}

/// Whether they constrain URIs alone (RFC 5280 section 4.2.1.10), and say so in a form that can be read one way only.
fn are_of_uris(constraints: &NameConstraints<'_>) -> bool {
    let is_host = |subtree: &GeneralSubtree<'_>| match subtree.base {
        GeneralName::URI(host) => host.is_ascii() && !host.trim_matches('.').is_empty(),
        _ => false,
    };
    let NameConstraints { permitted_subtrees, excluded_subtrees } = constraints;
    let mut all = permitted_subtrees.iter().chain(excluded_subtrees).flatten().peekable();
    all.peek().is_some() && all.all(is_host)
}

/// Whether the host of a SPIFFE ID, its trust domain, is inside of a subtree: with a period in front any host below it,
/// otherwise that host.
fn is_within(trust_domain: &str, subtree: &GeneralSubtree<'_>) -> bool {
    let GeneralName::URI(host) = subtree.base else { return false };
    let host = host.to_ascii_lowercase();
    if host.starts_with('.') {
        trust_domain.ends_with(&host) && trust_domain.len() > host.len()
    } else {
        trust_domain == host
    }
}

/// The one URI among the alternative names (X5-1), which has to be a SPIFFE ID wherever it stands.
fn uri(x509: &X509Certificate<'_>, position: usize) -> Result<Option<SpiffeId>, X509SvidError> {
    let names = x509.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let mut uris = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let Some(first) = uris.next() else { return Ok(None) };
    if uris.next().is_some() {
        return Err(X509SvidError::SecondUri(position));
    }
    first.parse().map(Some).map_err(|source| X509SvidError::Id { position, source })
}
