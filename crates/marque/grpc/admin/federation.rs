//! Federation, as operators change it.
//!
//! Absent on purpose: every rule about relationships and bundles (`federation/change.rs`).

use marque_spiffe::TrustDomain;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::from_duration;
use super::{AdminService, messages, requests};
use crate::error;
use crate::federation::{FederationError, NewEndpoint, NewFederation, NewProfile};

impl AdminService {
    pub(super) async fn federations(
        &self,
        request: Request<proto::ListFederationsRequest>,
    ) -> Result<Response<proto::ListFederationsResponse>, Status> {
        self.operator("ListFederations", &request).await?;
        let proto::ListFederationsRequest {} = request.into_inner();
        let federations_json = messages::json(&self.door.federations().views().await);
        Ok(Response::new(proto::ListFederationsResponse { federations_json }))
    }

    pub(super) async fn federate(
        &self,
        request: Request<proto::AddFederationRequest>,
    ) -> Result<Response<proto::AddFederationResponse>, Status> {
        let operator = self.operator("AddFederation", &request).await?;
        let new = new_federation(request.into_inner())?;
        let added = self.door.federations().add(new, &operator.to_string()).await;
        let federation_json = messages::json(&added.map_err(refused)?);
        Ok(Response::new(proto::AddFederationResponse { federation_json }))
    }

    pub(super) async fn part(
        &self,
        request: Request<proto::RemoveFederationRequest>,
    ) -> Result<Response<proto::RemoveFederationResponse>, Status> {
        let operator = self.operator("RemoveFederation", &request).await?;
        let proto::RemoveFederationRequest { trust_domain } = request.into_inner();
        let name = requests::trust_domain(&trust_domain)?;
        let removed = self.door.federations().remove(&name, &operator.to_string()).await;
        let entries = u64::try_from(removed.map_err(refused)?).unwrap_or(u64::MAX);
        Ok(Response::new(proto::RemoveFederationResponse { entries }))
    }

    pub(super) async fn refresh(
        &self,
        request: Request<proto::RefreshFederationRequest>,
    ) -> Result<Response<proto::RefreshFederationResponse>, Status> {
        self.operator("RefreshFederation", &request).await?;
        let proto::RefreshFederationRequest { trust_domain, look_only } = request.into_inner();
        let name = requests::trust_domain(&trust_domain)?;
        let federations = self.door.federations();
        let (federation_json, bundle_json) = if look_only {
            (String::new(), federations.look(&name).await.map_err(refused)?.to_string())
        } else {
            (messages::json(&federations.refresh(&name).await.map_err(refused)?), String::new())
        };
        Ok(Response::new(proto::RefreshFederationResponse { federation_json, bundle_json }))
    }

    pub(super) async fn bundle(
        &self,
        request: Request<proto::GetBundleRequest>,
    ) -> Result<Response<proto::GetBundleResponse>, Status> {
        self.operator("GetBundle", &request).await?;
        let proto::GetBundleRequest { trust_domain } = request.into_inner();
        let name: TrustDomain = if trust_domain.is_empty() {
            self.door.document().name().clone()
        } else {
            requests::trust_domain(&trust_domain)?
        };
        let held = self.door.federations().held(&name);
        let held = held.ok_or_else(|| refused(FederationError::Unknown(name.clone())))?;
        let bundle_json = held.to_document().to_string();
        Ok(Response::new(proto::GetBundleResponse { trust_domain: name.to_string(), bundle_json }))
    }

    pub(super) async fn published(
        &self,
        request: Request<proto::ListPublishedRequest>,
    ) -> Result<Response<proto::ListPublishedResponse>, Status> {
        self.operator("ListPublished", &request).await?;
        let proto::ListPublishedRequest {} = request.into_inner();
        let published_json = messages::json(&self.door.published());
        Ok(Response::new(proto::ListPublishedResponse { published_json }))
    }

    pub(super) async fn replace_bundle(
        &self,
        request: Request<proto::SetBundleRequest>,
    ) -> Result<Response<proto::SetBundleResponse>, Status> {
        let operator = self.operator("SetBundle", &request).await?;
        let proto::SetBundleRequest { trust_domain, bundle_json } = request.into_inner();
        let name = requests::trust_domain(&trust_domain)?;
        let federations = self.door.federations();
        let set = federations.set_bundle(&name, &bundle_json, &operator.to_string()).await;
        let federation_json = messages::json(&set.map_err(refused)?);
        Ok(Response::new(proto::SetBundleResponse { federation_json }))
    }
}

fn refused(refused: FederationError) -> Status {
    error::admin(refused.into())
}

fn new_federation(request: proto::AddFederationRequest) -> Result<NewFederation, Status> {
    let proto::AddFederationRequest { trust_domain, environment, endpoint, bundle_json } = request;
    Ok(NewFederation {
        trust_domain: requests::trust_domain(&trust_domain)?,
        environment: requests::environment(environment)?,
        endpoint: endpoint.map(new_endpoint).transpose()?,
        bundle: Some(bundle_json).filter(|document| !document.is_empty()),
    })
}

fn new_endpoint(endpoint: proto::BundleEndpoint) -> Result<NewEndpoint, Status> {
    let proto::BundleEndpoint { url, profile, max_staleness } = endpoint;
    let profile = match profile.ok_or_else(|| error::missing_field("profile"))? {
        proto::bundle_endpoint::Profile::AuthoritiesPem(authorities) => {
            NewProfile::HttpsWeb { authorities }
        }
        proto::bundle_endpoint::Profile::EndpointSpiffeId(id) => {
            NewProfile::HttpsSpiffe { endpoint_spiffe_id: requests::spiffe_id(&id)? }
        }
    };
    let max_staleness_s = max_staleness
        .map(|length| from_duration(length).ok_or_else(|| error::missing_field("max_staleness")))
        .transpose()?
        .map(|length| length.as_secs());
    Ok(NewEndpoint { url, profile, max_staleness_s })
}
