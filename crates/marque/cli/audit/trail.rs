//! `marque audit path`: what the log says about somebody or something, as a timeline (M 116).

use std::path::PathBuf;

use clap::Args;
use marque_audit::Leaf;
use marque_audit::trail::{Step, Subject, Trail};
use marque_spiffe::SpiffeId;
use serde::Serialize;
use serde_json::Value;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::visible;
use super::source::LogSource;
use super::{KeySource, facts};

#[derive(Debug, Args)]
#[command(after_help = "\
What came of something stands below it and further in: a token below its grant, what derives from it below the token, an
intent that was asked for under another below that one. Kills that name any of it are shown as well, also when it had ended,
and so are their lifts. Whether the log is sound is for `marque audit verify` to say.

Examples:
  marque audit path --ticket CHG-1842
  marque audit path --grant int_01…
  marque audit path --agent spiffe://prod.example.org/agent/cert-rotator/a
  marque audit path --token tok_01… --log /backup/log --key prod.vkey --output json")]
pub(super) struct PathArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// A copy of the log made by `marque audit export` [default: the log of the running daemon]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The key that verifies checkpoints: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SubjectArgs {
    /// One grant, by its intent's id, with what was asked for under it
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
    /// One agent, with what was asked for under its grants
    #[arg(long, value_name = "SPIFFE-ID")]
    agent: Option<SpiffeId>,
    /// Every grant that names this change ticket
    #[arg(long, value_name = "REF")]
    ticket: Option<String>,
    /// One token by its `jti`: its grant, what it derives from, and what derives from it
    #[arg(long, value_name = "JTI")]
    token: Option<String>,
}

/// One step, for programs.
#[derive(Debug, Serialize)]
struct Told {
    leaf: u64,
    depth: usize,
    event: Value,
}

impl SubjectArgs {
    fn into_subject(self) -> Result<Subject, Failure> {
        match self {
            Self { grant: Some(intent), .. } => Ok(Subject::Grant(intent)),
            Self { agent: Some(agent), .. } => Ok(Subject::Agent(agent)),
            Self { ticket: Some(ticket), .. } => Ok(Subject::Ticket(ticket)),
            Self { token: Some(token), .. } => Ok(Subject::Token(token)),
            Self { .. } => Err(Failure::usage("a path is about something")
                .next("pass --grant, --agent, --ticket or --token")),
        }
    }
}

impl PathArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { subject, log, key } = self;
        let mut trail = Trail::new(subject.into_subject()?);
        let mut source = LogSource::open(session, log, key).await?;
        while trail.has_to_look() {
            if !source.each(|leaf| Ok(trail.look(leaf))).await? {
                trail.looked();
            }
            source.rewind()?;
        }
        let mut steps = 0_u64;
        let output = &mut session.output;
        source
            .each(|leaf| {
                if let Some(Step { leaf, depth }) = trail.follow(leaf) {
                    steps += 1;
                    let event = serde_json::from_slice(leaf.bytes())?;
                    let told = Told { leaf: leaf.seq(), depth, event };
                    output.show_next(&told, |_| line(leaf, depth))?;
                }
                Ok(false)
            })
            .await?;
        if steps == 0 {
            return Err(Failure::failed("the log says nothing about it")
                .code(Some("nothing_found".to_owned()))
                .next("see what there is with `marque audit tail` or `marque intent list`"));
        }
        Ok(())
    }
}

/// One step on one line: when, what (indented by what it came of), who.
fn line(leaf: &Leaf, depth: usize) -> String {
    let event = leaf.event();
    let at = leaf.recorded().strftime("%Y-%m-%d %H:%M:%S%.3f");
    let kind = event.kind.as_str();
    let what = kind.strip_prefix("org.marque.").unwrap_or(kind).replace(['.', '_'], " ");
    let what = format!("{}{what}", "  ".repeat(depth));
    let mut more = facts(event);
    if let Some(playbook) = &event.playbook {
        more.push_str(&format!(" playbook={}@{}", playbook.id, playbook.version));
    }
    let until = event.expires_at.map(|end| end.strftime("%H:%M:%S").to_string());
    let members = ["parent", "parent_intent", "reason", "delegator"]
        .map(|name| (name, event.detail.get(name).and_then(Value::as_str).map(ToOwned::to_owned)));
    let stopped = event.detail.get("kill").map(ToString::to_string);
    for (name, fact) in members.into_iter().chain([("stops", stopped), ("until", until)]) {
        if let Some(fact) = fact {
            more.push_str(&format!(" {name}={fact}"));
        }
    }
    visible(&format!("{at}  {:>6}  {what:<30}  {}", leaf.seq(), more.trim_start()))
}
