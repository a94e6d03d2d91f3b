//! One trust domain of a running daemon, as `endpoints.json` describes it. Read as any other program would read it, so
//! that a renamed member breaks a test.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How one trust domain is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) environment: String,
    pub(crate) workload_api_socket: PathBuf,
    pub(crate) admin_socket: PathBuf,
    pub(crate) broker_api_socket: Option<PathBuf>,
    pub(crate) issuer_url: String,
    pub(crate) token_endpoint: String,
    pub(crate) intents_url: String,
    pub(crate) jwks_url: String,
    pub(crate) bundle_url: String,
    pub(crate) bundle_spiffe: Option<SpiffeBundle>,
    pub(crate) downstream: Option<Downstream>,
    pub(crate) svid_issuer_url: Option<String>,
    pub(crate) ca_file: PathBuf,
}

/// A bundle endpoint that proves itself by an SVID.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpiffeBundle {
    pub(crate) url: String,
    pub(crate) spiffe_id: String,
}

/// Where servers below ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Downstream {
    pub(crate) address: String,
    pub(crate) spiffe_id: String,
}

#[derive(Deserialize)]
struct Endpoints {
    trust_domains: Vec<Place>,
}

impl Place {
    /// Everything that the daemon serves, or `None` while the file is not there.
    pub(crate) fn read_all(file: &Path) -> Option<Vec<Self>> {
        let text = fs::read(file).ok()?;
        let endpoints: Endpoints =
            serde_json::from_slice(&text).expect("endpoints.json has the form that it had");
        Some(endpoints.trust_domains)
    }

    /// The Workload API socket as SPIFFE clients want it.
    pub(crate) fn workload_api(&self) -> String {
        format!("unix:{}", self.workload_api_socket.display())
    }

    /// The introspection endpoint.
    pub(crate) fn introspection_endpoint(&self) -> String {
        format!("{}/oauth2/introspect", self.issuer_url)
    }

    /// The playbooks resource.
    pub(crate) fn playbooks_url(&self) -> String {
        format!("{}/v1/playbooks", self.issuer_url)
    }

    /// The SPIFFE ID with this path in the trust domain.
    pub(crate) fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.name)
    }
}
