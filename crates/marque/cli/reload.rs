//! `marque reload`: has a running daemon read a trust domain's folder anew.

use clap::Args;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::plan::sentences;
use crate::issuer::reload::{Changes, ReloadReport, ReloadResult};

/// Have the daemon read a trust domain's folder anew: all of it or nothing
///
/// Every file is read and checked first, and new listeners are bound; when anything is wrong, or would need a restart, everything
/// stays as it was and every finding is told with file and line. No request fails meanwhile, and nobody who is connected is sent
/// away. Open grants are then held against the new rules. `marque plan` says beforehand what needs a restart.
/// With --dry-run it says what would change in the sentences of `marque plan`, what is wider first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque reload --dry-run --trust-domain prod.example.org   say what would change, and change nothing
  marque reload --trust-domain prod.example.org
  marque --output json reload                               what changed, or code and findings
  marque --output json reload --dry-run | jq '.[].plan.changes[] | select(.effect == \"wider\")'
  systemctl reload marque                                   the same by SIGHUP, for every trust domain")]
pub(super) struct ReloadArgs {
    /// Say what it would come to, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl ReloadArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut refused = 0_usize;
        let mut all = Vec::new();
        for mut home in session.homes().await? {
            let report = home.admin.reload(self.dry_run).await?;
            refused += usize::from(report.result == ReloadResult::Refused);
            all.push(home.of(report));
        }
        session.output.show(&all, |all| all.iter().map(render).collect::<Vec<_>>().join("\n\n"))?;
        match refused {
            0 => Ok(()),
            _ => Err(Failure::failed("the folder is refused; everything is as it was")),
        }
    }
}

fn render(of: &Of<ReloadReport>) -> String {
    let Of { trust_domain, item: report } = of;
    let mut lines = vec![match report.result {
        ReloadResult::Reloaded => format!("{trust_domain}: reloaded, {}", report.digest),
        ReloadResult::WouldReload => format!("{trust_domain}: would reload, {}", report.digest),
        ReloadResult::Refused => {
            let code = report.code.map(|code| code.as_str()).unwrap_or_default();
            format!("{trust_domain}: refused ({code}); {} stays in force", report.digest_before)
        }
    }];
    lines.extend(report.findings.iter().map(|found| format!("  {found}")));
    if report.files.is_empty() {
        lines.push("  no file differs".to_owned());
    }
    for (what, all, changes) in [
        ("file", "files", &report.files),
        ("entry", "entries", &report.entries),
        ("template", "templates", &report.templates),
        ("playbook", "playbooks", &report.playbooks),
    ] {
        lines.extend(changes.counted().map(|counted| format!("  {all}: {counted}")));
        lines.extend(changed(what, changes));
    }
    if report.policy_changed {
        lines.push("  the policy set is another one".to_owned());
    }
    match (report.grants_ended, report.begun_anew) {
        (Some(0) | None, Some(0) | None) => {}
        (ended, anew) => lines.push(format!(
            "  open grants: {} ended, {} back at their first approver",
            ended.unwrap_or_default(),
            anew.unwrap_or_default()
        )),
    }
    if report.result == ReloadResult::Reloaded && report.grants_ended.is_none() {
        lines.push(
            "  open grants could not be held against the new rules yet; it is tried again"
                .to_owned(),
        );
    }
    if let Some(plan) = &report.plan {
        lines.push(match plan.changes.is_empty() {
            true => "  nothing would change".to_owned(),
            false => "  what would change:".to_owned(),
        });
        lines.extend(sentences(plan));
    }
    lines.join("\n")
}

fn changed<'a>(what: &'a str, changes: &'a Changes) -> impl Iterator<Item = String> + 'a {
    let Changes { added, removed, changed } = changes;
    let told = move |names: &'a [String], how: &'static str| {
        names.iter().map(move |name| format!("    {what} {name}: {how}"))
    };
    told(added, "new").chain(told(changed, "changed")).chain(told(removed, "gone"))
}

#[cfg(test)]
mod tests {
    use marque_intent::Effect;

    use crate::issuer::reload::{FoundView, ReloadCode};
    use crate::plan::{Change, Kind, Standing, TrustDomainPlan};

    use super::*;

    #[test]
    fn what_changed_and_what_stands_in_the_way_is_told() {
        let mut report = ReloadReport {
            result: ReloadResult::Reloaded,
            code: None,
            findings: Vec::new(),
            digest_before: "sha256:a".to_owned(),
            digest: "sha256:b".to_owned(),
            files: Changes { changed: vec!["entries/a.toml".to_owned()], ..Changes::default() },
            entries: Changes { added: vec!["rotator".to_owned()], ..Changes::default() },
            templates: Changes { removed: vec!["team".to_owned()], ..Changes::default() },
            playbooks: Changes::default(),
            policy_changed: false,
            grants_ended: Some(2),
            begun_anew: Some(0),
            plan: None,
        };
        let told = |report: &ReloadReport| {
            render(&Of { trust_domain: "example.org".to_owned(), item: report.clone() })
        };
        assert_eq!(
            told(&report),
            "example.org: reloaded, sha256:b\n  files: 0 new, 1 changed, 0 gone\n    file entries/a.toml: changed\n  \
             entries: 1 new, 0 changed, 0 gone\n    entry rotator: new\n  templates: 0 new, 0 changed, 1 gone\n    \
             template team: gone\n  open grants: 2 ended, 0 back at their first approver"
        );
        let change = Change {
            effect: Effect::Wider,
            kind: Kind::Setting,
            subject: "trust-domain.toml".to_owned(),
            path: None,
            sentence: "more".to_owned(),
        };
        let planned = |changes| ReloadReport {
            result: ReloadResult::WouldReload,
            plan: Some(TrustDomainPlan {
                trust_domain: "example.org".to_owned(),
                environment: "production".to_owned(),
                standing: Standing::Changed,
                restart: Vec::new(),
                changes,
            }),
            ..report.clone()
        };
        let text = told(&planned(vec![change]));
        assert!(text.ends_with("\n  what would change:\n  wider      more"), "{text}");
        assert!(told(&planned(Vec::new())).ends_with("\n  nothing would change"));
        report.result = ReloadResult::Refused;
        report.code = Some(ReloadCode::FolderInvalid);
        let (file, message) = ("entries/a.toml".to_owned(), "no owner".to_owned());
        report.findings = vec![FoundView { file, line: Some(3), message }];
        (report.grants_ended, report.begun_anew) = (None, None);
        let text = told(&report);
        assert!(text.starts_with("example.org: refused (folder_invalid); sha256:a stays in force"));
        assert!(text.contains("entries/a.toml:3: no owner"), "{text}");
    }
}
