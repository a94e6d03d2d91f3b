//! The claims: of a token that is on a list, and of the list's own token.

use marque_jose::{NumericDate, present};
use serde::{Deserialize, Serialize};

/// The `typ` of a status list token in JWT form (§5.1).
pub const STATUS_LIST_TOKEN_TYPE: &str = "statuslist+jwt";
/// Its media type (§8.1).
pub const STATUS_LIST_MEDIA_TYPE: &str = "application/statuslist+jwt";

/// The claim `status` of a token that is on a list (§6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClaim {
    /// Where.
    pub status_list: StatusReference,
}

/// Which place of which list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The place, from zero.
    pub idx: u64,
    /// The list: where to fetch its token, whose `sub` is the same text.
    pub uri: String,
}

/// A list as it is written into its token, the member `status_list` (§4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedStatusList {
    /// Bits per place: 1, 2, 4 or 8.
    pub bits: u8,
    /// The places, compressed by zlib, as base64url.
    pub lst: String,
}

/// The claims of a status list token (§5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaims {
    /// The list, equal to `uri` of every token on it.
    pub sub: String,
    /// When the list was as it says.
    pub iat: NumericDate,
    /// From when on it must not be relied on.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub exp: Option<NumericDate>,
    /// For how many seconds a copy may be kept before a new one should be fetched; never zero.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub ttl: Option<std::num::NonZeroU64>,
    /// The epoch of the issuer's kill switch that the list takes into account, where the issuer has one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub kill_epoch: Option<u64>,
    /// The list.
    pub status_list: EncodedStatusList,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn oauth_15_1_a_token_names_its_place_as_the_draft_writes_it() {
        let claim = StatusClaim {
            status_list: StatusReference { idx: 7, uri: "https://example.org/l/0".to_owned() },
        };
        let json = json!({"status_list": {"idx": 7, "uri": "https://example.org/l/0"}});
        assert_eq!(serde_json::to_value(&claim).unwrap(), json);
        assert_eq!(serde_json::from_value::<StatusClaim>(json).unwrap(), claim);
        for wrong in [
            json!({}),
            json!({"status_list": {"idx": 7}}),
            json!({"status_list": {"uri": "https://example.org/l/0"}}),
            json!({"status_list": {"idx": -1, "uri": "x"}}),
            json!({"status_list": {"idx": "7", "uri": "x"}}),
            json!({"status_list": {"idx": 7.0, "uri": "x"}}),
        ] {
            assert!(serde_json::from_value::<StatusClaim>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn oauth_15_2_sub_iat_and_list_are_required_and_mistyped_members_are_no_absent_ones() {
        let good = json!({
            "sub": "https://example.org/l/0", "iat": 1, "exp": 2, "ttl": 3,
            "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}
        });
        let read: StatusListClaims = serde_json::from_value(good.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), good);
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[name] = value;
            serde_json::from_value::<StatusListClaims>(claims)
        };
        for (name, value) in [
            ("sub", json!(null)),
            ("sub", json!(7)),
            ("iat", json!(null)),
            ("iat", json!("1")),
            ("exp", json!(null)),
            ("exp", json!("9999")),
            ("ttl", json!(null)),
            ("ttl", json!(0)),
            ("ttl", json!(-1)),
            ("ttl", json!(1.5)),
            ("status_list", json!(null)),
            ("status_list", json!({"bits": 256, "lst": ""})),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        for name in ["sub", "iat", "status_list"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(serde_json::from_value::<StatusListClaims>(claims).is_err(), "{name}");
        }
    }
}
