//! Which daemon and which trust domain a command is about.

use std::path::PathBuf;

use clap::Args;
use marque_spiffe::{SpiffeId, TrustDomain};

use super::failure::Failure;
use crate::config;
use crate::endpoints::{self, Endpoints, EndpointsError, TrustDomainEndpoints};

/// Options of every command that speaks to a running daemon.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which daemon")]
pub(super) struct Place {
    /// The daemon's endpoints.json [default: endpoints.json in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    endpoints: Option<PathBuf>,
    /// The daemon's data directory [default: $XDG_STATE_HOME/marque or ~/.local/state/marque]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The trust domain, where there are several; `issuer` and `kill all` take the option more than once
    #[arg(id = "named_trust_domains", long = "trust-domain", global = true, value_name = "NAME")]
    trust_domains: Vec<TrustDomain>,
}

impl Place {
    /// The data directory that was named, or the default one.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(config::default_data_dir)
    }

    /// The trust domains that were named.
    pub(super) fn names(&self) -> &[TrustDomain] {
        &self.trust_domains
    }

    /// Whether a trust domain or a daemon was named at all.
    pub(super) fn is_named(&self) -> bool {
        self.endpoints.is_some() || self.data_dir.is_some() || !self.trust_domains.is_empty()
    }

    /// The trust domain that was named, or the only one there is.
    pub(super) fn one(&self) -> Result<TrustDomainEndpoints, Failure> {
        let mut chosen = self.several()?;
        match (chosen.pop(), chosen.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                chosen.push(last);
                Err(Failure::usage("there are several trust domains and the command is about one")
                    .next(format!("pass --trust-domain with one of {}", listed(&chosen))))
            }
            (None, _) => Err(Failure::failed("the daemon serves no trust domain").next(START)),
        }
    }

    /// The trust domains that were named, or all there are.
    pub(super) fn several(&self) -> Result<Vec<TrustDomainEndpoints>, Failure> {
        let all = self.read()?;
        if let Some(unknown) =
            self.trust_domains.iter().find(|name| all.iter().all(|one| one.name != **name))
        {
            return Err(Failure::usage(format!("the daemon does not serve `{unknown}`"))
                .next(format!("pass --trust-domain with one of {}", listed(&all))));
        }
        let named = |one: &TrustDomainEndpoints| {
            self.trust_domains.is_empty() || self.trust_domains.contains(&one.name)
        };
        Ok(all.into_iter().filter(named).collect())
    }

    /// The trust domain that the SPIFFE ID is of.
    pub(super) fn of_id(&self, id: &SpiffeId) -> Result<TrustDomainEndpoints, Failure> {
        let all = self.several()?;
        let served = listed(&all);
        all.into_iter().find(|one| one.name == *id.trust_domain()).ok_or_else(|| {
            Failure::usage(format!("`{id}` is of none of the trust domains: {served}"))
                .next("check the SPIFFE ID, and --trust-domain if it was given")
        })
    }

    fn read(&self) -> Result<Vec<TrustDomainEndpoints>, Failure> {
        let path = match &self.endpoints {
            Some(path) => path.clone(),
            None => self.data_dir().join(endpoints::FILE_NAME),
        };
        let Endpoints { trust_domains, telemetry: _ } =
            Endpoints::read(&path).map_err(|error| {
                let next = match error {
                    EndpointsError::Missing(_) => START,
                    EndpointsError::Unreadable { .. } => {
                        "check who may read it: the daemon's own user can"
                    }
                    EndpointsError::Malformed { .. } => {
                        "restart the daemon, so that it writes the file anew"
                    }
                };
                Failure::because("found no running daemon", &error).next(next)
            })?;
        Ok(trust_domains)
    }
}

/// What to do when no daemon runs.
pub(super) const START: &str = "start one with `marque dev`, or name its data directory with --data-dir or its file with --endpoints";

fn listed(all: &[TrustDomainEndpoints]) -> String {
    let names: Vec<_> = all.iter().map(|one| one.name.to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    fn write(folder: &Path, names: &[&str]) {
        let trust_domains = names
            .iter()
            .map(|name| TrustDomainEndpoints {
                name: name.parse().unwrap(),
                environment: marque_spiffe::Environment::NonProduction,
                workload_api_socket: folder.join("w.sock"),
                admin_socket: folder.join("a.sock"),
                broker_api_socket: None,
                issuer_url: "https://localhost:1".to_owned(),
                token_endpoint: "https://localhost:1/oauth2/token".to_owned(),
                intents_url: "https://localhost:1/v1/intents".to_owned(),
                jwks_url: "https://localhost:1/oauth2/jwks".to_owned(),
                bundle_url: "https://localhost:1/spiffe/bundle".to_owned(),
                bundle_spiffe: None,
                downstream: None,
                svid_issuer_url: None,
                ca_file: folder.join("ca.pem"),
            })
            .collect();
        Endpoints { trust_domains, telemetry: None }
            .write(&folder.join(endpoints::FILE_NAME))
            .unwrap();
    }

    fn place(folder: &Path, more: &[&str]) -> Place {
        let line = ["marque", "--data-dir", folder.to_str().unwrap()];
        Line::try_parse_from(line.iter().chain(more)).unwrap().place
    }

    #[test]
    fn the_only_trust_domain_needs_no_name() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["a.example.org"]);
        assert_eq!(place(folder.path(), &[]).one().unwrap().name.as_str(), "a.example.org");
    }

    #[test]
    fn several_trust_domains_are_listed_for_whoever_named_none() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["a.example.org", "b.example.org"]);
        let failure = place(folder.path(), &[]).one().unwrap_err();
        assert!(
            format!("{failure:?}").contains("one of a.example.org, b.example.org"),
            "{failure:?}"
        );
        let named = place(folder.path(), &["--trust-domain", "b.example.org"]);
        assert_eq!(named.one().unwrap().name.as_str(), "b.example.org");
        assert_eq!(place(folder.path(), &[]).several().unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_trust_domain_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["a.example.org"]);
        let failure = place(folder.path(), &["--trust-domain", "c.example.org"]).one().unwrap_err();
        assert!(format!("{failure:?}").contains("does not serve `c.example.org`"), "{failure:?}");
    }

    #[test]
    fn without_a_daemon_the_next_step_is_to_start_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = place(folder.path(), &[]).one().unwrap_err();
        assert!(format!("{failure:?}").contains("marque dev"), "{failure:?}");
    }
}
