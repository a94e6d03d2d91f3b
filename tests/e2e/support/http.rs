//! An HTTPS client that shows answers as they came: status, headers, body.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rustls::crypto::ring;
use serde_json::Value;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

const CALL_LIMIT: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

/// An HTTPS client that trusts the daemon's certificate authority and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agent: ureq::Agent,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// Whatever a test wants to send.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: http::Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: http::Method::GET,
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn post(url: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { method: http::Method::POST, url: url.to_owned(), headers, body: body.into() }
    }

    pub(crate) fn form<K: AsRef<str>, V: AsRef<str>>(url: &str, fields: &[(K, V)]) -> Self {
        Self::post(url, FORM, form(fields))
    }

    pub(crate) fn json(url: &str, body: &Value) -> Self {
        Self::post(url, "application/json", body.to_string())
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Fields as `application/x-www-form-urlencoded`, in their order, repeated names and all.
pub(crate) fn form<K: AsRef<str>, V: AsRef<str>>(fields: &[(K, V)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        text.append_pair(name.as_ref(), value.as_ref());
    }
    text.finish()
}

impl Http {
    pub(crate) fn trusting(ca_file: &Path) -> Self {
        Self::with(ca_file, None)
    }

    /// One that shows a certificate to whoever asks: a chain in DER and a key in PKCS#8.
    pub(crate) fn showing(ca_file: &Path, chain: &[Vec<u8>], key: &[u8]) -> Self {
        let chain: Vec<_> = chain.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
        let encoded = base64::engine::general_purpose::STANDARD.encode(key);
        let label = "PRIVATE KEY";
        let pem = format!("-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n");
        let key = PrivateKey::from_pem(pem.as_bytes()).expect("a private key");
        Self::with(ca_file, Some(ClientCert::new_with_certs(&chain, key)))
    }

    fn with(ca_file: &Path, client: Option<ClientCert>) -> Self {
        let pem = std::fs::read(ca_file)
            .unwrap_or_else(|error| panic!("read {}: {error}", ca_file.display()));
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item.expect("the CA file is PEM") {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        assert!(!roots.is_empty(), "{} holds no certificate", ca_file.display());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(client)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        // The service closes a connection on which nothing came for ten seconds; no request meets that.
        let config = ureq::Agent::config_builder()
            .max_idle_age(Duration::from_secs(2))
            .tls_config(tls)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(CALL_LIMIT))
            .build();
        Self { agent: config.new_agent() }
    }

    /// Sends the call; fails only when no answer comes.
    pub(crate) async fn try_send(&self, call: Call) -> Result<Answer, String> {
        let http = self.clone();
        tokio::task::spawn_blocking(move || http.send_blocking(&call)).await.expect("the call ends")
    }

    /// Sends the call; panics when no answer comes.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        let what = format!("{} {}", call.method, call.url);
        self.try_send(call).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends a request that another library made; its answer as that library wants it.
    pub(crate) async fn pass(
        &self,
        parts: http::request::Parts,
        body: Vec<u8>,
    ) -> Result<http::Response<Vec<u8>>, String> {
        let agent = self.agent.clone();
        let send = move || {
            let get = parts.method == http::Method::GET;
            let result = if get {
                agent.run(http::Request::from_parts(parts, ()))
            } else {
                agent.run(http::Request::from_parts(parts, &body[..]))
            };
            let mut response = result.map_err(|error| error.to_string())?;
            let body = response.body_mut().read_to_vec().map_err(|error| error.to_string())?;
            let (parts, _body) = response.into_parts();
            Ok(http::Response::from_parts(parts, body))
        };
        tokio::task::spawn_blocking(send).await.expect("the call ends")
    }

    /// Sends the call on this thread. A `GET` on a kept connection that the server had just closed is sent once more, as
    /// any client may (RFC 9110 §9.2.2).
    pub(crate) fn send_blocking(&self, call: &Call) -> Result<Answer, String> {
        match self.send_once(call) {
            Err(error) if call.method == http::Method::GET && error.contains("disconnected") => {
                self.send_once(call)
            }
            answered => answered,
        }
    }

    fn send_once(&self, call: &Call) -> Result<Answer, String> {
        let mut request = http::Request::builder().method(&call.method).uri(&call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let result = if call.method == http::Method::GET {
            self.agent.run(request.body(()).map_err(|error| error.to_string())?)
        } else {
            self.agent.run(request.body(&call.body[..]).map_err(|error| error.to_string())?)
        };
        let mut response = result.map_err(|error| error.to_string())?;
        let body = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }
}

impl Answer {
    /// The body, which must be JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A member of the JSON body that must be a string.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let json = self.json();
        let text = json[member].as_str();
        text.unwrap_or_else(|| panic!("no `{member}` in {self:?}")).to_owned()
    }

    /// The answer itself, after a look at its status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A refusal with this stable code.
    #[track_caller]
    pub(crate) fn refused(self, code: &str) -> Self {
        assert!((400..500).contains(&self.status), "{self:?}");
        assert_eq!(self.json()["code"], code, "{self:?}");
        self
    }

    /// An OAuth error.
    #[track_caller]
    pub(crate) fn oauth_error(self, error: &str) -> Self {
        assert!((400..500).contains(&self.status), "{self:?}");
        assert_eq!(self.json()["error"], error, "{self:?}");
        self
    }
}
