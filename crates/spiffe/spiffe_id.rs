//! SPIFFE IDs (SPIFFE-ID section 2): one strict parser that refuses and never repairs.

use std::{cmp::Ordering, hash, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{TrustDomain, TrustDomainError};

const SCHEME: &str = "spiffe://";

/// A SPIFFE ID such as `spiffe://prod.example.org/agent/deployer`, at most 2048 bytes. Equal IDs are equal bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

/// Why a SPIFFE ID was refused; one variant for each rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// It does not begin with `spiffe://` (ID-1).
    #[error("SPIFFE ID does not begin with `spiffe://`")]
    Scheme,
    /// The scheme is there with upper-case letters: refused, never folded (ID-9).
    #[error("SPIFFE ID has its scheme in upper case")]
    SchemeCase,
    /// The trust domain is refused (ID-2, ID-5, ID-8, ID-9).
    #[error("trust domain of the SPIFFE ID is refused")]
    TrustDomain(#[source] TrustDomainError),
    /// It has a query (ID-3).
    #[error("SPIFFE ID has a query")]
    Query,
    /// It has a fragment (ID-3).
    #[error("SPIFFE ID has a fragment")]
    Fragment,
    /// It has user information (ID-4).
    #[error("SPIFFE ID has user information")]
    UserInfo,
    /// It has a port (ID-4).
    #[error("SPIFFE ID has a port")]
    Port,
    /// It is percent-encoded somewhere (ID-5, ID-7).
    #[error("SPIFFE ID is percent-encoded")]
    PercentEncoding,
    /// The path ends with `/` (ID-7).
    #[error("SPIFFE ID path ends with `/`")]
    TrailingSlash,
    /// The path has an empty segment (ID-7).
    #[error("SPIFFE ID path has an empty segment")]
    EmptySegment,
    /// The path has a segment `.` or `..` (ID-7).
    #[error("SPIFFE ID path has a segment `.` or `..`")]
    DotSegment,
    /// The path has a character outside `a-z`, `A-Z`, `0-9`, `.`, `-` and `_` (ID-7).
    #[error(
        "SPIFFE ID path has the character {0:?}, which is outside `a-z`, `A-Z`, `0-9`, `.`, `-` and `_`"
    )]
    PathCharacter(char),
    /// More than [`SpiffeId::MAX_BYTES`] (ID-8).
    #[error("SPIFFE ID is longer than {} bytes", SpiffeId::MAX_BYTES)]
    TooLong,
}

impl SpiffeId {
    /// The longest SPIFFE ID, in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// The ID of these path segments in a trust domain; no segment gives the trust domain's own ID.
    ///
    /// # Errors
    /// A segment is empty, `.`, `..` or has a character that a path may not have, a slash among them; or it is too long.
    pub fn from_segments<S: AsRef<str>>(
        trust_domain: &TrustDomain,
        segments: &[S],
    ) -> Result<Self, SpiffeIdError> {
        let mut text = format!("{SCHEME}{trust_domain}");
        for segment in segments {
            check_segment(segment.as_ref())?;
            text.push('/');
            text.push_str(segment.as_ref());
        }
        if text.len() > Self::MAX_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        Ok(Self { text: text.into(), trust_domain: trust_domain.clone() })
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path: empty, or beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(SCHEME.len() + self.trust_domain.as_str().len()..).unwrap_or_default()
    }

    /// Whether the ID names a workload and not the trust domain itself.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.path().is_empty()
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn of_trust_domain(trust_domain: &TrustDomain) -> Self {
        Self { text: format!("{SCHEME}{trust_domain}").into(), trust_domain: trust_domain.clone() }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => SpiffeIdError::SchemeCase,
            _ => SpiffeIdError::Scheme,
        })?;
        for (character, error) in [
            ('#', SpiffeIdError::Fragment),
            ('?', SpiffeIdError::Query),
            ('%', SpiffeIdError::PercentEncoding),
        ] {
            if rest.contains(character) {
                return Err(error);
            }
        }
        let (authority, path) =
            rest.split_once('/').map_or((rest, None), |(name, path)| (name, Some(path)));
        let trust_domain = check_authority(authority)?;
        if let Some(path) = path {
            check_path(path)?;
        }
        Ok(Self { text: text.into(), trust_domain })
    }
}

crate::checked_string!(SpiffeId, SpiffeIdError);

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl hash::Hash for SpiffeId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

fn check_authority(authority: &str) -> Result<TrustDomain, SpiffeIdError> {
    if authority.contains('@') {
        return Err(SpiffeIdError::UserInfo);
    }
    // A colon inside brackets belongs to an address, which is no trust domain either.
    if authority.contains(':') && !authority.starts_with('[') {
        return Err(SpiffeIdError::Port);
    }
    TrustDomain::new(authority).map_err(SpiffeIdError::TrustDomain)
}

/// `path` comes without its first slash.
fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    if path.is_empty() || path.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    path.split('/').try_for_each(check_segment)
}

pub(crate) fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    match segment {
        "" => return Err(SpiffeIdError::EmptySegment),
        "." | ".." => return Err(SpiffeIdError::DotSegment),
        _ => {}
    }
    match segment
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_'))
    {
        Some('%') => Err(SpiffeIdError::PercentEncoding),
        Some(wrong) => Err(SpiffeIdError::PathCharacter(wrong)),
        None => Ok(()),
    }
}

mod subject;
#[cfg(test)]
mod tests;
