//! Reaching the daemon: its sockets, and what to do when it refuses.

use std::path::{Path, PathBuf};

use marque_registry::FindingCode;
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
        Ok(WorkloadClient::connect(&self.workload_socket(given)?).await?)
    }

    /// That socket, for whoever connects more than once.
    pub(super) fn workload_socket(&self, given: Option<&str>) -> Result<PathBuf, Failure> {
        match self.environment_socket(given)? {
            Some(socket) => Ok(socket),
            None => Ok(self.place.one()?.workload_api_socket),
        }
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
            return socket_option(given).map(Some);
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

/// The socket in `--socket`: as the environment would name it, or a path alone, which a person may type.
fn socket_option(text: &str) -> Result<PathBuf, Failure> {
    if text.starts_with('/') { Ok(PathBuf::from(text)) } else { socket_path(text, "--socket") }
}

/// The absolute path in `unix:/path` or `unix:///path` (WE-4: no authority).
fn socket_path(text: &str, whence: &str) -> Result<PathBuf, Failure> {
    let refused = |why: &str| {
        Err(Failure::usage(format!("{whence} is `{text}`: {why}"))
            .next("write it as unix:/path/to/workload.sock"))
    };
    if text.starts_with("tcp:") {
        return refused(
            "a caller over TCP cannot be told from any other, so the Workload API is on Unix sockets alone",
        );
    }
    let Some(path) = text.strip_prefix("unix:") else { return refused("it names no Unix socket") };
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return refused("a Unix socket has no authority (what stands between `//` and `/`)");
        }
        None => path,
    };
    if path.contains(['?', '#']) {
        return refused("a Unix socket has neither a query nor a fragment");
    }
    if !path.starts_with('/') {
        return refused("the path is not absolute");
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
            CallError::Ended => Some("try again in a moment"),
            CallError::Malformed(_) => Some("use the command line of the daemon's own version"),
        };
        let code = match &error {
            CallError::Refused { code, .. } => code.clone(),
            CallError::Unreachable { .. } | CallError::Ended | CallError::Malformed(_) => None,
        };
        let failure = match &error {
            CallError::Unreachable { .. } => Self::because("cannot reach the daemon", &error),
            CallError::Refused { message, .. } => Self::failed(message.clone()),
            CallError::Ended | CallError::Malformed(_) => Self::failed(error.to_string()),
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
        "no_identity" => Some(
            "no registration entry fits this process: see `marque explain denials`, and `marque entry create --help`",
        ),
        "identity_shared" => {
            Some("another program holds this identity: see `marque report shared-identities`")
        }
        "process_not_found" | "process_exited" => {
            Some("check the id with `ps`; a refusal that is over is in `marque explain denials`")
        }
        "shutting_down" | "issuer_unavailable" | "attestation_unavailable" => {
            Some("try again in a moment")
        }
        "environment_boundary" => Some(
            "federate with a trust domain of the same environment: nothing crosses the firebreak",
        ),
        "federation_from_folder" => Some(
            "edit [[federation]] in the folder's trust-domain.toml, have it reviewed, and run `marque reload`",
        ),
        "federation_unknown" => Some("see which there are with `marque federation list`"),
        "federation_exists" => Some(
            "see it with `marque federation show`; remove it first to add it otherwise, or give it a bundle with `marque \
             bundle set`",
        ),
        "bundle_sequence" => Some(
            "compare the two with `marque bundle diff`; a bundle that is older than the one that is held is not taken back",
        ),
        "bundle_empty" => Some("see `marque federation remove`"),
        "bundle_not_fetched" => Some(
            "see what is wrong with `marque federation show`; the bundle that is held is used until it is too old",
        ),
        "federation_changed" => Some("look again with `marque federation list`, then try again"),
        "approval_expired" | "grant_expired" => Some("the agent has to ask again"),
        "entry_no_expiry" => Some("say when the entry ends by itself, such as `--expires-in 90d`"),
        // What is wrong with an entry is so in a file and in a command.
        other => {
            let known = FindingCode::ALL.iter().find(|known| known.as_str() == other);
            known.map(|known| known.help())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:?}", socket_path(text, "SPIFFE_ENDPOINT_SOCKET").unwrap_err())
    }

    #[test]
    fn we_4_an_endpoint_is_a_unix_socket_by_its_absolute_path_without_authority() {
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(socket_path(text, "x").unwrap(), PathBuf::from("/run/a.sock"));
        }
    }

    #[test]
    fn we_4_an_authority_is_refused() {
        for text in ["unix://host/a.sock", "unix://localhost/run/a.sock", "unix://a.sock"] {
            assert!(refused(text).contains("no authority"), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn we_4_a_relative_path_is_refused() {
        for text in ["unix:a.sock", "unix:./a.sock", "unix:"] {
            assert!(refused(text).contains("not absolute"), "{text}: {}", refused(text));
        }
        for text in ["unix:/run/a.sock?x", "unix:/run/a.sock#x"] {
            assert!(refused(text).contains("neither a query"), "{text}");
        }
    }

    #[test]
    fn we_4_tcp_is_refused_and_says_why() {
        for text in ["tcp:127.0.0.1:8080", "tcp://127.0.0.1:8080", "tcp:localhost:1"] {
            assert!(refused(text).contains("over TCP"), "{text}: {}", refused(text));
        }
        for text in ["", "/run/a.sock", "http://a/b", "UNIX:/run/a.sock"] {
            assert!(refused(text).contains("names no Unix socket"), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn the_option_takes_a_path_alone_as_well() {
        for text in ["/run/a.sock", "unix:/run/a.sock"] {
            assert_eq!(socket_option(text).unwrap(), PathBuf::from("/run/a.sock"));
        }
        assert!(socket_option("a.sock").is_err());
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
