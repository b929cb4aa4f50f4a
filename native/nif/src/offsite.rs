//! Requests for copies of backups in an object store.

use crate::request::{config, of_site, options, wrong};
use rustler::Term;
use serde::Deserialize;
use std::path::PathBuf;
use zbackup_core::catalog::Part;
use zbackup_core::error::{Error, Result};
use zbackup_core::offsite::{Offsite, PullOptions, PushOptions};
use zbackup_core::secret::Password;
use zbackup_core::site::{Encryption, Site, SiteName};

/// A request for a store and a backup folder.
pub(crate) enum OffsiteRequest {
    Given(Box<Copies>),
    File(PathBuf),
}

/// Enough of a site to copy its backups.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copies {
    backup_dir: PathBuf,
    #[serde(default)]
    encryption: Option<Encryption>,
    #[serde(default)]
    offsite: Option<Offsite>,
    /// Where the request is for a whole site.
    #[serde(skip)]
    site: Option<SiteName>,
}

/// What a request says of the copies of a site.
pub(crate) struct Opened {
    pub(crate) folder: PathBuf,
    pub(crate) store: Offsite,
    pub(crate) password: Option<Password>,
    pub(crate) site: Option<SiteName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    only: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pull {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    require_encrypted: Option<bool>,
}

impl OffsiteRequest {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        let fields = of_site(term)?;
        if let Some(path) = config(&fields)? {
            return Ok(Self::File(path));
        }
        let copies = if fields.has("site") {
            fields.read::<Site>().map_err(wrong)?.into()
        } else {
            fields.read().map_err(wrong)?
        };
        Ok(Self::Given(Box::new(copies)))
    }

    /// All of it. Reads files.
    pub(crate) fn open(self) -> Result<Opened> {
        let copies = match self {
            Self::Given(copies) => *copies,
            Self::File(path) => Site::from_file(&path)?.into(),
        };
        let offsite = copies.offsite.ok_or_else(|| {
            Error::Usage("the request is not right: the field offsite is missing".into())
        })?;
        let password = match copies.encryption {
            None => None,
            Some(Encryption::Password(password)) => Some(password),
            Some(Encryption::PasswordFile(path)) => Some(Password::from_file(&path)?),
        };
        Ok(Opened {
            folder: copies.backup_dir,
            store: offsite,
            password,
            site: copies.site,
        })
    }
}

impl From<Site> for Copies {
    fn from(site: Site) -> Self {
        Self {
            backup_dir: site.backup_dir,
            encryption: site.encryption,
            offsite: site.offsite,
            site: Some(site.site),
        }
    }
}

pub(crate) fn push_options(term: Term<'_>) -> Result<PushOptions> {
    let Push { names, only } = options(term)?;
    Ok(PushOptions { names, parts: only })
}

/// The options of a pull, which needs the password and the site too.
#[allow(clippy::type_complexity)]
pub(crate) fn pull_options(
    term: Term<'_>,
) -> Result<impl FnOnce(Option<Password>, Option<SiteName>) -> PullOptions + Send + use<>> {
    let Pull {
        names,
        require_encrypted,
    } = options(term)?;
    Ok(move |password: Option<Password>, site| PullOptions {
        site,
        names,
        require_encrypted: require_encrypted.unwrap_or(password.is_some()),
        password,
    })
}
