//! Has everything that happened a record? What a store keeps and what others counted, held against the leaves.
//!
//! Tokens are taken first, then the leaves in their order; what is in memory is one small record for each token that the
//! store still keeps, and one number for each emitter and period. Deliberately absent: where tokens and counts come from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::find::gives;
use crate::{EventKind, Leaf};

/// What a store keeps of a token, as far as the log has a record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// The `jti`.
    pub id: String,
    /// Its intent.
    pub intent: String,
    /// Whether it derives from another.
    pub derived: bool,
    /// Whether its only use was made.
    pub used: bool,
    /// Whether it was revoked.
    pub revoked: bool,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Something that has no record, or a record of nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Mismatch {
    /// The store keeps a token that no leaf gives.
    #[error("token `{token}` of intent `{intent}` has no record that it was given")]
    TokenWithoutRecord {
        /// The `jti`.
        token: String,
        /// Its intent.
        intent: String,
    },
    /// The record of a token says something else than the store: its intent, its end, or whether it derives from another.
    #[error("leaf {seq} says something else of token `{token}` than the store")]
    TokenDiffers {
        /// The leaf.
        seq: u64,
        /// The `jti`.
        token: String,
    },
    /// A token was given more than once.
    #[error("leaf {seq} gives token `{token}`, which a leaf before it gives")]
    TokenGivenTwice {
        /// The leaf.
        seq: u64,
        /// The `jti`.
        token: String,
    },
    /// A leaf gives a token that has not expired and that the store does not keep.
    #[error(
        "leaf {seq} gives token `{token}`, which has not expired and which the store does not know"
    )]
    RecordWithoutToken {
        /// The leaf.
        seq: u64,
        /// The `jti`.
        token: String,
    },
    /// The only use of a token was made, and no leaf says so.
    #[error("the use of token `{token}` has no record")]
    UseWithoutRecord {
        /// The `jti`.
        token: String,
    },
    /// A leaf says that the only use of a token was made, and the store would let it be made again.
    #[error("leaf {seq} records the use of token `{token}`, which the store does not know of")]
    RecordWithoutUse {
        /// The leaf.
        seq: u64,
        /// The `jti`.
        token: String,
    },
    /// A token was revoked, and no leaf says so.
    #[error("the revocation of token `{token}` has no record")]
    RevocationWithoutRecord {
        /// The `jti`.
        token: String,
    },
    /// A leaf says that a token was revoked, and the store does not know of it.
    #[error(
        "leaf {seq} records the revocation of token `{token}`, which the store does not know of"
    )]
    RecordWithoutRevocation {
        /// The leaf.
        seq: u64,
        /// The `jti`.
        token: String,
    },
    /// A leaf is missing.
    #[error("leaf {expected} is missing, leaf {found} stands in its place")]
    Gap {
        /// The number that had to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// An emitter counted more or fewer uses than have a record.
    #[error("`{emitter}` counted {counted} uses{period}, {recorded} have a record")]
    CountDiffers {
        /// Who counted.
        emitter: String,
        /// When.
        #[serde(flatten)]
        period: Period,
        /// How many.
        counted: u64,
        /// How many records there are.
        recorded: u64,
    },
}

/// When something was counted: from an instant on, and before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Period {
    /// The first instant; without one from the log's first leaf on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The first instant that is no longer part of it; without one to the log's last leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Period {
    fn has(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

impl fmt::Display for Period {
    /// ` since … until …`, as far as there is an end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, at) in [("since", self.since), ("until", self.until)] {
            if let Some(at) = at {
                write!(f, " {word} {at}")?;
            }
        }
        Ok(())
    }
}

impl Mismatch {
    /// A stable name of the kind of finding, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TokenWithoutRecord { .. } => "token_without_record",
            Self::TokenDiffers { .. } => "token_differs",
            Self::TokenGivenTwice { .. } => "token_given_twice",
            Self::RecordWithoutToken { .. } => "record_without_token",
            Self::UseWithoutRecord { .. } => "use_without_record",
            Self::RecordWithoutUse { .. } => "record_without_use",
            Self::RevocationWithoutRecord { .. } => "revocation_without_record",
            Self::RecordWithoutRevocation { .. } => "record_without_revocation",
            Self::Gap { .. } => "gap",
            Self::CountDiffers { .. } => "count_differs",
        }
    }
}

/// What was compared, and what does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Leaves that were read.
    pub leaves: u64,
    /// Tokens that the store keeps.
    pub tokens: u64,
    /// Emitters that told how much they counted.
    pub emitters: u64,
    /// Every mismatch.
    pub mismatches: Vec<Mismatch>,
}

/// A comparison in the making.
#[derive(Debug)]
pub struct Completeness {
    now: Timestamp,
    listed_at: u64,
    tokens: HashMap<String, Kept>,
    /// Counted and recorded, by emitter and period.
    counts: BTreeMap<String, BTreeMap<Period, (u64, u64)>>,
    next: u64,
    mismatches: Vec<Mismatch>,
}

#[derive(Debug)]
struct Kept {
    token: KeptToken,
    given: bool,
    used: bool,
    revoked: bool,
}

impl Completeness {
    /// `listed_at` is how many leaves the log had before the store was asked for its tokens at `now`: what has a record
    /// behind that may have happened after it was asked.
    #[must_use]
    pub fn new(listed_at: u64, now: Timestamp) -> Self {
        Self {
            now,
            listed_at,
            tokens: HashMap::new(),
            counts: BTreeMap::new(),
            next: 0,
            mismatches: Vec::new(),
        }
    }

    /// Takes a token of the store.
    pub fn keep(&mut self, token: KeptToken) {
        let kept = Kept { token, given: false, used: false, revoked: false };
        self.tokens.insert(kept.token.id.clone(), kept);
    }

    /// Takes how many uses an emitter counted in a period; two counts of one period are added up.
    pub fn count(&mut self, emitter: &str, period: Period, counted: u64) {
        let count = self.counts.entry(emitter.to_owned()).or_default().entry(period).or_default();
        count.0 = count.0.saturating_add(counted);
    }

    /// Takes the next leaf.
    pub fn record(&mut self, leaf: &Leaf) {
        if leaf.seq() != self.next {
            let gap = Mismatch::Gap { expected: self.next, found: leaf.seq() };
            self.mismatches.push(gap);
        }
        self.next = leaf.seq() + 1;
        let event = leaf.event();
        let Some(id) = event.token_id.as_deref() else { return };
        match event.kind {
            EventKind::TokenUsed => {
                let counts = event.actor.as_ref().and_then(|actor| self.counts.get_mut(actor));
                for (period, (_, recorded)) in counts.into_iter().flatten() {
                    *recorded += u64::from(period.has(event.time));
                }
                self.end(
                    leaf,
                    id,
                    |kept| (&mut kept.used, kept.token.used),
                    |seq, token| Mismatch::RecordWithoutUse { seq, token },
                );
            }
            EventKind::TokenRevoked => {
                self.end(
                    leaf,
                    id,
                    |kept| (&mut kept.revoked, kept.token.revoked),
                    |seq, token| Mismatch::RecordWithoutRevocation { seq, token },
                );
            }
            _ if gives(leaf, id) => self.give(leaf, id),
            _ => {}
        }
    }

    fn give(&mut self, leaf: &Leaf, id: &str) {
        let (seq, event, token) = (leaf.seq(), leaf.event(), id.to_owned());
        let Some(kept) = self.tokens.get_mut(id) else {
            if seq < self.listed_at && event.expires_at.is_some_and(|end| end > self.now) {
                self.mismatches.push(Mismatch::RecordWithoutToken { seq, token });
            }
            return;
        };
        if std::mem::replace(&mut kept.given, true) {
            self.mismatches.push(Mismatch::TokenGivenTwice { seq, token });
            return;
        }
        let same = event.intent.as_ref() == Some(&kept.token.intent)
            && event.expires_at == Some(kept.token.expires_at)
            && (event.kind == EventKind::TokenDerived) == kept.token.derived;
        if !same {
            self.mismatches.push(Mismatch::TokenDiffers { seq, token });
        }
    }

    /// A leaf that says how a token ended.
    fn end(
        &mut self,
        leaf: &Leaf,
        id: &str,
        of: impl FnOnce(&mut Kept) -> (&mut bool, bool),
        missing: impl FnOnce(u64, String) -> Mismatch,
    ) {
        let Some(kept) = self.tokens.get_mut(id) else { return };
        let (recorded, known) = of(kept);
        *recorded = true;
        if !known && leaf.seq() < self.listed_at {
            self.mismatches.push(missing(leaf.seq(), id.to_owned()));
        }
    }

    /// Says that there are no more leaves.
    #[must_use]
    pub fn finish(mut self) -> Compared {
        let mut unrecorded = Vec::new();
        for kept in self.tokens.values() {
            let Kept { token, given, used, revoked } = kept;
            let KeptToken { id, intent, .. } = token;
            if !given {
                let (token, intent) = (id.clone(), intent.clone());
                unrecorded.push(Mismatch::TokenWithoutRecord { token, intent });
            }
            if token.used && !used {
                unrecorded.push(Mismatch::UseWithoutRecord { token: id.clone() });
            }
            if token.revoked && !revoked {
                unrecorded.push(Mismatch::RevocationWithoutRecord { token: id.clone() });
            }
        }
        unrecorded.sort_by_key(ToString::to_string);
        self.mismatches.extend(unrecorded);
        let emitters = self.counts.len() as u64;
        for (emitter, counts) in self.counts {
            let differ = counts.into_iter().filter(|(_, (counted, recorded))| counted != recorded);
            self.mismatches.extend(differ.map(|(period, (counted, recorded))| {
                Mismatch::CountDiffers { emitter: emitter.clone(), period, counted, recorded }
            }));
        }
        Compared {
            leaves: self.next,
            tokens: self.tokens.len() as u64,
            emitters,
            mismatches: self.mismatches,
        }
    }
}

#[cfg(test)]
mod tests;
