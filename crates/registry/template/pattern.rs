//! The SPIFFE IDs that a template may give: literal segments, and segments that are filled in from a selector's value.

use std::fmt;
use std::str::FromStr;

use marque_spiffe::{SpiffeId, SpiffeIdError, TrustDomain, TrustDomainError};

use crate::entry::is_reserved_segment;

/// The selectors that may fill in a segment: facts that an attestor finds out by itself, of which a process has one. What
/// whoever starts a process writes down, such as labels, environment variables and names of images, is not among them.
pub const TEMPLATE_SELECTORS: [&str; 10] = [
    "k8s:node-name",
    "k8s:ns",
    "k8s:pod-name",
    "k8s:pod-uid",
    "k8s:sa",
    "systemd:id",
    "unix:gid",
    "unix:group",
    "unix:uid",
    "unix:user",
];

const SCHEME: &str = "spiffe://";
const MAX_VALUE_PATTERN: usize = 255;
const MAX_STARS: usize = 8;

/// One of [`TEMPLATE_SELECTORS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placeholder(&'static str);

/// Why a text is not a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no selector that an attestor finds out by itself; there are {}", TEMPLATE_SELECTORS.join(", "))]
pub struct PlaceholderError;

/// The values of a placeholder: path segments, in which `*` is any number of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePattern(String);

/// Why a text is not a pattern of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pattern of a value is 1 to {MAX_VALUE_PATTERN} of `a-z`, `A-Z`, `0-9`, `.`, `-`, `_` and at most {MAX_STARS} `*`"
)]
pub struct ValuePatternError;

/// A SPIFFE ID with placeholders for whole segments, behind at least one literal segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdTemplate {
    trust_domain: TrustDomain,
    segments: Vec<TemplateSegment>,
}

/// A segment of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateSegment {
    Literal(String),
    Filled(Placeholder),
}

/// Why a text is not a template of SPIFFE IDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdTemplateError {
    /// Longer than a SPIFFE ID may be.
    #[error("is longer than a SPIFFE ID may be")]
    TooLong,
    /// It does not begin as a SPIFFE ID does.
    #[error("does not begin with `spiffe://`")]
    Scheme,
    /// The trust domain is none; it is always literal.
    #[error("the trust domain is refused: {0}")]
    TrustDomain(TrustDomainError),
    /// The first segment is not literal: the template would be a wildcard at the root of the trust domain.
    #[error(
        "the first segment of the path has to be literal: a wildcard at the root could give any identity"
    )]
    WildcardAtRoot,
    /// The first segment is the trust domain's own.
    #[error("no workload is below `/marque` and `/spire`")]
    Reserved,
    /// A literal segment is none.
    #[error("segment {number}: {source}")]
    Segment {
        /// Counted from 1.
        number: usize,
        /// Why.
        source: SpiffeIdError,
    },
    /// A placeholder is none, or is a part of a segment.
    #[error("segment {number}: `{{…}}` stands for a whole segment and names a selector: {source}")]
    Placeholder {
        /// Counted from 1.
        number: usize,
        /// Why.
        source: PlaceholderError,
    },
    /// A placeholder stands in it twice.
    #[error("`{{{0}}}` stands in it twice")]
    Repeated(Placeholder),
    /// Nothing is filled in.
    #[error("has no placeholder such as `{{k8s:sa}}`: write it as an [[entry]]")]
    Nothing,
}

impl Placeholder {
    /// Kind and name of the selector, such as `k8s:ns`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Placeholder {
    type Err = PlaceholderError;

    fn from_str(text: &str) -> Result<Self, PlaceholderError> {
        let found = TEMPLATE_SELECTORS.into_iter().find(|known| *known == text);
        found.map(Self).ok_or(PlaceholderError)
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl ValuePattern {
    /// Whether a value is one of them.
    pub fn matches(&self, value: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(rest) = pieces.next().and_then(|first| value.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        pieces.all(|piece| match rest.split_once(piece) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }

    /// Whether some value could be one of both; in doubt it could.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        if !self.0.contains('*') {
            return other.matches(&self.0);
        }
        if !other.0.contains('*') {
            return self.matches(&other.0);
        }
        let either = |one: &str, other: &str, begins: fn(&str, &str) -> bool| {
            begins(one, other) || begins(other, one)
        };
        let ends = |text: &Self| {
            let mut pieces = text.0.split('*').map(str::to_owned);
            let first = pieces.next().unwrap_or_default();
            (first, pieces.next_back().unwrap_or_default())
        };
        let ((begin, end), (other_begin, other_end)) = (ends(self), ends(other));
        either(&begin, &other_begin, |text, with| text.starts_with(with))
            && either(&end, &other_end, |text, with| text.ends_with(with))
    }
}

impl FromStr for ValuePattern {
    type Err = ValuePatternError;

    fn from_str(text: &str) -> Result<Self, ValuePatternError> {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*');
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        if (1..=MAX_VALUE_PATTERN).contains(&text.len())
            && text.bytes().all(allowed)
            && stars <= MAX_STARS
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValuePatternError)
        }
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IdTemplate {
    /// The trust domain of all that it may give.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.segments.iter().filter_map(|segment| match segment {
            TemplateSegment::Literal(_) => None,
            TemplateSegment::Filled(placeholder) => Some(*placeholder),
        })
    }

    pub(crate) fn segments(&self) -> &[TemplateSegment] {
        &self.segments
    }

    /// The literal segments in front: at least one.
    pub(crate) fn literal_prefix(&self) -> Result<SpiffeId, SpiffeIdError> {
        let literal = |segment: &TemplateSegment| match segment {
            TemplateSegment::Literal(text) => Some(text.clone()),
            TemplateSegment::Filled(_) => None,
        };
        let prefix: Vec<String> = self.segments.iter().map_while(literal).collect();
        SpiffeId::from_segments(&self.trust_domain, &prefix)
    }

    /// The first segment, under which the template is found.
    pub(crate) fn first_segment(&self) -> &str {
        match self.segments.first() {
            Some(TemplateSegment::Literal(text)) => text,
            Some(TemplateSegment::Filled(_)) | None => "",
        }
    }

    /// Whether it may give this SPIFFE ID; `pattern` is what a placeholder's values have to look like.
    pub(crate) fn may_give<'a>(
        &self,
        id: &SpiffeId,
        pattern: impl Fn(Placeholder) -> Option<&'a ValuePattern>,
    ) -> bool {
        *id.trust_domain() == self.trust_domain
            && id.segments().count() == self.segments.len()
            && self.segments.iter().zip(id.segments()).all(|(ours, theirs)| match ours {
                TemplateSegment::Literal(text) => text == theirs,
                TemplateSegment::Filled(placeholder) => {
                    pattern(*placeholder).is_none_or(|pattern| pattern.matches(theirs))
                }
            })
    }

    /// Whether both may give the same SPIFFE ID; in doubt they may.
    pub(crate) fn meets<'a>(
        &self,
        other: &Self,
        own: impl Fn(Placeholder) -> Option<&'a ValuePattern>,
        others: impl Fn(Placeholder) -> Option<&'a ValuePattern>,
    ) -> bool {
        use TemplateSegment::{Filled, Literal};

        self.trust_domain == other.trust_domain
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Literal(one), Literal(two)) => one == two,
                (Literal(text), Filled(place)) => {
                    others(*place).is_none_or(|pattern| pattern.matches(text))
                }
                (Filled(place), Literal(text)) => {
                    own(*place).is_none_or(|pattern| pattern.matches(text))
                }
                (Filled(one), Filled(two)) => match (own(*one), others(*two)) {
                    (Some(one), Some(two)) => one.meets(two),
                    _ => true,
                },
            })
    }
}

impl FromStr for IdTemplate {
    type Err = IdTemplateError;

    fn from_str(text: &str) -> Result<Self, IdTemplateError> {
        if text.len() > SpiffeId::MAX_BYTES {
            return Err(IdTemplateError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdTemplateError::Scheme)?;
        let mut pieces = rest.split('/');
        let trust_domain = TrustDomain::new(pieces.next().unwrap_or_default())
            .map_err(IdTemplateError::TrustDomain)?;
        let segments: Vec<TemplateSegment> = pieces
            .enumerate()
            .map(|(at, piece)| segment(&trust_domain, at + 1, piece))
            .collect::<Result<_, _>>()?;
        match segments.first() {
            Some(TemplateSegment::Literal(first)) if is_reserved_segment(first) => {
                return Err(IdTemplateError::Reserved);
            }
            Some(TemplateSegment::Literal(_)) => {}
            Some(TemplateSegment::Filled(_)) => return Err(IdTemplateError::WildcardAtRoot),
            None => return Err(IdTemplateError::Nothing),
        }
        let template = Self { trust_domain, segments };
        let all: Vec<Placeholder> = template.placeholders().collect();
        let repeated = |(at, one): (usize, &Placeholder)| all.iter().skip(at + 1).any(|b| b == one);
        match all.iter().enumerate().find(|(at, one)| repeated((*at, one))) {
            Some((_, twice)) => Err(IdTemplateError::Repeated(*twice)),
            None if all.is_empty() => Err(IdTemplateError::Nothing),
            None => Ok(template),
        }
    }
}

fn segment(
    trust_domain: &TrustDomain,
    number: usize,
    piece: &str,
) -> Result<TemplateSegment, IdTemplateError> {
    if piece.contains(['{', '}']) {
        let name = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}'));
        let placeholder = name.ok_or(PlaceholderError).and_then(str::parse);
        return placeholder
            .map(TemplateSegment::Filled)
            .map_err(|source| IdTemplateError::Placeholder { number, source });
    }
    SpiffeId::from_segments(trust_domain, &[piece])
        .map_err(|source| IdTemplateError::Segment { number, source })?;
    Ok(TemplateSegment::Literal(piece.to_owned()))
}

impl fmt::Display for IdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.trust_domain)?;
        self.segments.iter().try_for_each(|segment| match segment {
            TemplateSegment::Literal(text) => write!(f, "/{text}"),
            TemplateSegment::Filled(placeholder) => write!(f, "/{{{placeholder}}}"),
        })
    }
}
