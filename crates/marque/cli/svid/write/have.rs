//! What has come so far, and the files that it makes.

use std::path::Path;

use backon::ExponentialBackoff;
use jiff::Timestamp;
use marque_spiffe::{Clock as _, TrustDomain};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::super::super::failure::Failure;
use super::super::checked::{self, Token, X509};
use super::super::folder::NewFile;
use super::super::follow::{KeySets, X509Bundles, waits};
use super::{Names, WriteArgs, half_life};
use crate::clock::SystemClock;
use crate::grpc::workload::{FetchedX509, FetchedX509Svid, WorkloadClient};
use crate::pem::{pem, pem_certificates};

/// One message of one of the streams.
#[derive(Debug)]
pub(super) enum Message {
    Svids(FetchedX509),
    X509Bundles(X509Bundles),
    JwtBundles(KeySets),
}

/// What there is, of what is wanted.
pub(super) struct Have {
    wanted: Wanted,
    svid: Option<(FetchedX509Svid, X509)>,
    bundle: Option<Vec<CertificateDer<'static>>>,
    key_sets: Option<KeySets>,
    token: Option<Token>,
    /// When the token is fetched next.
    token_due: Option<Timestamp>,
    waits: ExponentialBackoff,
}

struct Wanted {
    spiffe_id: Option<String>,
    hint: Option<String>,
    audience: Vec<String>,
    bundle_only: bool,
    bundle_of: Option<TrustDomain>,
    key_set: bool,
}

impl Have {
    pub(super) fn new(args: &WriteArgs) -> Self {
        let wanted = Wanted {
            spiffe_id: args.spiffe_id.as_ref().map(ToString::to_string),
            hint: args.hint.clone(),
            audience: args.jwt_audience.clone(),
            bundle_only: args.bundle_only,
            bundle_of: args.bundle_of.clone(),
            key_set: args.wants_jwt_bundle(),
        };
        Self {
            wanted,
            svid: None,
            bundle: None,
            key_sets: None,
            token: None,
            token_due: None,
            waits: waits(),
        }
    }

    /// Takes what came, if it is whole and right.
    pub(super) fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Svids(fetched) => {
                let svid = self.wanted.choose(fetched)?;
                let checked = checked::x509(&svid)?;
                // The token beside it is of the same identity, or there is none yet.
                if self.token.as_ref().is_some_and(|token| token.spiffe_id != svid.spiffe_id) {
                    self.token = None;
                }
                if !self.wanted.audience.is_empty() && self.token.is_none() {
                    self.token_due = Some(SystemClock.now());
                }
                self.svid = Some((svid, checked));
            }
            Message::X509Bundles(bundles) => {
                let name = self.wanted.name_of_bundle(&bundles)?;
                let bundle = bundles.get(&name).cloned().unwrap_or_default();
                let trust_domain = name.trim_start_matches("spiffe://").parse::<TrustDomain>();
                let trust_domain = trust_domain.map_err(|error| {
                    Failure::because(format!("`{name}` names no trust domain"), &error)
                })?;
                checked::authorities(&trust_domain, &bundle)?;
                self.wanted.bundle_of = Some(trust_domain);
                self.bundle = Some(bundle);
            }
            Message::JwtBundles(key_sets) => self.key_sets = Some(key_sets),
        }
        Ok(())
    }

    /// When the JWT-SVID is to be fetched; `None` when it is not wanted, or cannot be checked yet.
    pub(super) fn jwt_due(&self) -> Option<Timestamp> {
        self.token_due.filter(|_| self.svid.is_some() && self.key_sets.is_some())
    }

    /// Fetches the JWT-SVID; when that fails, again later.
    pub(super) async fn renew_jwt(&mut self, socket: &Path) -> Result<(), Failure> {
        let fetched = self.fetch_jwt(socket).await;
        let now = SystemClock.now();
        match fetched {
            Ok(token) => {
                self.token_due = Some(half_life(now, token.expires_at));
                self.token = Some(token);
                self.waits = waits();
                Ok(())
            }
            Err(failure) => {
                self.token_due = Some(now + self.waits.next().unwrap_or_default());
                Err(failure)
            }
        }
    }

    async fn fetch_jwt(&self, socket: &Path) -> Result<Token, Failure> {
        let spiffe_id = self.spiffe_id().map(ToOwned::to_owned);
        let audience = self.wanted.audience.clone();
        let wanted = audience.first().cloned().unwrap_or_default();
        let mut client = WorkloadClient::connect(socket).await?;
        let fetched = client.jwt_svids(audience, spiffe_id).await?;
        let first = fetched.first().ok_or_else(|| Failure::failed("no JWT-SVID came"))?;
        match &self.key_sets {
            Some(key_sets) => checked::jwt(first, &wanted, key_sets),
            None => Err(Failure::failed("the keys that verify the JWT-SVID are not there yet")),
        }
    }

    /// The files, once everything is there.
    pub(super) fn files(&self, names: &Names) -> Option<Vec<NewFile>> {
        let mut files = match (&self.svid, &self.bundle) {
            (Some((svid, _)), _) => svid_files(names, svid),
            (None, Some(bundle)) => vec![bundle_file(names, bundle)],
            (None, None) => return None,
        };
        if !self.wanted.audience.is_empty() {
            let token = self.token.as_ref()?;
            files.push(NewFile {
                name: names.jwt_svid_file.clone(),
                mode: names.key_mode.0,
                content: Zeroizing::new(token.svid.clone().into_bytes()),
            });
        }
        if self.wanted.key_set {
            let keys = self.key_sets.as_ref()?.get(&self.trust_domain()?)?;
            files.push(NewFile {
                name: names.jwt_bundle_file.clone(),
                mode: names.cert_mode.0,
                content: Zeroizing::new(format!("{keys:#}\n").into_bytes()),
            });
        }
        Some(files)
    }

    /// The identity that is written.
    pub(super) fn spiffe_id(&self) -> Option<&str> {
        self.svid.as_ref().map(|(_, checked)| checked.spiffe_id.as_str())
    }

    /// When the first of what is written ends.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let svid = self.svid.as_ref().map(|(_, checked)| checked.expires_at);
        let token = self.token.as_ref().map(|token| token.expires_at);
        svid.into_iter().chain(token).min()
    }

    /// The id of the trust domain whose bundles are written.
    fn trust_domain(&self) -> Option<String> {
        if let Some(trust_domain) =
            self.wanted.bundle_of.as_ref().filter(|_| self.wanted.bundle_only)
        {
            return Some(trust_domain.id().to_string());
        }
        let id = self.spiffe_id()?.parse::<marque_spiffe::SpiffeId>().ok()?;
        Some(id.trust_domain().id().to_string())
    }
}

impl Wanted {
    fn choose(&self, fetched: FetchedX509) -> Result<FetchedX509Svid, Failure> {
        let fits = |svid: &FetchedX509Svid| {
            self.spiffe_id.as_ref().is_none_or(|id| *id == svid.spiffe_id)
                && self.hint.as_ref().is_none_or(|hint| *hint == svid.hint)
        };
        let known: Vec<String> = fetched
            .svids
            .iter()
            .map(|svid| format!("{} ({})", svid.spiffe_id, svid.hint))
            .collect();
        fetched.svids.into_iter().find(fits).ok_or_else(|| {
            Failure::failed(format!("the identity wanted is not among {}", known.join(", ")))
                .next("name another with --spiffe-id or --hint")
        })
    }

    fn name_of_bundle(&self, bundles: &X509Bundles) -> Result<String, Failure> {
        let named = self.bundle_of.as_ref().map(|trust_domain| trust_domain.id().to_string());
        let known: Vec<&String> = bundles.keys().collect();
        match (named, known.as_slice()) {
            (Some(name), _) if bundles.contains_key(&name) => Ok(name),
            (None, [only]) => Ok((*only).clone()),
            _ => Err(Failure::usage(format!("there are bundles of {known:?}"))
                .next("name one of them with --bundle-of")),
        }
    }
}

/// Chain, key and bundle of one X.509-SVID.
pub(in super::super) fn svid_files(names: &Names, svid: &FetchedX509Svid) -> Vec<NewFile> {
    let key = pem("PRIVATE KEY", &svid.key_der);
    vec![
        NewFile {
            name: names.svid_file.clone(),
            mode: names.cert_mode.0,
            content: Zeroizing::new(pem_certificates(&svid.chain).into_bytes()),
        },
        NewFile {
            name: names.key_file.clone(),
            mode: names.key_mode.0,
            content: Zeroizing::new(key.as_bytes().to_vec()),
        },
        bundle_file(names, &svid.bundle),
    ]
}

fn bundle_file(names: &Names, bundle: &[CertificateDer<'static>]) -> NewFile {
    NewFile {
        name: names.bundle_file.clone(),
        mode: names.cert_mode.0,
        content: Zeroizing::new(pem_certificates(bundle).into_bytes()),
    }
}
