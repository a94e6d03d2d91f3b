//! How far a state goes, and whether another one goes at least as far: the log, the kills, the authorities.

use marque_audit::checkpoint::origin;
use marque_audit::{Hash, SignedCheckpoint, VerifierKey};
use marque_keys::KeyPurpose;
use marque_spiffe::TrustDomain;
use marque_store::{JournaledOrder, Survey};

use super::{AuthorityGeneration, BackupCode, BackupError, LogPosition, Manifest};

/// The log's position by a survey, recomputed from every leaf.
pub(super) async fn position(survey: &Survey) -> Result<LogPosition, BackupError> {
    Ok(LogPosition {
        size: survey.log_size,
        root: root_at(survey, survey.log_size).await?.to_string(),
        checkpoint: survey.checkpoint.as_ref().map(|checkpoint| checkpoint.text.clone()),
    })
}

async fn root_at(survey: &Survey, size: u64) -> Result<Hash, BackupError> {
    let root = survey.root_at(size).await;
    root.map_err(BackupError::of(BackupCode::Store, "the log cannot be read"))
}

/// Holds a store against the manifest that was written with it, or before it was dumped: it may go further, never less far.
pub(super) async fn fits(survey: &Survey, manifest: &Manifest) -> Result<(), BackupError> {
    let LogPosition { size, root, checkpoint } = &manifest.log;
    if survey.log_size < *size {
        let found = survey.log_size;
        return Err(BackupError::damaged(format!("the log has {found} leaves and had {size}")));
    }
    if root_at(survey, *size).await?.to_string() != *root {
        return Err(BackupError::damaged("the log is not the one that was backed up"));
    }
    if survey.kills.epoch < manifest.kill_epoch {
        return Err(BackupError::damaged("kills are missing that were backed up"));
    }
    if let Some(missing) = behind(&generations(survey, manifest), &manifest.authorities) {
        return Err(BackupError::damaged(format!("the authority `{missing}` is missing")));
    }
    match checkpoint {
        Some(text) => covers(survey, text, &manifest.trust_domain).await.map_err(|error| {
            BackupError::of(BackupCode::Damaged, "the checkpoint in the manifest is refused")(error)
        }),
        None => Ok(()),
    }
}

/// Refuses to put `next` in the place of `current` where the log would lose leaves or say something else.
pub(super) async fn same_history(current: &Survey, next: &Survey) -> Result<(), BackupError> {
    let (size, newer) = (current.log_size, next.log_size);
    if newer < size {
        let message = format!("the log here has {size} leaves, and the backup has {newer}");
        return Err(BackupError::new(BackupCode::LogRollback, message));
    }
    if root_at(current, size).await? != root_at(next, size).await? {
        let message =
            format!("the first {size} leaves of the backup are not those of the log here");
        return Err(BackupError::new(BackupCode::LogForked, message));
    }
    Ok(())
}

/// Refuses to put `next` in the place of `current` where a kill would be forgotten or an authority go back; `kept` are the
/// kills and lifts of the journal here that go with it.
pub(super) fn no_rollback(
    current: &Survey,
    next: &Survey,
    kept: &[JournaledOrder],
) -> Result<(), BackupError> {
    let known = next.kills.history();
    let forgotten = current
        .kills
        .history()
        .iter()
        .filter(|kill| !kept.iter().any(|order| order.became(kill)))
        .find(|kill| !known.iter().any(|other| other.is_of(&kill.order(), kill.at())));
    if let Some(kill) = forgotten {
        let message = format!("the backup does not know the kill or lift of {}", kill.at());
        return Err(BackupError::new(BackupCode::KillRollback, message));
    }
    let generations = |survey: &Survey| -> Vec<AuthorityGeneration> {
        survey.authorities.iter().map(|record| AuthorityGeneration::of(record, &[])).collect()
    };
    match behind(&generations(next), &generations(current)) {
        Some(slot) => {
            let message = format!("the authority `{slot}` is further here than in the backup");
            Err(BackupError::new(BackupCode::AuthorityRollback, message))
        }
        None => Ok(()),
    }
}

/// Refuses a state whose log does not have all that a signed checkpoint covers.
pub(super) async fn covers(
    survey: &Survey,
    checkpoint: &str,
    trust_domain: &TrustDomain,
) -> Result<(), BackupError> {
    let invalid = "the checkpoint does not verify by a checkpoint key of the backup";
    let keys = survey.authorities.iter().filter(|record| is_checkpoint_key(&record.slot));
    let verified = keys.filter_map(|record| {
        let public = <[u8; 32]>::try_from(record.public_key.as_slice()).ok()?;
        let key = VerifierKey::new(&origin(trust_domain), public).ok()?;
        SignedCheckpoint::verify(checkpoint, &key).ok()
    });
    let Some(signed) = verified.into_iter().next() else {
        return Err(BackupError::new(BackupCode::CheckpointInvalid, invalid));
    };
    let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
    if survey.log_size < size {
        let found = survey.log_size;
        let message = format!("the checkpoint covers {size} leaves, and the backup has {found}");
        return Err(BackupError::new(BackupCode::LogRollback, message));
    }
    if root_at(survey, size).await? != root {
        let message =
            format!("the first {size} leaves of the backup are not those of the checkpoint");
        return Err(BackupError::new(BackupCode::LogForked, message));
    }
    Ok(())
}

fn generations(survey: &Survey, manifest: &Manifest) -> Vec<AuthorityGeneration> {
    let of = |record| AuthorityGeneration::of(record, &manifest.files);
    survey.authorities.iter().map(of).collect()
}

/// The first key of `wanted` that `found` does not have, or has in an earlier state.
fn behind(found: &[AuthorityGeneration], wanted: &[AuthorityGeneration]) -> Option<String> {
    let reached = |wanted: &AuthorityGeneration| {
        found.iter().any(|found| {
            found.slot == wanted.slot
                && found.public_key_sha256 == wanted.public_key_sha256
                && found.bundle_sequence >= wanted.bundle_sequence
        })
    };
    wanted.iter().find(|wanted| !reached(wanted)).map(|wanted| wanted.slot.clone())
}

fn is_checkpoint_key(slot: &marque_keys::SlotId) -> bool {
    slot.to_string().starts_with(KeyPurpose::AuditCheckpoint.as_str())
}
