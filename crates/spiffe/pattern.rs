//! Patterns over SPIFFE IDs, for documents that say who may.

use std::{str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{SpiffeId, SpiffeIdError, TrustDomain, spiffe_id::check_segment};

/// A SPIFFE ID whose path segments may be `*`: exactly one whole segment, whatever it is.
///
/// The trust domain is literal, `*` never stands for a part of a segment nor for several, and a pattern has a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeIdPattern {
    text: Arc<str>,
    trust_domain: TrustDomain,
    segments: Arc<[Box<str>]>,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdPatternError {
    /// What remains with every `*` replaced by a name is no SPIFFE ID.
    #[error("pattern is not the pattern of a SPIFFE ID")]
    SpiffeId(#[source] SpiffeIdError),
    /// A `*` beside other characters in a segment.
    #[error("`*` in a pattern stands for one whole segment")]
    PartOfSegment,
    /// There is no path.
    #[error("pattern has no path")]
    NoPath,
}

impl SpiffeIdPattern {
    /// Whether `id` is in the same trust domain with the same number of segments, and equal wherever there is no `*`.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        self.trust_domain == *id.trust_domain()
            && self.segments.len() == id.segments().count()
            && self
                .segments
                .iter()
                .zip(id.segments())
                .all(|(ours, theirs)| &**ours == "*" || &**ours == theirs)
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SpiffeIdPattern {
    type Err = SpiffeIdPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > SpiffeId::MAX_BYTES {
            return Err(SpiffeIdPatternError::SpiffeId(SpiffeIdError::TooLong));
        }
        let mut pieces = text.splitn(4, '/');
        let head: Vec<_> = pieces.by_ref().take(3).collect();
        let trust_domain = head
            .join("/")
            .parse::<SpiffeId>()
            .map_err(SpiffeIdPatternError::SpiffeId)?
            .trust_domain()
            .clone();
        let path = pieces.next().ok_or(SpiffeIdPatternError::NoPath)?;
        if path.ends_with('/') || path.is_empty() {
            return Err(SpiffeIdPatternError::SpiffeId(SpiffeIdError::TrailingSlash));
        }
        let mut segments = Vec::new();
        for segment in path.split('/') {
            if segment != "*" {
                if segment.contains('*') {
                    return Err(SpiffeIdPatternError::PartOfSegment);
                }
                check_segment(segment).map_err(SpiffeIdPatternError::SpiffeId)?;
            }
            segments.push(segment.into());
        }
        Ok(Self { text: text.into(), trust_domain, segments: segments.into() })
    }
}

crate::checked_string!(SpiffeIdPattern, SpiffeIdPatternError);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SpiffeIdPattern, SpiffeIdPatternError};
    use crate::{SpiffeId, SpiffeIdError};

    fn matches(pattern: &str, id: &str) -> bool {
        pattern.parse::<SpiffeIdPattern>().unwrap().matches(&id.parse::<SpiffeId>().unwrap())
    }

    #[test]
    fn a_star_is_exactly_one_whole_segment() {
        let pattern = "spiffe://td/agent/*/run";
        assert!(matches(pattern, "spiffe://td/agent/x/run"));
        for id in [
            "spiffe://td/agent/run",
            "spiffe://td/agent/x/y/run",
            "spiffe://td/agent/x/Run",
            "spiffe://td/agent/x/run/more",
            "spiffe://td2/agent/x/run",
            "spiffe://td",
        ] {
            assert!(!matches(pattern, id), "{id}");
        }
        assert!(matches("spiffe://td/*", "spiffe://td/x"));
        assert!(!matches("spiffe://td/*", "spiffe://td/x/y"));
    }

    #[test]
    fn each_rule_has_its_error() {
        use SpiffeIdPatternError::{NoPath, PartOfSegment, SpiffeId};
        for (text, error) in [
            ("spiffe://td", NoPath),
            ("spiffe://td/", SpiffeId(SpiffeIdError::TrailingSlash)),
            ("spiffe://td/a*", PartOfSegment),
            ("spiffe://td/**", PartOfSegment),
            ("spiffe://td/*/", SpiffeId(SpiffeIdError::TrailingSlash)),
            ("spiffe://td//*", SpiffeId(SpiffeIdError::EmptySegment)),
            ("spiffe://td/../*", SpiffeId(SpiffeIdError::DotSegment)),
            ("spiffe://td/a b", SpiffeId(SpiffeIdError::PathCharacter(' '))),
            ("http://td/*", SpiffeId(SpiffeIdError::Scheme)),
            ("*", SpiffeId(SpiffeIdError::Scheme)),
        ] {
            assert_eq!(text.parse::<SpiffeIdPattern>(), Err(error), "{text}");
        }
        assert!(matches!(
            "spiffe://*/a".parse::<SpiffeIdPattern>(),
            Err(SpiffeId(SpiffeIdError::TrustDomain(_)))
        ));
    }

    proptest! {
        #[test]
        fn a_pattern_without_stars_matches_its_own_text_only(
            path in "(/[a-zA-Z0-9_-]{1,4}){1,4}", other in "(/[a-zA-Z0-9_-]{1,4}){1,4}",
        ) {
            let (one, two) = (format!("spiffe://td{path}"), format!("spiffe://td{other}"));
            prop_assert_eq!(one.parse::<SpiffeIdPattern>().unwrap().to_string(), one.as_str());
            prop_assert_eq!(matches(&one, &two), one == two);
        }
    }
}
