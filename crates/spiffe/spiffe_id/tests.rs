use proptest::prelude::*;

use super::{SpiffeId, SpiffeIdError};
use crate::{TrustDomain, TrustDomainError};

fn error(text: &str) -> SpiffeIdError {
    text.parse::<SpiffeId>().expect_err(text)
}

#[test]
fn id_1_the_scheme_is_spiffe() {
    for text in [
        "",
        "http://td/x",
        "td/x",
        "spiffe:/td/x",
        "spiffe:td",
        "//td/x",
        "spiffe",
        " spiffe://td/x",
        "spiffes://td",
    ] {
        assert_eq!(error(text), SpiffeIdError::Scheme, "{text}");
    }
}

#[test]
fn id_2_the_trust_domain_is_not_empty() {
    for text in ["spiffe://", "spiffe:///x", "spiffe:////"] {
        assert_eq!(error(text), SpiffeIdError::TrustDomain(TrustDomainError::Empty), "{text}");
    }
}

#[test]
fn id_3_there_is_no_query_and_no_fragment() {
    for text in ["spiffe://td/x?y", "spiffe://td?", "spiffe://td/x?"] {
        assert_eq!(error(text), SpiffeIdError::Query, "{text}");
    }
    for text in ["spiffe://td/x#y", "spiffe://td#", "spiffe://td/x?a#b"] {
        assert_eq!(error(text), SpiffeIdError::Fragment, "{text}");
    }
}

#[test]
fn id_4_there_is_no_user_and_no_port() {
    for text in ["spiffe://u@td/x", "spiffe://@td/x", "spiffe://u:p@td/x"] {
        assert_eq!(error(text), SpiffeIdError::UserInfo, "{text}");
    }
    for text in ["spiffe://td:80/x", "spiffe://td:/x"] {
        assert_eq!(error(text), SpiffeIdError::Port, "{text}");
    }
}

#[test]
fn id_5_the_trust_domain_has_plain_lower_case_characters_only() {
    assert_eq!(error("spiffe://%61/x"), SpiffeIdError::PercentEncoding);
    for (text, wrong) in [
        ("spiffe://[::1]/x", '['),
        ("spiffe://a b/x", ' '),
        ("spiffe://ä/x", 'ä'),
        ("spiffe://td\\x", '\\'),
        ("spiffe://td\n", '\n'),
        ("spiffe://td\0/x", '\0'),
        ("spiffe://а/x", 'а'),
    ] {
        assert_eq!(
            error(text),
            SpiffeIdError::TrustDomain(TrustDomainError::Character(wrong)),
            "{text}"
        );
    }
}

#[test]
fn id_6_names_that_look_like_addresses_are_names_like_any_other() {
    for text in [
        "spiffe://1.2.3.4/x",
        "spiffe://a..b/x",
        "spiffe://-/x",
        "spiffe://_/x",
        "spiffe://./x",
        "spiffe://...",
    ] {
        assert_eq!(text.parse::<SpiffeId>().unwrap().as_str(), text);
    }
}

#[test]
fn id_7_each_rule_of_the_path_has_its_error() {
    for (text, expected) in [
        ("spiffe://td/a//b", SpiffeIdError::EmptySegment),
        ("spiffe://td//b", SpiffeIdError::EmptySegment),
        ("spiffe://td/a/./b", SpiffeIdError::DotSegment),
        ("spiffe://td/a/../b", SpiffeIdError::DotSegment),
        ("spiffe://td/..", SpiffeIdError::DotSegment),
        ("spiffe://td/a/", SpiffeIdError::TrailingSlash),
        ("spiffe://td/", SpiffeIdError::TrailingSlash),
        ("spiffe://td/a%2fb", SpiffeIdError::PercentEncoding),
        ("spiffe://td/a b", SpiffeIdError::PathCharacter(' ')),
        ("spiffe://td/a:b", SpiffeIdError::PathCharacter(':')),
        ("spiffe://td/a@b", SpiffeIdError::PathCharacter('@')),
        ("spiffe://td/a*", SpiffeIdError::PathCharacter('*')),
        ("spiffe://td/a\n", SpiffeIdError::PathCharacter('\n')),
        ("spiffe://td/ä", SpiffeIdError::PathCharacter('ä')),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    for text in ["spiffe://td/...", "spiffe://td/.a", "spiffe://td/a..", "spiffe://td/A_-.9"] {
        assert_eq!(text.parse::<SpiffeId>().unwrap().as_str(), text);
    }
}

#[test]
fn id_8_one_byte_past_each_limit_is_refused() {
    let of_length = |bytes: usize| format!("spiffe://td/{}", "x".repeat(bytes - 12));
    assert!(of_length(2048).parse::<SpiffeId>().is_ok());
    assert_eq!(error(&of_length(2049)), SpiffeIdError::TooLong);
    assert!(format!("spiffe://{}/x", "d".repeat(255)).parse::<SpiffeId>().is_ok());
    let long = format!("spiffe://{}/x", "d".repeat(256));
    assert_eq!(error(&long), SpiffeIdError::TrustDomain(TrustDomainError::TooLong));
    let td = TrustDomain::new("td").unwrap();
    assert_eq!(SpiffeId::from_segments(&td, &["x".repeat(2037)]), Err(SpiffeIdError::TooLong));
}

#[test]
fn id_9_upper_case_is_refused_and_never_folded() {
    for text in ["SPIFFE://td/x", "Spiffe://td", "spiffE://td/x"] {
        assert_eq!(error(text), SpiffeIdError::SchemeCase, "{text}");
    }
    assert_eq!(error("spiffe://TD/x"), SpiffeIdError::TrustDomain(TrustDomainError::UpperCase));
    assert_ne!("spiffe://td/X".parse::<SpiffeId>(), "spiffe://td/x".parse::<SpiffeId>());
}

#[test]
fn a_trust_domain_is_read_from_its_name_and_never_from_an_id() {
    for text in ["spiffe://td", "td/x", "td:80", "TD", "", "td "] {
        assert!(text.parse::<TrustDomain>().is_err(), "{text}");
    }
}

#[test]
fn the_parts_of_an_id_are_those_of_its_text() {
    let id: SpiffeId = "spiffe://prod.example.org/agent/deployer".parse().unwrap();
    assert_eq!((id.trust_domain().as_str(), id.path()), ("prod.example.org", "/agent/deployer"));
    assert_eq!(id.segments().collect::<Vec<_>>(), ["agent", "deployer"]);
    assert!(id.has_path());
    let own = id.trust_domain().id();
    assert_eq!(
        (own.as_str(), own.path(), own.has_path()),
        ("spiffe://prod.example.org", "", false)
    );
    assert_eq!(own.segments().count(), 0);
    assert_eq!(SpiffeId::from_segments(id.trust_domain(), &["agent", "deployer"]), Ok(id));
}

#[test]
fn a_segment_cannot_smuggle_a_slash() {
    let td = TrustDomain::new("td").unwrap();
    assert_eq!(SpiffeId::from_segments(&td, &["a/b"]), Err(SpiffeIdError::PathCharacter('/')));
    assert_eq!(SpiffeId::from_segments(&td, &[".."]), Err(SpiffeIdError::DotSegment));
    assert_eq!(SpiffeId::from_segments(&td, &["", "a"]), Err(SpiffeIdError::EmptySegment));
}

proptest! {
    #[test]
    fn whatever_parses_displays_as_itself(text in "(?i:spiffe)://[a-z0-9._A-Z:@%-]{0,8}(/[a-zA-Z0-9._%-]{0,4}){0,4}[?#/]?") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.to_string(), text.clone());
            let rebuilt = SpiffeId::from_segments(id.trust_domain(), &id.segments().collect::<Vec<_>>());
            prop_assert_eq!(rebuilt, Ok(id.clone()));
            prop_assert_eq!(serde_json::from_value::<SpiffeId>(serde_json::to_value(&id).unwrap()).unwrap(), id);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".*") {
        drop(text.parse::<SpiffeId>());
        drop(text.parse::<TrustDomain>());
    }

    #[test]
    fn every_made_id_parses(td in "[a-z0-9._-]{1,20}", segments in prop::collection::vec("[a-zA-Z0-9_-]{1,8}", 0..5)) {
        let id = SpiffeId::from_segments(&TrustDomain::new(&td).unwrap(), &segments).unwrap();
        prop_assert_eq!(id.as_str().parse::<SpiffeId>(), Ok(id));
    }
}
