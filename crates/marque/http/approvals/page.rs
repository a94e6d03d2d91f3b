//! The few pages of a login: that it is done, that it is not, and a terminal's question. Plain HTML, no script, no style.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

/// Nothing is loaded, framed or sent anywhere but to us; a terminal listens on this machine.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http://127.0.0.1:*",
);
/// Without a referrer a browser would not say either that a form is of our page.
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const CONTENT_SECURITY_POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;
const REFERRER_POLICY: HeaderName = header::REFERRER_POLICY;

/// Somebody is logged in.
pub(super) fn done() -> Response {
    page(
        StatusCode::OK,
        "Logged in",
        "<p>You are logged in as an approver. You can close this page.</p>",
    )
}

/// Nobody is logged in.
pub(super) fn failed(status: StatusCode, code: &'static str) -> Response {
    let text = format!("<p>Nobody was logged in: <code>{code}</code>. Begin again.</p>");
    page(status, "Not logged in", &text)
}

/// A program on the person's machine wants to decide as they do. `sealed` is Base64, `check` hexadecimal.
pub(super) fn terminal(action: &str, sealed: &str, check: &str) -> Response {
    let text = format!(
        "<p>A program on this computer asks to approve and deny <strong>as you</strong>. Go on only if you have just run \
         <code>marque login</code> and your terminal shows this code:</p><p><code>{check}</code></p>\
         <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"login\" value=\"{sealed}\">\
         <button type=\"submit\">The codes are the same: let it</button></form>"
    );
    page(StatusCode::OK, "A terminal asks", &text)
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{text}</body></html>\n"
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, SAME_ORIGIN);
    response
}
