//! What can go wrong, in words for a person and in kinds for a program.

use crate::catalog::Work;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job failed. `Display` is a full sentence for the person who has to act on it, in which nothing is
/// left that a terminal would obey; `kind` is for the program in between.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The owner of the job asked it to stop, or went away.
    #[error("cancelled")]
    Cancelled,
    /// Another process holds the lock of the backup folder.
    #[error("{work} {} is in progress by {holder}; try again when it is done", shown(.dir), holder = harmless(.holder))]
    InProgress {
        /// The backup folder.
        dir: PathBuf,
        /// What it does there.
        work: Work,
        /// "PID 123", as far as the lock file tells.
        holder: String,
    },
    /// The password does not open this file.
    #[error("wrong password for {}", shown(.0))]
    WrongPassword(PathBuf),
    /// An encrypted file, and no password to open it with.
    #[error("{} is encrypted: give its password", shown(.0))]
    PasswordRequired(PathBuf),
    /// A file is not what it was when it was written.
    #[error("{} is damaged: {}", shown(.path), harmless(.reason))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// A backup that is not in the list.
    #[error("there is no backup named \"{}\"; {}", harmless(.name), harmless(.known))]
    UnknownBackup {
        /// The name that was asked for.
        name: String,
        /// The names there are, as half a sentence.
        known: String,
    },
    /// A backup that another one has taken the place of since somebody chose it.
    #[error(
        "the backup {name} that was chosen, of {agreed}, is not there any more: {name} is of {now}. Nothing \
         was changed; look at the list and choose again",
        name = harmless(.name)
    )]
    Replaced {
        /// The name of both.
        name: String,
        /// When the one was made that was chosen.
        agreed: String,
        /// When the one was made that is there.
        now: String,
    },
    /// The output of a job is there already.
    #[error("{} exists already: remove it, or choose another output, or force it", shown(.0))]
    Exists(PathBuf),
    /// The request or the configuration asks for something that cannot be.
    #[error("{}", harmless(.0))]
    Usage(String),
    /// `pg_dump` could not make a whole dump, or the database does not take one.
    #[error("{}", harmless(.0))]
    Database(String),
    /// Not enough room on a disk for what is about to be written, in bytes.
    #[error(
        "there is too little room in {}: {} are needed, and {} are free; free some space and try again \
         (nothing was changed)",
        shown(.folder), bytes(*.needed), bytes(*.free)
    )]
    NoRoom {
        /// Where it would be written.
        folder: PathBuf,
        /// How much there should be.
        needed: u64,
        /// How much there is.
        free: u64,
    },
    /// A restore is decided, and its files could not all be moved to their places.
    #[error(
        "the restore of {backup} is done but for files that could not be moved to their places: {source}; \
         when that is mended, the next restore or backup of the site completes it; a restore of the same pieces \
         takes its place",
        backup = harmless(.backup)
    )]
    Unfinished {
        /// The backup.
        backup: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// What was just made could not be read back as it should.
    #[error(
        "the new backup {backup} could not be proven and was thrown away, so that it replaces no good one: \
         {source}",
        backup = harmless(.backup)
    )]
    Unproven {
        /// The backup.
        backup: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A backup of a site that may be half restored.
    #[error("no backup was made, because the site may be half restored: {source}")]
    HalfRestored {
        /// Why an interrupted restore could not be completed or taken back.
        source: Box<Error>,
    },
    /// An interrupted restore is completed or taken back, and what it had unpacked is still there.
    #[error("what an interrupted restore of {} had unpacked cannot be removed: {source}", harmless(.backup))]
    Leftover {
        /// The backup.
        backup: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// An interrupted restore whose server is there, and cannot tell any more what became of it.
    #[error("{}", harmless(.0))]
    Unknowable(String),
    /// A restore of files, of which it is not known whether it was decided: the disk with the journal failed.
    #[error(
        "it is not known whether the restore of {backup} was decided, since its journal could not be written: \
         {source}; when that is mended, the next restore or backup of the site completes it or takes it back",
        backup = harmless(.backup)
    )]
    Unsettled {
        /// The backup.
        backup: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// The server was told to make a restored database final, and did not answer.
    #[error("{}", harmless(.0))]
    Undecided(String),
    /// The offsite store, or the way to it.
    #[error("{}", harmless(.message))]
    Offsite {
        /// What a caller can match on.
        kind: ErrorKind,
        /// What went wrong and what to do.
        message: String,
    },
    /// Another process uploads from this backup folder to the same store.
    #[error("the backups of {} are being uploaded already; wait for that", shown(.0))]
    Pushing(PathBuf),
    /// The operating system refused something.
    #[error("{doing} {}: {}{}", shown(.path), harmless(&.source.to_string()), advice(.source))]
    Io {
        /// "cannot read", "cannot create the folder" …
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A defect of this program.
    #[error("internal error (please report it): {}", harmless(.0))]
    Internal(String),
}

/// What a caller can match on. The CLI's exit codes and Erlang's error atoms follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Stopped on request.
    Cancelled,
    /// Another job works on this backup folder.
    InProgress,
    /// The password does not fit.
    WrongPassword,
    /// A password is needed and was not given.
    NoPassword,
    /// Stored data is not what it was.
    Damaged,
    /// No backup of that name.
    UnknownBackup,
    /// A file or folder does not exist.
    NotFound,
    /// The output exists already.
    Exists,
    /// The operating system denied access.
    Permission,
    /// The disk, or a quota, is full.
    NoSpace,
    /// A wrong request or configuration.
    Usage,
    /// The database could not be dumped or restored.
    Database,
    /// The offsite store cannot be reached, or is not well.
    Unreachable,
    /// The offsite store refuses something.
    Store,
    /// Any other error of the operating system.
    Io,
    /// A defect of this program.
    Internal,
}

impl ErrorKind {
    /// The name that programs see, in `--json` output and as an Erlang atom.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::InProgress => "in_progress",
            Self::WrongPassword => "wrong_password",
            Self::NoPassword => "no_password",
            Self::Damaged => "damaged",
            Self::UnknownBackup => "unknown_backup",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Permission => "permission",
            Self::NoSpace => "no_space",
            Self::Usage => "usage",
            Self::Database => "database",
            Self::Unreachable => "unreachable",
            Self::Store => "store",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::InProgress { .. } => ErrorKind::InProgress,
            Self::WrongPassword(_) => ErrorKind::WrongPassword,
            Self::PasswordRequired(_) => ErrorKind::NoPassword,
            Self::Damaged { .. } => ErrorKind::Damaged,
            Self::UnknownBackup { .. } | Self::Replaced { .. } => ErrorKind::UnknownBackup,
            Self::Exists(_) => ErrorKind::Exists,
            Self::Usage(_) => ErrorKind::Usage,
            Self::Database(_) | Self::Unknowable(_) | Self::Undecided(_) => ErrorKind::Database,
            Self::Internal(_) => ErrorKind::Internal,
            Self::NoRoom { .. } => ErrorKind::NoSpace,
            Self::Unfinished { source, .. }
            | Self::Unsettled { source, .. }
            | Self::HalfRestored { source }
            | Self::Leftover { source, .. }
            | Self::Unproven { source, .. } => source.kind(),
            Self::Offsite { kind, .. } => *kind,
            Self::Pushing(_) => ErrorKind::InProgress,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::Permission
                }
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
                _ => ErrorKind::Io,
            },
        }
    }

    /// For `map_err`: what was being done to which path. An error of this crate that travelled
    /// inside an [`io::Error`] (through a `Read` or a `Write`) comes out as itself.
    pub(crate) fn io<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| match source.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Io {
                doing,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// The same error for whoever asks once more.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Cancelled => Self::Cancelled,
            Self::Damaged { path, reason } => Self::damaged(path, reason),
            Self::Io {
                doing,
                path,
                source,
            } => Self::Io {
                doing,
                path: path.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
            other => Self::Internal(other.to_string()),
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Lets an error of this crate travel through a `Read` or a `Write`; `Error::io` takes it out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Whether a terminal would obey it instead of showing it: control characters, and those that turn the
/// direction of writing.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    let is_turning = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() && c != '\n' && c != '\t' || is_turning
}

/// What a server, a program, a dump or an archive says, without what a terminal would obey. Breaks of lines
/// stay.
#[must_use]
pub fn harmless(text: &str) -> String {
    escaped(text, is_harmful)
}

/// A path for a message, on one line.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy(), |c| is_harmful(c) || c.is_control())
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A number of bytes for a person.
fn bytes(count: u64) -> String {
    const MIB: u64 = 1 << 20;
    format!("{} MiB", count.div_ceil(MIB))
}

/// What to do about it, where that is not obvious from the operating system's own words.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and try again (earlier backups are untouched)"
        }
        io::ErrorKind::PermissionDenied => {
            "; run this as the user that Zotonic runs as, or change the permissions"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_obeys_what_others_say() {
        let said = "ERROR:\tgöne\r\x1b]0;owned\x07\u{9b}2J\x7f\u{202e}\n";
        let shown = "ERROR:\tgöne\\r\\u{1b}]0;owned\\u{7}\\u{9b}2J\\u{7f}\\u{202e}\n";
        for error in [
            Error::Usage(said.into()),
            Error::Database(said.into()),
            Error::Undecided(said.into()),
            Error::damaged(Path::new("x"), said),
        ] {
            let error = error.to_string();
            assert!(error.ends_with(shown), "{error:?}");
        }
    }

    /// Names come from archives, lists and journals.
    #[test]
    fn no_terminal_obeys_a_name() {
        let name = || "mëdia\n\x1b]0;owned\x07\u{9b}2J\x7f\u{202e}".to_owned();
        let path = || PathBuf::from(name());
        let source = || Box::new(Error::Usage("x".into()));
        for error in [
            Error::InProgress {
                dir: path(),
                work: Work::Other,
                holder: name(),
            },
            Error::WrongPassword(path()),
            Error::PasswordRequired(path()),
            Error::damaged(&path(), name()),
            Error::UnknownBackup {
                name: name(),
                known: name(),
            },
            Error::Replaced {
                name: name(),
                agreed: "then".into(),
                now: "now".into(),
            },
            Error::Exists(path()),
            Error::Usage(name()),
            Error::Database(name()),
            Error::NoRoom {
                folder: path(),
                needed: 1,
                free: 0,
            },
            Error::Unfinished {
                backup: name(),
                source: source(),
            },
            Error::Unproven {
                backup: name(),
                source: source(),
            },
            Error::Leftover {
                backup: name(),
                source: source(),
            },
            Error::Unknowable(name()),
            Error::Unsettled {
                backup: name(),
                source: source(),
            },
            Error::Undecided(name()),
            Error::Offsite {
                kind: ErrorKind::Store,
                message: name(),
            },
            Error::Pushing(path()),
            Error::io("cannot write", &path())(io::Error::other(name())),
            Error::Internal(name()),
        ] {
            let said = error.to_string();
            assert!(said.contains("mëdia"), "{said:?}");
            assert!(!said.contains(is_harmful), "{said:?}");
        }
        let error = Error::io("cannot write", &path())(io::ErrorKind::NotFound.into());
        assert!(
            error
                .to_string()
                .starts_with("cannot write mëdia\\n\\u{1b}]0;")
        );
    }

    #[test]
    fn a_kind_has_one_name() {
        for kind in [
            ErrorKind::Cancelled,
            ErrorKind::InProgress,
            ErrorKind::WrongPassword,
            ErrorKind::NoPassword,
            ErrorKind::Damaged,
            ErrorKind::UnknownBackup,
            ErrorKind::NotFound,
            ErrorKind::Exists,
            ErrorKind::Permission,
            ErrorKind::NoSpace,
            ErrorKind::Usage,
            ErrorKind::Database,
            ErrorKind::Unreachable,
            ErrorKind::Store,
            ErrorKind::Io,
            ErrorKind::Internal,
        ] {
            assert_eq!(serde_json::json!(kind), serde_json::json!(kind.name()));
        }
    }
}
