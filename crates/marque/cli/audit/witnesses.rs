//! `--witness`, `--quorum` and `--witnessed-within`: how many of which witnesses have to have cosigned a checkpoint.

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use marque_audit::cosignature::PolicyError;
use marque_audit::{CosignerKey, UnwitnessedError, WitnessPolicy};
use marque_spiffe::Clock as _;
use serde::Serialize;

use super::super::failure::Failure;
use super::KeySource;
use crate::clock::SystemClock;

#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// The key of a witness that may have cosigned the checkpoint: a vkey, or a file with one; once for each witness
    #[arg(long = "witness", value_name = "VKEY|FILE")]
    witnesses: Vec<KeySource>,
    /// How many of these witnesses have to have [default: all]
    #[arg(long, value_name = "N", requires = "witnesses")]
    quorum: Option<usize>,
    /// How old their cosignatures may be, such as `24h` [default: any age]
    #[arg(long, value_name = "DURATION", requires = "witnesses")]
    witnessed_within: Option<SignedDuration>,
}

/// What the witnesses have cosigned.
#[derive(Debug, Serialize)]
pub(super) struct Witnessed {
    /// How many leaves it covers.
    pub(super) size: u64,
    /// Who cosigned it, and when by its own word.
    pub(super) by: Vec<By>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct By {
    pub(super) witness: String,
    pub(super) at: Timestamp,
}

impl WitnessArgs {
    /// What is demanded; nothing where no witness is named.
    pub(super) fn policy(&self) -> Result<Option<WitnessPolicy>, Failure> {
        let Self { witnesses, quorum, witnessed_within } = self;
        if witnesses.is_empty() {
            return Ok(None);
        }
        let keys =
            witnesses.iter().map(KeySource::read).collect::<Result<Vec<CosignerKey>, _>>()?;
        let quorum = quorum.unwrap_or(keys.len());
        let policy = WitnessPolicy::new(keys, quorum).map_err(|error| {
            let next = match error {
                PolicyError::SameKey => "name each witness once",
                PolicyError::Quorum => "name as many --witness as --quorum says, or more",
            };
            Failure::usage(error.to_string()).next(next)
        })?;
        let Some(within) = witnessed_within else { return Ok(Some(policy)) };
        let within = Duration::try_from(*within).map_err(|_negative| {
            Failure::usage("--witnessed-within is a time before now").next("such as 24h")
        })?;
        Ok(Some(policy.within(within)))
    }
}

/// Who has cosigned this checkpoint of so many leaves.
pub(super) fn check(policy: &WitnessPolicy, note: &str, size: u64) -> Result<Witnessed, Failure> {
    let found = policy.check(note, SystemClock.now()).map_err(|error| unwitnessed(&error))?;
    let by =
        |one: marque_audit::Cosignature| By { witness: one.witness().to_owned(), at: one.at() };
    Ok(Witnessed { size, by: found.into_iter().map(by).collect() })
}

fn unwitnessed(error: &UnwitnessedError) -> Failure {
    let next = match error {
        UnwitnessedError::False(_) => "somebody altered it: keep it, and ask the witness itself",
        UnwitnessedError::Missing { .. } | UnwitnessedError::TooOld { .. } => {
            "`marque status` says what keeps a witness from cosigning"
        }
    };
    let failure = Failure::because("the witnesses have not seen this log", error);
    failure.code(Some(error.kind().to_owned())).next(next)
}

/// Who cosigned, in words.
pub(super) fn in_words(witnessed: &Witnessed) -> String {
    let names: Vec<_> =
        witnessed.by.iter().map(|by| format!("{} at {}", by.witness, by.at)).collect();
    format!("Its first {} leaves were cosigned by {}", witnessed.size, names.join(", "))
}
