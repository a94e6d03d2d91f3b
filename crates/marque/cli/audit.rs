//! `marque audit`: prove the log, copy it, look into it.

mod completeness;
mod export;
mod proof;
mod source;
mod trail;
mod verify;
mod witnesses;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use clap::{Args, Subcommand};
use futures::StreamExt;
use marque_audit::{AuditError, Event, Leaf, VerifierKey, folder};
use marque_intent::IntentId;

use super::Session;
use super::daemon::Home;
use super::failure::Failure;
use super::output::{pairs, visible};
use super::text::or_dash;
use crate::grpc::admin::{LeafView, LogInfoView, RemoteLog};

/// Prove the log, copy it, look into it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque audit info                                  # the size, the newest checkpoint, the key
  marque audit verify                                # the log of a running daemon
  marque audit verify --checkpoint kept.note --key prod.vkey
  marque audit export --to /backup/log               # C2SP tlog-tiles, readable by public tools
  marque audit export --format ocsf --cursor /var/lib/siem/cursor --follow
  marque audit verify --log /backup/log --key prod.vkey
  marque audit verify --key prod.vkey --witness w1.vkey --witness w2.vkey --quorum 1
  marque audit tail --follow
  marque audit path --ticket CHG-1842                # who did what for a ticket, in order
  marque audit prove --token tok_01… --to t.tlog-proof
  marque audit check-proof t.tlog-proof --key prod.vkey   # without any server
  marque audit completeness                          # has everything that happened a record?
  marque audit payload int_01…
  marque audit erase int_01… --reason 'privacy request 17'

Keep checkpoints and the key away from the host: whoever owns it could write the log anew and sign it, but cannot make
it fit a checkpoint that you kept.")]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show the size of the log, its newest checkpoint and the key that verifies it
    Info,
    /// Verify the log: every leaf, the tree, the signature, and that every token had its approved intent
    Verify(verify::VerifyArgs),
    /// Write the proof that one leaf is in the log, for whoever has the key and nothing else
    Prove(proof::ProveArgs),
    /// Check such a proof, without a daemon and without the log
    CheckProof(proof::CheckArgs),
    /// Show what the log says about an agent, a grant, a ticket or a token, in order and with what came of it
    Path(trail::PathArgs),
    /// Hold the tokens of the store, and what others counted, against the records
    Completeness(completeness::CompletenessArgs),
    /// Copy the log into a folder as C2SP tlog-tiles, or write its records in a form that other systems read
    Export(export::ExportArgs),
    /// Show what an agent wrote about an intent and was sealed beside the log; that is a record of the log itself
    Payload {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
    },
    /// Take away what an agent wrote about an intent that is over; the log has digests alone and stays as it is
    Erase {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
        /// Why; operators and the log keep it
        #[arg(long)]
        reason: String,
    },
    /// Print the newest events of the log
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: u64,
        /// Go on with new events as they come
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

/// The file of an exported log with the newest checkpoint that enough witnesses have cosigned.
const COSIGNED: &str = "checkpoint.cosigned";

/// Where a verifier key was given.
#[derive(Debug, Clone)]
struct KeySource(String);

impl From<String> for KeySource {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl KeySource {
    /// A vkey has two plus signs; anything else is a file with one.
    fn read<K: FromStr<Err = AuditError>>(&self) -> Result<K, Failure> {
        if let Ok(key) = self.0.parse() {
            return Ok(key);
        }
        if self.0.matches('+').count() > 1 && !Path::new(&self.0).exists() {
            // Not a file that is missing, but a key that is none.
            let unread = |error| Failure::because(format!("`{}` is no such vkey", self.0), &error);
            return self.0.parse().map_err(unread);
        }
        let text = fs::read_to_string(&self.0).map_err(|error| {
            Failure::because(format!("`{}` is neither a vkey nor a file with one", self.0), &error)
                .next("`marque audit info` shows the key of a running daemon")
        })?;
        text.trim()
            .parse()
            .map_err(|error| Failure::because(format!("no vkey in `{}`", self.0), &error))
    }
}

impl AuditArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            AuditCommand::Info => info(session).await,
            AuditCommand::Verify(args) => args.run(session).await,
            AuditCommand::Prove(args) => args.run(session).await,
            AuditCommand::CheckProof(args) => args.run(session),
            AuditCommand::Path(args) => args.run(session).await,
            AuditCommand::Completeness(args) => args.run(session).await,
            AuditCommand::Export(args) => args.run(session).await,
            AuditCommand::Payload { id } => payload(session, &id).await,
            AuditCommand::Erase { id, reason } => erase(session, &id, reason).await,
            AuditCommand::Tail { lines, follow } => tail(session, lines, follow).await,
        }
    }
}

async fn info(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let info = home.admin.log_info().await?;
        all.push(home.of(info));
    }
    session.output.show(&all, |all| {
        let page = |of: &super::daemon::Of<LogInfoView>| {
            let LogInfoView { size, checkpoint, verifier_key, cosigned_checkpoint } = &of.item;
            pairs([
                ("trust domain", of.trust_domain.clone()),
                ("leaves", size.to_string()),
                ("key", verifier_key.clone()),
                ("checkpoint", or_dash(checkpoint.trim_end())),
                ("cosigned", or_dash(cosigned_checkpoint.trim_end())),
            ])
        };
        all.iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

async fn export_tiles(
    session: &mut Session,
    to: &Path,
    key: Option<KeySource>,
) -> Result<(), Failure> {
    let Home { admin, at } = session.home().await?;
    let log = RemoteLog::open(admin).await?;
    let key = key_of(key, log.info())?;
    fs::create_dir_all(to).map_err(|error| {
        Failure::because(format!("cannot make the folder `{}`", to.display()), &error)
    })?;
    let signed = folder::export(to, &log, &key)
        .await
        .map_err(|error| Failure::because("cannot export the log", &error))?;
    keep_cosigned(to, &log.info().cosigned_checkpoint)?;
    let exported = serde_json::json!({
        "trust_domain": at.name,
        "folder": to,
        "size": signed.checkpoint().size,
        "root": signed.checkpoint().root.to_string(),
        "key": key.to_string(),
    });
    session.output.show(&exported, |_| {
        format!("Copied {} leaves of {} to {}", signed.checkpoint().size, at.name, to.display())
    })
}

/// Keeps what enough witnesses have cosigned beside the newest checkpoint; what an earlier export has kept is older.
fn keep_cosigned(to: &Path, note: &str) -> Result<(), Failure> {
    if note.is_empty() {
        return Ok(());
    }
    let file = to.join(COSIGNED);
    fs::write(&file, note)
        .map_err(|error| Failure::because(format!("cannot write `{}`", file.display()), &error))
}

async fn payload(session: &mut Session, id: &IntentId) -> Result<(), Failure> {
    let (mut home, _) = session.intent(id.as_str()).await?;
    let found: BTreeMap<String, String> =
        home.admin.payloads(id.to_string()).await?.into_iter().collect();
    if found.is_empty() {
        return Err(Failure::failed(format!("nothing of `{id}` is sealed, or it was erased"))
            .next("a playbook has texts sealed with `prompt = \"sealed\"` in [logging]"));
    }
    session
        .output
        .show(&found, |found| pairs(found.iter().map(|(name, text)| (name.as_str(), text.clone()))))
}

async fn erase(session: &mut Session, id: &IntentId, reason: String) -> Result<(), Failure> {
    let (mut home, _) = session.intent(id.as_str()).await?;
    let erased = home.admin.erase_intent(id.to_string(), reason).await?;
    session.output.show(&home.of(erased), |of| {
        format!("What its agent wrote about {} is gone; the log says so.", of.item.id)
    })
}

async fn tail(session: &mut Session, lines: u64, follow: bool) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let size = home.admin.log_info().await?.size;
    let mut leaves = home.admin.leaves(size.saturating_sub(lines), follow).await?;
    while let Some(leaf) = leaves.next().await {
        let LeafView { seq, bytes } = leaf?;
        let leaf = Leaf::from_bytes(seq, bytes)
            .map_err(|error| Failure::because(format!("leaf {seq} does not read"), &error))?;
        let envelope: serde_json::Value = serde_json::from_slice(leaf.bytes())?;
        session.output.show_next(&envelope, |_| event_line(&leaf))?;
    }
    Ok(())
}

/// One event on one line: when, what, and whom it is about.
fn event_line(leaf: &Leaf) -> String {
    let event = leaf.event();
    let at = leaf.recorded().strftime("%Y-%m-%d %H:%M:%S%.3f");
    visible(&format!("{:>6}  {at}  {:<34}  {}", leaf.seq(), event.kind.as_str(), facts(event)))
}

/// Whom and what an event is about, in short.
fn facts(event: &Event) -> String {
    let facts = [
        ("agent", event.agent.as_ref().map(ToString::to_string)),
        ("intent", event.intent.clone()),
        ("by", event.actor.clone()),
        ("code", event.code.clone()),
        ("ticket", event.ticket.clone()),
        ("token", event.token_id.clone()),
    ];
    let facts: Vec<String> =
        facts.into_iter().filter_map(|(name, fact)| Some(format!("{name}={}", fact?))).collect();
    facts.join(" ")
}

fn key_of(given: Option<KeySource>, info: &LogInfoView) -> Result<VerifierKey, Failure> {
    match given {
        Some(source) => source.read(),
        None => info
            .verifier_key
            .parse()
            .map_err(|error| Failure::because("the daemon's key does not read", &error)),
    }
}

/// The key for a copy: the one that was given, else the running daemon's.
async fn key_or_ask(session: &Session, given: Option<KeySource>) -> Result<VerifierKey, Failure> {
    if let Some(source) = given {
        return source.read();
    }
    let asked = async {
        let info = session.home().await?.admin.log_info().await?;
        key_of(None, &info)
    };
    asked.await.map_err(|failure: Failure| {
        failure.or_usage(
            "a copy of the log is verified by a key, and none was given",
            "pass --key, or name a running daemon of the trust domain",
        )
    })
}
