//! Where a store is: a bucket, a prefix in it, and how to reach them.

use crate::catalog::FILE_NAME;
use crate::error::{Error, Result};
use crate::secret::Secret;
use object_store::path::Path as Key;
use reqwest::Url;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// A store that speaks S3, as the request has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offsite {
    /// `s3://bucket/prefix`; or, with the endpoint in it, `https://host/bucket/prefix`.
    pub url: String,
    /// Where the store is, as `https://s3.example.com`. Without it: Amazon's, in the region. Only with
    /// `http://` is it spoken to in the clear.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Amazon's region, or what the store takes for it.
    #[serde(default)]
    pub region: Option<String>,
    /// Which key signs the requests.
    pub access_key_id: String,
    /// The secret that belongs to it.
    pub secret_access_key: Secret,
    /// Whether the bucket is part of the host name and not of the path. With Amazon it always is.
    #[serde(default)]
    pub virtual_host: bool,
    /// How long nothing may move in a request, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
    /// How long a store that fails or cannot be reached is tried again, in seconds.
    #[serde(default = "default_patience")]
    pub patience: u32,
}

fn default_timeout() -> u32 {
    60
}

fn default_patience() -> u32 {
    180
}

/// The same, taken apart and checked.
#[derive(Debug, Clone)]
pub(super) struct Location {
    /// Without the bucket. `None` is Amazon's own.
    pub(super) endpoint: Option<String>,
    pub(super) bucket: String,
    /// Without slashes around it; may be empty.
    prefix: String,
    pub(super) region: String,
    pub(super) virtual_host: bool,
}

const DEFAULT_REGION: &str = "us-east-1";

impl Location {
    pub(super) fn of(offsite: &Offsite) -> Result<Self> {
        let wrong = |what: &str| Err(Error::Usage(format!("offsite: {what}")));
        if offsite.access_key_id.is_empty() || offsite.secret_access_key.expose().is_empty() {
            return wrong("access_key_id and secret_access_key are needed");
        }
        // It stands in a header of every request.
        if !offsite.access_key_id.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong(
                "access_key_id has a character in it that no key has: a space, perhaps, or an end of line",
            );
        }
        if offsite.timeout == 0 {
            return wrong("timeout is a number of seconds from 1 on");
        }
        let given = offsite.endpoint.as_deref().map(endpoint).transpose()?;
        let (within, rest) = match offsite.url.split_once("://") {
            Some(("s3", rest)) => (None, rest),
            Some((scheme @ ("http" | "https"), rest)) => {
                let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(endpoint(&format!("{scheme}://{host}"))?), rest)
            }
            _ => return wrong("url should be like s3://bucket/prefix"),
        };
        if given.is_some() && within.is_some() {
            return wrong("url names a host and endpoint does: give the one or the other");
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bucket.is_empty() || bucket.starts_with('.') || !bucket.chars().all(is_bucket) {
            return wrong(
                "url has no name of a bucket in it: it should be like s3://bucket/prefix",
            );
        }
        // As mod_filestore tells it: the address of the list.
        let prefix = prefix.trim_end_matches('/');
        let prefix = match prefix.strip_suffix(FILE_NAME) {
            Some(above) if above.is_empty() || above.ends_with('/') => above,
            _ => prefix,
        };
        let prefix = prefix.trim_matches('/');
        if prefix.contains(['?', '#']) || Key::parse(prefix).is_err() {
            return wrong("the prefix in url should be names with a / between them");
        }
        let endpoint = given.or(within);
        let region = offsite
            .region
            .clone()
            .or_else(|| endpoint.as_deref().and_then(region_of))
            .unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if region.is_empty() || !region.chars().all(is_word) {
            return wrong("region should be a name like eu-west-1");
        }
        // A dot in the bucket's name would not fit Amazon's certificate.
        let is_amazons = endpoint.is_none() && !bucket.contains('.');
        let location = Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region,
            virtual_host: is_amazons || offsite.virtual_host,
            endpoint,
        };
        // Not each host is one: 1.2.3.999, or port 70000.
        let address = location.bucket_url();
        match Url::parse(&address) {
            Ok(_) => Ok(location),
            Err(error) => wrong(&format!("{address} is no address: {error}")),
        }
    }

    /// The key of a file of the backup folder.
    pub(super) fn key(&self, name: &str) -> Result<Key> {
        let key = match self.prefix.as_str() {
            "" => Key::parse(name),
            prefix => Key::parse(format!("{prefix}/{name}")),
        };
        key.map_err(|_| Error::Usage(format!("\"{name}\" cannot be a name in the offsite store")))
    }

    /// Where requests go: with the bucket, when it is part of the host name.
    pub(super) fn address(&self) -> Option<String> {
        let endpoint = self.endpoint.clone()?;
        Some(match endpoint.split_once("://") {
            Some((scheme, host)) if self.virtual_host => {
                format!("{scheme}://{}.{host}", self.bucket)
            }
            _ => endpoint,
        })
    }

    /// The address of the bucket.
    pub(super) fn bucket_url(&self) -> String {
        let Self {
            bucket,
            region,
            virtual_host,
            ..
        } = self;
        match (self.address(), virtual_host) {
            (Some(address), true) => address,
            (Some(address), false) => format!("{address}/{bucket}"),
            (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        }
    }

    /// Whether the store is Amazon's.
    pub(super) fn is_amazon(&self) -> bool {
        let host = |endpoint: &String| endpoint.ends_with(".amazonaws.com");
        self.endpoint.as_ref().is_none_or(host)
    }

    pub(super) fn is_in_the_clear(&self) -> bool {
        let scheme = |endpoint: &String| endpoint.starts_with("http://");
        self.endpoint.as_ref().is_some_and(scheme)
    }

    /// Another one for every other place, and fit for the name of a file.
    pub(super) fn id(&self) -> String {
        let hash = Sha256::digest(self.to_string());
        hex::encode(&hash[..4])
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => write!(f, " in {}", self.region),
        }
    }
}

/// An endpoint without a slash at its end.
fn endpoint(text: &str) -> Result<String> {
    let trimmed = text.trim_end_matches('/');
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| trimmed.strip_prefix(scheme));
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(is_host) => Ok(trimmed.to_owned()),
        _ => Err(Error::Usage(
            "offsite: endpoint should be like https://s3.example.com, without a bucket".into(),
        )),
    }
}

/// The region in the name of one of Amazon's hosts.
fn region_of(endpoint: &str) -> Option<String> {
    let (_, host) = endpoint.split_once("://")?;
    let region = host.strip_suffix(".amazonaws.com")?.strip_prefix("s3")?;
    let region = region.strip_prefix(['.', '-'])?;
    (!region.is_empty() && !region.contains('.')).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn offsite(url: &str, endpoint: Option<&str>) -> Offsite {
        Offsite {
            url: url.into(),
            endpoint: endpoint.map(Into::into),
            region: None,
            access_key_id: "id".into(),
            secret_access_key: Secret::new(b"hush".to_vec()),
            virtual_host: false,
            timeout: 60,
            patience: 180,
        }
    }

    fn place(url: &str, endpoint: Option<&str>) -> (String, String, Option<String>) {
        let location = Location::of(&offsite(url, endpoint)).unwrap();
        let key = location.key("a.sql.gz").unwrap();
        (location.bucket.clone(), key.to_string(), location.address())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let to = |bucket: &str, key: &str, address: Option<&str>| {
            (
                bucket.to_owned(),
                key.to_owned(),
                address.map(str::to_owned),
            )
        };
        assert_eq!(place("s3://b/x/y/", None), to("b", "x/y/a.sql.gz", None));
        assert_eq!(place("s3://b", None), to("b", "a.sql.gz", None));
        let host = Some("https://s3.example.com");
        assert_eq!(
            place("s3://b/x", Some("https://s3.example.com/")),
            to("b", "x/a.sql.gz", host)
        );
        // What mod_filestore calls the location of the list.
        assert_eq!(
            place("https://s3.example.com/b/x/backup/backup.json", None),
            to("b", "x/backup/a.sql.gz", host)
        );
        let mut virtual_host = offsite("s3://b/x", host);
        virtual_host.virtual_host = true;
        let location = Location::of(&virtual_host).unwrap();
        assert_eq!(location.address().unwrap(), "https://b.s3.example.com");
        let amazon = Location::of(&offsite("https://s3.eu-west-1.amazonaws.com/b", None)).unwrap();
        assert_eq!(amazon.region, "eu-west-1");
        assert!(amazon.is_amazon());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (url, endpoint) in [
            ("bucket/prefix", None),
            ("ftp://b/x", None),
            ("s3://", None),
            ("s3:///x", None),
            ("s3://b/../x", None),
            ("s3://b/x//y", None),
            ("s3://key:secret@b/x", None),
            ("https://user:pw@host/b/x", None),
            ("s3://b", Some("s3.example.com")),
            ("s3://b", Some("https://host/b")),
            ("s3://b", Some("ftp://host")),
            ("https://host/b", Some("https://host")),
            ("s3://b", Some("http://1.2.3.999")),
            ("s3://b", Some("http://host:70000")),
            ("s3://b", Some("http://[::")),
            ("s3://b", Some("http://:80")),
        ] {
            let error = Location::of(&offsite(url, endpoint)).unwrap_err();
            assert!(
                matches!(error, Error::Usage(_)),
                "{url}, {endpoint:?}: {error}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for key in ["", "id ", "id\n", "\u{4}", "schlüssel"] {
            let mut offsite = offsite("s3://b", None);
            offsite.access_key_id = key.into();
            let error = Location::of(&offsite).unwrap_err();
            assert!(
                error.to_string().contains("access_key_id"),
                "{key:?}: {error}"
            );
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let debug = format!("{:?}", offsite("s3://b", None));
        assert!(!debug.contains("hush") && !debug.contains("104"), "{debug}");
    }
}
