//! The laws of the comparison, for any rights and any request.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    ConstraintValue, Constraints, Dimension, Limits, OnBehalf, Rights, Wanted, WantedTool,
};
use crate::grant::AuthorizationDetail;

fn words(from: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    prop::sample::subsequence(from, 0..=from.len())
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

const ACTIONS: &[&str] = &["get", "patch", "list"];
const AUDIENCES: &[&str] =
    &["https://a.example.org", "https://b.example.org", "https://c.example.org"];
const SCOPES: &[&str] = &["a.read", "a.write", "b.read", "b.write"];
const RESOURCES: &[&str] = &["k8s://x/a", "k8s://x/b", "crm://x"];
const TOOLS: &[&str] = &["crm.read", "crm.write", "tickets.create"];
const CLASSES: &[&str] = &["terms", "metadata", "support"];

fn detail() -> impl Strategy<Value = AuthorizationDetail> {
    let identifier = prop::option::of("(a|b)(/(c|d|\\.\\.|%2e|\\*|)){0,3}");
    (words(&["k8s", "crm"]), words(ACTIONS), words(ACTIONS), words(&["t"]), identifier).prop_map(
        |(kinds, locations, actions, datatypes, identifier)| AuthorizationDetail {
            kind: kinds.into_iter().next().unwrap_or_else(|| "bucket".to_owned()),
            locations,
            actions,
            datatypes,
            identifier,
            privileges: BTreeSet::new(),
        },
    )
}

fn details() -> impl Strategy<Value = Vec<AuthorizationDetail>> {
    prop::collection::vec(detail(), 0..4)
}

fn purpose() -> impl Strategy<Value = String> {
    "(review|export)(\\.(a|b|)){0,2}"
}

fn number() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(0..6_u64)
}

fn limits() -> impl Strategy<Value = Limits> {
    (number(), number(), number(), number(), number()).prop_map(
        |(max_records, max_calls, max_destructive, max_bytes_out, min_interval_s)| Limits {
            max_records,
            max_calls,
            max_destructive,
            max_bytes_out,
            min_interval_s,
        },
    )
}

fn constraint() -> impl Strategy<Value = ConstraintValue> {
    prop_oneof![
        any::<bool>().prop_map(ConstraintValue::Flag),
        (0..5_u64).prop_map(ConstraintValue::Number),
        "(a|b)(/(c|\\.\\.)){0,2}".prop_map(ConstraintValue::Text),
        words(CLASSES).prop_filter_map("none", |words| {
            (!words.is_empty()).then_some(ConstraintValue::Among(words))
        }),
        (0..4_u64, 4..8_u64).prop_map(|(min, max)| ConstraintValue::Between { min, max }),
    ]
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let names = prop::sample::select(&["max_x", "min_x", "x", "x_prefix"][..]);
    prop::collection::btree_map(names.prop_map(str::to_owned), constraint(), 0..3)
        .prop_map(|values| Constraints::new(values).unwrap())
}

fn schema() -> impl Strategy<Value = Value> {
    (0..3_u8).prop_map(|at| {
        json!({"type": "object", "additionalProperties": false, "properties": {"x": {"const": at}}})
    })
}

fn wanted_tools() -> impl Strategy<Value = BTreeMap<super::super::ToolId, WantedTool>> {
    let bounds =
        (any::<bool>(), any::<bool>(), prop::option::of(0..4_u32), prop::option::of(schema()))
            .prop_map(|(sensitive, destructive, max_calls, arguments)| WantedTool {
                sensitive,
                destructive,
                max_calls,
                arguments,
            });
    prop::collection::btree_map(
        prop::sample::select(TOOLS).prop_map(|tool| tool.parse().unwrap()),
        bounds,
        0..3,
    )
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (0..6_i64).prop_map(|second| Timestamp::from_second(1_800_000_000 + second).unwrap())
}

prop_compose! {
    fn wanted()(
        audiences in prop::option::of(words(AUDIENCES)),
        scopes in prop::option::of(words(SCOPES)),
        authorization_details in prop::option::weighted(0.3, details()),
        resources in prop::option::of(words(RESOURCES)),
        tools in prop::option::of(wanted_tools()),
        constraints in constraints(),
        data_classes in prop::option::of(words(CLASSES)),
        limits in limits(),
        purpose in prop::option::weighted(0.3, purpose()),
        not_after in prop::option::weighted(0.3, instant()),
        depth in prop::option::weighted(0.3, 0..4_u8),
        uses in prop::option::weighted(0.3, 0..3_u32),
    ) -> Wanted {
        Wanted {
            audiences,
            scopes: scopes.map(|scopes| scopes.iter().map(|scope| scope.parse().unwrap()).collect()),
            authorization_details,
            resources,
            tools,
            constraints,
            data_classes,
            limits,
            uses,
            purpose,
            not_before: None,
            not_after,
            depth,
            approval: None,
            risk_ceiling: None,
            confidence_floor: None,
        }
    }
}

prop_compose! {
    /// Any rights: the widest that the words allow, with each member replaced by what somebody might want.
    fn any_rights()(asked in wanted(), tools in wanted_tools(), equal in 0..3_usize) -> Rights {
        let mut rights = super::rights();
        rights.audiences = asked.audiences.unwrap_or_else(|| AUDIENCES.iter().map(ToString::to_string).collect());
        rights.scopes = asked.scopes.unwrap_or_else(|| SCOPES.iter().map(|s| s.parse().unwrap()).collect());
        rights.authorization_details = asked.authorization_details.unwrap_or_default();
        rights.resources = asked.resources.unwrap_or_default();
        rights.tools = tools
            .into_iter()
            .map(|(tool, wanted)| (tool, super::super::ToolBounds {
                sensitive: wanted.sensitive,
                destructive: wanted.destructive,
                max_calls: wanted.max_calls,
                arguments: wanted.arguments.into_iter().collect(),
            }))
            .collect();
        rights.constraints = asked.constraints;
        rights.data_classes = asked.data_classes.unwrap_or_default();
        rights.limits = asked.limits;
        rights.purpose = asked.purpose;
        rights.not_before = Timestamp::from_second(1_800_000_000).unwrap();
        rights.not_after = asked.not_after.unwrap_or_else(|| Timestamp::from_second(1_800_000_006).unwrap());
        rights.on_behalf = asked.depth.filter(|depth| *depth > 0).map(|max_depth| OnBehalf {
            max_depth,
            agents: vec!["spiffe://prod.example.org/agent/risk".parse().unwrap()],
            equal: Dimension::NARROWED_BY_DELEGATION.into_iter().take(equal * 4).collect(),
        });
        rights
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn rights_cover_themselves(rights in any_rights()) {
        prop_assert_eq!(rights.covers(&rights), Ok(()));
        prop_assert_eq!(rights.narrowed(&Wanted::default()), Ok(rights));
    }

    #[test]
    fn narrowing_never_widens_and_twice_is_as_once(rights in any_rights(), asked in wanted()) {
        if let Ok(child) = rights.narrowed(&asked) {
            prop_assert_eq!(rights.covers(&child), Ok(()));
            prop_assert_eq!(child.narrowed(&asked), Ok(child));
        }
    }

    #[test]
    fn the_comparison_is_transitive(
        one in any_rights(), two in any_rights(), three in any_rights(), asked in wanted(), further in wanted(),
    ) {
        if one.covers(&two).is_ok() && two.covers(&three).is_ok() {
            prop_assert_eq!(one.covers(&three), Ok(()));
        }
        if let Ok(child) = one.narrowed(&asked) {
            if child.covers(&two).is_ok() {
                prop_assert_eq!(one.covers(&two), Ok(()));
            }
            if let Ok(grandchild) = child.narrowed(&further) {
                prop_assert_eq!(one.covers(&grandchild), Ok(()));
            }
        }
    }

    #[test]
    fn whatever_covers_both_ways_is_the_same(one in any_rights(), asked in wanted()) {
        if let Ok(child) = one.narrowed(&asked) && child.covers(&one).is_ok() {
            prop_assert_eq!(child.scopes, one.scopes);
            prop_assert_eq!(child.audiences, one.audiences);
            prop_assert_eq!(child.limits.max_records, one.limits.max_records);
            prop_assert_eq!(child.purpose, one.purpose);
            prop_assert_eq!(child.constraints, one.constraints);
        }
    }

    #[test]
    fn delegation_is_narrowing_with_one_hop_less(rights in any_rights(), asked in wanted()) {
        match rights.delegated(&asked) {
            Ok(child) => {
                prop_assert_eq!(rights.covers(&child), Ok(()));
                let left = |rights: &Rights| rights.on_behalf.as_ref().map_or(0, |behalf| behalf.max_depth);
                prop_assert!(left(&child) < left(&rights));
                prop_assert!(child != rights);
                let held = !rights.scopes.is_empty() || !rights.tools.is_empty();
                let unchanged = child.scopes == rights.scopes && child.tools == rights.tools;
                let named = rights.on_behalf.as_ref().unwrap().equal.contains(&Dimension::Scopes);
                let divisible = rights.scopes.len() > 1;
                prop_assert!(!(held && unchanged && divisible) || named, "the scopes passed unchanged");
            }
            Err(widening) => prop_assert!(!widening.denial().detail().is_empty()),
        }
    }

    #[test]
    fn the_order_in_which_things_are_written_decides_nothing(
        rights in any_rights(), asked in wanted(), turn in 0..4_usize,
    ) {
        let mut turned = rights.clone();
        let by = turn.min(turned.authorization_details.len());
        turned.authorization_details.rotate_left(by);
        let mut reversed = asked.clone();
        if let Some(details) = &mut reversed.authorization_details {
            details.reverse();
        }
        let (one, two) = (rights.narrowed(&asked), turned.narrowed(&reversed));
        prop_assert_eq!(one.as_ref().map(|_| ()), two.as_ref().map(|_| ()));
    }

    #[test]
    fn no_two_rights_make_the_comparison_panic(one in any_rights(), two in any_rights(), asked in wanted()) {
        let _answers = (one.covers(&two), two.covers(&one), two.delegated(&asked));
    }

    #[test]
    fn no_json_makes_the_reader_panic(text in "[\\[\\]{}:,\"a-z_0-9 ]{0,60}") {
        let _answers = (serde_json::from_str::<Wanted>(&text), serde_json::from_str::<Rights>(&text));
    }
}
