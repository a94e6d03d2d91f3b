use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::{
    AttestationSettings, EngineSettings, KubeletAuth, KubeletEndpoint, KubernetesSettings,
    UnixSettings, host,
};
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

const DOCKER_SOCKET: &str = "/run/docker.sock";
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";
const KUBELET: &str = "https://127.0.0.1:10250";
const SERVICE_ACCOUNT_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Takes `[attestation]` out of the document; `None` after a finding.
pub(in crate::document) fn read(
    top: &mut Fields<'_, '_>,
    log: &mut Log<'_>,
) -> Option<AttestationSettings> {
    if !top.has("attestation") {
        return Some(AttestationSettings::default());
    }
    let mut table = top.optional_table("attestation", log)?;
    let prefixes: Vec<Prefix> = table.texts("log_selectors", log);
    let unix = table.optional_table("unix", log).map(|table| unix(table, log));
    let docker = engine(&mut table, "docker", DOCKER_SOCKET, log);
    let podman = engine(&mut table, "podman", PODMAN_SOCKET, log);
    let kubernetes =
        table.optional_table("kubernetes", log).and_then(|table| kubernetes(table, log));
    let systemd = host::systemd(&mut table, log);
    let script = host::script(&mut table, log);
    let is_on = |kind: &str| match kind {
        "unix" => true,
        "docker" => docker.is_some(),
        "podman" => podman.is_some(),
        "k8s" => kubernetes.is_some(),
        "systemd" => systemd.is_some(),
        "script" => script.is_some(),
        _ => false,
    };
    let parent = host::parent(&mut table, is_on, log);
    table.finish(log);
    Some(AttestationSettings {
        log_selectors: prefixes.into_iter().map(|Prefix(prefix)| prefix).collect(),
        unix: unix.unwrap_or_default(),
        docker,
        podman,
        kubernetes,
        systemd,
        script,
        parent,
    })
}

fn unix(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> UnixSettings {
    let default = UnixSettings::default();
    let settings = UnixSettings {
        max_executable_mib: number(
            &mut table,
            "max_executable_mib",
            default.max_executable_mib,
            (1, 65_536),
            log,
        ),
        max_concurrent: number(
            &mut table,
            "max_concurrent",
            default.max_concurrent,
            (1, 1024),
            log,
        ),
        max_remembered_digests: number(
            &mut table,
            "max_remembered_digests",
            default.max_remembered_digests,
            (1, 1_000_000),
            log,
        ),
    };
    table.finish(log);
    settings
}

fn engine(
    parent: &mut Fields<'_, '_>,
    key: &'static str,
    default_socket: &str,
    log: &mut Log<'_>,
) -> Option<EngineSettings> {
    let mut table = parent.optional_table(key, log)?;
    let socket = file(&mut table, "socket", log);
    let settings = EngineSettings {
        socket: socket.unwrap_or_else(|| default_socket.into()),
        timeout: timeout(&mut table, log),
        max_response_bytes: KIB * size(&mut table, "max_response_kib", 1024, (4, 65_536), log),
        max_concurrent: number(&mut table, "max_concurrent", 8, (1, 1024), log),
        cgroup_root: cgroup_root(&mut table, log),
    };
    table.finish(log);
    Some(settings)
}

fn kubernetes(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<KubernetesSettings> {
    let kubelet: Option<KubeletEndpoint> = if table.has("kubelet") {
        table.optional_text("kubelet", log)
    } else {
        KUBELET.parse().ok()
    };
    let auth = auth(&mut table, kubelet.as_ref(), log);
    let settings = KubernetesSettings {
        auth,
        timeout: timeout(&mut table, log),
        max_response_bytes: MIB * size(&mut table, "max_response_mib", 16, (1, 256), log),
        attempts: number(&mut table, "attempts", 60, (1, 1000), log),
        interval: millis(&mut table, "interval_ms", 500, (1, 60_000), log),
        max_list_age: millis(&mut table, "max_list_age_ms", 1000, (0, 1000), log),
        cgroup_root: cgroup_root(&mut table, log),
        kubelet: kubelet?,
    };
    table.finish(log);
    Some(settings)
}

/// Credentials, which belong to `https` alone.
fn auth(
    table: &mut Fields<'_, '_>,
    kubelet: Option<&KubeletEndpoint>,
    log: &mut Log<'_>,
) -> Option<KubeletAuth> {
    const KEYS: [&str; 6] = [
        "server_name",
        "ca_file",
        "token_file",
        "client_certificate_file",
        "client_key_file",
        "skip_kubelet_verification",
    ];
    let (line, secure) = (table.line(), kubelet.is_none_or(KubeletEndpoint::is_secure));
    if !secure && let Some(key) = KEYS.iter().find(|key| table.has(key)) {
        let message = format!("`{key}` in [kubernetes] has no meaning at an http:// kubelet");
        log.at(line, message);
    }
    let server_name: Option<ServerName> = table.optional_text("server_name", log);
    let ca_file = file(table, "ca_file", log);
    let token_file = file(table, "token_file", log);
    let certificate = file(table, "client_certificate_file", log);
    let key = file(table, "client_key_file", log);
    let skip = table.optional_switch("skip_kubelet_verification", log);
    if let Some(Lined { value: true, line }) = skip
        && ca_file.is_some()
    {
        log.at(line, "`skip_kubelet_verification` in [kubernetes] contradicts `ca_file`");
    }
    let skip = skip.is_some_and(|skip| skip.value);
    let client_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _one => {
            let message = "[kubernetes] needs both `client_certificate_file` and `client_key_file`";
            log.at(line, message);
            None
        }
    };
    let default_token = || client_certificate.is_none().then(|| SERVICE_ACCOUNT_TOKEN.into());
    let kubelet = kubelet.filter(|kubelet| kubelet.is_secure())?;
    Some(KubeletAuth {
        ca_file: (!skip).then(|| ca_file.unwrap_or_else(|| SERVICE_ACCOUNT_CA.into())),
        server_name: server_name.map_or_else(|| kubelet.host().to_owned(), |name| name.0),
        token_file: token_file.or_else(default_token),
        client_certificate,
    })
}

pub(super) fn number(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    default: u32,
    (least, most): (u32, u32),
    log: &mut Log<'_>,
) -> u32 {
    let Some(Lined { value, line }) = table.optional_lined_number(key, log) else { return default };
    if !(least..=most).contains(&value) {
        log.at(line, format!("`{key}` must be from {least} to {most}"));
        return default;
    }
    value
}

fn size(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    default: u32,
    range: (u32, u32),
    log: &mut Log<'_>,
) -> usize {
    usize::try_from(number(table, key, default, range, log)).unwrap_or(usize::MAX)
}

fn millis(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    default: u32,
    range: (u32, u32),
    log: &mut Log<'_>,
) -> Duration {
    Duration::from_millis(number(table, key, default, range, log).into())
}

fn timeout(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Duration {
    timeout_or(table, DEFAULT_TIMEOUT, log)
}

pub(super) fn timeout_or(
    table: &mut Fields<'_, '_>,
    default: Duration,
    log: &mut Log<'_>,
) -> Duration {
    let field = table.optional_lined_text::<Lifetime>("timeout", log);
    let Some(Lined { value, line }) = field else { return default };
    if value.as_duration() > MAX_TIMEOUT {
        log.at(line, format!("`timeout` must be at most {}s", MAX_TIMEOUT.as_secs()));
    }
    value.as_duration()
}

pub(super) fn file(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    log: &mut Log<'_>,
) -> Option<PathBuf> {
    table.optional_text::<Absolute>(key, log).map(|Absolute(path)| path)
}

fn cgroup_root(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> String {
    let root: Option<CgroupPath> = table.optional_text("cgroup_root", log);
    root.map_or_else(|| "/".to_owned(), |CgroupPath(path)| path)
}

/// The start of a selector up to a colon: `unix:uid`, `k8s:pod-label:app`.
struct Prefix(String);

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REFUSED: &str = "is not the start of a selector such as `unix:uid`, up to a colon";
        let (kind, rest) = text.split_once(':').ok_or(REFUSED)?;
        let kind_is_good = !kind.is_empty()
            && kind.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let rest_is_good =
            !rest.is_empty() && !rest.ends_with(':') && !rest.contains(char::is_control);
        if text.len() > 256 || !kind_is_good || !rest_is_good {
            return Err(REFUSED);
        }
        Ok(Self(text.to_owned()))
    }
}

/// An absolute path.
pub(super) struct Absolute(pub(super) PathBuf);

impl FromStr for Absolute {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !Path::new(text).is_absolute() || text.contains(char::is_control) {
            return Err("is not an absolute path");
        }
        Ok(Self(text.into()))
    }
}

/// A cgroup as `/proc/PID/cgroup` writes it.
struct CgroupPath(String);

impl FromStr for CgroupPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REFUSED: &str = "is not a cgroup path such as `/` or `/system.slice/x.service`";
        let parts = text.strip_prefix('/').ok_or(REFUSED)?;
        let good = |part: &str| {
            !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control())
        };
        if !parts.is_empty() && !parts.split('/').all(good) {
            return Err(REFUSED);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A DNS name or an IP address.
struct ServerName(String);

impl FromStr for ServerName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !is_host(text) {
            return Err("is not a DNS name or an IP address");
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

impl FromStr for KubeletEndpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REFUSED: &str = "is not `https://host:port` without a path";
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(REFUSED),
        };
        let (host, port) = rest.rsplit_once(':').ok_or(REFUSED)?;
        let port = port.parse().map_err(|_not_a_port| REFUSED)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) if host.parse::<Ipv6Addr>().is_ok() => host,
            None if is_host(host) && !host.contains(':') => host,
            _neither => return Err(REFUSED),
        };
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if !secure && !loopback {
            return Err("is not on the loopback: elsewhere the kubelet must be `https`");
        }
        Ok(Self { secure, host: host.to_owned(), port })
    }
}
