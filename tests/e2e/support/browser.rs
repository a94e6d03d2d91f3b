//! A person's browser, as far as a login needs one: it keeps cookies by host and port, and follows redirects when told to.

use std::collections::BTreeMap;
use std::path::Path;

use super::http::{Answer, Call, Http};

/// One person's browser.
#[derive(Debug)]
pub(crate) struct Browser {
    ours: Http,
    theirs: Http,
    provider: String,
    /// By origin, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    /// One that believes the issuer's authority and the provider's.
    pub(crate) fn new(issuer_ca: &Path, provider: &str, provider_ca: &Path) -> Self {
        Self {
            ours: Http::trusting(issuer_ca),
            theirs: Http::trusting(provider_ca),
            provider: provider.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// Sends one call with the cookies of its origin, and keeps those of the answer.
    pub(crate) async fn send(&mut self, url: &str, call: Call) -> Answer {
        let origin = origin(url);
        let own = self.cookies.entry(origin.clone()).or_default();
        let cookie: Vec<_> = own.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let call = if cookie.is_empty() { call } else { call.header("cookie", cookie.join("; ")) };
        let http = if url.starts_with(&self.provider) { &self.theirs } else { &self.ours };
        let answer = http.send(call).await;
        let own = self.cookies.entry(origin).or_default();
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().expect("a cookie");
            let (name, value) =
                set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if value.is_empty() || set.contains("Max-Age=0") {
                own.remove(name);
            } else {
                own.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        self.send(url, Call::get(url)).await
    }

    /// Follows redirects until there is none, or until `stop` says so of the next address; where that leads, and the last
    /// answer.
    pub(crate) async fn browse(
        &mut self,
        start: &str,
        stop: impl Fn(&str) -> bool,
    ) -> (String, Answer) {
        let mut url = start.to_owned();
        for _step in 0..12 {
            let answer = self.get(&url).await;
            let Some(location) = answer.headers.get("location") else { return (url, answer) };
            let location = location.to_str().expect("a location");
            url = if location.starts_with('/') {
                format!("{}{location}", origin(&url))
            } else {
                location.to_owned()
            };
            if stop(&url) {
                return (url, answer);
            }
        }
        panic!("too many redirects from {start}")
    }

    /// The value of a cookie of that address.
    pub(crate) fn cookie(&self, url: &str, name: &str) -> Option<String> {
        self.cookies.get(&origin(url))?.get(name).cloned()
    }

    /// Puts a cookie there, as somebody would who got hold of it.
    pub(crate) fn steal(&mut self, url: &str, name: &str, value: &str) {
        let own = self.cookies.entry(origin(url)).or_default();
        own.insert(name.to_owned(), value.to_owned());
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}
