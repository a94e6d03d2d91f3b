//! What authorities and X.509-SVIDs have in common: their times, serial numbers, and how a certificate is read again.

use jiff::Timestamp;
use marque_spiffe::Random;
pub(crate) use marque_spiffe::read_certificate as read;
use rcgen::{CertificateParams, SerialNumber};
use x509_parser::{
    certificate::TbsCertificate,
    extensions::{GeneralName, GeneralSubtree, NameConstraints, ParsedExtension},
};

use crate::AuthorityError;

/// How long before its making a certificate begins, in seconds: the clocks of those who check it differ.
pub(crate) const BACKDATED_SECONDS: i64 = 10;

/// From when to when a certificate or token is valid, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// Writes the times into the form of rcgen, whose type of time this crate cannot name.
    pub(crate) fn apply(self, params: &mut CertificateParams) -> Result<(), AuthorityError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let seconds = |at: Timestamp| {
            u64::try_from(at.as_second())
                .map(std::time::Duration::from_secs)
                .map_err(|_sign| AuthorityError::Time(at))
        };
        params.not_before = epoch + seconds(self.not_before)?;
        params.not_after = epoch + seconds(self.not_after)?;
        Ok(())
    }

    /// The time that both have in common.
    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// Reads the times of a certificate.
    pub(crate) fn read(certificate: &TbsCertificate<'_>) -> Option<Self> {
        let instant = |seconds| Timestamp::from_second(seconds).ok();
        let validity = certificate.validity();
        let not_before = instant(validity.not_before.timestamp())?;
        let not_after = instant(validity.not_after.timestamp())?;
        Some(Self { not_before, not_after })
    }
}

/// The second that `at` is in; certificates and tokens say no more.
pub(crate) fn whole_second(at: Timestamp) -> Result<Timestamp, AuthorityError> {
    marque_jose::NumericDate::floor(at)
        .map(|date| date.timestamp())
        .map_err(|_range| AuthorityError::Time(at))
}

/// `at` and some whole seconds, which may be negative.
pub(crate) fn plus_seconds(at: Timestamp, seconds: i64) -> Result<Timestamp, AuthorityError> {
    at.as_second()
        .checked_add(seconds)
        .and_then(|second| Timestamp::from_second(second).ok())
        .ok_or(AuthorityError::Time(at))
}

/// A positive serial number of 16 bytes with 126 random bits (RFC 5280 section 4.1.2.2).
pub(crate) fn serial_number(random: &dyn Random) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(AuthorityError::Random)?;
    // The first byte is neither negative nor zero, so that every serial number has the same length.
    let [first, ..] = &mut bytes;
    *first = (*first & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The extensions of a certificate, as a set: each of these kinds once, and no other.
#[derive(Default)]
pub(crate) struct Extensions<'a> {
    pub(crate) basic_constraints: Option<(bool, &'a x509_parser::extensions::BasicConstraints)>,
    pub(crate) key_usage: Option<(bool, &'a x509_parser::extensions::KeyUsage)>,
    pub(crate) extended_key_usage: Option<&'a x509_parser::extensions::ExtendedKeyUsage<'a>>,
    pub(crate) names: Option<(bool, &'a [GeneralName<'a>])>,
    pub(crate) subject_key_id: Option<&'a [u8]>,
    pub(crate) authority_key_id: Option<&'a [u8]>,
    pub(crate) name_constraints: Option<(bool, &'a NameConstraints<'a>)>,
}

impl<'a> Extensions<'a> {
    /// `None` when an extension is of another kind, stands twice or does not parse.
    pub(crate) fn read(certificate: &'a TbsCertificate<'_>) -> Option<Self> {
        let mut found = Self::default();
        for extension in certificate.extensions() {
            let critical = extension.critical;
            let is_new = match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(value) => {
                    found.basic_constraints.replace((critical, value)).is_none()
                }
                ParsedExtension::KeyUsage(value) => {
                    found.key_usage.replace((critical, value)).is_none()
                }
                ParsedExtension::ExtendedKeyUsage(value) => {
                    found.extended_key_usage.replace(value).is_none()
                }
                ParsedExtension::SubjectAlternativeName(value) => {
                    found.names.replace((critical, value.general_names.as_slice())).is_none()
                }
                ParsedExtension::SubjectKeyIdentifier(value) => {
                    found.subject_key_id.replace(value.0).is_none()
                }
                ParsedExtension::AuthorityKeyIdentifier(value) => {
                    found.authority_key_id.replace(value.key_identifier.as_ref()?.0).is_none()
                }
                ParsedExtension::NameConstraints(value) => {
                    found.name_constraints.replace((critical, value)).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(found)
    }

    /// Whether names are constrained to the URIs of this host alone, if they are at all.
    pub(crate) fn permits_only(&self, host: &str) -> bool {
        let Some((critical, constraints)) = self.name_constraints else { return true };
        let NameConstraints { permitted_subtrees, excluded_subtrees } = constraints;
        let permitted = permitted_subtrees.as_deref().unwrap_or_default();
        let is_host =
            matches!(permitted, [GeneralSubtree { base: GeneralName::URI(uri) }] if *uri == host);
        critical && is_host && excluded_subtrees.is_none()
    }

    /// How many CA certificates may stand below it (RFC 5280 section 4.2.1.9); `None` where it does not say.
    pub(crate) fn path_length(&self) -> Option<u32> {
        self.basic_constraints.and_then(|(_, constraints)| constraints.path_len_constraint)
    }

    /// Whether they are those of an authority: a critical CA that signs certificates and revocation lists, and nothing else.
    pub(crate) fn has_root_usages(&self) -> bool {
        let is_ca = self
            .basic_constraints
            .is_some_and(|(critical, constraints)| critical && constraints.ca);
        let signs_certificates = self.key_usage.is_some_and(|(critical, key_usage)| {
            critical && key_usage.flags == usage::KEY_CERT_SIGN | usage::CRL_SIGN
        });
        is_ca && signs_certificates && self.extended_key_usage.is_none()
    }

    /// Whether they are those of an X.509-SVID: a leaf that signs handshakes at either end, and nothing else.
    pub(crate) fn has_leaf_usages(&self) -> bool {
        let is_end_entity = self
            .basic_constraints
            .is_some_and(|(critical, constraints)| critical && !constraints.ca);
        let signs_only = self.key_usage.is_some_and(|(critical, key_usage)| {
            critical && key_usage.flags == usage::DIGITAL_SIGNATURE
        });
        let both_ends = self.extended_key_usage.is_some_and(|purposes| {
            let rest = purposes.any
                || purposes.code_signing
                || purposes.email_protection
                || purposes.time_stamping
                || purposes.ocsp_signing
                || !purposes.other.is_empty();
            purposes.server_auth && purposes.client_auth && !rest
        });
        is_end_entity && signs_only && both_ends && self.name_constraints.is_none()
    }
}

/// Key usages as x509-parser keeps them: bit 0 is the first named bit of RFC 5280 section 4.2.1.3.
pub(crate) mod usage {
    pub(crate) const DIGITAL_SIGNATURE: u16 = 1;
    pub(crate) const KEY_CERT_SIGN: u16 = 1 << 5;
    pub(crate) const CRL_SIGN: u16 = 1 << 6;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use marque_testkit::SeededRandom;

    use super::*;

    #[test]
    fn a_serial_number_is_positive_and_of_one_length() {
        let random = SeededRandom::new(1);
        let serials: BTreeSet<_> =
            (0..256).map(|_| serial_number(&random).unwrap().to_bytes()).collect();
        assert_eq!(serials.len(), 256);
        assert!(
            serials.iter().all(|serial| serial.len() == 16 && (0x40..0x80).contains(&serial[0])),
            "{serials:?}"
        );
        assert!(
            serials.iter().map(|serial| serial[0]).collect::<BTreeSet<_>>().len() > 32,
            "the first byte is random too"
        );
    }

    #[test]
    fn time_begins_in_1970_and_is_cut_to_the_second() {
        let second: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            whole_second("2030-01-01T00:00:00.999999999Z".parse().unwrap()).unwrap(),
            second
        );
        let before = "1969-12-31T23:59:58.5Z".parse().unwrap();
        assert!(matches!(whole_second(before), Err(AuthorityError::Time(at)) if at == before));
        assert!(matches!(plus_seconds(Timestamp::MAX, 1), Err(AuthorityError::Time(_))));
        assert!(matches!(plus_seconds(second, i64::MAX), Err(AuthorityError::Time(_))));
    }

    #[test]
    fn a_certificate_is_read_alone() {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        assert!(read(&der).is_some());
        assert!(read(&[der.clone(), vec![0]].concat()).is_none());
        assert!(read(&[der.clone(), der.clone()].concat()).is_none());
        assert!(read(der.split_last().unwrap().1).is_none());
    }
}
