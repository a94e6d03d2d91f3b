//! The keys of a trust domain as operators see them.

use jiff::Timestamp;
use marque_keys::{KeyPurpose, SlotId};

use crate::{
    AuthorityConfig, AuthorityRecord, AuthorityState, NextStep, certificate,
    intermediate::subject_key_id, schedule::Schedule, signer::name_key,
};

/// One key of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityView {
    /// Its name.
    pub slot: SlotId,
    /// Where it stands.
    pub state: AuthorityState,
    /// What those who verify find it by: the `kid` of a key for tokens, the subject key identifier of a root in hexadecimal.
    /// Empty for the key of checkpoints, which the log names itself.
    pub key_id: String,
    /// When it was put on record, and so published.
    pub created_at: Timestamp,
    /// When it ends; `None` for the key of checkpoints, which does not.
    pub ends_at: Option<Timestamp>,
    /// Since when it signs or from when on it did.
    pub activated_at: Option<Timestamp>,
    /// Since when another key signs in its place.
    pub replaced_at: Option<Timestamp>,
    /// Since when it is tainted.
    pub tainted_at: Option<Timestamp>,
    /// Since when it is no longer published.
    pub left_at: Option<Timestamp>,
    /// For a prepared key: from when on it may be activated.
    pub usable_from: Option<Timestamp>,
    /// What the clock does next with it, and when.
    pub next: Option<(NextStep, Timestamp)>,
}

pub(crate) fn views(records: &[AuthorityRecord], config: &AuthorityConfig) -> Vec<AuthorityView> {
    let schedule = Schedule(config);
    let view = |record: &AuthorityRecord| {
        let usable_from = record.created_at.checked_add(schedule.publication());
        let is_prepared = record.state == AuthorityState::Prepared;
        let ends = record.slot.purpose() != KeyPurpose::AuditCheckpoint;
        AuthorityView {
            slot: record.slot.clone(),
            state: record.state,
            key_id: key_id(record),
            created_at: record.created_at,
            ends_at: ends.then(|| schedule.ends_at(record)),
            activated_at: record.times.activated_at,
            replaced_at: record.times.replaced_at,
            tainted_at: record.times.tainted_at,
            left_at: record.times.left_at,
            usable_from: usable_from.ok().filter(|_| is_prepared),
            next: schedule.next(records, record),
        }
    };
    records.iter().map(view).collect()
}

fn key_id(record: &AuthorityRecord) -> String {
    match record.slot.purpose() {
        KeyPurpose::X509Authority => {
            let of_root = || {
                let root = certificate::read(record.certificate_der.as_deref()?)?;
                Some(hex::encode(subject_key_id(&root)?))
            };
            of_root().unwrap_or_default()
        }
        KeyPurpose::AuditCheckpoint => String::new(),
        KeyPurpose::JwtSvid | KeyPurpose::WitSvid | KeyPurpose::AccessToken => {
            let named = name_key(&record.slot, &record.public_key);
            named.map(|(key_id, _)| key_id.to_string()).unwrap_or_default()
        }
    }
}
