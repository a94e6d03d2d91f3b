//! StreamSecrets: the state of the world of what the client names, again on every change of either.
//!
//! The client answers each response by its nonce: with an acknowledgement, which is answered by nothing, with a refusal,
//! which is put on record and answered by nothing until there is something else to send, or with other names. A request
//! that answers an older response is out of date and not heeded.
//!
//! An empty answer is not sent as the first one: an Envoy takes it for a failure and gives up waiting, while one that
//! hears nothing waits as long as it was configured to. Once something was sent, an empty answer says that it is gone.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use futures::stream::BoxStream;
use tonic::{Status, Streaming};

use super::super::answers::Answers;
use super::caller::{Caller, Updates};
use super::resources::{Resource, Resources, Verification, version_of};
use super::{SECRET_TYPE, check_count, check_name, check_type, secrets};

/// The name that stands for all.
pub(super) const WILDCARD: &str = "*";

/// The member of a node's metadata by which a client chooses a plain list of authorities.
const NO_SPIFFE_VALIDATOR: &str = "disable_spiffe_cert_validation";

/// What a client wants to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Named(BTreeSet<String>),
}

/// The secrets of one response, with what tells it from others.
pub(super) struct Answer<'a> {
    resources: Vec<Resource<'a>>,
    pub(super) version: String,
}

/// The answers to one client.
pub(super) fn converse(
    caller: Caller,
    requests: Streaming<DiscoveryRequest>,
) -> BoxStream<'static, Result<DiscoveryResponse, Status>> {
    let conversation = Conversation {
        caller,
        requests,
        updates: Updates::none(),
        wanted: None,
        verification: Verification::default(),
        sent: None,
        count: 0,
    };
    conversation.stream()
}

struct Conversation {
    caller: Caller,
    requests: Streaming<DiscoveryRequest>,
    updates: Updates,
    /// `None` until the client has spoken.
    wanted: Option<Wanted>,
    verification: Verification,
    sent: Option<Sent>,
    count: u64,
}

/// The last response.
struct Sent {
    nonce: String,
    version: String,
    rejected: bool,
}

impl Answers for Conversation {
    type Answer = DiscoveryResponse;

    /// The next response; `None` when the client has nothing more to say.
    async fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        loop {
            tokio::select! {
                request = self.requests.message() => {
                    let Some(request) = request? else { return Ok(None) };
                    self.caller.asks_again()?;
                    if self.heed(request)? {
                        // Asked anew, so that an answer is of now and of whoever the caller is now.
                        self.updates = self.caller.subscribe().await?;
                    }
                }
                update = self.updates.next(&self.caller) => {
                    let update = update?;
                    let Some(wanted) = &self.wanted else { continue };
                    let answer = Answer::of(&Resources::new(&update, self.verification), wanted);
                    if let Some(nonce) = self.worth_sending(&answer) {
                        return Ok(Some(response(answer, nonce)));
                    }
                }
            }
        }
    }
}

impl Conversation {
    /// Whether the request asks for something else than before.
    fn heed(&mut self, request: DiscoveryRequest) -> Result<bool, Status> {
        check_type(&request.type_url)?;
        let answers_another = |sent: &Sent| {
            !request.response_nonce.is_empty() && request.response_nonce != sent.nonce
        };
        if self.sent.as_ref().is_some_and(answers_another) {
            return Ok(false);
        }
        if let (Some(detail), Some(sent)) = (&request.error_detail, &mut self.sent)
            && !std::mem::replace(&mut sent.rejected, true)
        {
            self.caller.rejected(&sent.version, detail);
        }
        let verification = verification(request.node.as_ref()).unwrap_or(self.verification);
        let wanted = match &self.wanted {
            None => Wanted::first(request.resource_names)?,
            Some(before) => before.then(request.resource_names)?,
        };
        let is_new = self.wanted.as_ref() != Some(&wanted) || self.verification != verification;
        self.wanted = Some(wanted);
        self.verification = verification;
        Ok(is_new)
    }

    /// The nonce of the next response, if this answer says something that the last one did not.
    fn worth_sending(&mut self, answer: &Answer<'_>) -> Option<String> {
        match &self.sent {
            None if answer.is_empty() => return None,
            Some(sent) if sent.version == answer.version => return None,
            _ => {}
        }
        self.count += 1;
        let nonce = self.count.to_string();
        let version = answer.version.clone();
        self.sent = Some(Sent { nonce: nonce.clone(), version, rejected: false });
        Some(nonce)
    }
}

impl Wanted {
    /// By the first request of a stream: no name stands for all.
    pub(super) fn first(names: Vec<String>) -> Result<Self, Status> {
        let wanted = Self::named(names)?;
        Ok(if wanted == Self::Named(BTreeSet::new()) { Self::All } else { wanted })
    }

    /// By a later request: who has named something and now names nothing wants nothing.
    fn then(&self, names: Vec<String>) -> Result<Self, Status> {
        match self {
            Self::All => Self::first(names),
            Self::Named(_) => Self::named(names),
        }
    }

    fn named(names: Vec<String>) -> Result<Self, Status> {
        check_count(names.len())?;
        names.iter().try_for_each(|name| check_name(name))?;
        if names.iter().any(|name| name == WILDCARD) {
            return Ok(Self::All);
        }
        Ok(Self::Named(names.into_iter().filter(|name| !name.is_empty()).collect()))
    }
}

impl<'a> Answer<'a> {
    /// What there is of what is wanted.
    pub(super) fn of(resources: &Resources<'a>, wanted: &Wanted) -> Self {
        let resources: Vec<_> = match wanted {
            Wanted::All => resources.all().collect(),
            Wanted::Named(names) => names.iter().filter_map(|name| resources.named(name)).collect(),
        };
        let versions: Vec<_> = resources.iter().map(Resource::version).collect();
        let names = resources.iter().map(|resource| resource.name.as_str());
        let version = version_of(names.zip(versions.iter().map(String::as_str)));
        Self { resources, version }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

pub(super) fn response(answer: Answer<'_>, nonce: String) -> DiscoveryResponse {
    let Answer { resources, version } = answer;
    DiscoveryResponse {
        version_info: version,
        resources: resources.into_iter().map(secrets::secret).collect(),
        type_url: SECRET_TYPE.to_owned(),
        nonce,
        ..DiscoveryResponse::default()
    }
}

/// What a node says of how it verifies SVIDs; clients may say who they are once, in the first request of a stream.
pub(super) fn verification(node: Option<&Node>) -> Option<Verification> {
    let node = node?;
    let metadata = node.metadata.as_ref();
    let choice = metadata.and_then(|metadata| metadata.fields.get(NO_SPIFFE_VALIDATOR));
    let plain = match choice.and_then(|choice| choice.kind.as_ref()) {
        Some(Kind::BoolValue(plain)) => *plain,
        Some(Kind::StringValue(plain)) => plain == "true",
        _ => false,
    };
    Some(if plain { Verification::Authorities } else { Verification::Spiffe })
}
