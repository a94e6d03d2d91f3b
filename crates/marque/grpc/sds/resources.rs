//! Which secrets there are, by name:
//!
//! | name | secret |
//! |---|---|
//! | `default` | the default identity: certificates and key |
//! | `spiffe://example.org/agent/a` | that identity, if the caller is entitled to it |
//! | `ROOTCA` | how to verify SVIDs of the own trust domain |
//! | `spiffe://example.org` | how to verify SVIDs of that trust domain: the own one, or one federated with |
//! | `ALL` | how to verify SVIDs of the own trust domain and of all that are federated with |
//!
//! Whoever asks for everything gets each identity and each trust domain once, under its SPIFFE ID.

use std::fmt::Write as _;

use marque_spiffe::Bundle;
use marque_workload::{X509SvidMaterial, X509Update};
use ring::digest::{Context, SHA256};

const DEFAULT_SVID: &str = "default";
const OWN_BUNDLE: &str = "ROOTCA";
const ALL_BUNDLES: &str = "ALL";

/// How many bytes of a digest make a version.
const VERSION_BYTES: usize = 16;

/// How Envoy is to verify SVIDs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Verification {
    /// By Envoy's SPIFFE validator: each SVID by the bundle of its own trust domain alone.
    #[default]
    Spiffe,
    /// By a plain list of certificate authorities, for a client that asks for it.
    Authorities,
}

/// A secret of one caller, not written out yet.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) name: String,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Svid(&'a X509SvidMaterial),
    Trust { bundles: Vec<&'a Bundle>, crls: Vec<&'a [u8]>, verification: Verification },
}

/// All secrets of one caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resources<'a> {
    update: &'a X509Update,
    verification: Verification,
}

impl<'a> Resources<'a> {
    pub(super) fn new(update: &'a X509Update, verification: Verification) -> Self {
        Self { update, verification }
    }

    /// The secret of this name, if there is one for the caller.
    pub(super) fn named(&self, name: &str) -> Option<Resource<'a>> {
        let content = match name {
            DEFAULT_SVID => Content::Svid(&self.update.svids.first()?.material),
            OWN_BUNDLE => self.trust(&self.update.bundle),
            ALL_BUNDLES => self.all_trust()?,
            id => self.identity(id).or_else(|| self.trust_domain(id))?,
        };
        Some(Resource { name: name.to_owned(), content })
    }

    /// Each identity and each trust domain once.
    pub(super) fn all(&self) -> impl Iterator<Item = Resource<'a>> + use<'a> {
        let this = *self;
        let identities = this.update.svids.iter().map(|identity| Resource {
            name: identity.material.spiffe_id.to_string(),
            content: Content::Svid(&identity.material),
        });
        let trust_domains = this.bundles().map(move |bundle| Resource {
            name: bundle.trust_domain().id().to_string(),
            content: this.trust(bundle),
        });
        identities.chain(trust_domains)
    }

    fn identity(&self, id: &str) -> Option<Content<'a>> {
        let mut identities = self.update.svids.iter().map(|identity| &*identity.material);
        identities.find(|material| material.spiffe_id.as_str() == id).map(Content::Svid)
    }

    fn trust_domain(&self, id: &str) -> Option<Content<'a>> {
        let mut bundles = self.bundles();
        bundles
            .find(|bundle| bundle.trust_domain().id().as_str() == id)
            .map(|bundle| self.trust(bundle))
    }

    fn trust(&self, bundle: &'a Bundle) -> Content<'a> {
        // Revocation lists are of the own authorities.
        let own = bundle.trust_domain() == self.update.bundle.trust_domain();
        let crls = if own { self.crls() } else { Vec::new() };
        // Envoy's SPIFFE validator does not look at revocation lists, its other one does: what is revoked stays out, and in
        // the own trust domain nobody else's authority could speak up.
        let verification =
            if crls.is_empty() { self.verification } else { Verification::Authorities };
        Content::Trust { bundles: vec![bundle], crls, verification }
    }

    /// A plain list of authorities of several trust domains would let each speak for all of them (TB-7).
    fn all_trust(&self) -> Option<Content<'a>> {
        let bundles = self.bundles().collect();
        let verification = self.verification;
        (verification == Verification::Spiffe).then(|| Content::Trust {
            bundles,
            crls: self.crls(),
            verification,
        })
    }

    fn bundles(&self) -> impl Iterator<Item = &'a Bundle> + use<'a> {
        let X509Update { bundle, federated, .. } = self.update;
        std::iter::once(bundle).chain(federated).map(|bundle| &**bundle)
    }

    fn crls(&self) -> Vec<&'a [u8]> {
        self.update.crls.iter().map(|crl| &**crl).collect()
    }
}

impl Resource<'_> {
    /// Tells two contents of one name apart, in this process and in any other. Only what is public goes into it: a key
    /// has one certificate.
    pub(super) fn version(&self) -> String {
        let mut digest = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            digest.update(&bytes.len().to_be_bytes());
            digest.update(bytes);
        };
        match &self.content {
            Content::Svid(material) => {
                material.chain.iter().for_each(|certificate| add(certificate))
            }
            Content::Trust { bundles, crls, verification } => {
                add(&[u8::from(*verification == Verification::Spiffe)]);
                for bundle in bundles {
                    add(bundle.trust_domain().as_str().as_bytes());
                    bundle.x509_authorities().iter().for_each(|authority| add(authority));
                }
                add(b"crl");
                crls.iter().for_each(|crl| add(crl));
            }
        }
        hex(digest.finish().as_ref())
    }
}

/// The version of a whole answer, from the names and versions of what is in it.
pub(super) fn version_of<'a>(contents: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut digest = Context::new(&SHA256);
    for (name, version) in contents {
        digest.update(&name.len().to_be_bytes());
        digest.update(name.as_bytes());
        digest.update(version.as_bytes());
    }
    hex(digest.finish().as_ref())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(VERSION_BYTES).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
