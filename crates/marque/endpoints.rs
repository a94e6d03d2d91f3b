//! `endpoints.json`: where a running daemon can be reached, one record for each trust domain.
//!
//! The daemon writes it once everything listens, and the command line finds the daemon by it. It holds no secret.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "endpoints.json";

/// Everything that one daemon serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// One record for each trust domain.
    pub trust_domains: Vec<TrustDomainEndpoints>,
    /// Where health and metrics are served: `http://` with an address, or `unix:` with a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<String>,
}

/// Where one trust domain is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustDomainEndpoints {
    /// The trust domain.
    pub name: TrustDomain,
    /// Its side of the firebreak.
    pub environment: Environment,
    /// The Unix socket of the SPIFFE Workload API.
    pub workload_api_socket: PathBuf,
    /// The Unix socket of the admin API.
    pub admin_socket: PathBuf,
    /// The Unix socket of the SPIFFE Broker API, where the trust domain lists brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_api_socket: Option<PathBuf>,
    /// The issuer identifier of the token service, which is also the audience of client assertions.
    pub issuer_url: String,
    /// The token endpoint.
    pub token_endpoint: String,
    /// The intents resource.
    pub intents_url: String,
    /// The key set that verifies access tokens.
    pub jwks_url: String,
    /// The trust domain's bundle, as a SPIFFE bundle endpoint of profile `https_web`.
    pub bundle_url: String,
    /// The same of profile `https_spiffe`, where it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_spiffe: Option<SpiffeBundleEndpoint>,
    /// Where servers below have their authorities signed, where some are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downstream: Option<DownstreamEndpoint>,
    /// The issuer that JWT-SVIDs name, where clouds verify them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub svid_issuer_url: Option<String>,
    /// The PEM file with the certificate authority that the URLs above are served under.
    pub ca_file: PathBuf,
}

/// A bundle endpoint of profile `https_spiffe`: what those who federate by it have to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpiffeBundleEndpoint {
    /// The address.
    pub url: String,
    /// Who it proves to be.
    pub spiffe_id: SpiffeId,
}

/// A listener for servers below: what they have to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownstreamEndpoint {
    /// The address and the port.
    pub address: String,
    /// Who it proves to be.
    pub spiffe_id: SpiffeId,
}

/// The file of a running daemon, and what stands in it.
#[derive(Debug)]
pub(crate) struct EndpointsFile {
    path: PathBuf,
    /// Nothing before the daemon knows all that it serves.
    told: Mutex<Option<Endpoints>>,
}

impl EndpointsFile {
    /// The file in a data folder.
    pub(crate) fn in_folder(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE_NAME), told: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes note of what is served.
    pub(crate) fn know(&self, endpoints: Endpoints) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoints);
    }

    /// Writes what is known.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn write(&self) -> io::Result<()> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().map_or(Ok(()), |told| told.write(&self.path))
    }

    /// Changes the record of one trust domain, and writes the file where that makes a difference.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn change(
        &self,
        name: &TrustDomain,
        change: impl FnOnce(&mut TrustDomainEndpoints),
    ) -> io::Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = told.as_mut() else { return Ok(()) };
        let Some(one) = told.trust_domains.iter_mut().find(|one| one.name == *name) else {
            return Ok(());
        };
        let before = one.clone();
        change(one);
        if *one == before { Ok(()) } else { told.write(&self.path) }
    }
}

/// `endpoints.json` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EndpointsError {
    /// There is none: no daemon has run with this data directory.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// It could not be read.
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// It is not what this version writes.
    #[error("`{}` is not an endpoints file", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl Endpoints {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or does not have the form of this version.
    pub fn read(path: &Path) -> Result<Self, EndpointsError> {
        let text = fs::read(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => EndpointsError::Missing(path),
                _ => EndpointsError::Unreadable { path, source },
            }
        })?;
        serde_json::from_slice(&text)
            .map_err(|source| EndpointsError::Malformed { path: path.to_owned(), source })
    }

    /// Where the trust domain `name` is served, if it is.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&TrustDomainEndpoints> {
        self.trust_domains.iter().find(|one| one.name.as_str() == name)
    }

    /// Writes the file at `path`, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let partial = path.with_extension("json.partial");
        fs::write(&partial, text)?;
        fs::rename(partial, path)
    }
}
