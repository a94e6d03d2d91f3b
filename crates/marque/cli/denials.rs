//! `marque denials`: which requests were refused, and what an operator can do about it.

use clap::{Args, Subcommand};
use marque_intent::{DenialCode, DenialId};
use marque_spiffe::{Clock as _, SpiffeId};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::{pairs, table};
use super::report::Since;
use super::text::{lines, moment, or_dash};
use crate::clock::SystemClock;
use crate::grpc::admin::RefusalView;

/// Show the requests for intents that were refused, and why
///
/// An agent is told a code and how to go on; here is what failed, what was wanted and what was found, and which policies
/// decided. Refusals are kept for 30 days, and in the log for ever.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque denials list --since 1h
  marque denials list --agent spiffe://prod.example.org/agent/cert-rotator/a --code ticket_state
  marque denials show den_01abcdefghjkmnpqrstvwxyz01")]
pub(super) struct DenialsArgs {
    #[command(subcommand)]
    command: DenialsCommand,
}

#[derive(Debug, Subcommand)]
enum DenialsCommand {
    /// List refusals, newest first
    List {
        /// Only those of this agent
        #[arg(long, value_name = "SPIFFE-ID")]
        agent: Option<SpiffeId>,
        /// Only those with this code
        #[arg(long)]
        code: Option<DenialCode>,
        /// How far back to look: a lifetime such as 24h or 30d, or an instant
        #[arg(long, value_name = "LIFETIME|INSTANT", default_value = "24h")]
        since: Since,
        /// At most so many of each trust domain
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one refusal with everything that is known of it
    Show {
        /// The refusal, as the agent was told it (`request_id`)
        #[arg(value_name = "REFUSAL")]
        id: DenialId,
    },
}

impl DenialsArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            DenialsCommand::List { agent, code, since, limit } => {
                let agent = agent.map(|agent| agent.to_string());
                let code = code.map(|code| code.as_str().to_owned());
                let since = Some(since.instant(SystemClock.now()));
                let mut all = Vec::new();
                for mut home in session.homes().await? {
                    let (agent, code) = (agent.clone(), code.clone());
                    let found = home.admin.refusals(agent, code, since, Some(limit)).await?;
                    all.extend(found.into_iter().map(|refusal| home.of(refusal)));
                }
                session.output.show(&all, |all| listed(all))
            }
            DenialsCommand::Show { id } => {
                let found = find(session, &id).await?;
                session.output.show(&found, |found| shown(&found.item))
            }
        }
    }
}

async fn find(session: &Session, id: &DenialId) -> Result<Of<RefusalView>, Failure> {
    let mut refused = None;
    for at in session.place.several()? {
        let mut home = Home::reach(at).await?;
        match home.admin.refusal(id.to_string()).await {
            Ok(found) => return Ok(home.of(found)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| Failure::failed("no trust domain is served"), Failure::from))
}

fn listed(all: &[Of<RefusalView>]) -> String {
    if all.is_empty() {
        return "Nothing was refused.".to_owned();
    }
    let row = |of: &Of<RefusalView>| {
        let one = &of.item;
        [
            moment(one.at),
            one.id.clone(),
            one.code.clone(),
            or_dash(&one.playbook),
            one.agent.clone(),
        ]
    };
    table(["AT", "REFUSAL", "CODE", "PLAYBOOK", "AGENT"], all.iter().map(row))
}

fn shown(one: &RefusalView) -> String {
    let retry = match (one.retry_allowed, one.retry_after_s, one.tries_left) {
        (false, None, _) => "no".to_owned(),
        (false, Some(wait), _) => format!("no, and nothing before {wait} s are over"),
        (true, wait, left) => {
            let wait = wait.map_or_else(String::new, |wait| format!(" after {wait} s"));
            let left = left.map_or_else(String::new, |left| format!(", {left} times"));
            format!("yes{wait}{left}")
        }
    };
    pairs([
        ("Refusal", one.id.clone()),
        ("At", moment(one.at)),
        ("Agent", one.agent.clone()),
        ("Playbook", or_dash(&one.playbook)),
        ("Ticket", or_dash(&one.ticket)),
        ("Intent", or_dash(&one.intent)),
        ("About", or_dash(&one.about)),
        ("Code", format!("{} ({})", one.code, one.class)),
        ("Detail", or_dash(&one.detail)),
        ("Expected", or_dash(&one.expected)),
        ("Actual", or_dash(&one.actual)),
        ("Policies", lines(&one.rules)),
        ("Policy set", or_dash(&one.policy_set)),
        ("Try again", retry),
        ("The agent", one.remediation.clone()),
        ("You", one.guide.clone()),
        ("See", one.doc.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> RefusalView {
        RefusalView {
            id: "den_01abcdefghjkmnpqrstvwxyz01".to_owned(),
            at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            agent: "spiffe://prod.example.org/agent/cert-rotator/a".to_owned(),
            playbook: "ingress-cert-rotation".to_owned(),
            ticket: "JIRA-1".to_owned(),
            intent: String::new(),
            code: "ticket_format".to_owned(),
            class: "change".to_owned(),
            detail: "the ticket does not fit".to_owned(),
            expected: "^CHG-[0-9]{3,8}$".to_owned(),
            actual: "JIRA-1\u{1b}[2J".to_owned(),
            rules: vec!["prod-needs-a-ticket".to_owned()],
            policy_set: String::new(),
            retry_allowed: true,
            retry_after_s: Some(60),
            tries_left: Some(4),
            about: String::new(),
            remediation: "Name a change ticket that this playbook accepts.".to_owned(),
            doc: "docs/denials.md#ticket_format".to_owned(),
            guide: DenialCode::TicketFormat.guide().to_owned(),
        }
    }

    #[test]
    fn m_112_an_operator_sees_what_was_wanted_what_was_found_and_what_to_do() {
        insta::assert_snapshot!(shown(&refusal()), @r"
        Refusal     den_01abcdefghjkmnpqrstvwxyz01
        At          2026-11-22 03:00:00 UTC
        Agent       spiffe://prod.example.org/agent/cert-rotator/a
        Playbook    ingress-cert-rotation
        Ticket      JIRA-1
        Intent      -
        About       -
        Code        ticket_format (change)
        Detail      the ticket does not fit
        Expected    ^CHG-[0-9]{3,8}$
        Actual      JIRA-1\u{1b}[2J
        Policies    prod-needs-a-ticket
        Policy set  -
        Try again   yes after 60 s, 4 times
        The agent   Name a change ticket that this playbook accepts.
        You         See which tickets the playbook wants (`marque playbook show`), and have the agent name one.
        See         docs/denials.md#ticket_format
        ");
    }

    #[test]
    fn refusals_are_listed_with_code_and_playbook() {
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: refusal() };
        insta::assert_snapshot!(listed(&[of]), @r"
        AT                       REFUSAL                         CODE           PLAYBOOK               AGENT
        2026-11-22 03:00:00 UTC  den_01abcdefghjkmnpqrstvwxyz01  ticket_format  ingress-cert-rotation  spiffe://prod.example.org/agent/cert-rotator/a
        ");
        assert_eq!(listed(&[]), "Nothing was refused.");
    }
}
