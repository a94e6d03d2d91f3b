//! Which profiles the sockets of a trust domain serve. Another choice holds from the next call on, and ends the streams of a
//! profile that is not served any more.

use std::sync::Arc;

use marque_workload::Profiles;
use tokio::sync::watch;
use tonic::Status;

use crate::error;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Which kinds of SVIDs, with their bundles.
    pub profiles: Profiles,
    /// Whether Envoy's secret discovery service is served too, where X.509-SVIDs are.
    pub envoy_sds: bool,
}

/// What is served now.
#[derive(Debug, Clone)]
pub struct LiveOffer(Arc<watch::Sender<Offer>>);

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    X509,
    Jwt,
    Wit,
    EnvoySds,
}

impl From<Offer> for LiveOffer {
    fn from(offer: Offer) -> Self {
        Self(Arc::new(watch::Sender::new(offer)))
    }
}

impl LiveOffer {
    /// Has this be served instead.
    pub fn change(&self, offer: Offer) {
        self.0.send_replace(offer);
    }

    /// Whether a profile is served is nobody's secret, and is said before anybody is attested (WA-1).
    pub(super) fn check(&self, profile: Profile) -> Result<(), Status> {
        if profile.is_in(*self.0.borrow()) { Ok(()) } else { Err(profile.refusal()) }
    }

    /// Completes when a profile is not served any more, with what its streams are told.
    pub(super) async fn withdrawn(&self, profile: Profile) -> Status {
        let mut offers = self.0.subscribe();
        match offers.wait_for(|offer| !profile.is_in(*offer)).await {
            Ok(_withdrawn) => profile.refusal(),
            Err(_gone) => error::shutting_down(),
        }
    }
}

impl Profile {
    fn is_in(self, Offer { profiles, envoy_sds }: Offer) -> bool {
        match self {
            Self::X509 => profiles.x509,
            Self::Jwt => profiles.jwt,
            Self::Wit => profiles.wit,
            // What it hands out are X.509-SVIDs.
            Self::EnvoySds => envoy_sds && profiles.x509,
        }
    }

    fn refusal(self) -> Status {
        match self {
            Self::X509 => error::not_served("X.509-SVIDs"),
            Self::Jwt => error::not_served("JWT-SVIDs"),
            Self::Wit => error::not_served("WIT-SVIDs"),
            Self::EnvoySds => error::no_envoy_sds(),
        }
    }
}
