//! HTTP below `object_store`: what does not move is given up, what is too long is not read, and why a
//! request failed can be told afterwards.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The longest answer that is read, in bytes, where no length was asked for.
const LONGEST: u64 = 17 << 20;
/// How much more than was asked for is let through, so that whoever asked sees that it is too much:
/// `object_store` would ask again after an error.
const TOO_MUCH: u64 = 1 << 20;
/// The same of an answer that says no.
const LONGEST_REFUSAL: u64 = 64 << 10;
/// Stores put together what was uploaded while they are asked to: that may take this many times longer
/// than anything else.
const COMPLETING: u32 = 5;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store says no.
    Refused {
        status: u16,
        /// As `AccessDenied`; may be empty.
        code: String,
        message: String,
    },
    /// Nothing moved for so long.
    Stalled(Duration),
    /// It moved, but would not have ended.
    Slow(Duration),
    /// More came than there should be.
    TooLong,
    /// No connection, or one that broke.
    Network(Network, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// The name of the host is not known.
    Name,
    /// No secure connection.
    Security,
    /// No connection.
    Connect,
    /// It broke.
    Broken,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused {
                status,
                code,
                message,
            } => write!(f, "{status} {code}: {message}"),
            Self::Stalled(time) => write!(f, "nothing moved for {} s", time.as_secs()),
            Self::Slow(time) => write!(f, "it was not there after {} s", time.as_secs()),
            Self::TooLong => f.write_str("the answer is longer than it should be"),
            Self::Network(_, words) => f.write_str(words),
        }
    }
}

impl StdError for Fault {}

impl Fault {
    /// The fault that an error of `object_store` is about.
    pub(super) fn of(error: &object_store::Error) -> Option<&Self> {
        let mut at: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = at {
            if let Some(fault) = error.downcast_ref() {
                return Some(fault);
            }
            at = error.source();
        }
        None
    }

    /// Wrapped for `object_store`, whose retries go by the kind.
    fn wrap(self) -> HttpError {
        let kind = match &self {
            // Also of requests that change something: what was refused so was not done.
            Self::Refused { status, .. } if *status >= 500 || [408, 429].contains(status) => {
                HttpErrorKind::Request
            }
            Self::Refused { .. } | Self::Slow(_) | Self::TooLong => HttpErrorKind::Unknown,
            Self::Stalled(_) => HttpErrorKind::Timeout,
            // Trying again does not make a certificate right.
            Self::Network(Network::Security, _) => HttpErrorKind::Unknown,
            Self::Network(Network::Name | Network::Connect, _) => HttpErrorKind::Connect,
            Self::Network(Network::Broken, _) => HttpErrorKind::Interrupted,
        };
        HttpError::new(kind, self)
    }
}

/// Makes the client of a store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) timeout: Duration,
    pub(super) in_the_clear: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // One for the process. Somebody was faster: then it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("zbackup/", env!("CARGO_PKG_VERSION")))
            .https_only(!self.in_the_clear)
            .http1_only()
            .connect_timeout(self.timeout)
            .pool_idle_timeout(Duration::from_secs(20))
            // A signed request is for one host. S3 points to another region this way.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(network(&error)),
            })?;
        Ok(HttpClient::new(Transport {
            client,
            timeout: self.timeout,
        }))
    }
}

#[derive(Debug)]
struct Transport {
    client: reqwest::Client,
    timeout: Duration,
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let longest = parts
            .headers
            .get(RANGE)
            .and_then(|range| length_of(range.to_str().ok()?))
            .map_or(LONGEST, |length| length.saturating_add(TOO_MUCH));
        let patience = match parts.method {
            Method::POST => self.timeout * COMPLETING,
            _ => self.timeout,
        };
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let is_get = parts.method == Method::GET;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let moved = Arc::new(Moved::new());
        if body.content_length() > 0 {
            *request.body_mut() = Some(reqwest::Body::wrap(Sent {
                body,
                moved: moved.clone(),
            }));
        }
        let answer = tokio::select! {
            answer = self.client.execute(request) => answer.map_err(|error| network(&error).wrap())?,
            () = moved.stalled(patience) => return Err(Fault::Stalled(patience).wrap()),
        };
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let is_refusal = !parts.status.is_success();
        let body = Received {
            body,
            left: if is_refusal { LONGEST_REFUSAL } else { longest },
            patience: self.timeout,
            stalled: Box::pin(tokio::time::sleep(self.timeout)),
        };
        if !is_refusal {
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let text = collect(body).await;
        let code = element(&text, "Code");
        // What `object_store` tells apart by the status, and we by its errors.
        let is_answer = match parts.status {
            // Anybody says 404. That there is no such file is only for a store to say.
            StatusCode::NOT_FOUND if is_get => code == "NoSuchKey",
            StatusCode::NOT_FOUND => !["NoSuchBucket", "NoSuchUpload"].contains(&code.as_str()),
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_MODIFIED => {
                true
            }
            _ => false,
        };
        if is_answer {
            return Ok(HttpResponse::from_parts(parts, text.into()));
        }
        let fault = Fault::Refused {
            status: parts.status.as_u16(),
            code,
            message: element(&text, "Message"),
        };
        Err(fault.wrap())
    }
}

/// When something moved last.
struct Moved(Mutex<Instant>);

impl Moved {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when nothing moved for so long.
    async fn stalled(&self, patience: Duration) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match patience.checked_sub(last.elapsed()) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

/// The body of a request, on its way.
struct Sent {
    body: HttpRequestBody,
    moved: Arc<Moved>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        // It is asked for more when there is room for more.
        self.moved.now();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, on its way.
struct Received {
    body: reqwest::Body,
    left: u64,
    patience: Duration,
    stalled: Pin<Box<Sleep>>,
}

impl Body for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.stalled.as_mut().poll(context));
                return Poll::Ready(Some(Err(Fault::Stalled(self.patience).wrap())));
            }
        };
        let next = tokio::time::Instant::now() + self.patience;
        self.stalled.as_mut().reset(next);
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| network(&error).wrap())?;
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.left = match self.left.checked_sub(length) {
                Some(left) => left,
                None => return Err(Fault::TooLong.wrap()),
            };
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What there is of the words of a refusal.
async fn collect(body: Received) -> Bytes {
    let mut body = pin!(body);
    let mut all = BytesMut::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|c| body.as_mut().poll_frame(c)).await {
        if let Some(data) = frame.data_ref() {
            all.extend_from_slice(data);
        }
    }
    all.freeze()
}

/// How many bytes `bytes=FROM-TO` asks for.
fn length_of(range: &str) -> Option<u64> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    to.checked_sub(from)?.checked_add(1)
}

/// The text of an element of XML: words of the store, as it says them.
pub(super) fn element(xml: &[u8], name: &str) -> String {
    const MOST: usize = 300;
    let xml = String::from_utf8_lossy(xml);
    let text = xml
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
        .map_or("", |(text, _)| text);
    text.chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect()
}

/// What happened to a connection.
fn network(error: &reqwest::Error) -> Fault {
    let mut words = Vec::new();
    let mut kind = if error.is_connect() {
        Network::Connect
    } else {
        Network::Broken
    };
    let mut at: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = at {
        let text = error.to_string();
        // hyper-util has no other way to tell.
        if text.starts_with("dns error") {
            kind = Network::Name;
        }
        if is_of_tls(error) {
            kind = Network::Security;
        }
        if words.last() != Some(&text) {
            words.push(text);
        }
        at = error.source();
    }
    let words = match words.last() {
        Some(last) => last.clone(),
        None => error.to_string(),
    };
    Fault::Network(kind, words)
}

/// An I/O error hides what is in it from whoever asks for its source.
fn is_of_tls(error: &(dyn StdError + 'static)) -> bool {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || inside.is_some_and(|inside| is_of_tls(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_length() {
        assert_eq!(length_of("bytes=0-0"), Some(1));
        assert_eq!(length_of("bytes=10-29"), Some(20));
        assert_eq!(length_of("bytes=-5"), None);
        assert_eq!(length_of("bytes=9-5"), None);
    }

    #[test]
    fn words_of_a_store_are_found_and_tamed() {
        let xml = b"<?xml?><Error><Code>Slow\x1bDown</Code><Message>later</Message></Error>";
        assert_eq!(element(xml, "Code"), "SlowDown");
        assert_eq!(element(xml, "Message"), "later");
        assert_eq!(element(b"<Code>", "Code"), "");
        assert_eq!(element(b"</Code><Code>", "Code"), "");
    }
}
