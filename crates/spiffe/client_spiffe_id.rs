//! The `spiffe_id` of OAuth client metadata (draft-ietf-oauth-spiffe-client-auth-02).
//!
//! Deliberately absent: what a client may, and `*` for a segment in the middle, which is [`crate::SpiffeIdPattern`]'s.

use std::{str::FromStr, sync::Arc};

use crate::{SpiffeId, SpiffeIdError};

/// One SPIFFE ID, or with `/*` at its end every SPIFFE ID below it.
///
/// `/*` stands for one or more whole path segments: `spiffe://td/client/*` names `spiffe://td/client/a` and
/// `spiffe://td/client/a/b`, and neither `spiffe://td/client` nor `spiffe://td/client123`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientSpiffeId {
    text: Arc<str>,
    id: SpiffeId,
    below: bool,
}

/// Why a text is no `spiffe_id` of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientSpiffeIdError {
    /// Without a `/*` at its end it is no SPIFFE ID.
    #[error("is neither a SPIFFE ID nor one with `/*` at its end")]
    SpiffeId(#[source] SpiffeIdError),
    /// It names a whole trust domain, which is no client.
    #[error("has no path")]
    NoPath,
}

impl ClientSpiffeId {
    /// Whether `id` is the one, or one of those below.
    #[must_use]
    pub fn names(&self, id: &SpiffeId) -> bool {
        if !self.below {
            return self.id == *id;
        }
        id.as_str().strip_prefix(self.id.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The SPIFFE ID, without `/*`.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ClientSpiffeId {
    type Err = ClientSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let above = text.strip_suffix("/*");
        let id: SpiffeId = above.unwrap_or(text).parse().map_err(ClientSpiffeIdError::SpiffeId)?;
        if above.is_none() && !id.has_path() {
            return Err(ClientSpiffeIdError::NoPath);
        }
        Ok(Self { text: text.into(), id, below: above.is_some() })
    }
}

crate::checked_string!(ClientSpiffeId, ClientSpiffeIdError);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(client: &str, id: &str) -> bool {
        let client: ClientSpiffeId = client.parse().unwrap();
        client.names(&id.parse().unwrap())
    }

    #[test]
    fn oauth_4_12_a_star_at_the_end_names_whole_segments_below() {
        let below = "spiffe://td/client/*";
        for id in ["spiffe://td/client/a", "spiffe://td/client/a/b"] {
            assert!(names(below, id), "{id}");
        }
        for id in [
            "spiffe://td/client123",
            "spiffe://td/client",
            "spiffe://td/Client/a",
            "spiffe://td2/client/a",
            "spiffe://td/x/client/a",
        ] {
            assert!(!names(below, id), "{id}");
        }
        assert!(
            names("spiffe://td/*", "spiffe://td/a/b") && !names("spiffe://td/*", "spiffe://td")
        );
        assert!(!names("spiffe://td/*", "spiffe://td.evil/a"));
    }

    #[test]
    fn a_star_anywhere_else_is_none() {
        for text in [
            "spiffe://td/*/a",
            "spiffe://td/a*",
            "spiffe://td/a/**",
            "spiffe://td/a/*/",
            "spiffe://td/*/*",
            "spiffe://*/a",
            "spiffe://td/a/",
            "*",
            "/*",
            "",
        ] {
            let refused = text.parse::<ClientSpiffeId>();
            assert!(matches!(refused, Err(ClientSpiffeIdError::SpiffeId(_))), "{text}");
        }
        assert_eq!("spiffe://td".parse::<ClientSpiffeId>(), Err(ClientSpiffeIdError::NoPath));
    }

    proptest! {
        #[test]
        fn oauth_4_12_without_a_star_it_names_itself_alone(
            path in "(/[a-zA-Z0-9_-]{1,4}){1,4}", other in "(/[a-zA-Z0-9_-]{1,4}){1,4}",
        ) {
            let (one, two) = (format!("spiffe://td{path}"), format!("spiffe://td{other}"));
            prop_assert_eq!(names(&one, &two), one == two);
            let below = format!("{one}/*");
            prop_assert!(!names(&below, &one));
            let deeper = format!("{one}{other}");
            prop_assert!(names(&below, &deeper));
        }
    }
}
