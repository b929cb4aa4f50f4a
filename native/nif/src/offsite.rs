//! Requests for copies of backups in an object store.

use crate::reply::Done;
use crate::request::{config, of_site, options, wrong};
use rustler::Term;
use serde::Deserialize;
use std::path::PathBuf;
use zbackup_core::catalog::Part;
use zbackup_core::error::{Error, Result};
use zbackup_core::offsite::{Offsite, PullOptions, PushOptions, relay};
use zbackup_core::progress::Monitor;
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

/// A step of copying by way of another program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relay {
    step: String,
    relay: PathBuf,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    timestamp: i64,
    #[serde(default)]
    require_encrypted: bool,
}

impl Relay {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        options(term)
    }

    pub(crate) fn run(self, request: OffsiteRequest, monitor: &Monitor) -> Result<Done> {
        let (folder, password, site) = request.folder()?;
        let Self {
            step,
            relay: place,
            name,
            timestamp,
            require_encrypted,
        } = self;
        let options = PullOptions {
            names: name.clone().into_iter().collect(),
            require_encrypted,
            password,
            site,
        };
        let name = name.unwrap_or_default();
        match step.as_str() {
            "offer" => relay::offer(&folder, &place, monitor).map(Done::Planned),
            "publish" => relay::publish(&folder, &place, &name, timestamp).map(Done::Published),
            "mark" => relay::mark(&folder, &name, timestamp).map(|()| Done::Published(Vec::new())),
            "wanted" => relay::wanted(&folder, &place, &options, monitor).map(Done::Planned),
            "take" => relay::take(&folder, &place, &options, monitor).map(Done::Pulled),
            _ => Err(Error::Usage(
                "the request is not right: step: it should be offer, publish, mark, wanted or take"
                    .into(),
            )),
        }
    }
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
        let password = password(copies.encryption)?;
        Ok(Opened {
            folder: copies.backup_dir,
            store: offsite,
            password,
            site: copies.site,
        })
    }

    /// The backup folder, the password and the site.
    fn folder(self) -> Result<(PathBuf, Option<Password>, Option<SiteName>)> {
        let copies = match self {
            Self::Given(copies) => *copies,
            Self::File(path) => Site::from_file(&path)?.into(),
        };
        let password = password(copies.encryption)?;
        Ok((copies.backup_dir, password, copies.site))
    }
}

fn password(encryption: Option<Encryption>) -> Result<Option<Password>> {
    match encryption {
        None => Ok(None),
        Some(Encryption::Password(password)) => Ok(Some(password)),
        Some(Encryption::PasswordFile(path)) => Password::from_file(&path).map(Some),
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
