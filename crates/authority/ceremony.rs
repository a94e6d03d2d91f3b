//! The certificates that an offline root signs, while no daemon runs on the keys and records.
//!
//! Before its first start, and when its authority has ended, a daemon has nothing to sign with. Then the request is printed and
//! the certificate brought back without it. Deliberately absent: the same on a running daemon ([`Authority::request`] and
//! [`Authority::import`]).
//!
//! [`Authority::request`]: crate::Authority::request
//! [`Authority::import`]: crate::Authority::import

use std::sync::Arc;

use jiff::Timestamp;
use marque_keys::{KeyManager, SlotId};
use marque_spiffe::Random;

use crate::{
    AuthorityConfig, AuthorityError, AuthorityStore, CertificateRequest, OrderedBy,
    SignedAuthority,
    certificate::whole_second,
    round::{Means, Round},
};

/// The keys and records of a trust domain.
#[derive(Debug)]
pub struct Ceremony {
    /// The settings of the daemon.
    pub config: AuthorityConfig,
    /// Where it keeps its keys.
    pub keys: Arc<dyn KeyManager>,
    /// Where it keeps its records.
    pub store: Arc<dyn AuthorityStore>,
    /// Where serial numbers come from.
    pub random: Arc<dyn Random>,
}

impl Ceremony {
    /// Makes the key that comes next, unless it is there, and asks for its certificate.
    ///
    /// # Errors
    /// [`AuthorityError::Refused`], or a failing key manager or store.
    pub async fn request(&self, now: Timestamp) -> Result<CertificateRequest, AuthorityError> {
        let round = self.begin(now).await?;
        round.request()?.map_err(AuthorityError::Refused)
    }

    /// Puts the key of the last request on record with its certificate: as active where it is the first, as prepared
    /// otherwise. Gives its name.
    ///
    /// # Errors
    /// [`AuthorityError::SignedAuthority`] says what is wrong with the certificate; otherwise as [`Ceremony::request`].
    pub async fn import(
        &self,
        signed: &SignedAuthority,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<SlotId, AuthorityError> {
        let mut round = self.begin(now).await?;
        round.import(signed, None, ordered).await?.map_err(AuthorityError::Refused)
    }

    async fn begin(&self, now: Timestamp) -> Result<Round<'_>, AuthorityError> {
        self.config.check().map_err(AuthorityError::Config)?;
        let means = Means {
            config: &self.config,
            keys: self.keys.as_ref(),
            store: self.store.as_ref(),
            random: self.random.as_ref(),
        };
        Round::begin(means, whole_second(now)?).await
    }
}
