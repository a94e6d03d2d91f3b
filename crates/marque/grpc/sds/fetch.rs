//! FetchSecrets: one question, one answer.

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tonic::Status;

use super::caller::Caller;
use super::resources::Resources;
use super::stream::{Answer, Wanted, verification};
use super::{check_type, stream};
use crate::error;

/// What the request names, or everything if it names nothing.
pub(super) async fn fetch(
    caller: &Caller,
    request: DiscoveryRequest,
) -> Result<DiscoveryResponse, Status> {
    check_type(&request.type_url)?;
    let verification = verification(request.node.as_ref()).unwrap_or_default();
    let wanted = Wanted::first(request.resource_names)?;
    let update = caller.subscribe().await?.next(caller).await?;
    let answer = Answer::of(&Resources::new(&update, verification), &wanted);
    if answer.is_empty() {
        return Err(error::no_such_resources());
    }
    Ok(stream::response(answer, String::new()))
}
