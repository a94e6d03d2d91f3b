//! Intents, tokens and orders to store.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_exchange::{
    Carried, Derivation, Principal, Redemption, ReplayKey, Revoker, SingleUse, TokenId, TokenKind,
    TokenRecord, TokenRevocation,
};
use marque_intent::{
    Approval, ApprovalRule, Approver, Delivery, Digest, Grant, GrantTerms, Intent, IntentChange,
    IntentId, Kill, KillMode, KillOrder, KillScope, Narrowing, NewKill, NewLift, ParentIntent,
    PinnedPlaybook, Reason, Ruling,
};
use marque_registry::{Entry, EntryId, EntrySource};
use marque_spiffe::SpiffeId;
use marque_store::Store;
pub(crate) use marque_testkit::START;
use marque_testkit::SeededRandom;

static RANDOM: LazyLock<SeededRandom> = LazyLock::new(|| SeededRandom::new(7));

/// An intent with its events, before it is stored.
pub(crate) type Opened = (Intent, Vec<Event>);

pub(crate) fn after(seconds: u64) -> Timestamp {
    START.checked_add(Duration::from_secs(seconds)).unwrap()
}

pub(crate) fn before(seconds: u64) -> Timestamp {
    START.checked_sub(Duration::from_secs(seconds)).unwrap()
}

pub(crate) fn agent(name: &str) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
}

pub(crate) fn reason() -> Reason {
    Reason::new("drill").unwrap()
}

pub(crate) fn alice() -> Approver {
    Approver::Operator { uid: 1000, user: "alice".to_owned() }
}

fn grant(agent: SpiffeId, uses: u32) -> Grant {
    Grant::seal(GrantTerms {
        intent_id: IntentId::generate(&*RANDOM, START).unwrap(),
        trust_domain: "prod.example.org".parse().unwrap(),
        tenant: "example".to_owned(),
        agent,
        attestation: None,
        playbook: PinnedPlaybook {
            id: "ingress-cert-rotation".parse().unwrap(),
            version: 7,
            digest: Digest::of(b"playbook"),
            title: "Rotate the certificate of one ingress".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        parameters: serde_json::Map::new(),
        audiences: vec!["https://k8s.example.org".to_owned()],
        scopes: vec!["secrets.update".parse().unwrap()],
        authorization_details: Vec::new(),
        resources: Vec::new(),
        tools: std::collections::BTreeMap::new(),
        constraints: marque_intent::Constraints::default(),
        limits: marque_intent::Limits::default(),
        on_behalf: None,
        delegators: None,
        parent: None,
        emergency: None,
        session: None,
        task: None,
        delivery: Delivery::Token,
        uses,
        single_use_tokens: false,
        token_lifetime: Duration::from_secs(300),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: START,
        not_after: after(7200),
        ticket: None,
        approval: Some(
            ApprovalRule::of(std::num::NonZeroU32::MIN, std::iter::empty().collect()).into(),
        ),
        policy_set_digest: Digest::of(b"policy"),
        risk: 10,
        evidence: Default::default(),
        conditions: Default::default(),
    })
    .unwrap()
}

/// An intent that policy approved.
pub(crate) fn approved(agent: SpiffeId, uses: u32) -> Opened {
    approved_at(agent, uses, START)
}

pub(crate) fn approved_at(agent: SpiffeId, uses: u32, now: Timestamp) -> Opened {
    Intent::open(
        grant(agent, uses),
        None,
        Ruling::Approve { rules: vec!["low-risk".to_owned()] },
        now,
    )
}

/// An approved intent with other terms.
pub(crate) fn opened(name: &str, uses: u32, change: impl FnOnce(&mut GrantTerms)) -> Opened {
    let (intent, _) = approved(agent(name), uses);
    let mut terms = intent.grant().terms().clone();
    change(&mut terms);
    let ruling = Ruling::Approve { rules: vec!["low-risk".to_owned()] };
    Intent::open(Grant::seal(terms).unwrap(), None, ruling, START)
}

/// An approved intent that one above it asked for, and that ends with it if so wanted.
pub(crate) fn below(parent: &Intent, name: &str, uses: u32, with_parent: bool) -> Opened {
    opened(name, uses, |terms| {
        terms.parent = Some(ParentIntent::of(parent.grant()));
        terms.conditions.ends.with_parent = with_parent;
    })
}

/// An intent with these terms that policy approved, or that waits for an approver where the terms name how one approves
/// and their risk is not low.
pub(crate) fn of_terms(terms: GrantTerms) -> Opened {
    let ruling = match terms.playbook.id.as_str() {
        "another-way" => Ruling::AskApproval { rules: Vec::new() },
        _ => Ruling::Approve { rules: Vec::new() },
    };
    Intent::open(Grant::seal(terms).unwrap(), None, ruling, START)
}

/// An intent that waits for one approver.
pub(crate) fn pending(agent: SpiffeId) -> Opened {
    Intent::open(grant(agent, 1), None, Ruling::AskApproval { rules: Vec::new() }, START)
}

pub(crate) fn approval(intent: &Intent) -> IntentChange {
    IntentChange::Approve { approval: Approval::new(alice(), *intent.grant().digest(), START) }
}

/// The same approver's word for one of its uses.
pub(crate) fn approval_of_one_use(intent: &Intent) -> IntentChange {
    IntentChange::ApproveLess {
        approval: Approval::new(alice(), *intent.grant().digest(), START),
        less: Narrowing { uses: Some(1), ..Narrowing::default() },
    }
}

/// An intent that waits for so many approvers, with so many uses.
pub(crate) fn pending_with(name: &str, approve: u32, uses: u32) -> Opened {
    let approve = std::num::NonZeroU32::new(approve).unwrap();
    let rule = ApprovalRule::of(approve, std::iter::empty().collect());
    let terms = grant(agent(name), uses).terms().clone();
    let grant = Grant::seal(GrantTerms { approval: Some(rule.into()), ..terms }).unwrap();
    Intent::open(grant, None, Ruling::AskApproval { rules: Vec::new() }, START)
}

/// A use of the intent by its own agent, for a token with an id of its own.
pub(crate) fn redemption(intent: &Intent, now: Timestamp) -> Redemption {
    Redemption {
        intent: intent.id().clone(),
        agent: intent.agent().clone(),
        grant_digest: *intent.grant().digest(),
        carried: Carried::default(),
        deferral: None,
        token: TokenRecord {
            id: TokenId::generate(&*RANDOM, START).unwrap(),
            intent: intent.id().clone(),
            client: intent.agent().clone(),
            audiences: intent.grant().audiences.clone(),
            issued_at: now,
            expires_at: now.checked_add(Duration::from_secs(60)).unwrap(),
            epoch: 0,
            revoked_at: None,
            kind: TokenKind::AccessToken,
            through: Vec::new(),
            parent: None,
            ancestors: Vec::new(),
            keys_above: Vec::new(),
            root: Some(Principal::Agent(intent.agent().clone())),
            root_groups: Default::default(),
            confirmation: None,
            single_use: false,
            used_at: None,
            status_index: None,
        },
        transaction: None,
        proofs: Vec::new(),
        now,
    }
}

/// A token that derives from another, for another agent.
pub(crate) fn derivation(intent: &Intent, parent: &TokenRecord, holder: &str) -> Derivation {
    Derivation {
        grant_digest: *intent.grant().digest(),
        carried: Carried::default(),
        token: TokenRecord {
            id: TokenId::generate(&*RANDOM, START).unwrap(),
            client: agent(holder),
            through: parent.holders().cloned().collect(),
            parent: Some(parent.id.clone()),
            ancestors: parent.line(),
            keys_above: parent.keys(),
            status_index: None,
            ..parent.clone()
        },
        transaction: None,
        requested_by: parent.client.clone(),
        proofs: Vec::new(),
        now: START,
    }
}

/// An order to revoke a token, by its holder.
pub(crate) fn revocation(token: &TokenRecord) -> TokenRevocation {
    TokenRevocation {
        token: token.id.clone(),
        intent: token.intent.clone(),
        by: Revoker::Client(token.client.clone()),
        now: START,
    }
}

/// The proof of this number.
pub(crate) fn proof(number: u32, until: Timestamp) -> SingleUse {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    SingleUse { key: ReplayKey::from_bytes(key), until }
}

/// An order to stop an agent, unlike every other order.
pub(crate) fn kill(scope: KillScope) -> NewKill {
    let actor = "operator:alice(1000)".to_owned();
    NewKill {
        scope,
        mode: KillMode::Stop,
        reason: reason(),
        actor,
        expires_at: None,
        origin: None,
        hits: Default::default(),
    }
}

/// An order that came of somebody's word.
pub(crate) fn kill_of(word: &str, scope: KillScope) -> NewKill {
    NewKill { origin: Some(Digest::of(word.as_bytes())), ..kill(scope) }
}

/// Two people let somebody go on.
pub(crate) fn lift(kill: &Kill) -> KillOrder {
    KillOrder::Lift(NewLift {
        lifts: kill.id(),
        to: None,
        reason: reason(),
        actor: "operator:alice(1000)".to_owned(),
        confirmed_by: Some("operator:bob(1001)".to_owned()),
    })
}

/// An event with no other effect.
pub(crate) fn refusal() -> Event {
    Event::new(EventKind::TokenRefused, START)
        .with_agent(agent("a"))
        .with_denial("grant_consumed", "grant")
}

pub(crate) fn entry(id: &str, path: &str) -> Entry {
    let content = serde_json::json!({
        "spiffe_id": format!("spiffe://prod.example.org{path}"),
        "selectors": ["unix:uid:1000"],
        "role": "agent",
        "owner": "group:platform",
    });
    let content: marque_registry::NewEntry = serde_json::from_value(content).unwrap();
    let id: EntryId = id.parse().unwrap();
    content.into_entry(id, EntrySource::Admin).unwrap()
}

/// Stores an intent.
pub(crate) async fn submit(store: &Store, (intent, events): Opened) -> Intent {
    use marque_intent::IntentStore as _;
    store.submit(intent, events, None).await.unwrap().into_intent()
}

/// Every leaf of the log.
pub(crate) async fn leaves(store: &Store) -> Vec<marque_audit::Leaf> {
    use marque_audit::LogStore as _;
    store.leaves(0, 100_000).await.unwrap()
}

/// How many leaves of a kind the log has.
pub(crate) async fn count(store: &Store, kind: EventKind) -> usize {
    leaves(store).await.iter().filter(|leaf| leaf.event().kind == kind).count()
}
