//! What an issuer says in signed statements that change: who is stopped (`kills`), and whose tokens were revoked (`status`).

use std::sync::Arc;
use std::time::Duration;

use crate::cached::Freshness;
use crate::clock::Clock;
use crate::fetch::Fetch;
use crate::keys::Keys;
use crate::url::HttpsUrl;

/// How one kind of statement is fetched and verified.
#[derive(Debug, Clone)]
pub(crate) struct Statements {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) issuer: HttpsUrl,
    pub(crate) keys: Arc<Keys>,
    pub(crate) freshness: Freshness,
    pub(crate) leeway: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}
