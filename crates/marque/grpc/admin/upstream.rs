//! What the own bundle has of an upstream, as operators see it.

use jiff::Timestamp;
use marque_authority::{FollowedBundle, FollowedKey, FollowedRoot};
use serde::Serialize;

use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};

/// How the own bundle stands to that of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStanding {
    /// Whose bundle it is, host and port.
    pub source: String,
    /// What is followed; `None` before anything was heard.
    pub followed: Option<FollowedBundle>,
    /// When it was heard last, since the daemon started.
    pub heard_at: Option<Timestamp>,
    /// Whether that is too long ago.
    pub is_stale: bool,
}

/// How the own bundle stands to that of the upstream, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    /// Whose bundle it is, host and port.
    pub source: String,
    /// Its sequence there; 0 before anything was heard.
    pub sequence: u64,
    /// When it was heard last, since the daemon started.
    pub heard_at: Option<Timestamp>,
    /// Whether that is too long ago.
    pub stale: bool,
}

pub(super) fn standing(standing: UpstreamStanding) -> proto::UpstreamStanding {
    let UpstreamStanding { source, followed, heard_at, is_stale } = standing;
    proto::UpstreamStanding {
        source,
        sequence: followed.map_or(0, |followed| followed.sequence),
        heard_at: heard_at.map(timestamp),
        stale: is_stale,
    }
}

impl From<proto::UpstreamStanding> for UpstreamView {
    fn from(message: proto::UpstreamStanding) -> Self {
        let proto::UpstreamStanding { source, sequence, heard_at, stale } = message;
        Self { source, sequence, heard_at: heard_at.and_then(from_timestamp), stale }
    }
}

/// What of the upstream is published here, in the form of keys.
pub(super) fn keys(standing: UpstreamStanding) -> Vec<proto::SigningKey> {
    let UpstreamStanding { source, followed, heard_at: _, is_stale: _ } = standing;
    let Some(FollowedBundle { roots, keys, .. }) = followed else { return Vec::new() };
    let key = |purpose: &str, key_id: String, since: Timestamp, tainted_at| proto::SigningKey {
        key: key_id.clone(),
        purpose: purpose.to_owned(),
        state: "followed".to_owned(),
        key_id,
        published_at: Some(timestamp(since)),
        tainted_at,
        upstream: source.clone(),
        ..proto::SigningKey::default()
    };
    // The upstream does not say since when: it counts from when it was heard.
    let tainted_at = |tainted: bool, heard: Option<Timestamp>, since: Timestamp| {
        tainted.then(|| timestamp(heard.unwrap_or(since)))
    };
    let roots = roots.iter().map(|root| {
        let FollowedRoot { certificate_der: _, since, tainted, tainted_since } = root;
        let tainted_at = tainted_at(*tainted, *tainted_since, *since);
        key("x509-authority", root.digest().to_string(), *since, tainted_at)
    });
    let keys = keys.iter().map(|one| {
        let FollowedKey { key_use, key_id, spki_der: _, since, ends_at, tainted, tainted_since } =
            one;
        let tainted_at = tainted_at(*tainted, *tainted_since, *since);
        proto::SigningKey {
            ends_at: ends_at.map(timestamp),
            ..key(key_use.as_str(), key_id.to_string(), *since, tainted_at)
        }
    });
    roots.chain(keys).collect()
}
