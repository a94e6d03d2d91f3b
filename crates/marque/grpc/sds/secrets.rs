//! From a secret of a caller to Envoy's message.
//!
//! The generated `Debug` prints what it holds: none of these messages is ever printed. Keys are wiped where they are ours
//! to wipe; the encoded message is the transport's.

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
};
use envoy_types::pb::google::protobuf::Any;
use marque_spiffe::Bundle;
use marque_workload::X509SvidMaterial;
use prost::Message as _;
use zeroize::Zeroize as _;

use super::SECRET_TYPE;
use super::resources::{Content, Resource, Verification};
use crate::pem::{pem, pem_certificates};

/// The name under which Envoy knows its SPIFFE validator, in every release that has one.
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// The secret as it goes into an answer.
pub(super) fn secret(resource: Resource<'_>) -> Any {
    let Resource { name, content } = resource;
    let content = match content {
        Content::Svid(material) => Type::TlsCertificate(tls_certificate(material)),
        Content::Trust { bundles, crls, verification } => {
            Type::ValidationContext(validation_context(&bundles, &crls, verification))
        }
    };
    let mut secret = Secret { name, r#type: Some(content) };
    let value = secret.encode_to_vec();
    wipe(&mut secret);
    Any { type_url: SECRET_TYPE.to_owned(), value }
}

fn tls_certificate(material: &X509SvidMaterial) -> TlsCertificate {
    let key = pem("PRIVATE KEY", material.private_key.expose_der());
    TlsCertificate {
        certificate_chain: Some(inline(pem_certificates(&material.chain).into_bytes())),
        private_key: Some(inline(key.as_bytes().to_vec())),
        ..TlsCertificate::default()
    }
}

fn validation_context(
    bundles: &[&Bundle],
    crls: &[&[u8]],
    verification: Verification,
) -> CertificateValidationContext {
    let mut context = CertificateValidationContext::default();
    match verification {
        Verification::Spiffe => context.custom_validator_config = Some(spiffe_validator(bundles)),
        Verification::Authorities => {
            let authorities = bundles.iter().map(|bundle| authorities(bundle)).collect::<String>();
            context.trusted_ca = Some(inline(authorities.into_bytes()));
        }
    }
    if !crls.is_empty() {
        let lists: String = crls.iter().map(|crl| pem("X509 CRL", crl).to_string()).collect();
        context.crl = Some(inline(lists.into_bytes()));
    }
    context
}

fn spiffe_validator(bundles: &[&Bundle]) -> TypedExtensionConfig {
    let trust_domain = |bundle: &&Bundle| TrustDomain {
        name: bundle.trust_domain().to_string(),
        trust_bundle: Some(inline(authorities(bundle).into_bytes())),
        ..TrustDomain::default()
    };
    let config = SpiffeCertValidatorConfig {
        trust_domains: bundles.iter().map(trust_domain).collect(),
        ..SpiffeCertValidatorConfig::default()
    };
    let typed = Any { type_url: VALIDATOR_TYPE.to_owned(), value: config.encode_to_vec() };
    TypedExtensionConfig { name: VALIDATOR.to_owned(), typed_config: Some(typed) }
}

fn authorities(bundle: &Bundle) -> String {
    pem_certificates(bundle.x509_authorities())
}

fn inline(bytes: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)), ..DataSource::default() }
}

fn wipe(secret: &mut Secret) {
    let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else { return };
    let key = certificate.private_key.as_mut().and_then(|key| key.specifier.as_mut());
    if let Some(Specifier::InlineBytes(bytes)) = key {
        bytes.zeroize();
    }
}
