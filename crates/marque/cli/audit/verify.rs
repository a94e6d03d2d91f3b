//! `marque audit verify`: is the log what it was, and did nobody get more than was granted?

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use marque_audit::{LogVerifier, SignedCheckpoint, VerifiedLog, VerifyError, WitnessPolicy};
use serde::Serialize;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{put, visible};
use super::KeySource;
use super::source::LogSource;
use super::witnesses::{self, WitnessArgs, Witnessed};

/// How many leaves there are between two words about how far it is.
const TELL_EVERY: u64 = 100_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Everything that is found has a stable code (docs/audit.md). Exit codes: 0 sound, 1 not sound, 2 usage.

Examples:
  marque audit verify                                      # a running daemon's log
  marque audit verify --checkpoint kept.note --key prod.vkey
  marque audit verify --log /backup/log --key prod.vkey --output json
  marque audit verify --key prod.vkey --witness w1.vkey --witness w2.vkey --quorum 1 --witnessed-within 24h
  marque audit verify --from 120000                        # the whole tree; the rules from leaf 120000 on")]
pub(super) struct VerifyArgs {
    /// A copy of the log made by `marque audit export` [default: the log of the running daemon]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// A checkpoint that was kept away from the host: the log must contain everything that it covers
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The key that verifies checkpoints: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
    /// Judge what leaves did from this one on; the tree is verified as a whole all the same
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Judge what leaves did up to this one
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    witnesses: WitnessArgs,
}

#[derive(Debug, Serialize)]
struct Verified {
    verified: bool,
    origin: String,
    size: u64,
    root: String,
    leaves: u64,
    /// The leaves that were judged, where it was not all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    judged: Option<Judged>,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_checkpoint: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed: Option<Witnessed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
}

/// Both ends are part of it; `None` is the end of the log.
#[derive(Debug, Clone, Copy, Serialize)]
struct Judged {
    from: u64,
    to: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Finding {
    code: &'static str,
    leaf: Option<u64>,
    message: String,
}

impl VerifyArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { log, checkpoint, key, from, to, witnesses } = self;
        let policy = witnesses.policy()?;
        let judged = from.unwrap_or(0)..=to.unwrap_or(u64::MAX);
        if judged.is_empty() {
            return Err(Failure::usage("--from is behind --to").next("exchange them"));
        }
        let older = checkpoint.as_deref().map(read_checkpoint).transpose()?;
        let own_word = key.is_none();
        let mut source = LogSource::open(session, log, key).await?;
        let verifier = LogVerifier::new(source.checkpoint(), source.key(), older.as_deref());
        let verifier = verifier.map_err(|error| unsound(&error))?.judging(judged).going_on();
        let (mut verifier, witnessed) = match &policy {
            Some(policy) => witnessed(policy, &source, verifier)?,
            None => (verifier, None),
        };
        let size = source.size();
        let output = &mut session.output;
        source
            .each(|leaf| {
                verifier.push(leaf).map_err(|error| unsound(&error))?;
                let done = verifier.size();
                if done.is_multiple_of(TELL_EVERY) {
                    output.ask(&format!("verified {done} of {size} leaves\n"))?;
                }
                Ok(false)
            })
            .await?;
        let findings: Vec<Finding> = verifier.findings().iter().map(finding).collect();
        let VerifiedLog { checkpoint: signed, leaves } =
            verifier.finish().map_err(|error| unsound(&error))?;
        let verified = Verified {
            verified: findings.is_empty(),
            origin: signed.origin,
            size: signed.size,
            root: signed.root.to_string(),
            leaves,
            judged: (from.is_some() || to.is_some())
                .then(|| Judged { from: from.unwrap_or(0), to }),
            key: source.key().to_string(),
            older_checkpoint: checkpoint,
            witnessed,
            findings,
        };
        session.output.show(&verified, text)?;
        if own_word {
            session.output.remark(
                "The key is the daemon's own word; pass --key with one that you kept to rely on it.",
            )?;
        }
        match verified.findings.first() {
            None => Ok(()),
            Some(first) => {
                let count = verified.findings.len();
                let message =
                    format!("the log is whole, and {count} of its leaves break the rules");
                Err(Failure::failed(message).code(Some(first.code.to_owned())))
            }
        }
    }
}

/// Finds what enough witnesses have cosigned, and has the log held against it, too: it is a moment behind.
fn witnessed(
    policy: &WitnessPolicy,
    source: &LogSource,
    verifier: LogVerifier,
) -> Result<(LogVerifier, Option<Witnessed>), Failure> {
    let note = source.cosigned()?.unwrap_or_else(|| source.checkpoint().to_owned());
    let signed = SignedCheckpoint::verify(&note, source.key());
    let signed = signed.map_err(|error| unsound(&VerifyError::OlderCheckpoint(error)))?;
    let verifier =
        verifier.covering(signed.text(), source.key()).map_err(|error| unsound(&error))?;
    let witnessed = witnesses::check(policy, signed.text(), signed.checkpoint().size)?;
    Ok((verifier, Some(witnessed)))
}

fn text(verified: &Verified) -> String {
    let mut text = judgement(verified);
    if let Some(witnessed) = &verified.witnessed {
        put(&mut text, format_args!("\n{}", visible(&witnesses::in_words(witnessed))));
    }
    text
}

fn judgement(verified: &Verified) -> String {
    let Verified { origin, size, root, judged, findings, .. } = verified;
    if findings.is_empty() {
        let Some(Judged { from, to }) = judged else {
            return format!("The log {} is sound: {size} leaves, root {root}", visible(origin));
        };
        let to = to.map_or_else(|| "the last".to_owned(), |to| to.to_string());
        return format!(
            "The log {} is whole: {size} leaves, root {root}\n\
             Leaves {from} to {to} keep the rules; the others were not judged",
            visible(origin)
        );
    }
    let mut text = format!("The log {} is whole: {size} leaves, root {root}\n", visible(origin));
    for Finding { code, leaf: _, message } in findings {
        put(&mut text, format_args!("{code:<28}  {}\n", visible(message)));
    }
    text
}

fn finding(error: &VerifyError) -> Finding {
    Finding { code: error.kind(), leaf: error.seq(), message: error.to_string() }
}

pub(super) fn unsound(error: &VerifyError) -> Failure {
    Failure::because("the log is not sound", error).code(Some(error.kind().to_owned()))
}

fn read_checkpoint(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::because(format!("cannot read the checkpoint `{}`", file.display()), &error)
    })
}
