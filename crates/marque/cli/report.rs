//! `marque report`: what a trust domain's operators should know of and nobody asked about.

mod approvers;

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use marque_registry::Lifetime;
use marque_spiffe::Clock as _;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::{put, table, visible};
use super::text::{moment, or_dash, short_digest};
use crate::clock::SystemClock;
use crate::grpc::admin::{HolderView, ReportView, SharedIdentityView};
use crate::reports::Which;

/// Report what operators should know of
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque report shared-identities                      what was recorded in the last 24 hours, and what is shared now
  marque report shared-identities --since 30d
  marque report approvers --fail                       for a job: exit code 1 when somebody waves requests through
  marque report shared-identities --since 2026-11-22T00:00:00Z --output json
  marque report shared-identities --fail               for a job: exit code 1 when there is any
  marque report all --since 30d
  marque report near-permanent --since 90d --output json")]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// What approvers decided in the last 30 days, and how fast
    ///
    /// A median under three seconds is a rubber stamp: nobody reads that fast.
    Approvers {
        /// End with exit code 1 when somebody decides that fast
        #[arg(long)]
        fail: bool,
    },
    /// Everything below but the shared identities
    All(PeriodArgs),
    /// The same grant for the same agent, renewed again and again
    Renewed(PeriodArgs),
    /// Playbooks that are in force most of the time
    NearPermanent(PeriodArgs),
    /// What is past its review
    Exceptions(PeriodArgs),
    /// Where an agent may do more than a person with the same job (`roles/*.toml`)
    OverGrant(PeriodArgs),
    /// What became of refusals: repaired within an hour, or got round by breaking the glass
    Denials(PeriodArgs),
    /// What nobody answers for
    Unowned(PeriodArgs),
    /// How people decide: how fast, and how often they say yes
    Approvals(PeriodArgs),
    /// Every glass that was broken, whose review is overdue, and how often it happens
    BreakGlass(PeriodArgs),
    /// The identities that more than one program used
    ///
    /// Two programs are two when attestation can tell them apart. What was recorded comes from the log of the trust domain
    /// and survives a restart; what is shared now is what this daemon sees.
    SharedIdentities {
        /// How far back to look in the log: a lifetime such as 24h or 30d, or an instant
        #[arg(long, value_name = "LIFETIME|INSTANT", default_value = "24h")]
        since: Since,
        /// End with exit code 1 when there is any whose entries do not say `shared = true`
        #[arg(long)]
        fail: bool,
    },
}

/// The period of a report.
#[derive(Debug, Args)]
struct PeriodArgs {
    /// How far back to look in the log: a lifetime such as 24h or 30d, or an instant
    #[arg(long, value_name = "LIFETIME|INSTANT", default_value = "30d")]
    since: Since,
    /// End with exit code 1 when somebody has to act
    #[arg(long)]
    fail: bool,
}

/// How far back a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Ago(Duration),
    At(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(lifetime) = text.parse::<Lifetime>() {
            return Ok(Self::Ago(lifetime.as_duration()));
        }
        text.parse().map(Self::At).map_err(|_neither| {
            "is neither a lifetime such as `24h` nor an instant such as `2026-11-22T00:00:00Z`"
        })
    }
}

impl Since {
    pub(super) fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(length) => now.checked_sub(length).unwrap_or(Timestamp::MIN),
            Self::At(instant) => instant,
        }
    }
}

impl ReportArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (which, PeriodArgs { since, fail }) = match self.command {
            ReportCommand::Approvers { fail } => return approvers::run(session, fail).await,
            ReportCommand::SharedIdentities { since, fail } => {
                return shared_identities(session, since, fail).await;
            }
            ReportCommand::All(period) => (Which::ALL.to_vec(), period),
            ReportCommand::Renewed(period) => (vec![Which::Renewed], period),
            ReportCommand::NearPermanent(period) => (vec![Which::NearPermanent], period),
            ReportCommand::Exceptions(period) => (vec![Which::Exceptions], period),
            ReportCommand::OverGrant(period) => (vec![Which::OverGrant], period),
            ReportCommand::Denials(period) => (vec![Which::Denials], period),
            ReportCommand::Unowned(period) => (vec![Which::Unowned], period),
            ReportCommand::Approvals(period) => (vec![Which::Approvals], period),
            ReportCommand::BreakGlass(period) => (vec![Which::BreakGlass], period),
        };
        findings(session, &which, since, fail).await
    }
}

/// Makes these reports and shows them.
pub(super) async fn findings(
    session: &mut Session,
    which: &[Which],
    since: Since,
    fail: bool,
) -> Result<(), Failure> {
    let since = since.instant(SystemClock.now());
    let names: Vec<String> = which.iter().map(ToString::to_string).collect();
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let found = home.admin.reports(names.clone(), Some(since)).await?;
        all.extend(found.into_iter().map(|finding| home.of(finding)));
    }
    session.output.show(&all, |all| render_findings(all, since))?;
    match all.iter().filter(|finding| finding.item.act).count() {
        count if fail && count > 0 => {
            Err(Failure::failed(format!("{count} findings want somebody to act")))
        }
        _ => Ok(()),
    }
}

fn render_findings(all: &[Of<ReportView>], since: Timestamp) -> String {
    if all.is_empty() {
        return format!("Nothing to report since {}.", moment(Some(since)));
    }
    table(
        ["REPORT", "", "SUBJECT", "OWNER", "FINDING"],
        all.iter().map(|Of { trust_domain: _, item }| {
            [
                item.report.clone(),
                if item.act { "!".to_owned() } else { String::new() },
                item.subject.clone(),
                or_dash(&item.owner),
                item.summary.clone(),
            ]
        }),
    )
}

async fn shared_identities(session: &mut Session, since: Since, fail: bool) -> Result<(), Failure> {
    let since = since.instant(SystemClock.now());
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let shared = home.admin.shared_identities(Some(since)).await?;
        all.extend(shared.into_iter().map(|identity| home.of(identity)));
    }
    session.output.show(&all, |all| render(all, since))?;
    match all.iter().filter(|identity| identity.item.declared.is_empty()).count() {
        count if fail && count > 0 => {
            Err(Failure::failed(format!("{count} identities are shared"))
                .next("give each program an entry of its own; see `marque entry create --help`"))
        }
        _ => Ok(()),
    }
}

fn render(all: &[Of<SharedIdentityView>], since: Timestamp) -> String {
    if all.is_empty() {
        return format!(
            "No identity was used by more than one program since {}, and none is now.",
            moment(Some(since))
        );
    }
    let mut text = String::new();
    for Of { trust_domain: _, item } in all {
        put(
            &mut text,
            format_args!(
                "{} (owner {}): {}; recorded {}x, refused {}x, last {}\n",
                visible(&item.spiffe_id),
                visible(&or_dash(&item.owner)),
                if item.now { "shared now" } else { "not shared now" },
                item.records,
                item.refusals,
                moment(item.last_record_at),
            ),
        );
        for declared in &item.declared {
            put(
                &mut text,
                format_args!(
                    "shared on purpose by entry {} (owner {}): {}\n",
                    visible(&declared.entry_id),
                    visible(&declared.owner),
                    visible(&declared.reason),
                ),
            );
        }
        if item.holders.is_empty() {
            text.push_str("no program was seen to use it since\n\n");
            continue;
        }
        text.push_str(&table(
            ["PROGRAM", "UID", "PIDS", "FIRST", "LAST", "", "SELECTORS"],
            item.holders.iter().map(row),
        ));
        text.push('\n');
    }
    text.push_str(
        "Give each program an entry of its own (`marque entry create`); `sharing = \"deny\"` in [identities] of the \
         trust domain refuses whoever comes second. `marque explain pid` says what a process looks like.",
    );
    text
}

fn row(holder: &HolderView) -> [String; 7] {
    let state = match (holder.refused, holder.present) {
        (true, _) => "refused",
        (false, true) => "connected",
        (false, false) => "-",
    };
    let pids: Vec<String> = holder.pids.iter().map(ToString::to_string).collect();
    [
        short_digest(&holder.fingerprint),
        holder.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
        pids.join(" "),
        moment(holder.first_seen_at),
        moment(holder.last_seen_at),
        state.to_owned(),
        or_dash(&holder.selectors.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::admin::DeclaredSharingView;

    fn holder(digit: &str, pids: &[i32], refused: bool) -> HolderView {
        HolderView {
            fingerprint: digit.repeat(64),
            uid: Some(1000),
            pids: pids.to_vec(),
            first_seen_at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            last_seen_at: Some("2026-11-22T03:05:00Z".parse().unwrap()),
            present: !refused,
            refused,
            selectors: vec!["unix:uid:1000".to_owned()],
        }
    }

    #[test]
    fn a_shared_identity_shows_who_uses_it() {
        let identity = SharedIdentityView {
            spiffe_id: "spiffe://prod.example.org/agent/a".to_owned(),
            owner: "group:sre".to_owned(),
            holders: vec![holder("a", &[4711, 4712], false), holder("b", &[4800], true)],
            records: 2,
            refusals: 2,
            last_record_at: Some("2026-11-22T03:04:00Z".parse().unwrap()),
            now: false,
            declared: Vec::new(),
        };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: identity };
        insta::assert_snapshot!(render(&[of], Timestamp::UNIX_EPOCH), @r#"
        spiffe://prod.example.org/agent/a (owner group:sre): not shared now; recorded 2x, refused 2x, last 2026-11-22 03:04:00 UTC
        PROGRAM       UID   PIDS       FIRST                    LAST                                SELECTORS
        aaaaaaaaaaaa  1000  4711 4712  2026-11-22 03:00:00 UTC  2026-11-22 03:05:00 UTC  connected  unix:uid:1000
        bbbbbbbbbbbb  1000  4800       2026-11-22 03:00:00 UTC  2026-11-22 03:05:00 UTC  refused    unix:uid:1000

        Give each program an entry of its own (`marque entry create`); `sharing = "deny"` in [identities] of the trust domain refuses whoever comes second. `marque explain pid` says what a process looks like.
        "#);
    }

    #[test]
    fn an_identity_that_is_shared_on_purpose_says_why() {
        let declared = DeclaredSharingView {
            entry_id: "a-blue".to_owned(),
            owner: "group:sre".to_owned(),
            reason: "two units of one agent".to_owned(),
        };
        let identity = SharedIdentityView {
            spiffe_id: "spiffe://prod.example.org/agent/a".to_owned(),
            owner: "group:sre".to_owned(),
            holders: Vec::new(),
            records: 0,
            refusals: 0,
            last_record_at: None,
            now: false,
            declared: vec![declared],
        };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: identity };
        let text = render(&[of], Timestamp::UNIX_EPOCH);
        let line = "shared on purpose by entry a-blue (owner group:sre): two units of one agent\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn without_any_the_report_says_since_when() {
        let text = render(&[], Timestamp::UNIX_EPOCH);
        assert!(text.contains("No identity") && text.contains("1970-01-01 00:00:00 UTC"), "{text}");
    }

    #[test]
    fn a_report_looks_back_for_a_while_or_to_an_instant() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Since>().map(|since| since.instant(now).to_string());
        assert_eq!(at("24h").unwrap(), "2026-11-21T03:00:00Z");
        assert_eq!(at("2026-11-01T00:00:00Z").unwrap(), "2026-11-01T00:00:00Z");
        assert!(at("yesterday").is_err());
    }
}
