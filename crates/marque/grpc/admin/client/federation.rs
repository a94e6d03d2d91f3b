//! Federation.

use std::time::Duration;

use marque_spiffe::{Environment, TrustDomain};

use super::super::super::time::duration;
use super::{AdminClient, CallError, proto};
use crate::discovery::Published;
use crate::federation::{FederationView, NewEndpoint, NewFederation, NewProfile};

impl AdminClient {
    /// The relationships with other trust domains, by name.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn federations(&mut self) -> Result<Vec<FederationView>, CallError> {
        let answer = self.inner.list_federations(proto::ListFederationsRequest {}).await?;
        let proto::ListFederationsResponse { federations_json } = answer.into_inner();
        serde_json::from_str(&federations_json)
            .map_err(|_malformed| CallError::Malformed("federations_json"))
    }

    /// Adds a relationship.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn add_federation(
        &mut self,
        new: NewFederation,
    ) -> Result<FederationView, CallError> {
        let NewFederation { trust_domain, environment, endpoint, bundle } = new;
        let environment = match environment {
            Environment::Production => proto::Environment::Production,
            Environment::NonProduction => proto::Environment::NonProduction,
        };
        let request = proto::AddFederationRequest {
            trust_domain: trust_domain.to_string(),
            environment: environment.into(),
            endpoint: endpoint.map(message),
            bundle_json: bundle.unwrap_or_default(),
        };
        let answer = self.inner.add_federation(request).await?.into_inner();
        let proto::AddFederationResponse { federation_json } = answer;
        view(&federation_json)
    }

    /// Removes a relationship; how many entries asked for its bundle.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn remove_federation(&mut self, name: &TrustDomain) -> Result<u64, CallError> {
        let request = proto::RemoveFederationRequest { trust_domain: name.to_string() };
        let answer = self.inner.remove_federation(request).await?.into_inner();
        let proto::RemoveFederationResponse { entries } = answer;
        Ok(entries)
    }

    /// Fetches a bundle now, and has it taken.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn refresh_federation(
        &mut self,
        name: &TrustDomain,
    ) -> Result<FederationView, CallError> {
        view(&self.fetched(name, false).await?.federation_json)
    }

    /// Fetches a bundle now, and only shows the document.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn look_at_bundle(&mut self, name: &TrustDomain) -> Result<String, CallError> {
        Ok(self.fetched(name, true).await?.bundle_json)
    }

    async fn fetched(
        &mut self,
        name: &TrustDomain,
        look_only: bool,
    ) -> Result<proto::RefreshFederationResponse, CallError> {
        let request = proto::RefreshFederationRequest { trust_domain: name.to_string(), look_only };
        Ok(self.inner.refresh_federation(request).await?.into_inner())
    }

    /// The bundle document that is held of a trust domain, or the own one.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn bundle(&mut self, name: Option<&TrustDomain>) -> Result<String, CallError> {
        let trust_domain = name.map(ToString::to_string).unwrap_or_default();
        let answer = self.inner.get_bundle(proto::GetBundleRequest { trust_domain }).await?;
        let proto::GetBundleResponse { trust_domain: _, bundle_json } = answer.into_inner();
        Ok(bundle_json)
    }

    /// What clouds fetch to verify tokens.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn published(&mut self) -> Result<Vec<Published>, CallError> {
        let answer = self.inner.list_published(proto::ListPublishedRequest {}).await?;
        let proto::ListPublishedResponse { published_json } = answer.into_inner();
        serde_json::from_str(&published_json)
            .map_err(|_malformed| CallError::Malformed("published_json"))
    }

    /// Sets the bundle of a trust domain that is federated with.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn set_bundle(
        &mut self,
        name: &TrustDomain,
        bundle_json: String,
    ) -> Result<FederationView, CallError> {
        let request = proto::SetBundleRequest { trust_domain: name.to_string(), bundle_json };
        let answer = self.inner.set_bundle(request).await?.into_inner();
        let proto::SetBundleResponse { federation_json } = answer;
        view(&federation_json)
    }
}

fn message(endpoint: NewEndpoint) -> proto::BundleEndpoint {
    let NewEndpoint { url, profile, max_staleness_s } = endpoint;
    let profile = match profile {
        NewProfile::HttpsWeb { authorities } => {
            proto::bundle_endpoint::Profile::AuthoritiesPem(authorities)
        }
        NewProfile::HttpsSpiffe { endpoint_spiffe_id } => {
            proto::bundle_endpoint::Profile::EndpointSpiffeId(endpoint_spiffe_id.to_string())
        }
    };
    let max_staleness = max_staleness_s.map(|seconds| duration(Duration::from_secs(seconds)));
    proto::BundleEndpoint { url, profile: Some(profile), max_staleness }
}

fn view(json: &str) -> Result<FederationView, CallError> {
    serde_json::from_str(json).map_err(|_malformed| CallError::Malformed("federation_json"))
}
