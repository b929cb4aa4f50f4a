//! A dump of the database, from `pg_dump` straight into a stream.

use super::connection::{Connection, STARTUP_OPTIONS};
use super::dump_filter::{DumpFilter, Refused, Schema};
use super::pg_process::{Program, is_ready};
use crate::error::{Error, Result, harmless};
use crate::progress::Monitor;
use crate::site::Database;
use crate::stream::StreamWriter;
use rustix::event::PollFlags;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// What the pipe from `pg_dump` is to hold: as much as Linux allows everybody.
const WIDE: usize = 1 << 20;
/// Before a pipe that was emptied is read again. `pg_dump` writes 4 KiB at a time, and to be woken for each takes more
/// time than to read it: of a wide pipe a fifth is filled in this time.
const NAP: Duration = Duration::from_millis(1);

const FAILED: &str = "the database was not dumped";

/// Writes a dump of the site's schema to `out` and gives what a person should hear of: what `pg_dump`
/// warned of, and why a restore would refuse the dump.
///
/// # Errors
/// `Database` with the words of `pg_dump` when the dump is not whole; `Cancelled`; errors of `out`.
pub(crate) fn dump(
    database: &Database,
    out: &mut StreamWriter,
    monitor: &Monitor,
) -> Result<Vec<String>> {
    let (encoding, options) = session_settings(database, monitor)?;
    let program = Program {
        database,
        command: database.pg_dump.clone(),
        arguments: arguments(database, encoding),
        options,
        failed: FAILED,
    };
    let unsaid = |reason: String| {
        let command = program.command.display();
        Error::Database(format!("{command} said that it succeeded, but {reason}"))
    };
    let (running, mut output) = program.start()?;
    let mut filter = DumpFilter::watched(Schema::of_site(&database.schema));
    let mut flaw = None;
    let mut head = Head::default();
    let is_wide = widen(&output);
    let mut block = vec![0; WIDE / 4];
    loop {
        monitor.check()?;
        if !is_ready(&output, PollFlags::IN)? {
            continue;
        }
        let count = match output.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("cannot read from", &database.pg_dump)(error)),
        };
        if flaw.is_none() {
            let seen = filter.pass(&block[..count], &mut |_| Ok(()));
            flaw = seen.err().map(|refused: Refused| refused.to_string());
        }
        write(out, &head.pass(&block[..count]))?;
        monitor.add(count as u64)?;
        if is_wide && count < block.len() {
            thread::sleep(NAP);
        }
    }
    write(out, &head.end())?;
    let ended = running.end(monitor)?;
    // What it says itself comes first.
    if ended.status != "0" {
        return Err(program.failure(&ended));
    }
    match flaw.map_or_else(|| filter.finish().err(), Some) {
        Some(flaw) => Err(unsaid(flaw)),
        None => {
            let refusal = filter.refusal().map(|refused| {
                format!("the backup is whole, but a restore would refuse its database: {refused}")
            });
            let said = (!ended.said.is_empty()).then_some(ended.said);
            let warnings = said.into_iter().chain(refusal);
            Ok(warnings.map(|warning| harmless(&warning)).collect())
        }
    }
}

/// Returns the encoding of the dump, and the settings of the session of `pg_dump`, as `PGOPTIONS` has them: those of role
/// and database change nothing in a dump. A server that cannot be asked is `pg_dump`'s to explain.
fn session_settings(database: &Database, monitor: &Monitor) -> Result<(&'static str, String)> {
    match Connection::open(database, FAILED, monitor) {
        // Nobody knows what its text is: it comes back byte by byte.
        Ok(server) if server.server_encoding() == "SQL_ASCII" => {
            Ok(("SQL_ASCII", server.options()))
        }
        Ok(server) => Ok(("UTF8", server.options())),
        Err(error @ (Error::Cancelled | Error::Usage(_))) => Err(error),
        Err(_) => Ok(("UTF8", STARTUP_OPTIONS.to_owned())),
    }
}

/// Makes a pipe hold more. Not for a user who has many pipes, and only on Linux: then it stays as it was.
fn widen(pipe: &impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::pipe::fcntl_setpipe_size(pipe, WIDE).is_ok();
    #[cfg(not(target_os = "linux"))]
    return false;
}

fn write(out: &mut StreamWriter, dump: &[u8]) -> Result<()> {
    out.write_all(dump)
        .map_err(Error::io("cannot write", Path::new("the dump")))
}

/// The start of a dump, held back until its first statements are there. A dump of the schema `public`
/// creates that, but every new database has it already, and `psql` would stop there.
#[derive(Default)]
struct Head {
    held: Vec<u8>,
    has_passed: bool,
}

impl Head {
    /// Settings and the schema come within this; tables and data after it.
    const LENGTH: usize = 4 << 10;
    const STATEMENT: &'static str = "\nCREATE SCHEMA \"public\";\n";
    const TOLERANT: &'static str = "\nCREATE SCHEMA IF NOT EXISTS \"public\";\n";

    fn pass<'a>(&mut self, dump: &'a [u8]) -> Cow<'a, [u8]> {
        if self.has_passed {
            return Cow::Borrowed(dump);
        }
        self.held.extend_from_slice(dump);
        if self.held.len() < Self::LENGTH {
            return Cow::Owned(Vec::new());
        }
        Cow::Owned(self.end())
    }

    fn end(&mut self) -> Vec<u8> {
        self.has_passed = true;
        let held = std::mem::take(&mut self.held);
        let statement = Self::STATEMENT.as_bytes();
        let start = &held[..held.len().min(Self::LENGTH)];
        match start
            .windows(statement.len())
            .position(|at| at == statement)
        {
            Some(at) => [
                &held[..at],
                Self::TOLERANT.as_bytes(),
                &held[at + statement.len()..],
            ]
            .concat(),
            None => held,
        }
    }
}

fn arguments(database: &Database, encoding: &str) -> Vec<String> {
    // In pg_dump's patterns only a quoted name means itself.
    let schema = format!("--schema=\"{}\"", database.schema.replace('"', "\"\""));
    [
        "--format=plain",
        "--no-password",
        "--no-owner",
        "--no-privileges",
        "--quote-all-identifiers",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([schema, format!("--encoding={encoding}")])
    .collect()
}
