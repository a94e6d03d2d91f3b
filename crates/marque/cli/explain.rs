//! `marque explain`: why a process gets the identities that it gets, or none.

use clap::{Args, Subcommand};

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::{pairs, put, table, visible};
use super::text::{lines, moment, short_digest};
use crate::grpc::admin::{
    EarnedView, ExplanationView, FindingView, MissingView, NearView, ProfilesView,
    RefusedCallerView, TemplateView,
};

/// Say why a process gets the identities that it gets, or none: what it attests as, and what is missing
///
/// A caller without an identity is told `no identity issued` and no more; this is where its operator learns why.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque explain pid 4711                                      in every trust domain
  marque explain pid 4711 --trust-domain dev.example.org
  marque explain denials                                       who was refused lately, also if it has exited since

The selectors that are shown here may hold what a workload was told in confidence. They stand in no log, but for those
that `log_selectors` in [attestation] of the trust domain allows.")]
pub(super) struct ExplainArgs {
    #[command(subcommand)]
    command: ExplainCommand,
}

#[derive(Debug, Subcommand)]
enum ExplainCommand {
    /// One running process
    Pid {
        /// Its id, as the daemon sees it; of a process in a container, the id on the host
        #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
    },
    /// The callers that were refused an identity lately, the last first
    Denials,
}

impl ExplainArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            ExplainCommand::Pid { pid } => process(session, pid).await,
            ExplainCommand::Denials => denials(session).await,
        }
    }
}

async fn process(session: &mut Session, pid: i32) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let explained = home.admin.explain(pid).await?;
        all.push(home.of(explained));
    }
    session.output.show(&all, |all| all.iter().map(render).collect::<Vec<_>>().join("\n"))
}

async fn denials(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let denials = home.admin.denials().await?;
        all.extend(denials.into_iter().map(|denied| home.of(denied)));
    }
    session.output.show(&all, |all| render_denials(all))
}

fn render(of: &Of<ExplanationView>) -> String {
    let Of { trust_domain, item } = of;
    let mut text = pairs([
        ("trust domain", trust_domain.clone()),
        ("process", process_line(item)),
        ("fingerprint", fingerprint(item)),
        ("profiles", profiles(&item.profiles)),
    ]);
    text.push_str("\nselectors\n");
    item.attestors.iter().for_each(|found| text.push_str(&finding(found)));
    text.push_str("\nidentities\n");
    if item.earned.is_empty() {
        text.push_str("  none: no entry has all of its selectors among those above\n");
    }
    item.earned.iter().for_each(|earned| text.push_str(&identity(earned)));
    if !item.templates.is_empty() {
        text.push_str("\ntemplates\n");
        item.templates.iter().for_each(|one| text.push_str(&template(one)));
    }
    if !item.near.is_empty() {
        text.push_str("\nalmost\n");
        item.near.iter().for_each(|near| text.push_str(&almost(near)));
    } else if item.earned.is_empty() && item.templates.is_empty() {
        text.push_str(
            "\nNo entry comes close. Add one with `marque entry create`; see its --help.\n",
        );
    }
    text
}

fn process_line(item: &ExplanationView) -> String {
    let mut line = format!("{} (uid {}, gid {})", item.pid, item.uid, item.gid);
    if item.inner_pid_namespace {
        line.push_str(", in a pid namespace of its own");
    }
    if !item.executable_visible {
        line.push_str(
            "\nits executable is hidden from the daemon: no selector comes from it (run the daemon as root or with \
             CAP_SYS_PTRACE, or as the process's user)",
        );
    }
    line
}

fn fingerprint(item: &ExplanationView) -> String {
    if item.fingerprint.is_empty() {
        return "none: an attestor failed, and nobody is attested in part".to_owned();
    }
    item.fingerprint.clone()
}

fn profiles(profiles: &ProfilesView) -> String {
    let ProfilesView { x509_svid, jwt_svid, wit_svid, envoy_sds } = *profiles;
    let switch = |name: &str, on: bool| format!("{name} {}", if on { "on" } else { "off" });
    [
        switch("X.509-SVID", x509_svid),
        switch("JWT-SVID", jwt_svid),
        switch("WIT-SVID", wit_svid),
        switch("Envoy SDS", envoy_sds),
    ]
    .join(", ")
}

fn finding(found: &FindingView) -> String {
    let FindingView { kind, selectors, error } = found;
    if !error.is_empty() {
        return format!("  {}: failed: {}\n", visible(kind), visible(error));
    }
    if selectors.is_empty() {
        return format!("  {}: nothing\n", visible(kind));
    }
    selectors.iter().map(|selector| format!("  {}\n", visible(selector))).collect()
}

fn identity(earned: &EarnedView) -> String {
    let EarnedView { entry, issued, withheld_code, withheld } = earned;
    let id = visible(&entry.spiffe_id);
    if *issued {
        return format!("  {id} (entry {})\n", visible(&entry.id));
    }
    format!("  {id} is withheld: {} (code `{}`)\n", visible(withheld), visible(withheld_code))
}

fn template(one: &TemplateView) -> String {
    let TemplateView { template, pattern, spiffe_id, refused_code, refused, given, limit } = one;
    let what = if refused_code.is_empty() {
        format!("gives {}", visible(spiffe_id))
    } else {
        format!("gives nothing: {} (code `{}`)", visible(refused), visible(refused_code))
    };
    format!("  {} ({}, {given} of {limit} given) {what}\n", visible(template), visible(pattern))
}

fn almost(near: &NearView) -> String {
    let NearView { entry, missing } = near;
    let source = if entry.source.is_empty() { "by command" } else { &entry.source };
    let mut text = format!(
        "  {} (entry {}, {})\n",
        visible(&entry.spiffe_id),
        visible(&entry.id),
        visible(source)
    );
    for MissingView { selector, found } in missing {
        let instead = match found.as_slice() {
            [] => "nothing of that kind was found".to_owned(),
            found => format!("found {}", found.join(" ")),
        };
        put(&mut text, format_args!("    missing {}; {}\n", visible(selector), visible(&instead)));
    }
    text
}

fn render_denials(all: &[Of<RefusedCallerView>]) -> String {
    if all.is_empty() {
        return "Nobody was refused an identity since the daemon started.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        let missing = item.near.first().map(|near| {
            let lacks: Vec<String> = near.missing.iter().map(|one| one.selector.clone()).collect();
            format!("{}\n{}", near.entry.spiffe_id, lines(&lacks))
        });
        [
            moment(item.at),
            trust_domain.clone(),
            item.pid.to_string(),
            item.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            format!("{} {}x", item.method, item.times),
            item.code.clone(),
            short_digest(&item.fingerprint),
            missing.map_or_else(|| "-".to_owned(), |text| text.replace('\n', " lacks ")),
        ]
    });
    table(["LAST", "TRUST DOMAIN", "PID", "UID", "CALLED", "CODE", "FINGERPRINT", "ALMOST"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::admin::EntryView;

    fn entry(path: &str) -> EntryView {
        EntryView {
            id: "0193".to_owned(),
            spiffe_id: format!("spiffe://prod.example.org{path}"),
            selectors: Vec::new(),
            role: "agent",
            owner: "group:sre".to_owned(),
            hint: String::new(),
            dns_names: Vec::new(),
            federates_with: Vec::new(),
            x509_svid_lifetime_s: None,
            jwt_svid_lifetime_s: None,
            repository: String::new(),
            audiences: Vec::new(),
            may_delegate: true,
            may_act_for_others: true,
            expires_at: None,
            source: String::new(),
        }
    }

    fn explanation() -> ExplanationView {
        let failed = FindingView {
            kind: "docker".to_owned(),
            selectors: Vec::new(),
            error: "the engine does not answer".to_owned(),
        };
        let unix = FindingView {
            kind: "unix".to_owned(),
            selectors: vec!["unix:path:/bin/\u{1b}[31ma".to_owned(), "unix:uid:1000".to_owned()],
            error: String::new(),
        };
        let missing = |selector: &str, found: &[&str]| MissingView {
            selector: selector.to_owned(),
            found: found.iter().map(ToString::to_string).collect(),
        };
        ExplanationView {
            pid: 4711,
            uid: 1000,
            gid: 1000,
            executable_visible: true,
            inner_pid_namespace: false,
            attestors: vec![unix, failed],
            fingerprint: String::new(),
            earned: vec![EarnedView {
                entry: entry("/agent/a"),
                issued: false,
                withheld_code: "killed".to_owned(),
                withheld: "stopped by the kill switch".to_owned(),
            }],
            near: vec![NearView {
                entry: entry("/agent/b"),
                missing: vec![
                    missing("unix:path:/bin/b", &["unix:path:/bin/a"]),
                    missing("docker:label:a:b", &[]),
                ],
            }],
            templates: vec![TemplateView {
                template: "team".to_owned(),
                pattern: "spiffe://prod.example.org/agent/{k8s:ns}".to_owned(),
                spiffe_id: String::new(),
                refused_code: "template_selector_missing".to_owned(),
                refused: "it has no selector `k8s:ns:…`".to_owned(),
                given: 3,
                limit: 10,
            }],
            profiles: ProfilesView {
                x509_svid: true,
                jwt_svid: true,
                wit_svid: false,
                envoy_sds: true,
            },
            kills: Vec::new(),
        }
    }

    #[test]
    fn an_explanation_says_what_was_found_what_it_earns_and_what_is_missing() {
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: explanation() };
        insta::assert_snapshot!(render(&of), @r#"
        trust domain  prod.example.org
        process       4711 (uid 1000, gid 1000)
        fingerprint   none: an attestor failed, and nobody is attested in part
        profiles      X.509-SVID on, JWT-SVID on, WIT-SVID off, Envoy SDS on

        selectors
          unix:path:/bin/\u{1b}[31ma
          unix:uid:1000
          docker: failed: the engine does not answer

        identities
          spiffe://prod.example.org/agent/a is withheld: stopped by the kill switch (code `killed`)

        templates
          team (spiffe://prod.example.org/agent/{k8s:ns}, 3 of 10 given) gives nothing: it has no selector `k8s:ns:…` (code `template_selector_missing`)

        almost
          spiffe://prod.example.org/agent/b (entry 0193, by command)
            missing unix:path:/bin/b; found unix:path:/bin/a
            missing docker:label:a:b; nothing of that kind was found
        "#);
    }

    #[test]
    fn a_process_that_nothing_fits_is_shown_the_way_on() {
        let (earned, near, templates) = (Vec::new(), Vec::new(), Vec::new());
        let item = ExplanationView { earned, near, templates, ..explanation() };
        let text = render(&Of { trust_domain: "prod.example.org".to_owned(), item });
        assert!(text.contains("none: no entry") && text.contains("marque entry create"), "{text}");
    }

    #[test]
    fn without_refusals_the_table_says_so() {
        assert!(render_denials(&[]).contains("Nobody was refused"));
    }
}
