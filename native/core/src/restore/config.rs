//! Where the files of a configuration archive belong.

use crate::error::{Error, Result, shown};
use crate::site::{Site, config_name};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The endings of Zotonic's configuration files. What else an archive has for these folders, in which a
/// site's programs are too, is not restored.
const CONFIG: [&str; 4] = [".config", ".yaml", ".yml", ".json"];

/// Which of an archive is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Config,
    Security,
}

/// The folders that a site's configuration is in.
pub(super) struct Places {
    /// Where the files that the site names are, under the names that an archive has for them.
    known: BTreeMap<String, PathBuf>,
    /// For files that it does not name.
    private: Option<PathBuf>,
    config_d: Option<PathBuf>,
    security: Option<PathBuf>,
}

impl Places {
    /// `real` says where a path leads.
    pub(super) fn of<E>(
        site: &Site,
        real: impl Fn(&Path) -> std::result::Result<PathBuf, E>,
    ) -> std::result::Result<Self, E> {
        let mut known = BTreeMap::new();
        let mut private = None;
        let mut config_d = None;
        for path in &site.config_files {
            let Some(name) = config_name(path) else {
                continue;
            };
            // The file itself is replaced, not a link to it.
            let path = real(path)?;
            let folder = path.parent().map(Path::to_owned);
            match name.strip_prefix("config.d/") {
                Some(below) if !below.contains('/') => config_d = config_d.or(folder),
                Some(_) => {}
                None => private = private.or(folder),
            }
            known.insert(name, path);
        }
        let config_d = config_d.or_else(|| Some(private.as_ref()?.join("config.d")));
        let private = private.or_else(|| Some(config_d.as_ref()?.parent()?.to_owned()));
        Ok(Self {
            known,
            private,
            config_d,
            security: site.security_dir.as_deref().map(real).transpose()?,
        })
    }

    /// The folders that anything may be restored to.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self
            .known
            .values()
            .filter_map(|path| Some(path.parent()?.to_owned()))
            .chain(self.private.clone())
            .chain(self.config_d.clone())
            .chain(self.security.clone())
            .collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// Where an entry of the archive belongs: a folder, and the path below it. `None` for what is not
    /// restored.
    ///
    /// # Errors
    /// `Usage` when the site does not say where.
    pub(super) fn place(&self, entry: &[u8], half: Half) -> Result<Option<(PathBuf, Vec<u8>)>> {
        let Some((of, below)) = split(entry) else {
            return Ok(None);
        };
        if of != half {
            return Ok(None);
        }
        let no_place = |setting: &str| {
            Error::Usage(format!(
                "the backup has {}, and the site does not say where that belongs: set {setting}, or \
                 leave it out with --only",
                shown(Path::new(OsStr::from_bytes(entry)))
            ))
        };
        if of == Half::Security {
            let security = self.security.clone();
            let security = security.ok_or_else(|| no_place("security_dir"))?;
            return Ok(Some((security, below.to_vec())));
        }
        let name = std::str::from_utf8(below).unwrap_or_default();
        if let Some((folder, file)) = self
            .known
            .get(name)
            .and_then(|path| Some((path.parent()?.to_owned(), path.file_name()?.as_bytes())))
        {
            return Ok(Some((folder, file.to_vec())));
        }
        let (folder, rest) = match name.split_once('/') {
            Some(("config.d", rest)) => (&self.config_d, rest),
            Some(("priv", rest)) if rest.starts_with("zotonic_site.") => (&self.private, rest),
            _ => return Ok(None),
        };
        if rest.contains('/') || !CONFIG.iter().any(|end| rest.ends_with(end)) {
            return Ok(None);
        }
        let folder = folder.clone().ok_or_else(|| no_place("config_files"))?;
        Ok(Some((folder, rest.as_bytes().to_vec())))
    }
}

/// `config-<site>/config/<below>` or `config-<site>/security/<below>`.
fn split(entry: &[u8]) -> Option<(Half, &[u8])> {
    let entry = entry.strip_prefix(b"./").unwrap_or(entry);
    let entry = entry.strip_suffix(b"/").unwrap_or(entry);
    let mut parts = entry.splitn(3, |&byte| byte == b'/');
    let top = OsStr::from_bytes(parts.next()?).to_str()?;
    let half = match parts.next()? {
        b"config" => Half::Config,
        b"security" => Half::Security,
        _ => return None,
    };
    let below = parts.next()?;
    (top.starts_with("config-") && !below.is_empty()).then_some((half, below))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn site(config_files: &str) -> Site {
        toml::from_str(&format!(
            "site = \"s\"\nbackup_dir = \"/b\"\nsecurity_dir = \"/sec\"\nconfig_files = {config_files}"
        ))
        .unwrap()
    }

    fn places(site: &Site) -> Places {
        Places::of(site, |path| Ok::<_, ()>(path.to_owned())).unwrap()
    }

    fn placed(site: &Site, entry: &str) -> Option<(String, String)> {
        let half = split(entry.as_bytes())?.0;
        let (folder, below) = places(site).place(entry.as_bytes(), half).unwrap()?;
        Some((
            folder.to_str().unwrap().into(),
            String::from_utf8(below).unwrap(),
        ))
    }

    #[test]
    fn files_go_to_the_folders_of_their_kind() {
        let site = site(
            "[\"/s/priv/zotonic_site.config\", \"/s/priv/config.d/a.config\", \"/etc/odd.config\"]",
        );
        let at = |entry: &str| placed(&site, entry);
        let place = |folder: &str, name: &str| Some((folder.to_owned(), name.to_owned()));
        assert_eq!(
            at("config-s/config/priv/zotonic_site.config"),
            place("/s/priv", "zotonic_site.config")
        );
        assert_eq!(
            at("config-s/config/priv/odd.config"),
            place("/etc", "odd.config")
        );
        assert_eq!(
            at("config-s/config/priv/zotonic_site.yml"),
            place("/s/priv", "zotonic_site.yml")
        );
        assert_eq!(
            at("config-s/config/config.d/a.config"),
            place("/s/priv/config.d", "a.config")
        );
        assert_eq!(
            at("config-s/config/config.d/b.config"),
            place("/s/priv/config.d", "b.config")
        );
        assert_eq!(
            at("config-s/security/letsencrypt/key.pem"),
            place("/sec", "letsencrypt/key.pem")
        );
    }

    #[test]
    fn what_is_no_configuration_is_left_out() {
        let site = site("[\"/s/priv/zotonic_site.config\"]");
        for entry in [
            "config-s/config/priv/zotonic_site.config.in",
            "config-s/config/priv/new.config",
            "config-s/config/priv/templates/home.tpl",
            "config-s/config/priv/zotonic_site.d/x.config",
            "config-s/config/config.d/below/x.config",
            "config-s/config/config.d/run.sh",
            "config-s/config/other/x",
            "config-s/else/x",
            "config-s/config/priv/",
            "elsewhere/config/priv/x",
            "config-s/security/",
        ] {
            assert_eq!(placed(&site, entry), None, "{entry}");
        }
    }

    #[test]
    fn without_a_place_the_setting_is_named() {
        let error = places(&site("[]"))
            .place(b"config-s/config/priv/zotonic_site.config", Half::Config)
            .unwrap_err();
        assert!(error.to_string().contains("config_files"), "{error}");
        let error = places(&site("[]"))
            .place(
                b"config-s/config/priv/zotonic_site.\n\x1b[2J\xc3\xa9.config",
                Half::Config,
            )
            .unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("zotonic_site.\\n\\u{1b}[2Jé.config, and"),
            "{said}"
        );
    }

    #[test]
    fn config_d_is_beside_the_files_of_a_site_that_names_none() {
        let site = site("[\"/s/priv/zotonic_site.config\"]");
        assert_eq!(
            placed(&site, "config-s/config/config.d/b.config")
                .unwrap()
                .0,
            "/s/priv/config.d"
        );
    }
}
