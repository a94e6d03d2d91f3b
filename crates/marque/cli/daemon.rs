//! Reaching the daemon: its sockets, and what to do when it refuses.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tonic::Code;

use super::Session;
use super::failure::Failure;
use super::place::START;
use crate::config;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::CallError;
use crate::grpc::admin::{AdminClient, IntentView};
use crate::grpc::workload::WorkloadClient;

/// The code by which an agent is refused that decides about its own intent.
const SELF_APPROVAL: &str = "self_approval_forbidden";

/// Something of one trust domain, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Of<T> {
    pub(super) trust_domain: String,
    #[serde(flatten)]
    pub(super) item: T,
}

/// One trust domain and a client of its admin socket.
pub(super) struct Home {
    pub(super) at: TrustDomainEndpoints,
    pub(super) admin: AdminClient,
}

impl Home {
    pub(super) async fn reach(at: TrustDomainEndpoints) -> Result<Self, Failure> {
        let admin = AdminClient::connect(&at.admin_socket).await?;
        Ok(Self { at, admin })
    }

    pub(super) fn of<T>(&self, item: T) -> Of<T> {
        Of { trust_domain: self.at.name.to_string(), item }
    }
}

impl Session {
    /// The trust domain that was named, or the only one there is.
    pub(super) async fn home(&self) -> Result<Home, Failure> {
        Home::reach(self.place.one()?).await
    }

    /// The trust domains that were named, or all there are.
    pub(super) async fn homes(&self) -> Result<Vec<Home>, Failure> {
        let mut homes = Vec::new();
        for at in self.place.several()? {
            homes.push(Home::reach(at).await?);
        }
        Ok(homes)
    }

    /// The trust domain that has the intent, and the intent. One that refuses us does not hide it in another.
    pub(super) async fn intent(&self, id: &str) -> Result<(Home, IntentView), Failure> {
        let mut refused: Option<Failure> = None;
        for at in self.place.several()? {
            match find(at, id).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // Of several refusals the one by the intent's own trust domain says most.
                Err(failure) if refused.is_none() || failure.is(SELF_APPROVAL) => {
                    refused = Some(failure)
                }
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or_else(|| {
            Failure::failed(format!("there is no intent `{id}`"))
                .next("see which there are with `marque intent list`")
        }))
    }

    /// A client of a Workload API socket: the one given (`unix:/…` or a path), else that of the trust domain which was
    /// named, else the one in `SPIFFE_ENDPOINT_SOCKET`, else that of the only trust domain (WE-4).
    pub(super) async fn workload(&self, given: Option<&str>) -> Result<WorkloadClient, Failure> {
        let socket = match self.environment_socket(given)? {
            Some(socket) => socket,
            None => self.place.one()?.workload_api_socket,
        };
        Ok(WorkloadClient::connect(&socket).await?)
    }

    /// The trust domain of a Workload API socket that was given, or that the environment names; else as for any command.
    pub(super) fn home_of_workload(
        &self,
        given: Option<&str>,
    ) -> Result<TrustDomainEndpoints, Failure> {
        let Some(socket) = self.environment_socket(given)? else { return self.place.one() };
        let known = self.place.several()?;
        known.into_iter().find(|at| same_file(&at.workload_api_socket, &socket)).ok_or_else(|| {
            Failure::usage(format!(
                "`{}` is no socket of the daemon in endpoints.json",
                socket.display()
            ))
            .next("name the daemon with --data-dir or --endpoints")
        })
    }

    /// A client of the Workload API socket that was given, else of that trust domain's.
    pub(super) async fn workload_of(
        &self,
        at: &TrustDomainEndpoints,
        given: Option<&str>,
    ) -> Result<WorkloadClient, Failure> {
        let socket =
            self.environment_socket(given)?.unwrap_or_else(|| at.workload_api_socket.clone());
        Ok(WorkloadClient::connect(&socket).await?)
    }

    fn environment_socket(&self, given: Option<&str>) -> Result<Option<PathBuf>, Failure> {
        if let Some(given) = given {
            return socket_path(given, "--socket").map(Some);
        }
        if self.place.is_named() {
            return Ok(None);
        }
        config::spiffe_endpoint_socket()
            .map(|text| socket_path(&text, "SPIFFE_ENDPOINT_SOCKET"))
            .transpose()
    }
}

async fn find(at: TrustDomainEndpoints, id: &str) -> Result<Option<(Home, IntentView)>, Failure> {
    let mut home = Home::reach(at).await?;
    match home.admin.intent(id.to_owned()).await {
        Ok(intent) => Ok(Some((home, intent))),
        Err(CallError::Refused { kind: Code::NotFound, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The absolute path in `unix:/path`, `unix:///path` or `/path` (WE-4: no authority).
fn socket_path(text: &str, whence: &str) -> Result<PathBuf, Failure> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(Failure::usage(format!("{whence} is `{text}`, which names no Unix socket"))
            .next("write it as unix:/path/to/workload.sock"));
    }
    Ok(PathBuf::from(path))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let next = match &error {
            CallError::Unreachable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Some(
                    "the admin socket is for operators: run this as the daemon's user, or in its group",
                )
            }
            CallError::Unreachable { .. } => Some(START),
            CallError::Refused { code: Some(code), .. } => next_for_code(code),
            CallError::Refused { kind: Code::PermissionDenied, .. } => Some(
                "no registration entry fits this process: see `marque entry list`, and `marque entry create --help`",
            ),
            CallError::Refused { kind: Code::Unavailable, .. } => Some("try again in a moment"),
            CallError::Refused { .. } => None,
            CallError::Malformed(_) => Some("use the command line of the daemon's own version"),
        };
        let code = match &error {
            CallError::Refused { code, .. } => code.clone(),
            CallError::Unreachable { .. } | CallError::Malformed(_) => None,
        };
        let failure = match &error {
            CallError::Unreachable { .. } => Self::because("cannot reach the daemon", &error),
            CallError::Refused { message, .. } => Self::failed(message.clone()),
            CallError::Malformed(_) => Self::failed(error.to_string()),
        };
        let failure = failure.code(code);
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

fn next_for_code(code: &str) -> Option<&'static str> {
    match code {
        "self_approval_forbidden" => Some(
            "ask a person to decide, in a shell of their own: nothing that an agent started may",
        ),
        "approver_not_eligible" => Some(
            "decide as an operator of this trust domain (see `operators` in its trust-domain.toml), from a shell that no \
             agent started",
        ),
        "approval_digest_mismatch" => {
            Some("look at the intent again: what would be approved has changed")
        }
        "approval_expired" | "grant_expired" => Some("the agent has to ask again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_written_in_three_ways_and_never_relative() {
        for text in ["/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(socket_path(text, "--socket").unwrap(), PathBuf::from("/run/a.sock"));
        }
        for text in ["", "a.sock", "unix:a.sock", "unix://host/a.sock", "tcp:127.0.0.1:1"] {
            assert!(socket_path(text, "--socket").is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_keeps_its_code() {
        let refused = CallError::Refused {
            kind: Code::PermissionDenied,
            message: "no".to_owned(),
            code: Some("self_approval_forbidden".to_owned()),
        };
        let told = format!("{:?}", Failure::from(refused));
        assert!(
            told.contains("self_approval_forbidden") && told.contains("ask a person"),
            "{told}"
        );
    }
}
