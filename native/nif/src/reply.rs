//! Results, as terms. Keys and other atoms are names in this program; what comes from outside is a
//! binary in UTF-8. What is not there is `undefined`.

mod offsite;
mod restore;
mod revisions;

use rustler::{Atom, Encoder, Env, Term};
use std::path::{Path, PathBuf};
use zbackup_core::archive::{Contents, Skipped};
use zbackup_core::backup::{Made, Report};
use zbackup_core::catalog::{Entry, Failure, Part, Refused, Status, StoredPart, Verification};
use zbackup_core::error::Error;
use zbackup_core::list::{Listed, Listing};
use zbackup_core::nightly::Nightly;
use zbackup_core::offsite::relay::Plan;
use zbackup_core::offsite::{Pulled, Pushed};
use zbackup_core::progress::{Phase, Snapshot};
use zbackup_core::restore::{Report as RestoreReport, Settled};
use zbackup_core::revisions::Pruned;
use zbackup_core::schedule::Due;
use zbackup_core::stream::{Encryption, Opened};
use zbackup_core::verify::{Verified, VerifiedPart, is_proven};

/// What a job has come to.
pub(crate) enum Done {
    Backup(Box<Report>),
    Verified {
        all: Vec<Verified>,
        /// Whether it was written into the list, where that was asked for.
        recorded: Option<bool>,
    },
    Restored(Box<RestoreReport>),
    Settled(Option<Settled>),
    Pushed(Pushed),
    Pulled(Pulled),
    Planned(Plan),
    Published(Vec<String>),
    Listed(Listing),
    Encrypted(PathBuf),
    Decrypted(Opened),
    Pruned(Pruned),
}

/// What Erlang can be told.
pub(crate) trait Reply {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a>;
}

/// `{error, Kind, Message}`.
pub(crate) fn failed<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    let kind = atom(env, error.kind().name());
    (atom(env, "error"), kind, error.to_string()).encode(env)
}

/// A name of this program. The type keeps names from outside away: atoms are never freed.
pub(crate) fn atom<'a>(env: Env<'a>, name: &'static str) -> Term<'a> {
    Atom::from_str(env, name).map_or_else(|_| name.encode(env), |atom| atom.to_term(env))
}

/// Pairs of a name and what to tell.
fn map<'a>(env: Env<'a>, pairs: &[(&'static str, Term<'a>)]) -> Term<'a> {
    let (keys, values): (Vec<_>, Vec<_>) = pairs
        .iter()
        .map(|(name, value)| (atom(env, name), *value))
        .unzip();
    // It fails only where a name is there twice.
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| Term::map_new(env))
}

fn or_undefined<'a>(env: Env<'a>, value: Option<Term<'a>>) -> Term<'a> {
    value.unwrap_or_else(|| atom(env, "undefined"))
}

fn option<'a>(env: Env<'a>, value: Option<&impl Reply>) -> Term<'a> {
    or_undefined(env, value.map(|value| value.reply(env)))
}

fn plain<'a>(env: Env<'a>, value: Option<impl Encoder>) -> Term<'a> {
    or_undefined(env, value.map(|value| value.encode(env)))
}

fn path<'a>(env: Env<'a>, path: &Path) -> Term<'a> {
    path.to_string_lossy().as_ref().encode(env)
}

impl<T: Reply> Reply for [T] {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let items: Vec<Term<'a>> = self.iter().map(|item| item.reply(env)).collect();
        items.encode(env)
    }
}

impl Reply for Done {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::Backup(report) => report.reply(env),
            Self::Verified { all, recorded } => {
                let ok = is_proven(all).encode(env);
                let mut pairs = vec![("ok", ok), ("backups", all.reply(env))];
                pairs.extend(recorded.map(|recorded| ("recorded", recorded.encode(env))));
                map(env, &pairs)
            }
            Self::Pruned(pruned) => pruned.reply(env),
            Self::Restored(report) => report.reply(env),
            Self::Settled(settled) => map(env, &[("settled", option(env, settled.as_ref()))]),
            Self::Pushed(pushed) => pushed.reply(env),
            Self::Pulled(pulled) => pulled.reply(env),
            Self::Planned(plan) => plan.reply(env),
            Self::Published(removed) => map(env, &[("removed", removed.encode(env))]),
            Self::Listed(listing) => listing.reply(env),
            Self::Encrypted(output) => map(env, &[("output", path(env, output))]),
            Self::Decrypted(opened) => map(
                env,
                &[
                    ("output", path(env, &opened.output)),
                    ("encryption", opened.encryption.reply(env)),
                ],
            ),
        }
    }
}

impl Reply for Snapshot {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        map(
            env,
            &[
                ("phase", self.phase.reply(env)),
                ("done", self.done.encode(env)),
                ("total", plain(env, self.total)),
                ("rate", self.rate.encode(env)),
            ],
        )
    }
}

impl Reply for Phase {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        atom(
            env,
            match self {
                Self::Database => "database",
                Self::Config => "config",
                Self::Files => "files",
                Self::Verify => "verify",
                Self::Unpack => "unpack",
                Self::Load => "load",
                Self::Place => "place",
                Self::Upload => "upload",
                Self::Download => "download",
                Self::Encrypt => "encrypt",
                Self::Decrypt => "decrypt",
                _ => "other",
            },
        )
    }
}

impl Reply for Report {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            backup,
            made,
            skipped,
            warnings,
        } = self;
        map(
            env,
            &[
                ("backup", backup.reply(env)),
                ("made", made.reply(env)),
                ("skipped", skipped.reply(env)),
                ("warnings", warnings.encode(env)),
            ],
        )
    }
}

impl Reply for Made {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            part,
            file,
            source_bytes,
            size,
            duration_ms,
        } = self;
        map(
            env,
            &[
                ("part", part.reply(env)),
                ("file", file.as_str().encode(env)),
                ("source_bytes", source_bytes.encode(env)),
                ("size", size.encode(env)),
                ("duration_ms", duration_ms.encode(env)),
            ],
        )
    }
}

impl Reply for Part {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        atom(
            env,
            match self {
                Self::Database => "database",
                Self::Config => "config",
                Self::Files => "files",
            },
        )
    }
}

impl Reply for Skipped {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { path, reason } = self;
        map(
            env,
            &[("path", path.encode(env)), ("reason", reason.encode(env))],
        )
    }
}

impl Reply for Entry {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        map(env, &entry(env, self))
    }
}

fn entry<'a>(env: Env<'a>, entry: &Entry) -> Vec<(&'static str, Term<'a>)> {
    vec![
        ("name", entry.name.as_str().encode(env)),
        ("timestamp", entry.timestamp.encode(env)),
        ("database", option(env, entry.database.as_ref())),
        ("config", option(env, entry.config.as_ref())),
        ("files", option(env, entry.files.as_ref())),
        ("files_timestamp", plain(env, entry.files_timestamp)),
        ("is_encrypted", entry.is_encrypted.encode(env)),
        (
            "is_filestore_uploaded",
            entry.is_filestore_uploaded.encode(env),
        ),
        ("duration_ms", plain(env, entry.duration_ms)),
        ("writer", plain(env, entry.writer.as_deref())),
        ("verified", option(env, entry.verified.as_ref())),
    ]
}

impl Reply for StoredPart {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { file, sha256, size } = self;
        let sha256 = sha256.map(|hash| hash.to_string());
        map(
            env,
            &[
                ("file", file.as_str().encode(env)),
                ("sha256", plain(env, sha256)),
                ("size", plain(env, *size)),
            ],
        )
    }
}

impl Reply for Listing {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { backups, refused } = self;
        map(
            env,
            &[
                ("backups", backups.reply(env)),
                ("refused", refused.reply(env)),
            ],
        )
    }
}

impl Reply for Listed {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            entry: listed,
            is_database_present,
            is_config_files_present,
            is_files_present,
            size,
            missing,
        } = self;
        let missing: Vec<&str> = missing.iter().map(|file| file.as_str()).collect();
        let mut pairs = entry(env, listed);
        pairs.extend([
            ("is_database_present", is_database_present.encode(env)),
            (
                "is_config_files_present",
                is_config_files_present.encode(env),
            ),
            ("is_files_present", is_files_present.encode(env)),
            ("size", size.encode(env)),
            ("missing", missing.encode(env)),
        ]);
        map(env, &pairs)
    }
}

impl Reply for Refused {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { name, reason } = self;
        map(
            env,
            &[("name", name.encode(env)), ("reason", reason.encode(env))],
        )
    }
}

impl Reply for Verification {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { at, ok, problem } = self;
        map(
            env,
            &[
                ("at", at.encode(env)),
                ("ok", ok.encode(env)),
                ("problem", plain(env, problem.as_deref())),
            ],
        )
    }
}

impl Reply for Nightly {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            due,
            next,
            last_good,
        } = self;
        map(
            env,
            &[
                ("due", option(env, due.as_ref())),
                ("next", next.reply(env)),
                ("last_good", plain(env, *last_good)),
            ],
        )
    }
}

impl Reply for Due {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { at, day } = self;
        map(
            env,
            &[
                ("at", at.as_second().encode(env)),
                ("day", (day.year(), day.month(), day.day()).encode(env)),
            ],
        )
    }
}

impl Reply for Status {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            failure,
            told,
            jobs,
            restored,
        } = self;
        // Their names come from a file.
        let names: Vec<Term<'a>> = jobs.keys().map(|name| name.encode(env)).collect();
        let failures: Vec<Term<'a>> = jobs.values().map(|failure| failure.reply(env)).collect();
        let jobs = Term::map_from_term_arrays(env, &names, &failures);
        map(
            env,
            &[
                ("failure", option(env, failure.as_ref())),
                ("told", told.encode(env)),
                ("jobs", jobs.unwrap_or_else(|_| Term::map_new(env))),
                ("restored", option(env, restored.as_ref())),
            ],
        )
    }
}

impl Reply for Failure {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { at, kind, message } = self;
        map(
            env,
            &[
                ("at", at.encode(env)),
                ("kind", kind.encode(env)),
                ("message", message.encode(env)),
            ],
        )
    }
}

impl Reply for Verified {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            ok,
            parts,
            problem,
        } = self;
        map(
            env,
            &[
                ("name", name.encode(env)),
                ("timestamp", plain(env, *timestamp)),
                ("ok", ok.encode(env)),
                ("parts", parts.reply(env)),
                ("problem", plain(env, problem.as_deref())),
            ],
        )
    }
}

impl Reply for VerifiedPart {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            part,
            file,
            ok,
            encryption,
            contents,
            problem,
            kind,
            note,
            rehearsed,
        } = self;
        let rehearsed = rehearsed.as_ref().map(|tables| tables.reply(env));
        map(
            env,
            &[
                ("part", part.reply(env)),
                ("file", file.as_str().encode(env)),
                ("ok", ok.encode(env)),
                ("encryption", option(env, encryption.as_ref())),
                ("contents", option(env, contents.as_ref())),
                ("problem", plain(env, problem.as_deref())),
                (
                    "kind",
                    or_undefined(env, kind.map(|kind| atom(env, kind.name()))),
                ),
                ("note", plain(env, *note)),
                ("rehearsed", or_undefined(env, rehearsed)),
            ],
        )
    }
}

impl Reply for Encryption {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        atom(
            env,
            match self {
                Self::None => "none",
                Self::Z1 => "z1",
                Self::Z2 => "z2",
            },
        )
    }
}

impl Reply for Contents {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { entries, bytes } = self;
        map(
            env,
            &[
                ("entries", entries.encode(env)),
                ("bytes", bytes.encode(env)),
            ],
        )
    }
}
