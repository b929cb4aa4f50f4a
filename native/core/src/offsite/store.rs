//! A bucket, by the few requests that are made of it.

use super::explain::explain;
use super::location::{Location, Offsite};
use super::transport::{Connector, Fault};
use super::upload::may_pass;
use crate::catalog::{Catalog, FILE_NAME, count_entries};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
    UpdateVersion,
};
use std::ops::Range;
use std::time::Duration;

/// The metadata that says what the SHA-256 of a file is: `x-amz-meta-sha256`.
const SHA256: &str = "sha256";
/// How long a store is tried that did not answer once yet: a person waits for it.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
/// How often a list is read that is another each time.
const MOST_READS: u32 = 4;
/// The longest list that is read, in bytes, and the most entries that one has. A backup takes some hundred
/// bytes of it; what is read takes many times its length in memory.
pub(super) const LONGEST_LIST: u64 = 2 << 20;
pub(super) const MOST_ENTRIES: usize = 1000;
/// What comes slower than this is given up, in bytes a second.
const SLOWEST: u64 = 16 << 10;

pub(super) struct Store {
    pub(super) location: Location,
    /// For the first request.
    first: AmazonS3,
    /// For what must be known to have been asked once.
    once: AmazonS3,
    /// For all others.
    pub(super) s3: AmazonS3,
    pub(super) patience: Duration,
    pub(super) connector: Connector,
}

/// What a store tells of a file without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) e_tag: Option<String>,
    /// What whoever uploaded it said.
    pub(super) sha256: Option<Sha256Hash>,
    /// When it was written, in seconds since 1970.
    pub(super) written: i64,
}

/// The list of a store, and what it must still be when it is replaced.
pub(super) struct List {
    pub(super) catalog: Catalog,
    version: Option<UpdateVersion>,
    /// What was there instead of a list.
    pub(super) damaged: Option<Bytes>,
    /// When it was written last, in seconds since 1970.
    pub(super) written: Option<i64>,
}

impl List {
    /// That of a store that has none.
    pub(super) fn none() -> Self {
        Self {
            catalog: Catalog::default(),
            version: None,
            damaged: None,
            written: None,
        }
    }

    /// What a store has as its list.
    pub(super) fn of(text: Bytes) -> Self {
        match serde_json::from_slice(&text) {
            Ok(catalog) => Self {
                catalog,
                ..Self::none()
            },
            Err(_) => Self {
                damaged: Some(text),
                ..Self::none()
            },
        }
    }
}

/// What became of writing a list.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    /// Another was faster: read it again.
    Conflict,
    /// The answer did not come: it may be written, or not.
    Unknown(object_store::Error),
}

impl Store {
    pub(super) fn new(offsite: &Offsite) -> Result<Self> {
        let location = Location::of(offsite)?;
        let patience = Duration::from_secs(offsite.patience.into());
        let secret = std::str::from_utf8(offsite.secret_access_key.expose())
            .map_err(|_| Error::Usage("offsite: secret_access_key is not text".into()))?;
        let connector = Connector {
            timeout: Duration::from_secs(offsite.timeout.into()),
            in_the_clear: location.is_in_the_clear(),
        };
        let client = |patience, max_retries| {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&location.bucket)
                .with_region(&location.region)
                .with_access_key_id(&offsite.access_key_id)
                .with_secret_access_key(secret)
                .with_virtual_hosted_style_request(location.virtual_host)
                .with_allow_http(location.is_in_the_clear())
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                // Not every store has the request that removes many.
                .with_disable_bulk_delete(true)
                .with_retry(RetryConfig {
                    backoff: BackoffConfig {
                        init_backoff: Duration::from_millis(200),
                        max_backoff: Duration::from_secs(15),
                        base: 3.0,
                    },
                    max_retries,
                    retry_timeout: patience,
                })
                .with_http_connector(connector.clone());
            if let Some(address) = location.address() {
                builder = builder.with_endpoint(address);
            }
            // Others may not know the header. Their ETag is enough: see `upload`.
            if location.is_amazon() {
                builder = builder.with_checksum_algorithm(Checksum::SHA256);
            }
            builder
                .build()
                .map_err(|error| explain(&location, "cannot use", &error))
        };
        Ok(Self {
            first: client(patience.min(FIRST_PATIENCE), usize::MAX)?,
            once: client(patience, 0)?,
            s3: client(patience, usize::MAX)?,
            patience,
            connector,
            location,
        })
    }

    pub(super) fn fail(&self, doing: &str, error: &object_store::Error) -> Error {
        explain(&self.location, doing, error)
    }

    /// Reads the list for the first time. A store that has none has no backups.
    pub(super) async fn first_list(&self) -> Result<List> {
        self.list_by(&self.first).await
    }

    pub(super) async fn list(&self) -> Result<List> {
        self.list_by(&self.s3).await
    }

    async fn list_by(&self, s3: &AmazonS3) -> Result<List> {
        let mut before = None;
        for _ in 0..MOST_READS {
            let Some((meta, text)) = self.read_list(s3).await? else {
                return Ok(List::none());
            };
            // What was damaged on its way would be written back. Not each ETag is an MD5.
            let is_proven = meta.e_tag.as_deref().is_some_and(|tag| is_md5(tag, &text));
            if is_proven || before.as_ref() == Some(&text) {
                return Ok(List {
                    written: Some(meta.last_modified.timestamp()),
                    version: Some(UpdateVersion {
                        e_tag: meta.e_tag,
                        version: meta.version,
                    }),
                    ..List::of(text)
                });
            }
            before = Some(text);
        }
        Err(Error::Offsite {
            kind: ErrorKind::Damaged,
            message: format!(
                "the list of backups in {} is another each time that it is read: something on the way damages \
                 what comes, or another writes it all the time",
                self.location
            ),
        })
    }

    async fn read_list(&self, s3: &AmazonS3) -> Result<Option<(ObjectMeta, Bytes)>> {
        let key = self.location.key(FILE_NAME)?;
        let doing = "cannot read the list of backups in";
        let found = match self.in_time(LONGEST_LIST, read(s3, &key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.fail(doing, &error)),
        };
        let Some((meta, attributes, text)) = found else {
            return Err(self.too_long());
        };
        let encoding = attributes.get(&Attribute::ContentEncoding);
        if let Some(encoding) = encoding.filter(|encoding| encoding.as_ref() != "identity") {
            return Err(Error::Offsite {
                kind: ErrorKind::Store,
                message: format!(
                    "{doing} {}: it comes with the encoding {encoding:?}, which nobody asked for; look what is \
                     between here and the store",
                    self.location
                ),
            });
        }
        if count_entries(&text).is_some_and(|count| count > MOST_ENTRIES) {
            return Err(self.too_long());
        }
        Ok(Some((meta, text)))
    }

    /// Does what brings so many bytes, or gives it up: a store that sends a byte now and then never ends.
    pub(super) async fn in_time<T>(
        &self,
        bytes: u64,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let most = Duration::from_secs(bytes / SLOWEST)
            .saturating_add(self.patience)
            .saturating_add(self.connector.timeout);
        match tokio::time::timeout(most, work).await {
            Ok(done) => done,
            Err(_) => Err(object_store::Error::Generic {
                store: "S3",
                source: Box::new(Fault::Slow(most)),
            }),
        }
    }

    fn too_long(&self) -> Error {
        Error::Offsite {
            kind: ErrorKind::Damaged,
            message: format!(
                "the list of backups in {} is far too long to be one; look who writes there",
                self.location
            ),
        }
    }

    /// Writes a list in the place of the one that was read, if that is still there. A store that cannot
    /// tell gets it anyway.
    pub(super) async fn write_list(&self, read: &List, text: Vec<u8>) -> Result<Written> {
        let key = self.location.key(FILE_NAME)?;
        let payload = PutPayload::from(text);
        let json = Attributes::from_iter([(Attribute::ContentType, "application/json")]);
        let put = |mode| {
            let options = PutOptions {
                mode,
                attributes: json.clone(),
                ..PutOptions::default()
            };
            self.s3.put_opts(&key, payload.clone(), options)
        };
        let mode = match &read.version {
            None => PutMode::Create,
            Some(version) if version.e_tag.is_some() => PutMode::Update(version.clone()),
            Some(_) => PutMode::Overwrite,
        };
        let mut done = put(mode).await;
        if done.as_ref().is_err_and(cannot_compare) {
            done = put(PutMode::Overwrite).await;
        }
        match done {
            Ok(_) => Ok(Written::Done),
            Err(
                object_store::Error::Precondition { .. }
                | object_store::Error::AlreadyExists { .. }
                | object_store::Error::NotModified { .. },
            ) => Ok(Written::Conflict),
            Err(error) if may_pass(&error) => Ok(Written::Unknown(error)),
            Err(error) => Err(self.fail("cannot write the list of backups in", &error)),
        }
    }

    /// Writes a small file as a whole.
    pub(super) async fn write(&self, name: &str, text: Bytes) -> Result<()> {
        let key = self.location.key(name)?;
        let put = self.s3.put(&key, PutPayload::from(text)).await;
        put.map(drop)
            .map_err(|error| self.fail(&format!("cannot write {name} to"), &error))
    }

    pub(super) async fn head(&self, name: &str) -> Result<Option<Head>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.s3.get_opts(&self.location.key(name)?, options).await {
            Ok(found) => Ok(Some(Head {
                size: found.meta.size,
                e_tag: found.meta.e_tag.clone(),
                sha256: found
                    .attributes
                    .get(&Attribute::Metadata(SHA256.into()))
                    .and_then(|hash| Sha256Hash::try_from(hash.to_string()).ok()),
                written: found.meta.last_modified.timestamp(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fail(&format!("cannot look for {name} in"), &error)),
        }
    }

    /// Some bytes of a file that has not been replaced since.
    pub(super) async fn range(
        &self,
        name: &str,
        e_tag: Option<&String>,
        range: Range<u64>,
    ) -> object_store::Result<Bytes> {
        let key = self
            .location
            .key(name)
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: error.into(),
            })?;
        let length = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: e_tag.cloned(),
            ..GetOptions::default()
        };
        let mut chunks = self.s3.get_opts(&key, options).await?.into_stream();
        let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > length {
                return Err(object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(Fault::TooLong),
                });
            }
        }
        if bytes.len() as u64 != length {
            return Err(object_store::Error::Generic {
                store: "S3",
                source: format!("{} bytes came of {length}", bytes.len()).into(),
            });
        }
        Ok(bytes.freeze())
    }

    /// Begins an upload. It is asked for once: the answer may be lost, and then the store has it all the same.
    pub(super) async fn begin(
        &self,
        name: &str,
        sha256: Sha256Hash,
    ) -> Result<object_store::Result<String>> {
        let attributes = Attributes::from_iter([
            (
                Attribute::ContentType,
                "application/octet-stream".to_owned(),
            ),
            (Attribute::Metadata(SHA256.into()), sha256.to_string()),
        ]);
        let options = PutMultipartOptions {
            attributes,
            ..PutMultipartOptions::default()
        };
        let key = self.location.key(name)?;
        Ok(self.once.create_multipart_opts(&key, options).await)
    }

    pub(super) async fn part(
        &self,
        name: &str,
        id: &String,
        index: usize,
        bytes: Bytes,
    ) -> object_store::Result<PartId> {
        let key = self
            .location
            .key(name)
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: error.into(),
            })?;
        // In small pieces, so that it can be seen whether they move.
        const PIECE: usize = 64 << 10;
        let pieces = (0..bytes.len().div_ceil(PIECE))
            .map(|at| bytes.slice(at * PIECE..bytes.len().min((at + 1) * PIECE)));
        let payload = PutPayload::from_iter(pieces);
        self.s3.put_part(&key, id, index, payload).await
    }

    pub(super) async fn complete(
        &self,
        name: &str,
        id: &String,
        parts: Vec<PartId>,
    ) -> Result<object_store::Result<()>> {
        let key = self.location.key(name)?;
        Ok(self.s3.complete_multipart(&key, id, parts).await.map(drop))
    }

    /// Forgets an upload and its parts. One that is not there any more is forgotten.
    pub(super) async fn abort(&self, name: &str, id: &String) -> Result<()> {
        match self
            .first
            .abort_multipart(&self.location.key(name)?, id)
            .await
        {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) if is_unknown_upload(&error) => Ok(()),
            Err(error) => Err(self.fail("cannot take back what was uploaded to", &error)),
        }
    }

    /// Removes a file. It does not matter whether it is there.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        match self.s3.delete(&self.location.key(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fail(&format!("cannot remove {name} from"), &error)),
        }
    }
}

/// A list, unless it is too long to be one.
async fn read(
    s3: &AmazonS3,
    key: &object_store::path::Path,
) -> object_store::Result<Option<(ObjectMeta, Attributes, Bytes)>> {
    let found = s3.get(key).await?;
    let meta = found.meta.clone();
    let attributes = found.attributes.clone();
    let mut text = BytesMut::new();
    if meta.size > LONGEST_LIST {
        return Ok(None);
    }
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() as u64 > LONGEST_LIST {
            return Ok(None);
        }
    }
    Ok(Some((meta, attributes, text.freeze())))
}

/// Whether an ETag is the MD5 of this.
fn is_md5(e_tag: &str, text: &[u8]) -> bool {
    e_tag
        .trim_matches('"')
        .eq_ignore_ascii_case(&hex::encode(Md5::digest(text)))
}

/// Whether the upload is not known (any more).
pub(super) fn is_unknown_upload(error: &object_store::Error) -> bool {
    matches!(Fault::of(error), Some(Fault::Refused { code, .. }) if code == "NoSuchUpload")
        || matches!(error, object_store::Error::NotFound { .. })
}

/// Whether the store has no way to replace a file only if it is still the same.
fn cannot_compare(error: &object_store::Error) -> bool {
    matches!(Fault::of(error), Some(Fault::Refused { status: 501, .. }))
        || matches!(Fault::of(error), Some(Fault::Refused { status: 400, code, .. })
        if ["NotImplemented", "InvalidRequest", "InvalidArgument"].contains(&code.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_can_be_the_md5_of_a_list() {
        // Of "abc", from RFC 1321.
        assert!(is_md5("\"900150983CD24FB0D6963F7D28E17F72\"", b"abc"));
        assert!(!is_md5("900150983cd24fb0d6963f7d28e17f72", b"abd"));
        assert!(!is_md5("900150983cd24fb0d6963f7d28e17f72-1", b"abc"));
    }
}
