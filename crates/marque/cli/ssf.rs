//! `marque ssf`: who is told what was stopped, whose word stops somebody, and whether events arrive.

use clap::{Args, Subcommand};
use marque_spiffe::Clock;
use serde::Serialize;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::{table, visible};
use super::text::{moment_from, or_dash};
use crate::clock::SystemClock;
use crate::ssf::{SignalDirection, SignalView};

/// Shared signals: who is told what was stopped, and whose word stops somebody here
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque ssf status
  marque ssf verify crm --trust-domain prod.example.org
  marque ssf verify crm --state 4711 --trust-domain prod.example.org")]
pub(super) struct SsfArgs {
    #[command(subcommand)]
    command: SsfCommand,
}

#[derive(Debug, Subcommand)]
enum SsfCommand {
    /// List streams and transmitters, what waits, and why something was not taken
    Status,
    /// Send a stream's receiver a verification event; one that fetches finds it with the others
    Verify {
        /// The stream
        #[arg(value_name = "STREAM")]
        stream: String,
        /// What the receiver is to hear again
        #[arg(long)]
        state: Option<String>,
    },
}

/// In JSON.
#[derive(Debug, Serialize)]
struct Verified {
    stream: String,
    /// Whether the receiver has it; otherwise it waits to be fetched.
    taken: bool,
}

impl SsfArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            SsfCommand::Status => status(session).await,
            SsfCommand::Verify { stream, state } => {
                let mut home = session.home().await?;
                home.admin.verify_signals(stream.clone(), state).await?;
                let polled = home.admin.signals().await?.into_iter().any(|signal| {
                    signal.name == stream && signal.direction == SignalDirection::Poll
                });
                let verified = home.of(Verified { stream, taken: !polled });
                session.output.show(&verified, |verified| {
                    let taken = verified.item.taken;
                    if taken { "The event was taken." } else { "The event waits to be fetched." }
                        .to_owned()
                })
            }
        }
    }
}

async fn status(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let found = home.admin.signals().await?;
        all.extend(found.into_iter().map(|signal| home.of(signal)));
    }
    session.output.show(&all, |all| render(all, SystemClock.now()))
}

fn render(all: &[Of<SignalView>], now: jiff::Timestamp) -> String {
    if all.is_empty() {
        return "No streams and no transmitters.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        let direction = match item.direction {
            SignalDirection::Push => "push",
            SignalDirection::Poll => "poll",
            SignalDirection::Receive => "receive",
        };
        [
            item.name.clone(),
            trust_domain.clone(),
            direction.to_owned(),
            visible(&item.peer),
            item.behind.to_string(),
            item.waiting.to_string(),
            moment_from(item.delivered_at, now),
            item.failed.to_string(),
            item.aside.len().to_string(),
            visible(&or_dash(item.failure.as_deref().unwrap_or_default())),
        ]
    });
    let head = [
        "NAME",
        "TRUST DOMAIN",
        "WAY",
        "PEER",
        "BEHIND",
        "WAITING",
        "LAST TAKEN",
        "TRIES",
        "ASIDE",
        "WHY",
    ];
    table(head, rows)
}
