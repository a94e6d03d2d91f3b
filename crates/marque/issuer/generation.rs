//! One generation of rules: everything that a folder says, as it was read once, wired to what lasts.
//!
//! A generation is made whole before it is in force, so that whatever can fail has failed by then; [`Issuer::take_effect`]
//! cannot. Its tasks run while it is in force and under a token of their own; the next generation's begin when they have
//! ended, so that no two couriers stand at one cursor. Absent: when one takes the place of another.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::join_all;
use marque_authority::Authority;
use marque_exchange::{TokenService, TokenServiceParts};
use marque_intent::{ApprovalLimits, CalendarSet, Caps, PlaybookSet, Rosters};
use marque_keys::KeyPurpose;
use marque_policy::CedarDecisionPoint;
use marque_registry::{RegistryView, TrustDomainDocument};
use marque_spiffe::{Bundle, BundleSource, TrustDomain};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::{self, FurtherPoints, IntentDesk};
use super::folder::CheckedFolder;
use super::foreign::Foreign;
use super::{Issuer, IssuerParts, Lasting, Over, token_config, versions};
use crate::approvers::{ApprovalDesk, ApprovalDeskParts, Approvers, ApproversParts};
use crate::authzen::ExternalPoint;
use crate::change::{self, ChangeControl};
use crate::discovery;
use crate::federation::{self, FederatedBundles, Federations, FederationsParts};
use crate::oidc::OidcKeyRing;
use crate::post_checks::PostChecks;
use crate::sinks::{Sinks, SinksParts};
use crate::ssf::{Signals, SignalsParts};
use crate::webhooks::{Webhooks, WebhooksParts};
use crate::witnesses::{Witnesses, WitnessesParts};

/// How long a request may take at most: then nobody works by the rules any more that it began with.
const LONGEST_REQUEST: Duration = Duration::from_secs(120);
/// How soon open grants are held against new rules again when that failed.
const REVIEW_AGAIN: Duration = Duration::from_secs(5);
/// How long it may take at most from when somebody reads what an SVID should say until it is signed.
const LONGEST_MINTING: Duration = Duration::from_secs(1);

impl Issuer {
    /// Opens the authorities, loads the entries, and wires the rooms.
    pub(crate) async fn open(
        mut checked: CheckedFolder,
        parts: IssuerParts,
    ) -> anyhow::Result<Self> {
        versions::are_as_granted(&checked.folder.path, &checked.playbooks, &parts.store).await?;
        let document = Arc::new(checked.folder.document.clone());
        let entries = std::mem::take(&mut checked.folder.entries);
        let templates = std::mem::take(&mut checked.folder.templates);
        let files = checked.files.clone();
        let lasting = Lasting::open(&document, ((entries, templates), files), parts).await?;
        let by_command = federation::fetched_by_command(&lasting.store, lasting.started_at).await;
        let by_command = by_command.context("read the relationships that were added by command")?;
        federation::prune(&document, &lasting.kept_bundles, &by_command)?;
        let issuer = Self::wire(checked, &Arc::new(lasting), None)?;
        let looked = issuer.federations.reconcile().await;
        looked.context("read the relationships that were added by command")?;
        issuer.take_effect();
        let foreign = Arc::clone(&issuer.foreign);
        issuer.minting.change_with(foreign, || Ok::<(), anyhow::Error>(()))?;
        Ok(issuer)
    }

    /// Wires the rooms by the rules of a folder; what is in force stays in force. What `before` knows that no folder says is
    /// taken over. Every file that the document names is read here.
    ///
    /// # Errors
    /// A file cannot be read, or a client cannot be set up.
    pub(super) fn wire(
        checked: CheckedFolder,
        lasting: &Arc<Lasting>,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let CheckedFolder { folder, playbooks, calendars, policy, rosters, files } = checked;
        let (document, path) = (Arc::new(folder.document), folder.path);
        let policies = policy.policies().cloned().collect();
        let registry = Arc::clone(lasting.registry());
        let view = Arc::new(match before {
            None => RegistryView::of_present(registry),
            Some(_) => RegistryView::of_next(registry),
        });
        let Lasting { store, clock, random, authority, issuer_url, .. } = &**lasting;
        let kept = &lasting.kept_bundles;
        let federated = federation::open(&document, folder.federated, kept, clock.now());
        let foreign =
            Foreign::new(Arc::clone(&federated), folder.revocation_lists, &authority.bundle());
        let keys_before = before.map(|before| &*before.oidc_keys);
        let (issuers, key_files) = (document.issuer_keys(), folder.issuer_keys);
        let oidc_keys = OidcKeyRing::open(issuers, &path, key_files, clock, keys_before)?;
        let oidc_keys = Arc::new(oidc_keys);
        let rules = Rules { playbooks, calendars, policy, rosters, view };
        let intents = Arc::new(intent_desk(&document, &path, lasting, rules)?);
        let approval_desk = Arc::new(approval_desk(lasting, &intents));
        let approvers = ApproversParts {
            desk: Arc::clone(&approval_desk),
            kill_switch: Arc::clone(&lasting.kill_switch),
            folder: &path,
            issuer: issuer_url.clone(),
            keys: &oidc_keys,
            secret: Arc::clone(&lasting.login_secret),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        };
        let kept_by = (store, clock, random);
        Ok(Self {
            approvers: Approvers::open(&document, approvers)?.map(Arc::new),
            approval_desk,
            tokens: Arc::new(tokens(&document, lasting, (&intents, &oidc_keys))?),
            webhooks: Arc::new(webhooks(&document, &path, lasting, &intents)?),
            sinks: Arc::new(sinks(&document, &path, lasting)?),
            witnesses: Arc::new(witnesses(&document, &path, lasting)?),
            post_checks: Arc::new(PostChecks::open(&document, &path, &intents.playbooks, kept_by)?),
            signals: Arc::new(signals(&document, &path, lasting, &oidc_keys)?),
            federations: federations(&document, &path, lasting, (federated, before))?,
            svid_issuer: discovery::svid_issuer(&document, issuer_url)?,
            foreign: Arc::new(foreign),
            files,
            policies,
            intents,
            oidc_keys,
            document,
            path,
            over: Over::default(),
            earlier: before.map(Self::not_over).unwrap_or_default(),
            lasting: Arc::clone(lasting),
        })
    }

    /// Tells what lasts the numbers that it goes by from here on.
    pub(super) fn take_effect(&self) {
        self.store.know_tenant(self.document.tenant().as_str());
        let asked = self.document.approvals();
        self.store.limit_approvals(ApprovalLimits {
            max_per_hour: asked.max_per_hour,
            max_pending: asked.max_pending,
        });
        self.store.keep_pace(self.intents.pace.clone());
        self.sharing.go_by(self.document.identities());
        let playbooks = &self.intents.playbooks;
        self.presence.want(playbooks.iter().any(|playbook| playbook.ends().with_agent));
        self.federations.take_effect();
    }

    /// What runs while this generation is in force, until `stop`.
    pub(super) fn start(&self, tasks: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        async fn ends_well(task: impl Future<Output = ()>) -> anyhow::Result<()> {
            task.await;
            Ok(())
        }
        tasks.spawn(ends_well(Arc::clone(&self.federations).run(stop.clone())));
        for keys in self.oidc_keys.fetched() {
            let (token, keys) = (stop.clone(), Arc::clone(keys));
            tasks.spawn(ends_well(async move { keys.follow(token).await }));
        }
        for courier in self.webhooks.couriers(stop) {
            tasks.spawn(ends_well(courier));
        }
        for pusher in self.sinks.pushers(stop) {
            tasks.spawn(ends_well(pusher));
        }
        for asker in self.witnesses.askers(stop) {
            tasks.spawn(ends_well(asker));
        }
        for courier in self.signals.couriers(stop) {
            tasks.spawn(ends_well(courier));
        }
        if let Some(review) = self.review_after_the_earlier(stop) {
            tasks.spawn(ends_well(review));
        }
        tasks.spawn(ends_well(self.change_watch().run(stop.clone())));
        tasks.spawn(Arc::clone(&self.post_checks).run(stop.clone()));
    }

    /// The generations that somebody still works by, this one with them.
    fn not_over(&self) -> Vec<CancellationToken> {
        let earlier = self.earlier.iter().filter(|earlier| !earlier.is_cancelled());
        earlier.cloned().chain([self.over.token()]).collect()
    }

    /// Holds what is open against these rules when nobody works by earlier ones any more, and the keys to what these rules let
    /// them sign: until then something may still be given by those.
    fn review_after_the_earlier(
        &self,
        stop: &CancellationToken,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let (earlier, stop) = (self.earlier.clone(), stop.clone());
        let (intents, lasting) = (Arc::clone(&self.intents), Arc::clone(&self.lasting));
        let (document, issuer) = (Arc::clone(&self.document), self.svid_issuer.clone());
        if earlier.is_empty() {
            return None;
        }
        let review = async move {
            let all = join_all(earlier.iter().map(CancellationToken::cancelled));
            drop(tokio::time::timeout(LONGEST_REQUEST, all).await);
            while let Err(error) = intents.review_open().await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "open grants could not be held against the rules of now"
                );
                tokio::time::sleep(REVIEW_AGAIN).await;
            }
            tokio::time::sleep(LONGEST_MINTING).await;
            while let Err(error) = lasting.narrow_authorities(&document, issuer.as_ref()).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the keys could not be held to the rules of now alone"
                );
                tokio::time::sleep(REVIEW_AGAIN).await;
            }
        };
        Some(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = review => {}
            }
        })
    }

    /// What holds the grants that were given to their tickets and calendars.
    fn change_watch(&self) -> change::Watch {
        change::Watch {
            control: Arc::clone(&self.intents.change),
            playbooks: Arc::clone(&self.intents.playbooks),
            store: Arc::clone(&self.store) as _,
            open: Arc::clone(&self.store) as _,
            clock: Arc::clone(&self.clock),
        }
    }
}

/// What a folder says of intents.
struct Rules {
    playbooks: PlaybookSet,
    calendars: CalendarSet,
    policy: CedarDecisionPoint,
    rosters: Rosters,
    /// The entries that go with them.
    view: Arc<RegistryView>,
}

fn intent_desk(
    document: &TrustDomainDocument,
    path: &Path,
    lasting: &Lasting,
    rules: Rules,
) -> anyhow::Result<IntentDesk> {
    let Rules { playbooks, calendars, policy, rosters, view } = rules;
    let change = ChangeControl::open(document.ticket_systems(), calendars, path, &lasting.clock)?;
    Ok(IntentDesk {
        payloads: Arc::clone(&lasting.payloads),
        environment: document.environment(),
        playbooks: Arc::new(playbooks),
        policy: Arc::new(policy),
        slow: Arc::clone(&lasting.slow),
        further: further_points(document, path)?,
        postures: Arc::clone(&lasting.postures),
        change: Arc::new(change),
        registry: view,
        rosters: Arc::new(rosters),
        store: Arc::clone(&lasting.store),
        clock: Arc::clone(&lasting.clock),
        random: Arc::clone(&lasting.random),
        caps: caps(document),
        presence: Arc::clone(&lasting.presence),
        pace: desk::pace_settings(document.denials()),
    })
}

fn approval_desk(lasting: &Lasting, intents: &Arc<IntentDesk>) -> ApprovalDesk {
    ApprovalDesk::open(ApprovalDeskParts {
        store: Arc::clone(&lasting.store),
        registry: Arc::clone(&intents.registry),
        rosters: Arc::clone(&intents.rosters),
        intents: Arc::clone(intents),
        clock: Arc::clone(&lasting.clock),
        looks: Arc::clone(&lasting.looks),
    })
}

fn tokens(
    document: &TrustDomainDocument,
    lasting: &Lasting,
    (intents, oidc_keys): (&Arc<IntentDesk>, &Arc<OidcKeyRing>),
) -> anyhow::Result<TokenService> {
    let Lasting { store, authority, .. } = lasting;
    // The token endpoint takes SVIDs of the own trust domain alone: federation is for workloads among themselves.
    let bundles = Arc::new(OwnTokenKeys(Arc::clone(authority)));
    let mut config = token_config::of(document, lasting.issuer_url.clone())?;
    // SVIDs that were minted by the settings of before are as good as ever until they end; longer ones no key signs.
    let signed = lasting.authority.config();
    config.max_assertion_lifetime =
        config.max_assertion_lifetime.max(signed.longest(KeyPurpose::JwtSvid));
    config.max_wit_svid_lifetime =
        config.max_wit_svid_lifetime.max(signed.longest(KeyPurpose::WitSvid));
    let parts = TokenServiceParts {
        bundles,
        environments: Arc::clone(&lasting.environments),
        oidc_keys: Arc::clone(oidc_keys) as _,
        keys: Arc::clone(authority) as _,
        store: Arc::clone(store) as _,
        deferrals: Arc::clone(store) as _,
        desk: Arc::clone(intents) as _,
        gate: Arc::clone(&intents.change) as _,
        life: Arc::clone(store) as _,
        replays: Arc::clone(store) as _,
        nonce_secret: lasting.nonce_secret.clone(),
        random: Arc::clone(&lasting.random),
        clock: Arc::clone(&lasting.clock),
    };
    Ok(TokenService::new(config, parts))
}

fn webhooks(
    document: &Arc<TrustDomainDocument>,
    path: &Path,
    lasting: &Lasting,
    intents: &IntentDesk,
) -> anyhow::Result<Webhooks> {
    let parts = WebhooksParts {
        issuer: lasting.issuer_url.clone(),
        playbooks: Arc::clone(&intents.playbooks),
        store: Arc::clone(&lasting.store),
        clock: Arc::clone(&lasting.clock),
        random: Arc::clone(&lasting.random),
    };
    Webhooks::open(document, path, parts)
}

fn sinks(document: &TrustDomainDocument, path: &Path, lasting: &Lasting) -> anyhow::Result<Sinks> {
    let parts = SinksParts {
        store: Arc::clone(&lasting.store),
        clock: Arc::clone(&lasting.clock),
        random: Arc::clone(&lasting.random),
    };
    Sinks::open(document, path, parts)
}

fn witnesses(
    document: &TrustDomainDocument,
    path: &Path,
    lasting: &Lasting,
) -> anyhow::Result<Witnesses> {
    let parts = WitnessesParts {
        key: lasting.log_key.clone(),
        tree: Arc::clone(&lasting.log_tree),
        store: Arc::clone(&lasting.store),
        clock: Arc::clone(&lasting.clock),
        random: Arc::clone(&lasting.random),
    };
    Witnesses::open(document, path, parts)
}

fn signals(
    document: &Arc<TrustDomainDocument>,
    path: &Path,
    lasting: &Lasting,
    keys: &Arc<OidcKeyRing>,
) -> anyhow::Result<Signals> {
    let parts = SignalsParts {
        issuer: lasting.issuer_url.clone(),
        signing: Arc::clone(&lasting.authority) as _,
        keys: Arc::clone(keys),
        store: Arc::clone(&lasting.store),
        clock: Arc::clone(&lasting.clock),
        random: Arc::clone(&lasting.random),
    };
    Signals::open(document, path, parts)
}

/// The relationships of the folder, and those by command as the generation before had them.
fn federations(
    document: &Arc<TrustDomainDocument>,
    path: &Path,
    lasting: &Lasting,
    (bundles, before): (Arc<FederatedBundles>, Option<&Issuer>),
) -> anyhow::Result<Arc<Federations>> {
    let parts = FederationsParts {
        bundles,
        own: OwnBundle(Arc::clone(&lasting.authority)),
        kept: lasting.kept_bundles.clone(),
        store: Arc::clone(&lasting.store),
        registry: Arc::clone(lasting.registry()),
        environments: Arc::clone(&lasting.environments),
        clock: Arc::clone(&lasting.clock),
        news: Arc::clone(&lasting.federation_news),
        hands_on: Arc::clone(&lasting.minting) as _,
    };
    let before = before.map(|before| &*before.federations);
    Ok(Arc::new(Federations::new(Arc::clone(document), path, parts, before)?))
}

/// The own bundle of the moment.
#[derive(Debug)]
struct OwnBundle(Arc<Authority>);

impl BundleSource for OwnBundle {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        (trust_domain == self.0.trust_domain()).then(|| self.0.bundle())
    }
}

/// As [`OwnBundle`], for tokens that were signed here: an entry of this registry is behind each.
#[derive(Debug)]
struct OwnTokenKeys(Arc<Authority>);

impl BundleSource for OwnTokenKeys {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        (trust_domain == self.0.trust_domain()).then(|| self.0.own_bundle())
    }
}

/// The further decision points of the document.
fn further_points(document: &TrustDomainDocument, folder: &Path) -> anyhow::Result<FurtherPoints> {
    let rules = document.decision_points().iter();
    let external = rules.map(|rule| {
        let name = rule.name();
        ExternalPoint::open(rule, folder)
            .with_context(|| format!("open the decision point `{name}`"))
    });
    Ok(FurtherPoints { external: external.collect::<Result<_, _>>()? })
}

fn caps(document: &TrustDomainDocument) -> Caps {
    let settings = document.grants();
    Caps {
        per_agent: Some(settings.max_open_per_agent),
        per_delegator: Some(settings.max_open_per_delegator),
        per_target: Some(settings.max_open_per_target),
    }
}
