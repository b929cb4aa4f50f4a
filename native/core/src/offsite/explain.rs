//! What went wrong with a store, for a person who has to act on it.

use super::location::Location;
use super::transport::{Fault, Network};
use crate::error::{Error, ErrorKind};

/// The error for a request that was meant to do this.
pub(super) fn explain(location: &Location, doing: &str, error: &object_store::Error) -> Error {
    let (kind, why) = match (Fault::of(error), error) {
        (Some(fault), _) => reason(location, fault),
        (None, object_store::Error::NotFound { .. }) => {
            (ErrorKind::NotFound, "it is not there".into())
        }
        (None, object_store::Error::Precondition { .. }) => (
            ErrorKind::Store,
            "it was changed meanwhile by another; try again".into(),
        ),
        (None, other) => (
            ErrorKind::Store,
            format!("its answer is not one of S3: {}", innermost(other)),
        ),
    };
    Error::Offsite {
        kind,
        message: format!("{doing} {location}: {why}"),
    }
}

fn reason(location: &Location, fault: &Fault) -> (ErrorKind, String) {
    match fault {
        Fault::Refused {
            status,
            code,
            message,
        } => refusal(location, *status, code, message),
        Fault::Stalled(time) => (
            ErrorKind::Unreachable,
            format!(
                "not a byte moved for {} s; try again when the network or the store is better, or \
                 raise timeout",
                time.as_secs()
            ),
        ),
        Fault::Slow(time) => (
            ErrorKind::Unreachable,
            format!(
                "it sends so slowly that {} s were not enough; try again when the network or the store is \
                 better, or raise patience",
                time.as_secs()
            ),
        ),
        Fault::TooLong => (
            ErrorKind::Damaged,
            "more comes than was asked for; do not trust this store until you know why".into(),
        ),
        Fault::Network(Network::Name, words) => (
            ErrorKind::Unreachable,
            format!(
                "its name is not known here: is there a network, and is endpoint right? ({words})"
            ),
        ),
        Fault::Network(Network::Security, words) => (
            ErrorKind::Unreachable,
            format!(
                "no secure connection: {words}; endpoint should start with https:// and have the name \
                 that the certificate has, which a CA of this machine must have signed"
            ),
        ),
        Fault::Network(Network::Connect, words) => (
            ErrorKind::Unreachable,
            format!(
                "it cannot be reached: is there a network, and are host and port of endpoint right? \
                 ({words})"
            ),
        ),
        Fault::Network(Network::Broken, words) => (
            ErrorKind::Unreachable,
            format!("the connection broke, again and again; try again later ({words})"),
        ),
    }
}

fn refusal(location: &Location, status: u16, code: &str, message: &str) -> (ErrorKind, String) {
    let said = match (code, message) {
        ("", _) => format!("it answers {status}"),
        (_, "") => format!("it answers {status} {code}"),
        _ => format!("it answers {status} {code}, \"{message}\""),
    };
    let (kind, advice) = match (code, status) {
        ("InvalidAccessKeyId", _) => (
            ErrorKind::Permission,
            "the store does not know the key: is access_key_id right?",
        ),
        ("SignatureDoesNotMatch", _) => (
            ErrorKind::Permission,
            "the secret does not belong to the key: is secret_access_key right?",
        ),
        ("RequestTimeTooSkewed" | "RequestExpired", _) => (
            ErrorKind::Store,
            "the clocks of this machine and of the store differ: set this one (timedatectl)",
        ),
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _)
        | (_, 301 | 302 | 307 | 308) => (
            ErrorKind::Usage,
            "the bucket is somewhere else: are region and endpoint right?",
        ),
        ("NoSuchBucket", _) => (
            ErrorKind::NotFound,
            "make the bucket, or mend its name in url",
        ),
        (code, status)
            if status == 507
                || [
                    "Quota",
                    "Full",
                    "InsufficientStorage",
                    "InsufficientCapacity",
                ]
                .iter()
                .any(|word| code.contains(word)) =>
        {
            (
                ErrorKind::NoSpace,
                "the store is full: remove something there, or get more room",
            )
        }
        (_, 401 | 403) => (
            ErrorKind::Permission,
            "the key may not do this: it needs to list, read, write and delete there",
        ),
        (_, 404) => (ErrorKind::NotFound, "are url and endpoint right?"),
        (_, 408 | 429 | 500..) => (
            ErrorKind::Unreachable,
            "it has no time for us or is not well; try again later",
        ),
        _ => (ErrorKind::Store, "see the documentation of the store"),
    };
    let secure = location.is_in_the_clear() && status == 400;
    let hint = if secure {
        " (does it want https:// in endpoint?)"
    } else {
        ""
    };
    (kind, format!("{said}; {advice}{hint}"))
}

/// The words at the bottom: those above repeat them.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(inner) = at.source() {
        at = inner;
    }
    at.to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect()
}
