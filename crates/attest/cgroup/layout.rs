//! How engines name the cgroups of their containers.

use super::{CgroupRoot, ContainerId, PodUid, Runtime};

/// Services of container runtimes, which run as root and name cgroups below their own when
/// containerd's `cgroupfs` driver is given a systemd path.
const RUNTIME_SERVICES: [&str; 5] = [
    "containerd.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
];

/// A container that a path names.
pub(super) struct Named {
    pub(super) id: ContainerId,
    pub(super) runtime: Runtime,
    pub(super) pod: Option<PodUid>,
    /// The container's own cgroup, from the root.
    pub(super) place: Vec<String>,
}

/// A name that was found, and how many names of the path lead to it.
struct Found {
    id: ContainerId,
    runtime: Runtime,
    pod: Option<PodUid>,
    depth: usize,
}

/// The outermost container below `root`.
pub(super) fn container(path: &[String], root: &CgroupRoot) -> Option<Named> {
    let below = path.strip_prefix(root.0.as_slice())?;
    let names: Vec<&str> = below.iter().map(String::as_str).collect();
    let found = cgroupfs(&names).or_else(|| systemd(&names, root))?;
    let Found { id, runtime, pod, depth } = found;
    let place = path.get(..root.0.len() + depth)?.to_vec();
    Some(Named { id, runtime, pod, place })
}

/// The layouts of the `cgroupfs` drivers, directly below the root.
fn cgroupfs(names: &[&str]) -> Option<Found> {
    match names {
        ["docker", id, ..] => found(id, Runtime::Docker, 2),
        ["libpod_parent", name, ..] if name.starts_with("libpod-") => {
            found(name.strip_prefix("libpod-")?, Runtime::Podman, 2)
        }
        // A pod of podman's own kind.
        ["libpod_parent", pod, name, ..] if ContainerId::new(pod).is_some() => {
            found(name.strip_prefix("libpod-")?, Runtime::Podman, 3)
        }
        ["kubelet", "kubepods", rest @ ..] => kubepods(rest, 2),
        ["kubepods", rest @ ..] => kubepods(rest, 1),
        _other => None,
    }
}

fn found(id: &str, runtime: Runtime, depth: usize) -> Option<Found> {
    Some(Found { id: ContainerId::new(id)?, runtime, pod: None, depth })
}

/// `[QoS class/]pod<uid>/<id>`; guaranteed pods have no class in the path.
fn kubepods(names: &[&str], above: usize) -> Option<Found> {
    let (pod, name, depth) = match names {
        ["besteffort" | "burstable" | "guaranteed", pod, name, ..] => (pod, name, above + 3),
        [pod, name, ..] => (pod, name, above + 2),
        _too_short => return None,
    };
    let pod = Some(PodUid::new(pod.strip_prefix("pod")?)?);
    let (id, runtime) = match name.strip_prefix("crio-") {
        Some(id) => (id, Runtime::CriO),
        None => (*name, Runtime::Pod),
    };
    Some(Found { id: ContainerId::new(id)?, runtime, pod, depth })
}

/// The layouts of the `systemd` drivers: a chain of slices, then the container.
fn systemd(names: &[&str], root: &CgroupRoot) -> Option<Found> {
    let slices = names.iter().take_while(|name| name.ends_with(".slice")).count();
    let (chain, rest) = names.split_at_checked(slices)?;
    match rest {
        [service, name, ..] if service.ends_with(".service") => {
            in_service(chain, service, name, root)
        }
        [name, ..] => in_slices(chain, name),
        [] => None,
    }
}

fn in_slices(chain: &[&str], name: &str) -> Option<Found> {
    let depth = chain.len() + 1;
    if name.contains(':') {
        return colons(name, depth);
    }
    let pod = chain.last().and_then(|slice| pod_of(slice.strip_suffix(".slice")?));
    let (prefix, id) = name.strip_suffix(".scope")?.rsplit_once('-')?;
    let runtime = match (prefix, &pod) {
        ("docker", _) => Runtime::Docker,
        ("libpod", _) => Runtime::Podman,
        ("cri-containerd", Some(_)) => Runtime::Containerd,
        ("crio", Some(_)) => Runtime::CriO,
        // Among them the monitors, `libpod-conmon-<id>.scope` and `crio-conmon-<id>.scope`, which
        // are outside the container.
        _other => return None,
    };
    Some(Found { id: ContainerId::new(id)?, runtime, pod, depth })
}

fn in_service(chain: &[&str], service: &str, name: &str, root: &CgroupRoot) -> Option<Found> {
    let depth = chain.len() + 2;
    // Below a user's service manager every name is the user's.
    let of_a_user = root.0.is_empty() && chain.first() == Some(&"user.slice");
    match name.strip_prefix("libpod-payload-") {
        Some(id) if !of_a_user => found(id, Runtime::Podman, depth),
        None if chain == ["system.slice"] && RUNTIME_SERVICES.contains(&service) => {
            colons(name, depth)
        }
        _other => None,
    }
}

/// `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`: a systemd path that containerd's
/// `cgroupfs` driver took for a name.
fn colons(name: &str, depth: usize) -> Option<Found> {
    let (slice, rest) = name.split_once(':')?;
    let (prefix, id) = rest.split_once(':')?;
    let pod = Some(pod_of(slice.strip_suffix(".slice")?)?);
    let runtime = match prefix {
        "cri-containerd" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        _other => return None,
    };
    Some(Found { id: ContainerId::new(id)?, runtime, pod, depth })
}

/// `[prefix-]kubepods[-class]-pod<uid>`.
fn pod_of(slice: &str) -> Option<PodUid> {
    let (above, uid) = slice.rsplit_once("-pod")?;
    let class = ["-besteffort", "-burstable", "-guaranteed"];
    let above = class.iter().find_map(|class| above.strip_suffix(class)).unwrap_or(above);
    (above == "kubepods" || above.ends_with("-kubepods")).then_some(())?;
    PodUid::new(uid)
}
