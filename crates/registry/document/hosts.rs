//! `[issuer]`: where the issuer is to be found.

use std::net::SocketAddr;

use crate::fields::{Fields, Log};

/// `[issuer]`: where the issuer is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    listen: SocketAddr,
    url: Option<String>,
}

impl HostSettings {
    /// The address and port of the issuer's HTTPS edge.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The issuer identifier (RFC 8414), where others reach the listener under another name than
    /// `localhost`. Text here; whoever serves it checks its form.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<HostSettings> {
    let listen: Option<SocketAddr> = table.text("listen", log);
    let url: Option<String> = table.optional_text("url", log);
    table.finish(log);
    Some(HostSettings { listen: listen?, url })
}
