//! A decision that is safe to send again.

use clap::Args;

/// Whether a retry is the same request.
#[derive(Debug, Clone, Args)]
pub(super) struct RetryArgs {
    /// Makes a retry safe: the same key with the same request is answered as before for 24 hours, with another one refused
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl RetryArgs {
    /// The key, where one was given.
    pub(super) fn key(&self) -> Option<String> {
        self.idempotency_key.clone()
    }
}
