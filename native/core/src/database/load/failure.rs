//! Why a load failed, in words: the line of the dump, or the step, and what is in the way.

use super::{BLOCKED, Load};
use crate::database::connection::{Stopped, identifier, shown};
use crate::database::dump_filter::Kind;
use crate::error::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

const UNDECIDED: &str = "the connection broke while the restored database was being made final: the \
                         server decides whether it was";

/// What was being done when something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    /// "cannot …"
    Step(&'static str),
    /// Executing a statement of the dump.
    Dump(Place),
    Commit,
}

/// A statement of the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    line: u64,
    /// Its first line, as far as it is short.
    start: String,
    /// The table whose rows follow, and their first line.
    rows: Option<(String, u64)>,
}

/// An error, and whether the site's search_path could have prevented it.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) relies_on_search_path: bool,
    /// The server's message.
    pub(super) words: String,
}

impl Place {
    const MAX_START_LEN: usize = 100;

    pub(super) fn new(line: u64, text: &[u8], kind: &Kind) -> Self {
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let start = &first[..first.len().min(Self::MAX_START_LEN)];
        Self {
            line,
            start: String::from_utf8_lossy(start).into_owned(),
            rows: match kind {
                Kind::Copy {
                    table,
                    first_row_line,
                } => Some((table.clone(), *first_row_line)),
                _ => None,
            },
        }
    }

    /// Returns where in the dump the server found an error.
    fn words(&self, error: &DbError) -> String {
        let Some((table, first)) = &self.rows else {
            let at = match error.position() {
                Some(ErrorPosition::Original(at)) => format!(" (character {at} of the statement)"),
                _ => String::new(),
            };
            return format!(
                "line {} of the dump is refused by the server{at}: {}",
                self.line, self.start
            );
        };
        match error.where_().and_then(row) {
            Some(row) => format!(
                "line {} of the dump, row {row} of the table \"{table}\", is refused by the server",
                first + row.saturating_sub(1)
            ),
            None => format!(
                "the data of the table \"{table}\", from line {first} of the dump, are refused by the server"
            ),
        }
    }
}

impl Doing {
    /// Returns the line of the dump in words.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Dump(place) => format!("line {} of the dump", place.line),
            _ => "the dump".into(),
        }
    }
}

/// Returns the number in `COPY t, line 7, column c: "x"`, in whatever language the server speaks.
fn row(context: &str) -> Option<u64> {
    let line = context
        .lines()
        .find_map(|line| line.strip_prefix("COPY "))?;
    let rest = line.split(", ").nth(1)?;
    let mut digits = rest.split(|c: char| !c.is_ascii_digit());
    digits.find(|digits| !digits.is_empty())?.parse().ok()
}

/// True if a function of the site did not find what it names without a schema.
fn relies_on_search_path(error: &DbError) -> bool {
    let is_name = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_OBJECT,
        SqlState::UNDEFINED_COLUMN,
    ]
    .contains(error.code());
    // The context names the function.
    is_name && error.where_().is_some()
}

impl Load<'_> {
    /// Returns the error for a person.
    pub(super) fn failed(&self, stopped: Stopped) -> Failed {
        let mut relies = false;
        let mut words = String::new();
        let error = match (stopped, &self.doing) {
            (Stopped::Refused(refused), doing) => {
                if let Doing::Dump(_) = doing {
                    relies = relies_on_search_path(&refused);
                }
                words = shown(&refused);
                let reason = self.reason(&refused);
                let said = format!("{reason}\nthe server said: {words}");
                self.connection
                    .failure(Stopped::Error(Error::Database(said)))
            }
            (stopped, Doing::Commit) => {
                let error = self.connection.failure(stopped);
                Error::Undecided(format!("{UNDECIDED} ({error})"))
            }
            (stopped, _) => self.connection.failure(stopped),
        };
        Failed {
            error,
            relies_on_search_path: relies,
            words,
        }
    }

    fn reason(&self, refused: &DbError) -> String {
        let reason = match &self.doing {
            Doing::Dump(place) => place.words(refused),
            Doing::Step(step) => match refused.message().split_once(BLOCKED) {
                Some((_, blockers)) => format!(
                    "cannot {step}, since the old tables are in use by {blockers}: stop the site, or end these \
                     sessions, and restore again"
                ),
                None => format!("cannot {step}"),
            },
            Doing::Commit => "cannot make the restored database final".into(),
        };
        match (&self.role, &self.doing) {
            (Some(role), Doing::Dump(_)) if *refused.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
                let role = identifier(role);
                format!(
                    "{reason}\n(it is loaded as {role}, whom the site's tables belong to; for what only a \
                     superuser may make, ALTER ROLE {role} SUPERUSER for the time of the restore)"
                )
            }
            _ => reason,
        }
    }
}
