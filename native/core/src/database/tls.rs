//! TLS to the database server, as libpq has it: the environment's `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>. `prefer` and `require` trust any certificate, as
//! there, unless there is a root certificate to verify it with.

use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Variables of libpq whose wish this client cannot fulfil.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("PGSSLCRL", "revocation lists"),
    ("PGSSLCRLDIR", "revocation lists"),
    ("PGSSLMAXPROTOCOLVERSION", "a newest version of TLS"),
    ("PGREQUIREAUTH", "a list of ways to log in"),
];

/// How a connection is secured.
pub(super) struct Tls {
    modes: &'static [SslMode],
    connector: MakeRustlsConnect,
}

/// How much of the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Chain,
    ChainAndName,
}

impl Tls {
    /// Reads the settings of the environment.
    ///
    /// # Errors
    /// `Usage` for a mode that does not exist, for what this client does not have, and for files that hold no
    /// certificate or key.
    pub(super) fn from_environment() -> Result<Self> {
        if let Some((name, what)) = UNSUPPORTED
            .iter()
            .find(|(name, _)| variable(name).is_some())
        {
            return Err(Error::Usage(format!(
                "{name} is set, and zbackup does not have {what} for connections to a database: unset it"
            )));
        }
        if variable("PGGSSENCMODE").as_deref() == Some("require") {
            return Err(Error::Usage(
                "PGGSSENCMODE is require, and zbackup has no GSSAPI: use TLS (PGSSLMODE)".into(),
            ));
        }
        let mode = variable("PGSSLMODE").unwrap_or_else(|| "prefer".into());
        let (modes, verify): (&[SslMode], _) = match mode.as_str() {
            "disable" => (&[SslMode::Disable], Verify::Nothing),
            "allow" => (&[SslMode::Disable, SslMode::Require], Verify::Nothing),
            "prefer" => (&[SslMode::Prefer, SslMode::Disable], Verify::Nothing),
            "require" => (&[SslMode::Require], Verify::Nothing),
            "verify-ca" => (&[SslMode::Require], Verify::Chain),
            "verify-full" => (&[SslMode::Require], Verify::ChainAndName),
            other => {
                return Err(Error::Usage(format!(
                    "PGSSLMODE is {other:?}: it is one of disable, allow, prefer, require, verify-ca, verify-full"
                )));
            }
        };
        let verifier = Verifier::new(verify, mode == "require")?;
        let builder = ClientConfig::builder_with_provider(verifier.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Internal(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match client_certificate()? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::Usage(format!("the client certificate: {error}")))?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = variable("PGSSLSNI").as_deref() != Some("0");
        Ok(Self {
            modes,
            connector: MakeRustlsConnect::new(config),
        })
    }

    /// Returns the ways to connect, in the order in which they are tried.
    pub(super) fn modes(&self) -> &'static [SslMode] {
        self.modes
    }

    /// Returns what secures a connection, or a cancel request.
    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.connector.clone()
    }
}

/// True if a connection failed for its TLS, so that one without may succeed.
pub(super) fn is_tls_error(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS")
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    verify: Verify,
}

impl Verifier {
    /// With a root certificate `require` verifies the chain, as in libpq.
    fn new(verify: Verify, is_require: bool) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let (roots, source) = root_certificates(verify)?;
        let verify = match verify {
            Verify::Nothing if is_require && !roots.is_empty() => Verify::Chain,
            verify => verify,
        };
        let mut chain = None;
        if verify != Verify::Nothing {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned());
            let built = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone());
            chain = Some(built.build().map_err(|error| {
                Error::Usage(format!(
                    "no certificate to verify the database server with, in {source}: {error}"
                ))
            })?);
        }
        Ok(Self {
            provider,
            roots,
            chain,
            verify,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // A certificate that signed itself and is trusted by itself, which many servers have: webpki takes none that
        // is a CA's.
        if self.roots.iter().any(|root| root == certificate) {
            if self.verify == Verify::ChainAndName {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The chain was verified before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Chain => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns the certificates to verify a server with, and where they are from.
fn root_certificates(verify: Verify) -> Result<(Vec<CertificateDer<'static>>, String)> {
    let named = variable("PGSSLROOTCERT");
    if named.as_deref() == Some("system") {
        if verify != Verify::ChainAndName {
            return Err(Error::Usage(
                "PGSSLROOTCERT is system, which takes PGSSLMODE=verify-full: anybody can have a certificate that \
                 the system trusts"
                    .into(),
            ));
        }
        let found = rustls_native_certs::load_native_certs();
        return Ok((found.certs, "the system's certificates".into()));
    }
    let Some(path) = named
        .map(PathBuf::from)
        .or_else(|| default_file("root.crt"))
    else {
        return Ok((Vec::new(), "~/.postgresql/root.crt".into()));
    };
    Ok((certificates(&path)?, path.display().to_string()))
}

/// Returns the certificate that we show a server, and its key, where there are both.
fn client_certificate() -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    let file = |name, default| {
        variable(name)
            .map(PathBuf::from)
            .or_else(|| default_file(default))
    };
    let (Some(certificate), Some(key)) = (
        file("PGSSLCERT", "postgresql.crt"),
        file("PGSSLKEY", "postgresql.key"),
    ) else {
        return Ok(None);
    };
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
        Error::Usage(format!(
            "{} holds no private key in PEM that is not encrypted: {error}",
            key.display()
        ))
    })?;
    Ok(Some((certificates(&certificate)?, private)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| {
        Error::Usage(format!(
            "{} holds no certificates in PEM: {error}",
            path.display()
        ))
    })
}

/// Returns a file of libpq's directory, where it is there.
fn default_file(name: &str) -> Option<PathBuf> {
    let path = std::env::home_dir()?.join(".postgresql").join(name);
    path.is_file().then_some(path)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
