//! What is said of a store, whatever it is, is refused or makes a request: no word of it upsets whoever makes
//! the request.

#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use proptest::prelude::*;
use serde_json::json;
use zbackup_core::error::ErrorKind;
use zbackup_core::offsite::{self, Offsite, PullOptions};
use zbackup_core::progress::Monitor;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_words_are_refused_or_make_a_request(
        bucket in "[a-z.-]{1,5}|\\PC{1,5}",
        prefix in "[ -~]{0,8}|\\PC{0,8}|[\\x00-\\x1f]{1,3}",
        region in "[a-z0-9-]{1,5}|\\PC{1,5}",
        key in "[ -~]{1,5}|\\PC{1,5}|[\\x00-\\x1f]{1,3}",
        secret in any::<String>(),
        virtual_host in any::<bool>(),
    ) {
        let folder = Scratch::new();
        // Nobody listens there.
        let offsite: Offsite = serde_json::from_value(json!({
            "url": format!("s3://{bucket}/{prefix}"), "endpoint": "http://127.0.0.1:1", "region": region,
            "access_key_id": key, "secret_access_key": secret, "virtual_host": virtual_host,
            "timeout": 1, "patience": 0
        })).unwrap();
        let options = PullOptions::default();
        let error = offsite::pull(folder.path(), &offsite, &options, &Monitor::silent()).unwrap_err();
        prop_assert!(matches!(error.kind(), ErrorKind::Usage | ErrorKind::Unreachable), "{error}");
    }
}
