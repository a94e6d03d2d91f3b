//! The streams of the Workload API: full state at once, then again on every change, until the entitlement ends.

mod subject;
mod subscription;

pub(in crate::grpc) use subject::{Caller, Refusal, Subject};

use futures::stream::BoxStream;
use marque_spiffe::{SelectorSet, SpiffeId};
use marque_workload::{BundleProfile, BundleUpdate, Stay, WitUpdate, X509Update};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::subscription::Subscription;
use super::super::offer::Profile;
use crate::error;

/// One attested subject whose changes somebody wants to hear of.
#[derive(Debug)]
pub(in super::super) struct Watch<S> {
    subject: S,
    selectors: SelectorSet,
    until: Until,
}

/// What ends a stream, or has its subject attested anew, whatever the entitlement says.
#[derive(Debug)]
struct Until {
    profile: Profile,
    /// Tells that other attestors answer than those that the subject was attested by.
    replaced: watch::Receiver<u64>,
    shutdown: CancellationToken,
}

impl<S: Subject> Watch<S> {
    /// Attests the subject, whose streams are then those of what it attested as.
    pub(in super::super) async fn begin(
        subject: S,
        profile: Profile,
        shutdown: CancellationToken,
    ) -> Result<Self, Status> {
        let until = Until { profile, replaced: subject.attestors().replacements(), shutdown };
        let selectors = subject.attest().await?;
        Ok(Self { subject, selectors, until })
    }

    pub(in super::super) fn x509_svids<M: Send + 'static>(
        self,
        message: fn(&X509Update) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        let Self { subject, selectors, until } = self;
        let subscription = subject.workload().subscribe_x509(selectors);
        Open::new(subject, subscription, until).stream(message)
    }

    /// Of the identity named, or of all.
    pub(in super::super) fn wit_svids<M: Send + 'static>(
        self,
        wanted: Option<SpiffeId>,
        message: fn(&WitUpdate) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        let Self { subject, selectors, until } = self;
        let subscription = subject.workload().subscribe_wit(selectors, wanted);
        Open::new(subject, subscription, until).stream(message)
    }

    pub(in super::super) fn x509_bundles<M: Send + 'static>(
        self,
        message: fn(&BundleUpdate) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        self.bundles(BundleProfile::X509, message)
    }

    pub(in super::super) fn jwt_bundles<M: Send + 'static>(
        self,
        message: fn(&BundleUpdate) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        self.bundles(BundleProfile::Jwt, message)
    }

    pub(in super::super) fn wit_bundles<M: Send + 'static>(
        self,
        message: fn(&BundleUpdate) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        self.bundles(BundleProfile::Wit, message)
    }

    /// The bundles for whoever verifies SVIDs of one profile.
    fn bundles<M: Send + 'static>(
        self,
        profile: BundleProfile,
        message: fn(&BundleUpdate) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        let Self { subject, selectors, until } = self;
        let subscription = subject.workload().subscribe_bundles(selectors).only(profile);
        Open::new(subject, subscription, until).stream(message)
    }
}

/// One open stream. What the subject attested as is kept by the subscription, shared with everybody who looks alike.
#[derive(Debug)]
struct Open<S, U> {
    subject: S,
    subscription: U,
    until: Until,
    /// Whether nothing was sent yet: the attestation that opened the stream is still warm.
    is_first: bool,
    /// Whether the subscription told an update that was not sent: it does not tell it again.
    has_unsent: bool,
    /// What was handed out last is in use while the stream is open.
    stay: Option<Stay>,
}

impl<S: Subject, U: Subscription> Open<S, U> {
    fn new(subject: S, subscription: U, until: Until) -> Self {
        Self { subject, subscription, until, is_first: true, has_unsent: false, stay: None }
    }

    /// Messages made from updates. The next update is fetched when the transport has passed on the one before, so a slow
    /// client gets the newest state and never a queue of old ones; one message may wait in the transport for its window.
    fn stream<M: Send + 'static>(
        self,
        message: fn(&U::Update) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        Box::pin(futures::stream::unfold(Some(self), move |open| async move {
            let mut open = open?;
            match open.next().await {
                Some(Ok(update)) => Some((Ok(message(&update)), Some(open))),
                Some(Err(status)) => Some((Err(status), None)),
                None => None,
            }
        }))
    }

    /// The next update that the subject, attested once more, is still entitled to.
    async fn next(&mut self) -> Option<Result<U::Update, Status>> {
        let Self { subject, subscription, until, is_first, has_unsent, stay } = self;
        let Until { profile, replaced, shutdown } = until;
        let mut by_others = false;
        let outcome = loop {
            let advance = async {
                if by_others {
                    let told = (&mut *subscription, *has_unsent);
                    if let Err(status) = attest_by_others(subject, told).await {
                        return Some(Err(status));
                    }
                }
                let told = (&mut *subscription, &mut *has_unsent);
                advance(subject, told, stay, *is_first).await
            };
            // Whatever is under way for an update, an end comes first.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Err(error::shutting_down()),
                status = subject.ended() => break Err(status),
                status = subject.offer().withdrawn(*profile) => break Err(status),
                Ok(()) = replaced.changed() => by_others = true,
                outcome = advance => break outcome?,
            }
        };
        (*is_first, *has_unsent) = (false, false);
        Some(outcome)
    }
}

/// Has the attestors of now say what the subject is, who is another one to them perhaps. What was told and not sent is asked
/// for anew in any case.
async fn attest_by_others<S: Subject, U: Subscription>(
    subject: &S,
    (subscription, has_unsent): (&mut U, bool),
) -> Result<(), Status> {
    let now = subject.attest_anew().await?;
    if has_unsent || now != *subscription.selectors() {
        *subscription = subscription.anew(subject.workload(), now);
    }
    Ok(())
}

async fn advance<S: Subject, U: Subscription>(
    subject: &S,
    (subscription, has_unsent): (&mut U, &mut bool),
    stay: &mut Option<Stay>,
    is_first: bool,
) -> Option<Result<U::Update, Status>> {
    loop {
        let mut update = match subscription.next().await? {
            Ok(update) => update,
            Err(error) => {
                let selectors = subscription.selectors();
                let refusal = Refusal { method: U::METHOD, selectors, error: Some(error) };
                return Some(Err(subject.refusal(refusal)));
            }
        };
        *has_unsent = true;
        let selectors = subscription.selectors();
        if let Err(status) = admit::<S, U>(subject, selectors, stay, &mut update).await {
            return Some(Err(status));
        }
        if let Err(status) = subject.release(U::svids(&update)).await {
            return Some(Err(status));
        }
        let now = if is_first { subject.attest().await } else { subject.attest_anew().await };
        let now = match now {
            Ok(selectors) => selectors,
            Err(status) => return Some(Err(status)),
        };
        // Attesting takes time: a kill or a removed entry that came meanwhile counts (WA-14).
        if now == *subscription.selectors() && !subscription.is_stale() {
            return Some(Ok(update));
        }
        // Or the process is the same and what it is has changed, such as its groups. Either way what it gets now is
        // another question, asked anew so that an answer which says the same is not held back.
        *subscription = subscription.anew(subject.workload(), now);
    }
}

/// Leaves of an update that hands out SVIDs those that the subject may have; they are in use from here on.
async fn admit<S: Subject, U: Subscription>(
    subject: &S,
    selectors: &SelectorSet,
    stay: &mut Option<Stay>,
    update: &mut U::Update,
) -> Result<(), Status> {
    let mut ids = U::identities(update);
    if ids.is_empty() {
        return Ok(());
    }
    let user = subject.user(selectors);
    let refused = subject.sharing().observe(&ids, &user, selectors).await;
    if !refused.is_empty() {
        U::withhold(update, &refused);
        ids.retain(|id| !refused.contains(id));
    }
    if ids.is_empty() {
        return Err(subject.refusal(Refusal { method: U::METHOD, selectors, error: None }));
    }
    // The new one is there before the old one goes: no moment is without.
    *stay = Some(subject.sharing().stay(&ids, &user));
    Ok(())
}
