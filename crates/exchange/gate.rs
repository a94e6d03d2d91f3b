//! What a grant is bound to beside its clocks, looked at when it is used: change windows, blackouts, its ticket.
//!
//! Deliberately absent: what those are, and how they are found out.

use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{Denial, Grant};

/// Whether a grant may be used at this moment.
pub trait UseGate: fmt::Debug + Send + Sync {
    /// Looks now, and gives the instant at which what comes of it has to end, if there is one.
    ///
    /// # Errors
    /// Why it may not be used now. What cannot be found out does not hold.
    fn admit<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Option<Timestamp>, Denial>>;
}
