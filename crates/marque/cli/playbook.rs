//! `marque playbook`: the reviewed procedures that an agent may ask for.

mod diff;
mod lint;
mod new;
mod simulate;
mod test;

use clap::{Args, Subcommand};
use marque_intent::PlaybookId;
use tonic::Code;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::{pairs, table};
use super::text::{lifetime, lines, or_dash, short_digest};
use crate::grpc::CallError;
use crate::grpc::admin::PlaybookView;

/// The reviewed procedures that an agent may ask for: list, show, new, lint, diff, test and simulate
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook list
  marque playbook show ingress-cert-rotation
  marque playbook new --list
  marque playbook new rotate-web --template certificate-rotation > rotate-web.toml
  marque playbook lint trust-domains/prod.example.org
  marque playbook diff before.toml after.toml
  marque playbook test trust-domains/prod.example.org
  marque playbook simulate trust-domains/prod.example.org request.json --agent spiffe://prod.example.org/agent/a

list and show ask a daemon; the others read files and need none. Playbooks are edited in the trust domain's folder
(playbooks/*.toml); `marque check` validates them with everything around them.")]
pub(super) struct PlaybookArgs {
    #[command(subcommand)]
    command: PlaybookCommand,
}

#[derive(Debug, Subcommand)]
enum PlaybookCommand {
    /// List the playbooks
    List,
    /// Show one playbook: who may ask, with what, who decides, what it lasts
    Show {
        /// The playbook's id
        #[arg(value_name = "PLAYBOOK")]
        id: PlaybookId,
    },
    New(new::NewArgs),
    Lint(lint::LintArgs),
    Diff(diff::DiffArgs),
    Test(test::TestArgs),
    Simulate(simulate::SimulateArgs),
}

impl PlaybookArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            PlaybookCommand::List => list(session).await,
            PlaybookCommand::Show { id } => show(session, &id).await,
            PlaybookCommand::New(args) => args.run(session),
            PlaybookCommand::Lint(args) => args.run(session),
            PlaybookCommand::Diff(args) => args.run(session),
            PlaybookCommand::Test(args) => args.run(session),
            PlaybookCommand::Simulate(args) => args.run(session),
        }
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let playbooks = home.admin.playbooks().await?;
        all.extend(playbooks.into_iter().map(|playbook| home.of(playbook)));
    }
    session.output.show(&all, |all| render_list(all))
}

async fn show(session: &mut Session, id: &PlaybookId) -> Result<(), Failure> {
    let mut found = Vec::new();
    for mut home in session.homes().await? {
        match home.admin.playbook(id.to_string()).await {
            Ok(playbook) => found.push(home.of(playbook)),
            Err(CallError::Refused { kind: Code::NotFound, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => session.output.show(&only, render),
        (Some(_), false) => {
            Err(Failure::usage(format!("several trust domains have a playbook `{id}`"))
                .next("name one with --trust-domain"))
        }
        (None, _) => Err(Failure::failed(format!("there is no playbook `{id}`"))
            .next("see which there are with `marque playbook list`")),
    }
}

fn render_list(all: &[Of<PlaybookView>]) -> String {
    if all.is_empty() {
        return "No playbooks. They are written in the trust domain's folder, playbooks/*.toml."
            .to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        [
            trust_domain.clone(),
            item.id.clone(),
            item.version.to_string(),
            item.status.clone(),
            item.approval_mode.clone(),
            item.title.clone(),
        ]
    });
    table(["TRUST DOMAIN", "PLAYBOOK", "VERSION", "STATUS", "APPROVAL", "TITLE"], rows)
}

fn render(Of { trust_domain, item }: &Of<PlaybookView>) -> String {
    let approval = match (item.approvals, item.approver_groups.as_slice()) {
        (0, _) => item.approval_mode.clone(),
        (needed, []) => {
            format!("{}; {needed} of the operators when a person decides", item.approval_mode)
        }
        (needed, groups) => {
            format!(
                "{}; {needed} of {} when a person decides",
                item.approval_mode,
                groups.join(", ")
            )
        }
    };
    let ticket = match (item.ticket_pattern.as_str(), item.ticket_required) {
        ("", _) => "-".to_owned(),
        (pattern, true) => format!("required, {pattern}"),
        (pattern, false) => format!("optional, {pattern}"),
    };
    pairs([
        (
            "playbook",
            format!("{} version {} ({})", item.id, item.version, short_digest(&item.digest)),
        ),
        ("trust domain", trust_domain.clone()),
        ("title", item.title.clone()),
        ("purpose", or_dash(&item.purpose)),
        ("status", item.status.clone()),
        ("owner", item.owner.clone()),
        ("review by", item.review_by.clone()),
        ("agents", lines(&item.agents)),
        ("ticket", ticket),
        ("approval", approval),
        ("uses", format!("{}, each at most {}", item.uses, lifetime(item.token_lifetime_s))),
        ("parameters", format!("{:#}", item.parameters)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_says_who_may_ask_and_who_decides() {
        let playbook = PlaybookView {
            id: "ingress-cert-rotation".to_owned(),
            version: 7,
            digest: format!("sha256:{}", "ab".repeat(32)),
            title: "Rotate the TLS certificate of one ingress".to_owned(),
            owner: "group:platform-sre".to_owned(),
            status: "active".to_owned(),
            agents: vec!["spiffe://prod.example.org/agent/cert-rotator/*".to_owned()],
            purpose: String::new(),
            parameters: serde_json::json!({ "type": "object" }),
            approval_mode: "always".to_owned(),
            approvals: 1,
            approver_groups: vec!["sre".to_owned()],
            uses: 1,
            token_lifetime_s: Some(300),
            review_by: "2027-03-01".to_owned(),
            ticket_pattern: "^CHG-[0-9]+$".to_owned(),
            ticket_required: true,
        };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: playbook };
        insta::assert_snapshot!(render(&of), @r#"
        playbook      ingress-cert-rotation version 7 (abababababab)
        trust domain  prod.example.org
        title         Rotate the TLS certificate of one ingress
        purpose       -
        status        active
        owner         group:platform-sre
        review by     2027-03-01
        agents        spiffe://prod.example.org/agent/cert-rotator/*
        ticket        required, ^CHG-[0-9]+$
        approval      always; 1 of sre when a person decides
        uses          1, each at most 5m
        parameters    {
                        "type": "object"
                      }
        "#);
    }
}
