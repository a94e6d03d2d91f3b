//! `marque status`: how the daemon is.

use clap::Args;

use super::Session;
use super::failure::Failure;
use super::output::pairs;
use super::text::moment;
use crate::grpc::admin::StatusView;

/// Show how the daemon is, one trust domain after the other
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

impl StatusArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut all = Vec::new();
        for mut home in session.homes().await? {
            all.push(home.admin.status().await?);
        }
        session.output.show(&all, |all| all.iter().map(render).collect::<Vec<_>>().join("\n"))
    }
}

fn render(status: &StatusView) -> String {
    pairs([
        ("trust domain", status.trust_domain.clone()),
        ("environment", status.environment.to_owned()),
        ("version", status.version.clone()),
        ("running since", moment(status.started_at)),
        ("entries", format!("{} (revision {})", status.entries, status.registry_revision)),
        ("playbooks", status.playbooks.to_string()),
        ("bundle", format!("sequence {}", status.bundle_sequence)),
        ("kill epoch", status.kill_epoch.to_string()),
        ("log", format!("{} leaves", status.log_size)),
    ])
}
