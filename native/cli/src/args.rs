//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use zbackup_core::restore;

/// Backup, proof and recovery of a Zotonic site, on a machine with or without Zotonic.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 wrong password, 4 damaged.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a backup of a site: database, configuration and media files
    Backup {
        /// The site: where its things are
        #[arg(long, value_name = "SITE.TOML")]
        config: PathBuf,
        /// Leave out the media files
        #[arg(long)]
        database_only: bool,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// List the backups that there are
    List {
        #[command(flatten)]
        from: Where,
        /// Those that are in the offsite store of SITE.TOML
        #[arg(long, conflicts_with = "dir")]
        offsite: bool,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Prove that backups are whole: hash, authentication, gzip, and the structure inside
    Verify {
        /// Which ones; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        from: Where,
        /// The file with the password of encrypted backups. Without it: that of SITE.TOML, else it is
        /// asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Rehearse the restore too: load each dump into the server of SITE.TOML, in a transaction that is
        /// rolled back
        #[arg(long, requires = "config")]
        drill: bool,
        /// Load dumps too of which nothing proves who made them (not encrypted, or by Zotonic's own module):
        /// their SQL can do what the database's user can, and not all of that is undone
        #[arg(long, requires = "drill")]
        trust_dump: bool,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Upload the backups that are not in the offsite store yet
    Push {
        /// Which ones; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// The site, with its [offsite]
        #[arg(long, value_name = "SITE.TOML")]
        config: PathBuf,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Download the backups of the offsite store that are not here yet
    Pull {
        /// Which ones, of which "recent" is the newest; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// The site, with its [offsite]
        #[arg(long, value_name = "SITE.TOML")]
        config: PathBuf,
        /// Take backups that are not encrypted though those of the site are
        #[arg(long)]
        allow_unencrypted: bool,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Delete the revisions of pages that are kept no longer
    PruneRevisions {
        /// The site: its database, and how long revisions are kept
        #[arg(long, value_name = "SITE.TOML")]
        config: PathBuf,
        /// Only count them
        #[arg(long)]
        dry_run: bool,
        /// Print the result for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Bring a site back from a backup
    ///
    /// All of the backup is proven first. Then the database is replaced in one transaction, and files are
    /// moved into their places. Until that transaction is done the site is as it was, whatever happens;
    /// files that are not in the backup stay. A restore that was interrupted after it is completed by the
    /// next command on the site.
    Restore {
        /// Which one; "recent" is the newest
        #[arg(value_name = "NAME")]
        name: String,
        /// The site: where its things belong
        #[arg(long, value_name = "SITE.TOML")]
        config: PathBuf,
        /// Only these: database, files, config, security
        #[arg(long, value_delimiter = ',', value_name = "PIECES")]
        only: Vec<Piece>,
        /// When it was made, in seconds since 1970 as "list --json" has it: a newer one that got its name
        /// meanwhile is not restored
        #[arg(long, value_name = "SECONDS")]
        timestamp: Option<i64>,
        /// The file with the password of an encrypted backup. Without it: that of SITE.TOML, else it is
        /// asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Load a dump of which nothing proves who made it (not encrypted, or by Zotonic's own module): its
        /// SQL can do what the database's user can. Who answers the question with yes has said so
        #[arg(long)]
        trust_dump: bool,
        /// Do not ask before it begins
        #[arg(long)]
        yes: bool,
        /// Print the result for a program to read
        #[arg(long, requires = "yes")]
        json: bool,
    },
    /// Decrypt one file of a backup
    ///
    /// The output appears when all of the file has authenticated, and only then. Unpack it with
    /// gunzip, tar and psql.
    Decrypt {
        /// The encrypted file
        file: PathBuf,
        /// Where to; by default the name of FILE without .enc
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
        /// The file with the password; without it the password is asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Replace the output when it exists
        #[arg(long)]
        force: bool,
    },
}

/// What to restore.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Piece {
    Database,
    Files,
    Config,
    Security,
}

impl From<Piece> for restore::Piece {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Database => Self::Database,
            Piece::Files => Self::Files,
            Piece::Config => Self::Config,
            Piece::Security => Self::Security,
        }
    }
}

/// Which backups are meant.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Where {
    /// The site that they are of
    #[arg(long, value_name = "SITE.TOML")]
    pub(crate) config: Option<PathBuf>,
    /// The folder that they are in
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Command {
    /// Whether a program reads the output.
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::Backup { json, .. }
            | Self::List { json, .. }
            | Self::Verify { json, .. }
            | Self::Push { json, .. }
            | Self::Pull { json, .. }
            | Self::Restore { json, .. }
            | Self::PruneRevisions { json, .. } => *json,
            Self::Decrypt { .. } => false,
        }
    }

    /// Whether it asks for a password of backups that `site.toml` does not name.
    pub(crate) fn asks_for_password(&self) -> bool {
        match self {
            Self::Verify { password_file, .. } | Self::Restore { password_file, .. } => {
                password_file.is_none()
            }
            _ => false,
        }
    }

    /// The site, where the command is about one.
    pub(crate) fn config(&self) -> Option<&Path> {
        match self {
            Self::Backup { config, .. }
            | Self::Push { config, .. }
            | Self::Pull { config, .. }
            | Self::PruneRevisions { config, .. }
            | Self::Restore { config, .. } => Some(config),
            Self::List { from, .. } | Self::Verify { from, .. } => from.config.as_deref(),
            Self::Decrypt { .. } => None,
        }
    }
}
