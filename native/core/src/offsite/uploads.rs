//! Uploads that a store knows and that are not completed. `object_store` has no request for the list of them.

use super::store::Store;
use crate::error::{Error, ErrorKind, Result};
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpConnector, HttpRequestBody};

/// An upload that is not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upload {
    /// What the store calls it.
    pub(super) id: String,
    /// When it was begun, in seconds since 1970; where the store says so.
    pub(super) begun: Option<i64>,
}

impl Store {
    /// The uploads of a file that are not completed.
    pub(super) async fn uploads(&self, name: &str) -> Result<Vec<Upload>> {
        let doing = "cannot list the uploads in";
        let key = self.location.key(name)?;
        let found = self.query_uploads(key.as_ref()).await;
        let xml = found.map_err(|error| self.fail(doing, &error))?;
        uploads_of(&xml, key.as_ref()).ok_or_else(|| Error::Offsite {
            kind: ErrorKind::Store,
            message: format!(
                "{doing} {}: what the store answers is not the whole list of them",
                self.location
            ),
        })
    }

    async fn query_uploads(&self, key: &str) -> object_store::Result<String> {
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
                store: "S3",
                source,
            };
        let mut url = reqwest::Url::parse(&self.location.bucket_url())
            .map_err(|error| generic(error.into()))?;
        url.query_pairs_mut()
            .append_pair("prefix", key)
            .append_pair("uploads", "");
        let mut request = http::Request::get(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(|error| generic(error.into()))?;
        let credential = self.s3.credentials().get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.location.region)
            .try_authorize(&mut request, None)?;
        let client = self.connector.connect(&ClientOptions::new())?;
        let answer = client.execute(request).await;
        let answer = answer.map_err(|error| generic(error.into()))?;
        let body = answer.into_body().bytes().await;
        let body = body.map_err(|error| generic(error.into()))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// The uploads of a key, when this is the list of all.
fn uploads_of(xml: &str, key: &str) -> Option<Vec<Upload>> {
    let (_, list) = xml.split_once("<ListMultipartUploadsResult")?;
    if tagged(list, "IsTruncated").is_some_and(|text| text.trim() == "true") {
        return None;
    }
    let uploads = list.split("<Upload>").skip(1);
    let of_key = uploads.filter(|upload| tagged(upload, "Key").as_deref() == Some(key));
    let read = |upload: &str| {
        let at = tagged(upload, "Initiated").and_then(|at| at.trim().parse::<Timestamp>().ok());
        Some(Upload {
            id: tagged(upload, "UploadId")?,
            begun: at.map(Timestamp::as_second).filter(|at| *at > 0),
        })
    };
    of_key.map(read).collect()
}

/// The text of an element, as it is meant.
fn tagged(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (mut rest, _) = rest.split_once(&format!("</{name}>"))?;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, after) = after.split_once(';')?;
        let code = entity.strip_prefix('#');
        let code = code.map(|code| match code.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => code.parse(),
        });
        text.push_str(before);
        text.push(match (entity, code) {
            (_, Some(code)) => char::from_u32(code.ok()?)?,
            ("amp", _) => '&',
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("quot", _) => '"',
            ("apos", _) => '\'',
            _ => return None,
        });
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(inside: &str) -> String {
        format!(
            "<?xml?><ListMultipartUploadsResult xmlns=\"s3\">{inside}</ListMultipartUploadsResult>"
        )
    }

    #[test]
    fn uploads_are_found_however_they_are_written() {
        let id = "a&b".repeat(200);
        let upload = |key: &str| {
            let id = id.replace('&', "&amp;");
            format!(
                "<Upload><Key>{key}</Key><Initiated>2026-11-28T12:00:00.123Z</Initiated>\
                 <UploadId>{id}</UploadId></Upload>"
            )
        };
        let long = "k".repeat(400);
        for (text, key) in [
            ("it&#39;s/a&#x26;b&lt;&gt;&quot;&apos;", "it's/a&b<>\"'"),
            (long.as_str(), long.as_str()),
        ] {
            let xml = list(&(upload("other") + &upload(text)));
            let upload = Upload {
                id: id.clone(),
                begun: Some(1_795_867_200),
            };
            assert_eq!(uploads_of(&xml, key), Some(vec![upload]));
        }
        assert_eq!(uploads_of(&list(&upload("ab.enc")), "ab"), Some(vec![]));
        assert_eq!(uploads_of(&list(""), "ab"), Some(vec![]));
        // One that does not say when.
        let silent = list("<Upload><Key>ab</Key><UploadId>1</UploadId></Upload>");
        let begun =
            uploads_of(&silent, "ab").map(|all| all.into_iter().map(|one| one.begun).collect());
        assert_eq!(begun, Some(vec![None]));
        let part = list(&format!("<IsTruncated>true</IsTruncated>{}", upload("ab")));
        assert_eq!(uploads_of(&part, "ab"), None);
        assert_eq!(uploads_of("<html>welcome</html>", "ab"), None);
    }
}
