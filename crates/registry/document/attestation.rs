//! `[attestation]`: which attestors a node has, and what each may spend.
//!
//! Deliberately absent: opening any of the files and sockets named here, which a machine that only
//! checks the folder does not have.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

mod host;
mod read;

pub use host::{ParentSettings, ScriptSettings, SystemdSettings};
pub(super) use read::read;

/// `[attestation]`. Everything may be absent. A table that is there switches its attestor on;
/// `unix` is always on.
///
/// ```toml
/// [attestation]
/// log_selectors = ["unix:uid", "k8s:ns"]   # selectors that start so may stand in logs; none by default
///
/// [attestation.unix]
/// max_executable_mib = 256             # larger executables earn no `unix:sha256`
/// max_concurrent = 8                   # processes looked at at once
/// max_remembered_digests = 4096
///
/// [attestation.docker]                 # likewise [attestation.podman]
/// socket = "/run/docker.sock"          # podman: "/run/podman/podman.sock"
/// timeout = "5s"                       # of everything that one attestation asks the engine
/// max_response_kib = 1024
/// max_concurrent = 8                   # containers asked about at once
/// cgroup_root = "/"                    # where the engine's cgroups begin
///
/// [attestation.kubernetes]
/// kubelet = "https://127.0.0.1:10250"  # or "http://127.0.0.1:10255", on the loopback alone
/// server_name = "node-1"               # in the kubelet's certificate; the host of `kubelet` by default
/// ca_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
/// token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token"
/// client_certificate_file = "/etc/marque/kubelet-client.pem"   # instead of a token
/// client_key_file = "/etc/marque/kubelet-client.key"
/// skip_kubelet_verification = false    # true: whoever answers at the address is believed
/// timeout = "5s"                       # of one request
/// max_response_mib = 16
/// attempts = 60                        # how often a container that is not listed yet is looked for
/// interval_ms = 500                    # and the longest wait between two looks
/// max_list_age_ms = 1000               # how old a shared list of pods may be
/// cgroup_root = "/"
///
/// [attestation.systemd]
/// bus = "/run/dbus/system_bus_socket"  # of the system bus, never of a user's
/// timeout = "2s"                       # of everything that one attestation asks
/// max_concurrent = 16
///
/// [attestation.script]
/// python = ["/usr/bin/python3"]        # interpreters by language; these two unless any is named
/// node = ["/usr/bin/node"]
/// perl = []
/// ruby = []
/// max_script_kib = 16384               # larger scripts earn no `script:sha256`
/// max_concurrent = 8
/// max_remembered_digests = 4096
///
/// [attestation.parent]
/// kinds = []                           # of the parent's selectors, e.g. ["unix", "systemd"]; all if empty
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AttestationSettings {
    /// Prefixes of selectors that may appear in logs and audit leaves.
    pub log_selectors: Vec<String>,
    /// `[attestation.unix]`.
    pub unix: UnixSettings,
    /// `[attestation.docker]`.
    pub docker: Option<EngineSettings>,
    /// `[attestation.podman]`.
    pub podman: Option<EngineSettings>,
    /// `[attestation.kubernetes]`.
    pub kubernetes: Option<KubernetesSettings>,
    /// `[attestation.systemd]`.
    pub systemd: Option<SystemdSettings>,
    /// `[attestation.script]`.
    pub script: Option<ScriptSettings>,
    /// `[attestation.parent]`.
    pub parent: Option<ParentSettings>,
}

/// `[attestation.unix]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixSettings {
    /// Executables larger than this many MiB earn no digest.
    pub max_executable_mib: u32,
    /// How many processes are looked at at once.
    pub max_concurrent: u32,
    /// How many digests are remembered.
    pub max_remembered_digests: u32,
}

/// `[attestation.docker]` and `[attestation.podman]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSettings {
    /// The engine's Unix socket, an absolute path.
    pub socket: PathBuf,
    /// How long all questions of one attestation may take together.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_response_bytes: usize,
    /// How many containers are asked about at once.
    pub max_concurrent: u32,
    /// The cgroup below which the engine's own cgroups begin; `/` but for an engine inside a
    /// container or under a user's manager.
    pub cgroup_root: String,
}

/// `[attestation.kubernetes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesSettings {
    /// Where the kubelet listens.
    pub kubelet: KubeletEndpoint,
    /// How the kubelet and this node prove themselves to one another; `None` on the read-only port.
    pub auth: Option<KubeletAuth>,
    /// How long one request may take.
    pub timeout: Duration,
    /// The largest list of pods that is read, in bytes.
    pub max_response_bytes: usize,
    /// How often a container that is not listed yet is looked for.
    pub attempts: u32,
    /// The longest wait between two looks.
    pub interval: Duration,
    /// How old a shared list of pods may be.
    pub max_list_age: Duration,
    /// As [`EngineSettings::cgroup_root`].
    pub cgroup_root: String,
}

/// An `http` or `https` address without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletEndpoint {
    secure: bool,
    host: String,
    port: u16,
}

/// How TLS to the kubelet is authenticated, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubeletAuth {
    /// PEM certificates that the kubelet's chain must end in; `None` means that whoever answers is
    /// believed.
    pub ca_file: Option<PathBuf>,
    /// The name in the kubelet's certificate.
    pub server_name: String,
    /// A bearer token, read anew for every request.
    pub token_file: Option<PathBuf>,
    /// PEM certificate chain and private key of a client certificate.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl Default for UnixSettings {
    fn default() -> Self {
        Self { max_executable_mib: 256, max_concurrent: 8, max_remembered_digests: 4096 }
    }
}

impl AttestationSettings {
    /// Whether a selector may appear in a log: it is, or starts with, an allowed prefix up to a
    /// colon, so that `unix:uid` allows `unix:uid:0` and not `unix:uidx:0`.
    pub fn may_log(&self, selector: &str) -> bool {
        self.log_selectors.iter().any(|prefix| {
            let rest = selector.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
    }
}

impl KubeletEndpoint {
    /// Whether the address is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for KubeletEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secure, host, port } = self;
        let scheme = if *secure { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests;
