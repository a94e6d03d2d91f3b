//! The clauses of the SPIFFE standards that Marque keeps, each in a line of our own words.
//!
//! The ids are stable: tests are named after them (`wa_6_…` shows WA-6), documents cite them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regex::Regex;

use super::page::{cell, row};
use super::tree::Tree;

const HEAD: &str = "\
# SPIFFE conformance: each clause, and the tests that show it

Made from the names of the tests by `MARQUE_WRITE_DOCS=1 cargo test --test conformance`, and checked by the same test: a
test named `wa_6_…` shows clause WA-6. The clauses are the MUSTs and SHOULDs of the SPIFFE standards, in our own words.
";

/// The tests by the clause that their name begins with.
pub(crate) fn by_clause(tree: &Tree) -> BTreeMap<String, BTreeSet<&str>> {
    let clause = Regex::new(r"^(id|x5|jw|wi|tb|fe|we|wa|br)_(\d+)_").expect("an expression");
    let mut found: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in tree.names() {
        if let Some(cited) = clause.captures(name) {
            let (_, [standard, number]) = cited.extract();
            let clause = format!("{}-{number}", standard.to_uppercase());
            found.entry(clause).or_default().insert(name);
        }
    }
    found
}

/// The ids of all clauses.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    STANDARDS.iter().flat_map(|standard| standard.clauses).map(|(id, _)| *id)
}

pub(crate) fn page(tree: &Tree) -> String {
    let tests = by_clause(tree);
    let mut page = HEAD.to_owned();
    for standard in STANDARDS {
        write!(page, "\n## {}\n\n| clause | demands | shown by |\n|---|---|---|\n", standard.title)
            .expect("text");
        for (id, demands) in standard.clauses {
            page.push_str(&row(id, demands, &cell(tests.get(*id).into_iter().flatten().copied())));
        }
    }
    page
}

/// One group of clauses: a document of the standard.
struct Standard {
    /// The name of the document.
    title: &'static str,
    /// Its clauses in order: id and what it demands.
    clauses: &'static [(&'static str, &'static str)],
}

/// Every document whose clauses apply.
const STANDARDS: &[Standard] = &[
    Standard {
        title: "SPIFFE ID",
        clauses: &[
            ("ID-1", "the scheme is `spiffe`"),
            ("ID-2", "the trust domain is not empty"),
            ("ID-3", "no query and no fragment"),
            ("ID-4", "no user information and no port"),
            ("ID-5", "the trust domain is of `a-z`, `0-9`, `.`, `-`, `_`"),
            ("ID-6", "names that look like addresses are names like any other"),
            ("ID-7", "a path of plain, non-empty segments, neither `.` nor `..`"),
            ("ID-8", "2,048 bytes in all, 255 for the trust domain"),
            ("ID-9", "upper case is refused, never folded"),
            ("ID-10", "the signing authority has an SVID of its own, without a path"),
            ("ID-11", "the SPIFFE ID and the public key are in the signed part"),
        ],
    },
    Standard {
        title: "X.509-SVID",
        clauses: &[
            ("X5-1", "exactly one URI name; other names do not matter"),
            ("X5-2", "a leaf's ID has a path; without a subject the names are critical"),
            ("X5-3", "what signs is a CA whose ID has no path and which authenticates nobody"),
            ("X5-4", "a leaf is no CA"),
            ("X5-5", "a critical key usage; a leaf signs neither certificates nor lists"),
            ("X5-6", "an extended key usage has both server and client"),
            ("X5-7", "path validation by the bundle of the SVID's own trust domain"),
            ("X5-8", "a bundle entry is one certificate without a key id"),
            ("X5-9", "an entry without certificate is ignored, and only the first one counts"),
        ],
    },
    Standard {
        title: "JWT-SVID",
        clauses: &[
            ("JW-1", "JWS compact serialisation alone"),
            ("JW-2", "no headers but `alg`, `kid` and `typ`"),
            ("JW-3", "asymmetric algorithms of the list alone"),
            ("JW-4", "a key id, always"),
            ("JW-5", "`typ`, if it is there, is `JWT` or `JOSE`"),
            ("JW-6", "`sub` is the SPIFFE ID"),
            ("JW-7", "`aud` is there and must be the validator's own"),
            ("JW-8", "`exp` is there and not past"),
            ("JW-9", "bundle keys have `use: jwt-svid` and a key id; others do not verify"),
            ("JW-10", "other claims are allowed"),
        ],
    },
    Standard {
        title: "WIT-SVID (incubating)",
        clauses: &[
            ("WI-1", "a key id, unique for each key and compared to the byte"),
            ("WI-2", "`typ` is `wit+jwt`"),
            ("WI-3", "asymmetric algorithms of the list alone, and no other headers"),
            ("WI-4", "`sub` is the SPIFFE ID"),
            ("WI-5", "`cnf` holds the holder's key with its algorithm"),
            ("WI-6", "`exp` is there and not past; `nbf` is kept, `iat` is no substitute for it"),
            ("WI-7", "a `jti` is unique and no protection against replay"),
            ("WI-8", "`iss` is no discovery URL"),
            ("WI-9", "no `aud`"),
            ("WI-10", "never accepted without proof of possession, never a bearer token"),
            ("WI-11", "bundle keys have `use: wit-svid` and ids unique in the whole bundle"),
        ],
    },
    Standard {
        title: "Trust domain bundle",
        clauses: &[
            ("TB-1", "a JWK set; unknown members are no obstacle"),
            ("TB-2", "the sequence is a growing integer of 64 bits"),
            ("TB-3", "the refresh hint is whole seconds, five minutes when absent"),
            ("TB-4", "`keys` is there; none of them means that nobody is trusted"),
            ("TB-5", "a key of unknown or missing type or use is ignored"),
            ("TB-6", "a bundle map has each trust domain once"),
            ("TB-7", "bundles of different trust domains are never merged"),
        ],
    },
    Standard {
        title: "Federation",
        clauses: &[
            ("FE-1", "new keys are published before they are used"),
            ("FE-2", "bundles are fetched at the refresh hint; a failure waits for the next time"),
            ("FE-3", "the client knows `https_web` and `https_spiffe`, the server at least one"),
            ("FE-4", "URL, profile and trust domain are configured, never inferred"),
            ("FE-5", "https without user information, after a redirect too"),
            ("FE-6", "the endpoint asks nobody who they are and answers the newest bundle"),
            ("FE-7", "the server is checked by its name or by its SPIFFE ID"),
            ("FE-8", "the end of a relationship reaches the validators"),
        ],
    },
    Standard {
        title: "Workload Endpoint",
        clauses: &[
            ("WE-1", "gRPC on a Unix socket"),
            ("WE-2", "the security header, once and exactly, on every request to the socket"),
            ("WE-3", "no TLS, no credentials and no co-operation of the workload"),
            ("WE-4", "the client finds the socket by `SPIFFE_ENDPOINT_SOCKET`"),
            ("WE-5", "the status codes of the standard"),
            ("WE-6", "the service is not extended; reflection is there"),
        ],
    },
    Standard {
        title: "Workload API",
        clauses: &[
            ("WA-1", "a profile that is off answers `Unimplemented`"),
            ("WA-2", "each message is the full state, the first one comes at once"),
            ("WA-3", "an empty field is an empty field; what is gone is not sent"),
            ("WA-4", "a mandatory field left out is `InvalidArgument`"),
            ("WA-5", "an answer has at least one SVID, one for each identity, complete"),
            ("WA-6", "hints are unique in an answer"),
            ("WA-7", "nobody is `PermissionDenied`, on an open stream too"),
            ("WA-8", "the default identity is first, always the same"),
            ("WA-9", "X.509 bundles hold the own trust domain's"),
            ("WA-10", "JWT-SVIDs of all identities, or of the one that was named"),
            ("WA-11", "JWT bundles hold the own trust domain's and no keys of another use"),
            ("WA-12", "a JWT-SVID is validated by the bundle of its own trust domain"),
            ("WA-13", "each profile's bundles hold that profile's authorities alone"),
            ("WA-14", "the caller is checked again before each update"),
        ],
    },
    Standard {
        title: "Broker API (incubating)",
        clauses: &[
            ("BR-1", "gRPC with mutual TLS, and the broker's security header"),
            ("BR-2", "brokers are allowed by SPIFFE ID"),
            ("BR-3", "references by type; an unknown one is `InvalidArgument`"),
            ("BR-4", "a reference is resolved and checked by the server"),
            ("BR-5", "the status codes of the standard, with their details"),
            ("BR-6", "a stream ends with its workload"),
        ],
    },
];
