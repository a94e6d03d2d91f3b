//! `marque federation`: whose SVIDs some of the workloads here verify.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use marque_registry::Lifetime;
use marque_spiffe::{Clock as _, Environment, SpiffeId, TrustDomain};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::{pairs, table};
use super::text::{length, lifetime, moment, moment_from, or_dash};
use crate::clock::SystemClock;
use crate::federation::{FederationView, NewEndpoint, NewFederation, NewProfile};

/// The other trust domains whose SVIDs some workloads verify
///
/// Relationships stand in the trust domain's folder (its federation tables) or are added here. Those of the folder are changed there.
/// An entry gets the bundle of a trust domain only where its `federates_with` names it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque federation list
  marque federation add partner.example.org --environment production \\
      --url https://partner.example.org/spiffe/bundle --ca-file partner-ca.pem
  marque federation add partner.example.org --environment production \\
      --url https://partner.example.org:8445/ --endpoint-spiffe-id spiffe://partner.example.org/marque/bundle \\
      --bundle partner.json
  marque federation refresh partner.example.org
  marque federation remove partner.example.org")]
pub(super) struct FederationArgs {
    #[command(subcommand)]
    command: FederationCommand,
}

#[derive(Debug, Subcommand)]
enum FederationCommand {
    /// List the relationships and how each stands with its bundle
    List,
    /// Show one relationship
    Show {
        /// The other trust domain
        #[arg(value_name = "TRUST-DOMAIN")]
        name: TrustDomain,
    },
    /// Add a relationship: with an endpoint from which its bundle is fetched, a bundle from a file, or both
    Add(Box<AddArgs>),
    /// Remove a relationship that was added by command: its bundle leaves every workload at once
    Remove {
        /// The other trust domain
        #[arg(value_name = "TRUST-DOMAIN")]
        name: TrustDomain,
    },
    /// Fetch a bundle now
    Refresh {
        /// The other trust domain
        #[arg(value_name = "TRUST-DOMAIN")]
        name: TrustDomain,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The other trust domain
    #[arg(value_name = "TRUST-DOMAIN")]
    name: TrustDomain,
    /// Its environment, which has to be the own one: no bundle crosses the firebreak
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Environment,
    /// Its bundle endpoint
    #[arg(long)]
    url: Option<String>,
    /// How the endpoint proves who it is; told by --ca-file or --endpoint-spiffe-id where it is not said
    #[arg(long, value_enum, requires = "url")]
    profile: Option<ProfileName>,
    /// For https_web: the PEM file with the certificate authorities that are believed
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "endpoint_spiffe_id")]
    ca_file: Option<PathBuf>,
    /// For https_spiffe: the only SPIFFE ID that is believed
    #[arg(long, value_name = "SPIFFE-ID", requires = "url")]
    endpoint_spiffe_id: Option<SpiffeId>,
    /// The SPIFFE bundle document to begin with; https_spiffe needs one
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// How long the bundle is used after it was fetched last, such as 12h [default: 3d]
    #[arg(long, value_name = "LIFETIME", requires = "url")]
    max_staleness: Option<Lifetime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProfileName {
    #[value(name = "https_web")]
    HttpsWeb,
    #[value(name = "https_spiffe")]
    HttpsSpiffe,
}

impl FederationArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            FederationCommand::List => list(session).await,
            FederationCommand::Show { name } => show(session, &name).await,
            FederationCommand::Add(args) => add(session, *args).await,
            FederationCommand::Remove { name } => remove(session, &name).await,
            FederationCommand::Refresh { name } => {
                let mut home = session.home().await?;
                let view = home.admin.refresh_federation(&name).await?;
                tell(session, &home, view)
            }
        }
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let found = home.admin.federations().await?;
        all.extend(found.into_iter().map(|one| home.of(one)));
    }
    session.output.show(&all, |all| render_list(all, SystemClock.now()))
}

async fn show(session: &mut Session, name: &TrustDomain) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let found = home.admin.federations().await?;
    match found.into_iter().find(|one| one.federates_with == name.as_str()) {
        Some(view) => tell(session, &home, view),
        None => Err(Failure::failed(format!("there is no relationship with `{name}`"))
            .code(Some("federation_unknown".to_owned()))
            .next("see which there are with `marque federation list`")),
    }
}

async fn add(session: &mut Session, args: AddArgs) -> Result<(), Failure> {
    let AddArgs {
        name,
        environment,
        url,
        profile,
        ca_file,
        endpoint_spiffe_id,
        bundle,
        max_staleness,
    } = args;
    let endpoint = match url {
        Some(url) => {
            let profile = profile_of(profile, ca_file, endpoint_spiffe_id)?;
            let max_staleness_s = max_staleness.map(|time| time.as_duration().as_secs());
            Some(NewEndpoint { url, profile, max_staleness_s })
        }
        None => None,
    };
    if endpoint.is_none() && bundle.is_none() {
        return Err(Failure::usage("neither --url nor --bundle: nothing would be verified by it")
            .next(
                "name the bundle endpoint of the other trust domain, or a file with its bundle",
            ));
    }
    let bundle = bundle.map(|file| text_of(&file)).transpose()?;
    let mut home = session.home().await?;
    let new = NewFederation { trust_domain: name, environment, endpoint, bundle };
    let view = home.admin.add_federation(new).await?;
    tell(session, &home, view)
}

fn profile_of(
    named: Option<ProfileName>,
    ca_file: Option<PathBuf>,
    endpoint_spiffe_id: Option<SpiffeId>,
) -> Result<NewProfile, Failure> {
    match (named, ca_file, endpoint_spiffe_id) {
        (None | Some(ProfileName::HttpsWeb), Some(file), None) => {
            Ok(NewProfile::HttpsWeb { authorities: text_of(&file)? })
        }
        (None | Some(ProfileName::HttpsSpiffe), None, Some(endpoint_spiffe_id)) => {
            Ok(NewProfile::HttpsSpiffe { endpoint_spiffe_id })
        }
        _ => Err(Failure::usage(
            "how the endpoint proves who it is does not follow from the options",
        )
        .next(
            "pass --ca-file for https_web, or --endpoint-spiffe-id and --bundle for https_spiffe",
        )),
    }
}

/// A file as text.
pub(super) fn text_of(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::because(format!("cannot read `{}`", file.display()), &error)
            .next("check the name, and that the file is text")
    })
}

async fn remove(session: &mut Session, name: &TrustDomain) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let entries = home.admin.remove_federation(name).await?;
    let removed = home.of(serde_json::json!({ "removed": name, "entries": entries }));
    session.output.show(&removed, |of| {
        let asked = match entries {
            0 => String::new(),
            1 => "\n1 entry still names it and gets no bundle of it".to_owned(),
            many => format!("\n{many} entries still name it and get no bundle of it"),
        };
        format!("Removed the relationship of {} with {name}{asked}", of.trust_domain)
    })
}

fn tell(session: &mut Session, home: &Home, view: FederationView) -> Result<(), Failure> {
    session.output.show(&home.of(view), |of| render(&of.item, SystemClock.now()))
}

fn standing(view: &FederationView) -> &'static str {
    match (view.in_use, &view.bundle, &view.failure) {
        (true, _, None) => "in use",
        (true, _, Some(_)) => "in use, not refreshed",
        (false, Some(_), _) => "too old: not used",
        (false, None, _) => "none yet",
    }
}

fn render_list(all: &[Of<FederationView>], now: Timestamp) -> String {
    if all.is_empty() {
        return "No relationships. Add one with `marque federation add`; see its --help."
            .to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        [
            item.federates_with.clone(),
            trust_domain.clone(),
            item.profile.clone().unwrap_or_else(|| "not fetched".to_owned()),
            item.bundle.as_ref().map_or_else(|| "-".to_owned(), |held| held.sequence.to_string()),
            standing(item).to_owned(),
            moment_from(item.used_until, now),
            item.source.clone(),
        ]
    });
    table(
        ["FEDERATES WITH", "TRUST DOMAIN", "PROFILE", "SEQUENCE", "BUNDLE", "USED UNTIL", "FROM"],
        rows,
    )
}

fn render(view: &FederationView, now: Timestamp) -> String {
    let bundle = view.bundle.as_ref().map_or_else(
        || "none yet".to_owned(),
        |held| {
            format!(
                "sequence {}: {} X.509, {} JWT, {} WIT authorities; wants to be fetched every {}",
                held.sequence,
                held.x509_authorities,
                held.jwt_authorities,
                held.wit_authorities,
                length(held.refresh_hint_s)
            )
        },
    );
    let by = view.added_by.as_ref().map(|by| format!("{by}, {}", moment(view.added_at)));
    let or_dash = |text: &Option<String>| or_dash(text.as_deref().unwrap_or_default());
    pairs([
        ("federates with", view.federates_with.clone()),
        ("environment", view.environment.clone()),
        ("from", view.source.clone()),
        ("added", or_dash(&by)),
        ("endpoint", or_dash(&view.url)),
        ("profile", or_dash(&view.profile)),
        ("endpoint ID", or_dash(&view.endpoint_spiffe_id)),
        ("longest use", lifetime(view.max_staleness_s)),
        ("bundle", bundle),
        ("standing", standing(view).to_owned()),
        ("fetched", moment_from(view.refreshed_at, now)),
        ("used until", moment_from(view.used_until, now)),
        ("last failure", or_dash(&view.failure)),
        ("entries", view.entries.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::BundleSummary;

    fn view() -> FederationView {
        let at: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        FederationView {
            federates_with: "partner.example.org".to_owned(),
            environment: "production".to_owned(),
            source: "command".to_owned(),
            added_by: Some("uid:1000".to_owned()),
            added_at: Some(at),
            url: Some("https://partner.example.org/spiffe/bundle".to_owned()),
            profile: Some("https_web".to_owned()),
            endpoint_spiffe_id: None,
            max_staleness_s: Some(259_200),
            bundle: Some(BundleSummary {
                sequence: 7,
                refresh_hint_s: 300,
                x509_authorities: 1,
                jwt_authorities: 2,
                wit_authorities: 0,
            }),
            in_use: true,
            used_until: Some(at + std::time::Duration::from_secs(3600)),
            refreshed_at: Some(at),
            failure: Some("no\u{1b}answer".to_owned()),
            entries: 3,
        }
    }

    #[test]
    fn relationships_read_as_a_table_and_cannot_drive_the_terminal() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: view() };
        insta::assert_snapshot!(render_list(&[of], now), @r"
        FEDERATES WITH       TRUST DOMAIN      PROFILE    SEQUENCE  BUNDLE                 USED UNTIL                       FROM
        partner.example.org  prod.example.org  https_web  7         in use, not refreshed  2026-11-22 04:00:00 UTC (in 1h)  command
        ");
        let one = render(&view(), now);
        assert!(one.contains("last failure    no\\u{1b}answer"), "{one}");
        assert!(one.contains("sequence 7: 1 X.509, 2 JWT, 0 WIT authorities"), "{one}");
    }

    #[test]
    fn a_bundle_stands_as_it_is_used() {
        let failed = view();
        assert_eq!(standing(&failed), "in use, not refreshed");
        assert_eq!(standing(&FederationView { failure: None, ..failed.clone() }), "in use");
        let stale = FederationView { in_use: false, ..failed };
        assert_eq!(standing(&stale), "too old: not used");
        assert_eq!(standing(&FederationView { bundle: None, ..stale }), "none yet");
    }
}
