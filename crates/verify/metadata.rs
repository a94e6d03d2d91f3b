//! Protected resource metadata (RFC 9728): who this server is, and where its tokens come from.

use marque_jose::Algorithm;
use serde_json::{Value, json};

use crate::settings::Binding;
use crate::verifier::Verifier;

const WELL_KNOWN: &str = "oauth-protected-resource";

impl Verifier {
    /// The path of the metadata below this server's host: the path of the resource comes after the well-known part.
    #[must_use]
    pub fn metadata_path(&self) -> String {
        self.settings.resource.well_known_path(WELL_KNOWN)
    }

    /// The metadata. Served as `application/json` to anybody at [`Verifier::metadata_path`].
    #[must_use]
    pub fn metadata(&self) -> Value {
        let settings = &self.settings;
        let algorithms: Vec<_> = Algorithm::ALL.iter().map(|one| one.as_str()).collect();
        let mut document = json!({
            "resource": settings.resource.as_str(),
            "authorization_servers": [settings.issuer.as_str()],
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": settings.binding == Binding::Dpop,
        });
        // What would be refused is not named.
        let (dpop, certificates) =
            (settings.binding.admits_dpop(), settings.binding.admits_certificates());
        for (name, value) in [
            ("dpop_signing_alg_values_supported", dpop.then(|| json!(algorithms))),
            (
                "tls_client_certificate_bound_access_tokens",
                certificates.then_some(Value::Bool(true)),
            ),
        ] {
            if let Some((members, value)) = document.as_object_mut().zip(value) {
                members.insert(name.to_owned(), value);
            }
        }
        for (name, values) in [
            ("scopes_supported", &settings.scopes),
            ("authorization_details_types_supported", &settings.detail_types),
        ] {
            // RFC 9728 §3.2: a member without values is left out.
            if let Some(members) = document.as_object_mut().filter(|_| !values.is_empty()) {
                members.insert(name.to_owned(), json!(values));
            }
        }
        document
    }
}
