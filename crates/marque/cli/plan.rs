//! `marque plan`: what would change if this folder took the place of what is served, or of another folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use marque_intent::Effect;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::visible;
use crate::issuer::folder::{self, CheckedFolder};
use crate::plan::{Plan, Standing, TrustDomainPlan};

/// Say what a folder would change: who gains or loses which identity and playbook, and every setting
///
/// Compares DIR with what the running daemon serves, or with another folder, such as a checkout of the main branch. What is
/// wider comes first. Nothing is changed, neither here nor there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque plan trust-domains                           against the running daemon
  marque plan --from /tmp/main/trust-domains          against another folder
  git worktree add /tmp/main main && marque plan --from /tmp/main/trust-domains trust-domains
  marque plan --exit-code                             for CI: 2 when something would change
  marque plan --refuse-wider                          for CI: 1 when something became wider, or nobody can say
  marque --output json plan | jq -r '.trust_domains[].changes[] | select(.effect == \"wider\") | .sentence'

Exit codes: 0 done (with --exit-code: nothing would change), 1 it failed or --refuse-wider refuses, 2 the command line is
wrong (with --exit-code: something would change)")]
pub(super) struct PlanArgs {
    /// A trust domain's folder, or a folder of such folders: the state that is wanted
    #[arg(value_name = "DIR", default_value = "./trust-domains")]
    folder: PathBuf,
    /// Compare with this folder and not with the running daemon
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Compare with the running daemon, as without --from
    #[arg(long, conflicts_with = "from")]
    daemon: bool,
    /// End with exit code 2 when something would change
    #[arg(long)]
    exit_code: bool,
    /// Fail when something becomes wider, or nobody can say without looking
    #[arg(long)]
    refuse_wider: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether anything would change.
    changed: bool,
    summary: Summary,
    trust_domains: Vec<TrustDomainPlan>,
}

/// How many changes there are of each effect.
#[derive(Debug, Default, Serialize)]
struct Summary {
    wider: usize,
    unclear: usize,
    narrower: usize,
    described: usize,
}

impl PlanArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        let after = checked(&self.folder)?;
        let plan = match &self.from {
            Some(from) => Plan::between(&checked(from)?, &after),
            None => {
                let alone = self.folder.join("trust-domain.toml").is_file();
                from_daemon(session, after, alone).await?
            }
        };
        let report = Report::of(plan);
        session.output.show(&report, render)?;
        if self.refuse_wider && report.summary.wider + report.summary.unclear > 0 {
            return Err(Failure::failed(
                "the folder may permit more than what it is compared with",
            ));
        }
        let changed = self.exit_code && report.changed;
        Ok(if changed { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}

/// The trust domains of a folder, all of them sound.
fn checked(path: &Path) -> Result<Vec<CheckedFolder>, Failure> {
    let folders = folder::find(path).map_err(|finding| Failure::usage(finding.to_string()))?;
    let mut sound = Vec::new();
    for folder in folders {
        let checked = folder::check(&folder).map_err(|findings| unsound(path, &findings))?;
        sound.push(checked);
    }
    let across = folder::across_the_firebreak(&sound);
    if across.is_empty() { Ok(sound) } else { Err(unsound(path, &across)) }
}

fn unsound(path: &Path, findings: &[marque_registry::Finding]) -> Failure {
    let first = findings.first().map_or_else(String::new, ToString::to_string);
    Failure::failed(format!("`{}` has findings; the first is {first}", path.display()))
        .next("repair it first: `marque check` shows every finding")
}

/// Against the daemon. A trust domain of the folder that it does not serve is new where the daemon serves its environment, and
/// another daemon's elsewhere; a folder of one trust domain says nothing of the others.
/// What the daemon serves beside `after`; where that is the folder of one trust domain `alone`, beside nothing else.
async fn from_daemon(
    session: &mut Session,
    after: Vec<CheckedFolder>,
    alone: bool,
) -> Result<Plan, Failure> {
    let mut before = Vec::new();
    // The folders that are compared are read from here, and stay until that is done.
    let mut kept = Vec::new();
    for mut home in session.homes().await? {
        let sources = home.admin.sources().await?;
        let folder = tempfile::tempdir()?;
        sources.write_below(folder.path())?;
        let served = folder::check(folder.path()).map_err(|findings| {
            let first = findings.first().map_or_else(String::new, ToString::to_string);
            Failure::failed(format!("what the daemon serves does not read here: {first}"))
                .next("use the `marque` of the daemon's version")
        })?;
        before.push(served);
        kept.push(folder);
    }
    let named = session.place.names();
    let of_daemon = |one: &CheckedFolder| {
        let document = &one.folder.document;
        let is_served = |served: &CheckedFolder| {
            let of = &served.folder.document;
            of.name() == document.name() || of.environment() == document.environment()
        };
        match named.is_empty() {
            true => before.iter().any(is_served),
            false => named.contains(document.name()),
        }
    };
    let alone = alone.then(|| after.first().map(|one| one.folder.document.name().clone()));
    let after: Vec<&CheckedFolder> = after.iter().filter(|one| of_daemon(one)).collect();
    if after.is_empty() {
        let failed = Failure::failed(
            "the daemon serves none of these trust domains, nor others of their environment",
        );
        return Err(
            failed.next("name the folder of a trust domain that it serves; see `marque status`")
        );
    }
    if let Some(only) = alone.flatten() {
        before.retain(|served| *served.folder.document.name() == only);
    }
    Ok(Plan::between(&before, after))
}

impl Report {
    fn of(plan: Plan) -> Self {
        let mut summary = Summary::default();
        for change in plan.changes() {
            let count = match change.effect {
                Effect::Wider => &mut summary.wider,
                Effect::Unclear => &mut summary.unclear,
                Effect::Narrower => &mut summary.narrower,
                Effect::Described => &mut summary.described,
            };
            *count += 1;
        }
        let changed = !plan.is_empty();
        Self { changed, summary, trust_domains: plan.trust_domains }
    }
}

/// What would change, a line each.
pub(super) fn sentences(plan: &TrustDomainPlan) -> impl Iterator<Item = String> + '_ {
    plan.changes
        .iter()
        .map(|change| visible(&format!("  {:9}  {}", change.effect.to_string(), change.sentence)))
}

fn render(report: &Report) -> String {
    if !report.changed {
        return "Nothing would change.".to_owned();
    }
    let mut lines = Vec::new();
    for plan in &report.trust_domains {
        let TrustDomainPlan { trust_domain, environment, standing, restart, .. } = plan;
        let standing = match standing {
            Standing::Added => "is new",
            Standing::Removed => "is gone",
            Standing::Changed => "changes",
            Standing::Same => "stays as it is",
        };
        lines.push(visible(&format!("{trust_domain} ({environment}) {standing}")));
        lines.extend(sentences(plan));
        lines.extend(restart.iter().map(|why| visible(&format!("  restart    {why}"))));
    }
    let Summary { wider, unclear, narrower, described } = &report.summary;
    lines.push(format!(
        "{wider} wider, {unclear} to look at, {narrower} narrower, {described} only described"
    ));
    lines.join("\n")
}
