//! One connection to the system bus, and the questions that systemd is asked over it
//! (org.freedesktop.systemd1(5)).

use std::path::Path;

use tokio::net::UnixStream;
use zbus::fdo;
use zbus::names::OwnedUniqueName;
use zbus::{Fd, OwnedObjectPath, OwnedVariant};

use super::{Owner, SystemdError};
use crate::pin::ProcessPin;

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// A connection, and who bore systemd's name when it was made.
#[derive(Debug)]
pub(super) struct Manager {
    connection: zbus::Connection,
    /// The unique name: whoever takes over the well-known one is looked at anew.
    systemd: OwnedUniqueName,
}

/// What systemd says of a process's unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) id: String,
    /// In hex; absent for units that are never started, such as slices of the root.
    pub(super) invocation_id: Option<String>,
    /// Absent for units without a file.
    pub(super) fragment_path: Option<String>,
    pub(super) slice: Option<String>,
    /// Where the process must be found to believe it; absent when systemd looked at the pidfd.
    pub(super) control_group: Option<String>,
}

/// An answer to "which unit is this process in".
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: OwnedObjectPath,
    id: String,
    invocation_id: Vec<u8>,
    by_pidfd: bool,
}

impl Manager {
    pub(super) async fn connect(socket: &Path, believed: Owner) -> Result<Self, SystemdError> {
        let stream = UnixStream::connect(socket).await.map_err(SystemdError::Connect)?;
        let stream = stream.into_std().map_err(SystemdError::Connect)?;
        let connection = zbus::connection::Builder::unix_stream(stream).build().await?;
        let bus = async |method, name: &str| {
            connection.call_method(Some(BUS), BUS_PATH, Some(BUS), method, &name).await
        };
        let systemd: OwnedUniqueName = bus("GetNameOwner", SYSTEMD).await?.body().deserialize()?;
        let who = bus("GetConnectionCredentials", systemd.as_str()).await?;
        let who: fdo::ConnectionCredentials = who.body().deserialize()?;
        let (Some(pid), Some(uid)) = (who.process_id(), who.unix_user_id()) else {
            return Err(SystemdError::UnknownOwner);
        };
        if (Owner { pid, uid }) != believed {
            return Err(SystemdError::NotSystemd { pid, uid });
        }
        Ok(Self { connection, systemd })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// The unit of a process, `None` if it is in none or has ended.
    pub(super) async fn unit(&self, process: &ProcessPin) -> Result<Option<Unit>, SystemdError> {
        let Some(found) = self.find(process).await? else { return Ok(None) };
        let kind = kind(&found.id);
        let of_kind = async |name| match kind {
            Some(kind) => self.text(&found.path, kind, name).await,
            None => Ok(None),
        };
        let control_group =
            async { if found.by_pidfd { Ok(None) } else { of_kind("ControlGroup").await } };
        let (fragment_path, slice, control_group) = futures::try_join!(
            self.text(&found.path, UNIT, "FragmentPath"),
            of_kind("Slice"),
            control_group,
        )?;
        if !found.by_pidfd && control_group.is_none() {
            return Ok(None);
        }
        // Only now is it sure that the properties are of the unit in which the process is.
        if self.find(process).await?.as_ref() != Some(&found) {
            return Err(SystemdError::Changed);
        }
        let invocation_id = found
            .invocation_id
            .iter()
            .any(|byte| *byte != 0)
            .then(|| hex::encode(found.invocation_id));
        Ok(Some(Unit { id: found.id, invocation_id, fragment_path, slice, control_group }))
    }

    async fn find(&self, process: &ProcessPin) -> Result<Option<Found>, SystemdError> {
        let (systemd, pidfd) = (self.systemd.inner(), Fd::from(process.pidfd()));
        let by_pidfd = "GetUnitByPIDFD";
        match self
            .connection
            .call_method(Some(systemd), PATH, Some(MANAGER), by_pidfd, &pidfd)
            .await
        {
            Ok(reply) => {
                let (path, id, invocation_id) = reply.body().deserialize()?;
                Ok(Some(Found { path, id, invocation_id, by_pidfd: true }))
            }
            // Before systemd 253 there is no such method; its bus policy of then may hide that.
            Err(zbus::Error::FDO(error))
                if matches!(*error, fdo::Error::UnknownMethod(_) | fdo::Error::AccessDenied(_)) =>
            {
                self.find_by_pid(process.pid()).await
            }
            Err(error) => absent_or(error),
        }
    }

    async fn find_by_pid(&self, pid: i32) -> Result<Option<Found>, SystemdError> {
        let (systemd, pid) = (self.systemd.inner(), pid.cast_unsigned());
        let by_pid = "GetUnitByPID";
        let asked =
            self.connection.call_method(Some(systemd), PATH, Some(MANAGER), by_pid, &pid).await;
        let reply = match asked {
            Ok(reply) => reply,
            Err(error) => return absent_or(error),
        };
        let path: OwnedObjectPath = reply.body().deserialize()?;
        let (id, invocation_id) = futures::try_join!(
            self.property(&path, UNIT, "Id"),
            self.property(&path, UNIT, "InvocationID"),
        )?;
        let (id, invocation_id) = (String::try_from(id)?, Vec::try_from(invocation_id)?);
        Ok(Some(Found { path, id, invocation_id, by_pidfd: false }))
    }

    /// A property of a unit; a unit that is gone has changed.
    async fn property(
        &self,
        unit: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> Result<OwnedVariant, SystemdError> {
        let (systemd, body) = (Some(self.systemd.inner()), (interface, name));
        let answer =
            self.connection.call_method(systemd, unit, Some(PROPERTIES), "Get", &body).await;
        match answer {
            Ok(reply) => Ok(reply.body().deserialize()?),
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::UnknownObject(_)) => {
                Err(SystemdError::Changed)
            }
            Err(zbus::Error::MethodError(name, ..)) if is_systemds(&name, "NoSuchUnit") => {
                Err(SystemdError::Changed)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A text property; an empty one is absent.
    async fn text(
        &self,
        unit: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> Result<Option<String>, SystemdError> {
        let text = String::try_from(self.property(unit, interface, name).await?)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// "In no unit" and "no such process" are answers; the latter is for the pin to judge.
fn absent_or(error: zbus::Error) -> Result<Option<Found>, SystemdError> {
    match &error {
        zbus::Error::MethodError(name, ..)
            if is_systemds(name, "NoUnitForPID") || is_systemds(name, "NoSuchProcess") =>
        {
            Ok(None)
        }
        _ => Err(error.into()),
    }
}

fn is_systemds(name: &str, error: &str) -> bool {
    name.strip_prefix(SYSTEMD).and_then(|rest| rest.strip_prefix('.')) == Some(error)
}

/// The interface that has the properties of units with control groups.
fn kind(id: &str) -> Option<&'static str> {
    match id.rsplit_once('.')?.1 {
        "service" => Some("org.freedesktop.systemd1.Service"),
        "scope" => Some("org.freedesktop.systemd1.Scope"),
        "slice" => Some("org.freedesktop.systemd1.Slice"),
        "socket" => Some("org.freedesktop.systemd1.Socket"),
        "mount" => Some("org.freedesktop.systemd1.Mount"),
        "swap" => Some("org.freedesktop.systemd1.Swap"),
        _ => None,
    }
}

impl SystemdError {
    /// Whether another connection may fare better: the bus or systemd ended or was started anew.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Bus(zbus::Error::InputOutput(_)) => true,
            Self::Bus(zbus::Error::FDO(error)) => matches!(
                **error,
                fdo::Error::ServiceUnknown(_)
                    | fdo::Error::NameHasNoOwner(_)
                    | fdo::Error::NoReply(_)
                    | fdo::Error::Disconnected(_)
                    | fdo::Error::ZBus(zbus::Error::InputOutput(_))
            ),
            _ => false,
        }
    }
}

impl<E: Into<zbus::Error>> From<E> for SystemdError {
    fn from(error: E) -> Self {
        Self::Bus(error.into())
    }
}
