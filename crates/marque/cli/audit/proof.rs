//! `marque audit prove` and `marque audit check-proof`: one leaf, and all that shows its place.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use marque_audit::find::gives;
use marque_audit::merkle::{Frontier, PathBuilder};
use marque_audit::tlog_proof::MAX_PROOF_BYTES;
use marque_audit::{EventKind, Leaf, ProvenLeaf, TlogProof, TlogProofError};
use serde_json::{Value, json};

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::OutputFormat;
use super::source::LogSource;
use super::witnesses::{self, WitnessArgs};
use super::{KeySource, event_line};

#[derive(Debug, Args)]
#[command(after_help = "\
The proof is a C2SP tlog-proof@v1 with the leaf as its extra data: whoever has it and the log's key can check it, with
`marque audit check-proof` or any other implementation. It shows nothing of any other leaf.

Examples:
  marque audit prove --token tok_01… --to token.tlog-proof
  marque audit prove --intent int_01… --to approval.tlog-proof   # the leaf that approved it
  marque audit prove --seq 17                                    # to standard output
  marque audit prove --seq 17 --log /backup/log --key prod.vkey")]
pub(super) struct ProveArgs {
    #[command(flatten)]
    what: What,
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// A copy of the log made by `marque audit export` [default: the log of the running daemon]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The key that verifies checkpoints: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The leaf with this number
    #[arg(long, value_name = "N")]
    seq: Option<u64>,
    /// The leaf that gave this token, by its `jti`
    #[arg(long, value_name = "JTI")]
    token: Option<String>,
    /// The leaf that approved this intent; if none did, the first about it
    #[arg(long, value_name = "ID")]
    intent: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 proven, 1 not proven, 2 usage.

Examples:
  marque audit check-proof token.tlog-proof --key prod.vkey
  marque audit check-proof token.tlog-proof --key prod.vkey --token tok_01…   # and it is about this token
  marque audit check-proof token.tlog-proof --key prod.vkey --witness w1.vkey   # and w1 has seen that log")]
pub(super) struct CheckArgs {
    /// The proof
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The key that verifies the log's checkpoints: a vkey, or a file with one
    #[arg(long, value_name = "VKEY|FILE")]
    key: KeySource,
    /// The proof has to be of the leaf that gave this token
    #[arg(long, value_name = "JTI")]
    token: Option<String>,
    /// The proof has to be of a leaf about this intent
    #[arg(long, value_name = "ID")]
    intent: Option<String>,
    #[command(flatten)]
    witnesses: WitnessArgs,
}

impl What {
    /// Whether this leaf is a better answer than the one that was found before.
    fn is_found_in(&self, leaf: &Leaf, before: Option<&Leaf>) -> bool {
        let event = leaf.event();
        match self {
            Self { seq: Some(seq), .. } => leaf.seq() == *seq,
            Self { token: Some(token), .. } => before.is_none() && gives(leaf, token),
            Self { intent, .. } => {
                let approves = |leaf: &Leaf| leaf.event().kind == EventKind::IntentApproved;
                event.intent == *intent
                    && before.is_none_or(|before| !approves(before) && approves(leaf))
            }
        }
    }
}

impl ProveArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { what, to, log, key } = self;
        let own_word = key.is_none();
        let mut source = LogSource::open(session, log, key).await?;
        let signed = source.signed()?;
        let size = signed.checkpoint().size;
        let mut frontier = Frontier::new();
        let mut found: Option<(Leaf, PathBuilder)> = None;
        source
            .each(|leaf| {
                if leaf.seq() >= size {
                    return Ok(true);
                }
                if what.is_found_in(leaf, found.as_ref().map(|(leaf, _)| leaf)) {
                    found = Some((leaf.clone(), PathBuilder::new(&frontier)));
                } else if let Some((_, path)) = &mut found {
                    path.push(leaf.hash());
                }
                frontier.append(leaf.hash());
                Ok(false)
            })
            .await?;
        let (leaf, path) = found.ok_or_else(|| {
            Failure::failed("no leaf that the newest checkpoint covers is the one")
                .code(Some("leaf_not_found".to_owned()))
                .next("see what there is with `marque audit tail` or `marque audit path`")
        })?;
        let proof = TlogProof::new(&leaf, path.finish(), &signed);
        // What does not verify is not handed out.
        proof.verify(source.key()).map_err(|error| unproven(&error))?;
        write(session, &proof, &leaf, to.as_deref())?;
        if own_word && to.is_some() {
            session.output.remark(
                "The key is the daemon's own word; pass --key with one that you kept to rely on it.",
            )?;
        }
        Ok(())
    }
}

fn write(
    session: &mut Session,
    proof: &TlogProof,
    leaf: &Leaf,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let text = proof.to_text();
    let Some(file) = to else {
        let told = json!({ "leaf": leaf.seq(), "proof": text });
        return session.output.show(&told, |_| text);
    };
    fs::write(file, &text).map_err(|error| {
        Failure::because(format!("cannot write the proof `{}`", file.display()), &error)
    })?;
    let told = json!({ "leaf": leaf.seq(), "file": file });
    session.output.show(&told, |_| format!("Proved leaf {} in {}", leaf.seq(), file.display()))
}

impl CheckArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { file, key, token, intent, witnesses } = self;
        let (key, policy) = (key.read()?, witnesses.policy()?);
        let proof = TlogProof::parse(&read(&file)?).map_err(|error| unproven(&error))?;
        let proven = proof.verify(&key).map_err(|error| unproven(&error))?;
        let ProvenLeaf { leaf, checkpoint } = &proven;
        let of_token = token.as_ref().is_none_or(|token| gives(leaf, token));
        let of_intent = intent.is_none() || leaf.event().intent == intent;
        if !(of_token && of_intent) {
            let message = format!("leaf {} is in the log, and is about something else", leaf.seq());
            return Err(Failure::failed(message).code(Some("proof_of_another_leaf".to_owned())));
        }
        let check = |policy| witnesses::check(&policy, proof.checkpoint(), checkpoint.size);
        let witnessed = policy.map(check).transpose()?;
        let envelope: Value = serde_json::from_slice(leaf.bytes())?;
        let told = json!({
            "proven": true,
            "witnessed": witnessed,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.to_string(),
            "leaf": envelope,
        });
        let is_text = session.output.format() == OutputFormat::Text;
        session.output.show(&told, |_| {
            let (seq, origin, size) = (leaf.seq(), &checkpoint.origin, checkpoint.size);
            format!("Leaf {seq} is in the log {origin} of {size} leaves:\n{}", event_line(leaf))
        })?;
        if is_text {
            session.output.remark(&format!("(its whole text: --output json; key {key})"))?;
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let read = || {
        let mut text = String::new();
        let mut file = fs::File::open(file)?.take(MAX_PROOF_BYTES as u64 + 1);
        file.read_to_string(&mut text).map(|_| text)
    };
    read().map_err(|error| {
        Failure::because(format!("cannot read the proof `{}`", file.display()), &error)
    })
}

fn unproven(error: &TlogProofError) -> Failure {
    Failure::because("nothing is proven", error).code(Some(error.kind().to_owned()))
}
