//! `marque audit`: prove the log, copy it, look into it.

mod export;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures::StreamExt;
use marque_audit::verify::verify_store;
use marque_audit::{Leaf, VerifiedLog, VerifierKey, folder};
use marque_intent::IntentId;
use serde::Serialize;

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
  marque audit tail --follow
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
    Verify(VerifyArgs),
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

#[derive(Debug, Args)]
struct VerifyArgs {
    /// A copy of the log made by `marque audit export` [default: the log of the running daemon]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// A checkpoint that was kept away from the host: the log must contain everything that it covers
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The key that verifies checkpoints: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
}

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
    fn read(&self) -> Result<VerifierKey, Failure> {
        if let Ok(key) = self.0.parse() {
            return Ok(key);
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

#[derive(Debug, Serialize)]
struct Verified {
    verified: bool,
    origin: String,
    size: u64,
    root: String,
    leaves: u64,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_checkpoint: Option<PathBuf>,
}

impl AuditArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            AuditCommand::Info => info(session).await,
            AuditCommand::Verify(args) => verify(session, args).await,
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
            let LogInfoView { size, checkpoint, verifier_key } = &of.item;
            pairs([
                ("trust domain", of.trust_domain.clone()),
                ("leaves", size.to_string()),
                ("key", verifier_key.clone()),
                ("checkpoint", or_dash(checkpoint.trim_end())),
            ])
        };
        all.iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

async fn verify(session: &mut Session, args: VerifyArgs) -> Result<(), Failure> {
    let VerifyArgs { log, checkpoint, key } = args;
    let older = checkpoint.as_deref().map(read_checkpoint).transpose()?;
    let own_word = key.is_none();
    let (key, verified) = match log {
        Some(folder) => {
            let key = key_or_ask(session, key).await?;
            let verified = folder::verify_folder(&folder, &key, older.as_deref())
                .map_err(|error| Failure::because("the copy is not sound", &error))?;
            (key, verified)
        }
        None => {
            let log = RemoteLog::open(session.home().await?.admin).await?;
            let key = key_of(key, log.info())?;
            let verified = verify_store(&log, &key, older.as_deref())
                .await
                .map_err(|error| Failure::because("the log is not sound", &error))?;
            (key, verified)
        }
    };
    let VerifiedLog { checkpoint: signed, leaves } = verified;
    let verified = Verified {
        verified: true,
        origin: signed.origin,
        size: signed.size,
        root: signed.root.to_string(),
        leaves,
        key: key.to_string(),
        older_checkpoint: checkpoint,
    };
    session.output.show(&verified, |verified| {
        let Verified { origin, size, root, .. } = verified;
        format!("The log {} is sound: {size} leaves, root {root}", visible(origin))
    })?;
    if own_word {
        session.output.remark(
            "The key is the daemon's own word; pass --key with one that you kept to rely on it.",
        )?;
    }
    Ok(())
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
    let at = leaf.recorded().strftime("%Y-%m-%d %H:%M:%S%.3f");
    visible(&format!("{:>6}  {at}  {:<34}  {}", leaf.seq(), event.kind.as_str(), facts.join(" ")))
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

fn read_checkpoint(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::because(format!("cannot read the checkpoint `{}`", file.display()), &error)
    })
}
