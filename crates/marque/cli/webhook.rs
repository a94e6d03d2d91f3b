//! `marque webhook`: who is told what happens, what was not taken, and sending it again.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::{table, visible};
use super::text::{moment_from, or_dash};
use crate::clock::SystemClock;
use crate::webhooks::WebhookView;
use marque_spiffe::Clock;

/// Who is told what happens
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque webhook list
  marque webhook test change-bus --trust-domain prod.example.org
  marque webhook redeliver change-bus --trust-domain prod.example.org")]
pub(super) struct WebhookArgs {
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// List webhooks, how far each has come, and what was put aside
    List,
    /// Send a message of no event
    Test {
        /// The webhook
        #[arg(value_name = "WEBHOOK")]
        name: String,
    },
    /// Send again what was put aside
    Redeliver {
        /// The webhook
        #[arg(value_name = "WEBHOOK")]
        name: String,
        /// The leaf of the log whose message it is; all that was put aside when absent
        #[arg(long)]
        leaf: Option<u64>,
    },
}

/// In JSON.
#[derive(Debug, Serialize)]
struct Taken {
    webhook: String,
    taken: u64,
}

impl WebhookArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            WebhookCommand::List => list(session).await,
            WebhookCommand::Test { name } => {
                let mut home = session.home().await?;
                home.admin.test_webhook(name.clone()).await?;
                let taken = home.of(Taken { webhook: name, taken: 1 });
                session.output.show(&taken, |_| "The message was taken.".to_owned())
            }
            WebhookCommand::Redeliver { name, leaf } => {
                let mut home = session.home().await?;
                let taken = home.admin.redeliver(name.clone(), leaf).await?;
                let taken = home.of(Taken { webhook: name, taken });
                session.output.show(&taken, |of| format!("Taken: {}.", of.item.taken))
            }
        }
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let found = home.admin.webhooks().await?;
        all.extend(found.into_iter().map(|webhook| home.of(webhook)));
    }
    session.output.show(&all, |all| render(all, SystemClock.now()))
}

fn render(all: &[Of<WebhookView>], now: jiff::Timestamp) -> String {
    if all.is_empty() {
        return "No webhooks.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        [
            item.name.clone(),
            trust_domain.clone(),
            item.behind.to_string(),
            moment_from(item.delivered_at, now),
            item.failed.to_string(),
            item.dead.len().to_string(),
            visible(&or_dash(item.failure.as_deref().unwrap_or_default())),
        ]
    });
    table(["WEBHOOK", "TRUST DOMAIN", "BEHIND", "LAST TAKEN", "TRIES", "ASIDE", "WHY"], rows)
}
