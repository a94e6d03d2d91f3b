//! The form of Wycheproof's files about JSON web signatures and keys.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vectors {
    pub(crate) number_of_tests: usize,
    pub(crate) test_groups: Vec<Group>,
}

#[derive(Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: String,
    pub(crate) public: Option<Value>,
    pub(crate) private: Value,
    pub(crate) tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Test {
    pub(crate) tc_id: u32,
    pub(crate) comment: String,
    #[serde(default)]
    pub(crate) jws: Value,
    #[serde(default)]
    pub(crate) jwe: Value,
    pub(crate) result: String,
}
