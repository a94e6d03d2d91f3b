//! `marque entry`: which process earns which identity.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use marque_registry::{
    AllowedAudience, DelegateRights, EntryId, EntryRole, Lifetime, NewEntry, Owner,
};
use marque_spiffe::{Clock as _, DnsName, Hint, Repository, Selector, SpiffeId, TrustDomain};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::{pairs, table};
use super::text::{lifetime, lines, moment, or_dash};
use crate::clock::SystemClock;
use crate::grpc::admin::EntryView;

/// Which process earns which identity: list, create and delete registration entries
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque entry list
  marque entry show 0193…
  marque entry create --spiffe-id spiffe://dev.example.org/agent/report-writer/mine \\
      --selector unix:uid:1000 --selector unix:path:/usr/local/bin/report-writer --owner group:reports \\
      --expires-in 90d
  marque entry create --spiffe-id spiffe://dev.example.org/agent/clerk --selector unix:user:clerk --owner group:reports \\
      --audience https://issuer.dev.example.org --jwt-lifetime 2m --never-delegates --expires-at 2027-01-01T00:00:00Z
  marque entry delete 0193…")]
pub(super) struct EntryArgs {
    #[command(subcommand)]
    command: EntryCommand,
}

#[derive(Debug, Subcommand)]
enum EntryCommand {
    /// List the entries, in the order in which a default identity is chosen
    List,
    /// Show one entry, with all that it allows
    Show {
        /// The entry's id
        #[arg(value_name = "ENTRY")]
        id: EntryId,
    },
    /// Add an entry
    Create(Box<CreateArgs>),
    /// Remove an entry that was added by command; those in the trust domain's folder are removed there
    Delete {
        /// The entry's id
        #[arg(value_name = "ENTRY")]
        id: EntryId,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The identity, with its trust domain and a path
    #[arg(long, value_name = "SPIFFE-ID")]
    spiffe_id: SpiffeId,
    /// What a process must have, all of it: unix:uid, unix:user, unix:gid, unix:group, unix:path or unix:sha256
    #[arg(long = "selector", required = true, value_name = "SELECTOR")]
    selectors: Vec<Selector>,
    /// Who answers for the workload, such as group:platform-sre
    #[arg(long)]
    owner: Owner,
    /// `agent` for an AI agent: it may ask for intents and never approves; `service` for any other workload
    #[arg(long, default_value = "agent")]
    role: EntryRole,
    /// Tells a workload with several identities which this one is
    #[arg(long)]
    hint: Option<Hint>,
    /// A DNS name for the identity's certificates
    #[arg(long = "dns-name", value_name = "NAME")]
    dns_names: Vec<DnsName>,
    /// Another trust domain whose bundle its callers get; one that the trust domain's document federates with
    #[arg(long, value_name = "TRUST-DOMAIN")]
    federates_with: Vec<TrustDomain>,
    /// The lifetime of its X.509-SVIDs, such as 30m, if shorter than the trust domain's
    #[arg(long, value_name = "LIFETIME")]
    x509_lifetime: Option<Lifetime>,
    /// The lifetime of its JWT-SVIDs, such as 2m, if shorter than the trust domain's
    #[arg(long, value_name = "LIFETIME")]
    jwt_lifetime: Option<Lifetime>,
    /// An audience that its JWT-SVIDs may be for, exactly; with none, any. Agents that ask for intents with JWT-SVIDs need
    /// the issuer's own URL
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<AllowedAudience>,
    /// It may not hand on what it was granted: neither its tokens nor requests on behalf of others
    #[arg(long)]
    never_delegates: bool,
    /// It may not act for a person, or for an agent that hands something on to it
    #[arg(long)]
    never_acts_for_others: bool,
    /// Where its code was built from, such as github.com/example/agents@refs/heads/main
    #[arg(long, value_name = "REPOSITORY@REF")]
    repository: Option<Repository>,
    /// When the entry ends by itself, such as 2026-12-24T18:00:00Z. Each has an end, unless `without_expiry = "warn"` stands in
    /// `[identities]` of the trust domain
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<Timestamp>,
    /// The same from now on, such as 90d
    #[arg(long, value_name = "LIFETIME", conflicts_with = "expires_at")]
    expires_in: Option<Lifetime>,
}

impl EntryArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            EntryCommand::List => list(session).await,
            EntryCommand::Show { id } => show(session, &id).await,
            EntryCommand::Create(args) => create(session, *args).await,
            EntryCommand::Delete { id } => delete(session, &id).await,
        }
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let entries = home.admin.entries().await?;
        all.extend(entries.into_iter().map(|entry| home.of(entry)));
    }
    session.output.show(&all, |all| render_list(all))
}

async fn create(session: &mut Session, args: CreateArgs) -> Result<(), Failure> {
    let CreateArgs {
        spiffe_id,
        selectors,
        owner,
        role,
        hint,
        dns_names,
        federates_with,
        x509_lifetime,
        jwt_lifetime,
        audiences,
        never_delegates,
        never_acts_for_others,
        repository,
        expires_at,
        expires_in,
    } = args;
    let expires_at = match expires_in {
        Some(lasts) => Some(after(lasts)?),
        None => expires_at,
    };
    // The identity names its trust domain.
    let mut home = Home::reach(session.place.of_id(&spiffe_id)?).await?;
    let entry = NewEntry {
        spiffe_id,
        selectors: selectors.into_iter().collect(),
        role,
        owner,
        hint,
        x509_lifetime,
        jwt_lifetime,
        dns_names,
        federates_with: federates_with.into_iter().collect(),
        repository,
        audiences: audiences.into_iter().collect(),
        delegation: DelegateRights {
            may_delegate: !never_delegates,
            may_act_for_others: !never_acts_for_others,
        },
        expires_at,
    };
    let created = home.admin.create_entry(&entry).await?;
    session.output.show(&home.of(created), |created| render(&created.item))
}

/// The instant that is so long from now.
fn after(lasts: Lifetime) -> Result<Timestamp, Failure> {
    let end = SystemClock.now().checked_add(lasts.as_duration());
    end.map_err(|error| Failure::because("no entry was made", &error))
}

async fn show(session: &mut Session, id: &EntryId) -> Result<(), Failure> {
    let mut found = Vec::new();
    for mut home in session.homes().await? {
        let entries = home.admin.entries().await?;
        let named = entries.into_iter().find(|entry| entry.id == id.as_str());
        found.extend(named.map(|entry| home.of(entry)));
    }
    if found.is_empty() {
        return Err(Failure::failed(format!("there is no entry `{id}`"))
            .next("see which there are with `marque entry list`"));
    }
    session.output.show(&found, |found| {
        found.iter().map(|of| render(&of.item)).collect::<Vec<_>>().join("\n")
    })
}

async fn delete(session: &mut Session, id: &EntryId) -> Result<(), Failure> {
    let mut holders = Vec::new();
    for mut home in session.homes().await? {
        if home.admin.entries().await?.iter().any(|entry| entry.id == id.as_str()) {
            holders.push(home);
        }
    }
    match (holders.pop(), holders.is_empty()) {
        (Some(mut home), true) => {
            home.admin.delete_entry(id.to_string()).await?;
            let deleted = home.of(serde_json::json!({ "deleted": id }));
            session.output.show(&deleted, |of| format!("Deleted entry {id} of {}", of.trust_domain))
        }
        (Some(_), false) => {
            Err(Failure::usage(format!("several trust domains have an entry `{id}`"))
                .next("name one with --trust-domain"))
        }
        (None, _) => Err(Failure::failed(format!("there is no entry `{id}`"))
            .next("see which there are with `marque entry list`")),
    }
}

fn render_list(all: &[Of<EntryView>]) -> String {
    if all.is_empty() {
        return "No entries. Add one with `marque entry create`; see its --help.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain: _, item }| {
        let source = if item.source.is_empty() { "by command" } else { &item.source };
        [
            item.spiffe_id.clone(),
            item.role.to_owned(),
            item.selectors.join(" "),
            item.owner.clone(),
            item.id.clone(),
            source.to_owned(),
        ]
    });
    table(["SPIFFE ID", "ROLE", "SELECTORS", "OWNER", "ENTRY", "FROM"], rows)
}

fn render(entry: &EntryView) -> String {
    pairs([
        ("entry", entry.id.clone()),
        ("SPIFFE ID", entry.spiffe_id.clone()),
        ("role", entry.role.to_owned()),
        ("owner", entry.owner.clone()),
        ("selectors", lines(&entry.selectors)),
        ("hint", or_dash(&entry.hint)),
        ("DNS names", lines(&entry.dns_names)),
        ("federates with", lines(&entry.federates_with)),
        ("X.509 lifetime", lifetime(entry.x509_svid_lifetime_s)),
        ("JWT lifetime", lifetime(entry.jwt_svid_lifetime_s)),
        ("repository", or_dash(&entry.repository)),
        (
            "audiences",
            if entry.audiences.is_empty() { "any".to_owned() } else { lines(&entry.audiences) },
        ),
        ("may delegate", yes_or_no(entry.may_delegate)),
        ("acts for others", yes_or_no(entry.may_act_for_others)),
        (
            "from",
            if entry.source.is_empty() { "by command".to_owned() } else { entry.source.clone() },
        ),
        ("expires", moment(entry.expires_at)),
    ])
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(owner: &str) -> EntryView {
        EntryView {
            id: "0193".to_owned(),
            spiffe_id: "spiffe://prod.example.org/agent/a".to_owned(),
            selectors: vec!["unix:path:/bin/a".to_owned(), "unix:uid:1000".to_owned()],
            role: "agent",
            owner: owner.to_owned(),
            hint: String::new(),
            dns_names: Vec::new(),
            federates_with: vec!["partner.example.org".to_owned()],
            x509_svid_lifetime_s: Some(1800),
            jwt_svid_lifetime_s: None,
            repository: String::new(),
            audiences: vec!["https://issuer.prod.example.org".to_owned()],
            may_delegate: false,
            may_act_for_others: true,
            expires_at: None,
            source: String::new(),
        }
    }

    #[test]
    fn entries_read_as_a_table() {
        let one = Of { trust_domain: "prod.example.org".to_owned(), item: entry("group:sre") };
        insta::assert_snapshot!(render_list(&[one]), @r"
        SPIFFE ID                          ROLE   SELECTORS                       OWNER      ENTRY  FROM
        spiffe://prod.example.org/agent/a  agent  unix:path:/bin/a unix:uid:1000  group:sre  0193   by command
        ");
    }

    #[test]
    fn an_entry_reads_line_by_line_and_cannot_drive_the_terminal() {
        insta::assert_snapshot!(render(&entry("group:\u{1b}[31msre")), @r"
        entry            0193
        SPIFFE ID        spiffe://prod.example.org/agent/a
        role             agent
        owner            group:\u{1b}[31msre
        selectors        unix:path:/bin/a
                         unix:uid:1000
        hint             -
        DNS names        -
        federates with   partner.example.org
        X.509 lifetime   30m
        JWT lifetime     -
        repository       -
        audiences        https://issuer.prod.example.org
        may delegate     no
        acts for others  yes
        from             by command
        expires          -
        ");
    }
}
