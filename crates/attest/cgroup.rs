//! `/proc/PID/cgroup`: which container a process is in, from kernel facts alone.
//!
//! Pure functions over bytes. The kernel writes the file, but whoever owns a cgroup names those
//! below it and moves its own processes into them. So a name counts only where nobody but root and
//! the engine itself can have written it:
//!
//! * directly below the root (`/docker/<id>`, `/libpod_parent/…`, `/kubepods/…`): these belong to
//!   root;
//! * below slices (`/system.slice/docker-<id>.scope`): systemd delegates services and scopes to
//!   users (`Delegate=`), never slices, so an unbroken chain of slices belongs to root;
//! * below the services of known container runtimes, which run as root.
//!
//! The *outermost* container counts. What stands deeper was named by the container: a container
//! engine in a container, a Kubernetes node in a container, or a process that lies. A user's own
//! cgroups (`/user.slice/user-1000.slice/user@1000.service/…`) name no container, unless
//! [`CgroupRoot`] says that the engine asked about lives there.
//!
//! One layout gives more than that: `podman` with `--cgroups=split` puts the container below the
//! cgroup of its service, which the service's user may own. There the name is only a hint; what
//! proves membership is that the engine's own process of that container is in the same cgroup
//! (see [`ContainerCgroup::is_same_place`]), which is checked for every layout.
//!
//! Deliberately absent: the mount table (`/proc/PID/mountinfo`), which a process can arrange at
//! will in a mount namespace of its own, reading files, and cgroup namespaces: a path that leads
//! out of the reader's own namespace is refused, so the daemon must see the host's root.

use std::fmt;

mod layout;

/// The longest file that is read; `/proc/PID/cgroup` has a line for each hierarchy.
pub const MAX_CGROUP_FILE: usize = 64 * 1024;
/// cgroup v1 has a hierarchy per controller, about a dozen; named ones may be added.
const MAX_HIERARCHIES: usize = 64;

/// The cgroups of one process, one for each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    memberships: Vec<Membership>,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Membership {
    hierarchy: u32,
    /// The path's names from the root down. A name that is not UTF-8 is here as one that no cgroup
    /// can have.
    path: Vec<String>,
}

/// Where an engine's own cgroups begin: `/`, but for an engine that itself runs in a container or
/// under a user's service manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupRoot(Vec<String>);

/// The id of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// The unique id of a pod: a UUID, or for a static pod the 32 hexadecimal digits of its hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(String);

/// Which engine a cgroup's name says the container is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker, by either cgroup driver.
    Docker,
    /// Podman.
    Podman,
    /// containerd on behalf of a kubelet.
    Containerd,
    /// CRI-O.
    CriO,
    /// A pod's container whose cgroup bears the id alone, as the `cgroupfs` driver has it.
    Pod,
}

/// The container that a process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerCgroup {
    id: ContainerId,
    runtime: Runtime,
    pod: Option<PodUid>,
    /// For each hierarchy in which the process is in the container: the container's own cgroup.
    places: Vec<(u32, Vec<String>)>,
}

/// Why a file does not tell which container a process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CgroupError {
    /// It does not read as cgroups(7) says, or is longer than [`MAX_CGROUP_FILE`].
    #[error("the cgroup file does not have the expected form")]
    Malformed,
    /// A path leads out of this daemon's cgroup namespace, so its beginning is unknown.
    #[error("the cgroup is outside this daemon's cgroup namespace")]
    OutsideNamespace,
    /// Two hierarchies name two containers.
    #[error("the cgroup file names two containers")]
    Conflict,
}

impl Cgroups {
    /// Reads `/proc/PID/cgroup` (cgroups(7)): lines of `hierarchy:controllers:path`.
    ///
    /// # Errors
    /// When a line has another form, or a path leads out of this daemon's cgroup namespace.
    pub fn parse(bytes: &[u8]) -> Result<Self, CgroupError> {
        let text = bytes.strip_suffix(b"\n").ok_or(CgroupError::Malformed)?;
        if bytes.len() > MAX_CGROUP_FILE {
            return Err(CgroupError::Malformed);
        }
        // The kernel allows no line feed in the name of a cgroup.
        let lines = text.split(|byte| *byte == b'\n');
        let memberships = lines.map(Membership::parse).collect::<Result<Vec<_>, _>>()?;
        if memberships.len() > MAX_HIERARCHIES {
            return Err(CgroupError::Malformed);
        }
        Ok(Self { memberships })
    }

    /// The container that the process is in, as an engine below `root` would have named it. `None`
    /// when no hierarchy names one.
    ///
    /// # Errors
    /// When two hierarchies name two containers.
    pub fn container(&self, root: &CgroupRoot) -> Result<Option<ContainerCgroup>, CgroupError> {
        let mut found: Option<ContainerCgroup> = None;
        for Membership { hierarchy, path } in &self.memberships {
            let Some(named) = layout::container(path, root) else { continue };
            let place = (*hierarchy, named.place);
            match &mut found {
                None => {
                    let (id, runtime, pod) = (named.id, named.runtime, named.pod);
                    found = Some(ContainerCgroup { id, runtime, pod, places: vec![place] });
                }
                Some(first) => {
                    if (&first.id, first.runtime, &first.pod)
                        != (&named.id, named.runtime, &named.pod)
                    {
                        return Err(CgroupError::Conflict);
                    }
                    first.places.push(place);
                }
            }
        }
        Ok(found)
    }
}

impl Membership {
    fn parse(line: &[u8]) -> Result<Self, CgroupError> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let mut next = || fields.next().ok_or(CgroupError::Malformed);
        let (hierarchy, _controllers, path) = (next()?, next()?, next()?);
        let hierarchy = std::str::from_utf8(hierarchy).ok().filter(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        let hierarchy = hierarchy.and_then(|digits| digits.parse().ok());
        let hierarchy = hierarchy.ok_or(CgroupError::Malformed)?;
        let below = path.strip_prefix(b"/").ok_or(CgroupError::Malformed)?;
        if below.is_empty() {
            return Ok(Self { hierarchy, path: Vec::new() });
        }
        let names = below.split(|byte| *byte == b'/').map(name).collect::<Result<_, _>>()?;
        Ok(Self { hierarchy, path: names })
    }
}

fn name(bytes: &[u8]) -> Result<String, CgroupError> {
    match bytes {
        b"" => Err(CgroupError::Malformed),
        b"." | b".." => Err(CgroupError::OutsideNamespace),
        name => Ok(String::from_utf8(name.to_vec()).unwrap_or_else(|_other| "\0".to_owned())),
    }
}

impl CgroupRoot {
    /// The root at an absolute path, as `/proc/PID/cgroup` writes it.
    pub fn new(path: &str) -> Self {
        Self(path.split('/').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect())
    }
}

impl ContainerCgroup {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Which engine's naming this is.
    pub fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// The pod that the container is of.
    pub fn pod(&self) -> Option<&PodUid> {
        self.pod.as_ref()
    }

    /// Whether both are in the very same container's cgroups, in the same hierarchies: not merely
    /// in some that bear the same name.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self == other
    }
}

impl ContainerId {
    /// An id, if the text is one.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == 64 && is_lower_hex(text)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PodUid {
    /// A uid, if the text is one. A cgroup's name may have `_` in the place of `-`.
    pub fn new(text: &str) -> Option<Self> {
        let uid = text.replace('_', "-");
        let groups: Vec<_> = uid.split('-').collect();
        let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
        let good = matches!(lengths.as_slice(), [8, 4, 4, 4, 12] | [32])
            && groups.into_iter().all(is_lower_hex);
        good.then_some(Self(uid))
    }

    /// The uid as Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
