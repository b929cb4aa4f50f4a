//! The way to what a configuration names, as root goes it.
//!
//! The account that a site belongs to may put symbolic links on it: media are often on another disk. But that
//! account can do nothing where such a link leads to what is not its own, and root could for it. So each link is
//! root's, or of the account that what it leads to belongs to. That is looked at while the way is gone, by
//! descriptors: whatever is changed on it meanwhile, what is opened in the end is what was looked at.

use crate::durable;
use crate::error::{Error, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The operating system follows so many links.
const MOST_LINKS: u32 = 40;

/// For [`open`].
pub(crate) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// The same. Nobody is waited for who would write into a FIFO.
pub(crate) const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

/// Opens what is at `path`, which may be reached by links.
///
/// # Errors
/// `Io`; `Usage` with a link that root does not follow.
pub(crate) fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let doing = match flags.contains(OFlags::DIRECTORY) {
        true => "cannot read the folder",
        false => "cannot read",
    };
    try_open(path, flags).map_err(Error::io(doing, path))
}

/// The same with the error of the operating system, where it is one.
///
/// # Errors
/// Those of opening; `Usage`, inside, with a link.
pub(crate) fn try_open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    if !geteuid().is_root() {
        return Ok(openat(CWD, path, flags, Mode::empty())?);
    }
    let way = Way::of(path)?.go()?;
    let opened = match way.names.as_slice() {
        [] => openat(&way.folder, ".", flags, Mode::empty()),
        [name] => openat(&way.folder, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        _ => Err(Errno::NOENT),
    }?;
    way.judge(fstat(&opened)?.st_uid)?;
    Ok(opened)
}

/// Where a path leads, also one whose last folders are not there yet, for something to be written there: it is
/// the folder that what is written comes to be in, whose account may have put links on the way.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn real(path: &Path) -> Result<PathBuf> {
    if !geteuid().is_root() {
        return Ok(durable::real(path));
    }
    let fail = |errno: Errno| Error::io("cannot read", path)(errno.into());
    let way = Way::of(path).map_err(Error::io("cannot read", path))?;
    let way = way.go().map_err(fail)?;
    way.judge(fstat(&way.folder).map_err(fail)?.st_uid)?;
    Ok(way.path())
}

/// Whether root may go it, to write there.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn check(path: &Path) -> Result<()> {
    match geteuid().is_root() {
        true => real(path).map(drop),
        false => Ok(()),
    }
}

struct Way {
    /// How far it was gone.
    folder: OwnedFd,
    /// The path of that, without links.
    here: PathBuf,
    /// What is left to be gone, the next name last.
    names: Vec<OsString>,
    /// How many of them are of the path itself, and not of a link.
    own: usize,
    /// Where the last name of the path itself was looked for, and that name.
    before: (PathBuf, OsString),
    /// The next name is not there.
    is_missing: bool,
    /// Links of others than root.
    links: Vec<(u32, PathBuf)>,
}

/// What a name in a folder is.
enum Step {
    Folder(OwnedFd),
    /// Its owner, and where it leads.
    Link(u32, OsString),
    Other,
}

impl Way {
    fn of(path: &Path) -> io::Result<Self> {
        let names = names(std::path::absolute(path)?.as_os_str());
        Ok(Self {
            folder: top()?,
            here: PathBuf::from("/"),
            own: names.len(),
            names,
            before: Default::default(),
            is_missing: false,
            links: Vec::new(),
        })
    }

    /// Goes to its end: a folder, then no name is left, or something else, then that name is; or as far as
    /// something is there.
    fn go(mut self) -> rustix::io::Result<Self> {
        let mut followed = 0;
        while let Some(name) = self.names.last() {
            let step = match step(&self.folder, name) {
                Err(Errno::NOENT) => {
                    self.is_missing = true;
                    return Ok(self);
                }
                step => step?,
            };
            match step {
                Step::Other if self.names.len() > 1 => return Err(Errno::NOTDIR),
                Step::Other => return Ok(self),
                Step::Folder(folder) => {
                    let name = self.next();
                    match name.as_bytes() {
                        b".." => drop(self.here.pop()),
                        _ => self.here.push(name),
                    }
                    self.folder = folder;
                }
                Step::Link(owner, to) => {
                    followed += 1;
                    if followed > MOST_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let name = self.next();
                    if owner != 0 {
                        self.links.push((owner, self.here.join(name)));
                    }
                    if to.as_bytes().starts_with(b"/") {
                        self.folder = top()?;
                        self.here = PathBuf::from("/");
                    }
                    self.names.extend(names(&to));
                }
            }
        }
        Ok(self)
    }

    fn next(&mut self) -> OsString {
        let name = self.names.pop().unwrap_or_default();
        if self.names.len() < self.own {
            self.own = self.names.len();
            self.before = (self.here.clone(), name.clone());
        }
        name
    }

    /// Where it leads. A link to what is not there is not gone: a disk may not be mounted.
    fn path(&self) -> PathBuf {
        let (mut path, mut left) = (self.here.clone(), self.names.len());
        if self.is_missing && left > self.own {
            path = self.before.0.join(&self.before.1);
            left = self.own;
        }
        path.extend(self.names[..left].iter().rev());
        path
    }

    /// Whether root may follow the links to what belongs to `owner`.
    fn judge(&self, owner: u32) -> Result<()> {
        match self.links.iter().find(|(of, _)| *of != owner) {
            None => Ok(()),
            Some((_, link)) => Err(Error::Usage(format!(
                "{} is a symbolic link of another account than what it leads to: root does not follow it. Do \
                 this as the account of the site, or give the link to root (chown -h)",
                link.display()
            ))),
        }
    }
}

/// The names of a path, the first one last.
fn names(path: &OsStr) -> Vec<OsString> {
    let names = path.as_bytes().split(|&byte| byte == b'/');
    let names = names.filter(|name| !name.is_empty() && *name != b".");
    names
        .rev()
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect()
}

fn top() -> rustix::io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let flags = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let flags = OFlags::RDONLY;
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty())
}

#[cfg(target_os = "linux")]
fn step(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<Step> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty())?;
    let stat = fstat(&opened)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Step::Folder(opened),
        FileType::Symlink => {
            let to = readlinkat(&opened, "", Vec::new())?;
            Step::Link(stat.st_uid, OsString::from_vec(to.into_bytes()))
        }
        _ => Step::Other,
    })
}

/// A link cannot be opened everywhere: between its owner and where it leads it may have become another one.
#[cfg(not(target_os = "linux"))]
fn step(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<Step> {
    let stat = rustix::fs::statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = FOLDER | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Step::Folder(openat(folder, name, flags, Mode::empty())?)
        }
        FileType::Symlink => {
            let to = readlinkat(folder, name, Vec::new())?;
            Step::Link(stat.st_uid, OsString::from_vec(to.into_bytes()))
        }
        _ => Step::Other,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};

    const SOMEBODY: u32 = 65534;

    #[test]
    fn it_leads_where_the_operating_system_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/file"), "x").unwrap();
        for (link, to) in [
            ("up", "a/b/../.."),
            ("a/b/file", "../file"),
            ("here", "."),
            ("absolute", &format!("{}/a//b/./", root.display())),
            ("chain", "here/up/absolute/"),
            ("gone", "a/b/not/there"),
            ("round", "round"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        for path in [
            "a/b/c",
            "up",
            "up/a",
            "a/b/file",
            "here/a/file",
            "absolute/c",
            "chain",
            "chain/c/../file",
            "gone",
            "gone/more",
            "not/there",
            "up/not/there",
            "chain/not/there",
            ".",
            "a/b/c/../../file",
        ] {
            assert_eq!(real(&at(path)).unwrap(), durable::real(&at(path)), "{path}");
            let opened = open(&at(path), FILE).map(|opened| fstat(opened).unwrap().st_ino);
            let expected = fs::File::open(at(path)).map(|opened| fstat(opened).unwrap().st_ino);
            assert_eq!(opened.ok(), expected.ok(), "{path}");
        }
        for path in ["round", "a/file/x", "round/x"] {
            assert!(open(&at(path), FILE).is_err(), "{path}");
        }
    }

    #[test]
    fn a_link_of_an_account_leads_root_to_what_is_its_own() {
        if !geteuid().is_root() {
            return; // nobody else does anything for another account
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        for name in ["theirs", "roots"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), "x").unwrap();
        }
        chown(at("theirs"), Some(SOMEBODY), None).unwrap();
        chown(at("theirs/file"), Some(SOMEBODY), None).unwrap();
        chown(at("roots/file"), Some(SOMEBODY), None).unwrap();
        for (link, owner, to) in [
            ("good", SOMEBODY, "theirs"),
            ("bad", SOMEBODY, "roots"),
            ("by_root", 0, "roots"),
            ("by_root_to_bad", 0, "bad"),
            ("new", SOMEBODY, "roots/new"),
        ] {
            symlink(to, at(link)).unwrap();
            lchown(at(link), Some(owner), None).unwrap();
        }
        for good in ["good", "by_root", "by_root/new/folder", "theirs/new"] {
            check(&at(good)).unwrap();
        }
        for bad in [
            "bad",
            "by_root_to_bad",
            "bad/new",
            "new",
            "new/folder",
            "bad/file",
        ] {
            let error = check(&at(bad)).unwrap_err().to_string();
            assert!(
                error.contains("symbolic link of another account"),
                "{error}"
            );
        }
        // To be read it is the file that counts.
        open(&at("bad/file"), FILE).unwrap();
        fs::write(at("roots/secret"), "x").unwrap();
        open(&at("bad/secret"), FILE).unwrap_err();
        open(&at("by_root/secret"), FILE).unwrap();
        open(&at("bad"), FOLDER).unwrap_err();
    }
}
