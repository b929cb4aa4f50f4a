//! A dump of the database, from `pg_dump` straight into a stream.
//!
//! `pg_dump` is started by a shell that writes its exit status to a pipe of its own: inside Erlang,
//! which ignores SIGCHLD, a child's status cannot be waited for (`waitpid` answers ECHILD). No status
//! means failure. The password is in a file without a name, which only the two processes can reach
//! and which is gone when they are, however they end.

use crate::archive::DumpWatch;
use crate::error::{Error, Result};
use crate::priority;
use crate::progress::Monitor;
use crate::secret::Secret;
use crate::site::Database;
use crate::stream::StreamWriter;
use command_fds::{CommandFdExt, FdMapping};
use crossbeam_channel::{Receiver, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs a command and writes its exit status to descriptor 4, which the command does not get. Descriptor
/// 5 ends when we do, however that is: then the group of processes ends too, the command with what it
/// started, and does not wait for a lock or a server while nobody waits for it.
const WRAPPER: &str = r#"
"$@" 4>&- 5<&- &
command=$!
(read -r _ <&5; kill -KILL 0) >/dev/null 2>&1 4>&- &
watch=$!
wait "$command"
echo "$?" >&4
kill -KILL "$watch"
wait "$watch" 2>/dev/null
"#;
const PASSWORD_FD: i32 = 3;
const STATUS_FD: i32 = 4;
const LIFE_FD: i32 = 5;
/// What is kept of what `pg_dump` says: its last words tell why it stopped.
const LONGEST_MESSAGE: usize = 16 << 10;
/// How long to wait for last words once it has ended: something that it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long libpq waits for a server that does not answer, in seconds.
const CONNECT_TIMEOUT: &str = "30";
/// How often a silent `pg_dump` is left alone to see whether the job was cancelled, in nanoseconds.
const PATIENCE: i64 = 100_000_000;

/// Writes a dump of the site's schema to `out` and gives what `pg_dump` warned of.
///
/// # Errors
/// `Database` with the words of `pg_dump` when the dump is not whole; `Cancelled`; errors of `out`.
pub(crate) fn dump(
    database: &Database,
    out: &mut StreamWriter,
    monitor: &Monitor,
) -> Result<Option<String>> {
    let mut running = Running::start(database)?;
    let mut watch = DumpWatch::default();
    let mut head = Head::default();
    let mut block = vec![0; 64 << 10];
    loop {
        monitor.check()?;
        if !is_ready(&running.output)? {
            continue;
        }
        let count = match running.output.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("cannot read from", &database.pg_dump)(error)),
        };
        watch.see(&block[..count]);
        write(out, &head.pass(&block[..count]))?;
        monitor.add(count as u64)?;
    }
    write(out, &head.end())?;
    let said = running.finish(database, monitor)?;
    watch.finish().map_err(|reason| {
        Error::Database(format!(
            "{} said that it succeeded, but {reason}",
            database.pg_dump.display()
        ))
    })?;
    Ok((!said.is_empty()).then_some(said))
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

struct Running {
    child: Child,
    ended: bool,
    output: PipeReader,
    status: PipeReader,
    messages: Receiver<String>,
    /// The child ends when this is closed.
    _life: PipeWriter,
}

impl Running {
    fn start(database: &Database) -> Result<Self> {
        let fail = |error| Error::io("cannot start", &database.pg_dump)(error);
        let (output, output_in) = io::pipe().map_err(fail)?;
        let (errors, errors_in) = io::pipe().map_err(fail)?;
        let (status, status_in) = io::pipe().map_err(fail)?;
        let (life, life_in) = io::pipe().map_err(fail)?;
        let mut descriptors = vec![
            FdMapping {
                parent_fd: status_in.into(),
                child_fd: STATUS_FD,
            },
            FdMapping {
                parent_fd: life.into(),
                child_fd: LIFE_FD,
            },
        ];
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WRAPPER, "zbackup"]);
        command.arg(&database.pg_dump).args(arguments(database));
        for name in settings() {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C") // its messages are looked at below
            .env("PGHOST", &database.host)
            .env("PGPORT", database.port.to_string())
            .env("PGUSER", &database.user)
            .env("PGDATABASE", &database.dbname)
            .env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT)
            .env("PGAPPNAME", "zbackup");
        if let Some(password) = &database.password {
            command.env("PGPASSFILE", format!("/dev/fd/{PASSWORD_FD}"));
            descriptors.push(FdMapping {
                parent_fd: passfile(password)?.into(),
                child_fd: PASSWORD_FD,
            });
        }
        command
            .stdin(Stdio::null())
            .stdout(output_in)
            .stderr(errors_in)
            .process_group(0)
            .fd_mappings(descriptors)
            .map_err(|error| Error::Internal(format!("descriptors of a child: {error}")))?;
        let child = command.spawn().map_err(fail)?;
        // The writing ends are the child's alone, else their end would never be seen.
        drop(command);
        let (said, messages) = bounded(1);
        let running = Self {
            child,
            ended: false,
            output,
            status,
            messages,
            _life: life_in,
        };
        priority::spawn("messages", move || said.send(words(errors)))?;
        Ok(running)
    }

    /// What was said on stderr by a command that succeeded.
    fn finish(mut self, database: &Database, monitor: &Monitor) -> Result<String> {
        while !is_ready(&self.status)? {
            monitor.check()?;
        }
        let mut status = String::new();
        // An unreadable status is none.
        let _ = (&mut self.status).take(16).read_to_string(&mut status);
        self.ended = true;
        let said = self.messages.recv_timeout(LAST_WORDS).unwrap_or_default();
        match status.trim() {
            "0" => Ok(said),
            status => Err(failure(database, status, &said)),
        }
    }
}

/// Waits a little for something to read, or its end.
fn is_ready(pipe: &PipeReader) -> Result<bool> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: PATIENCE,
    };
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::Internal(format!("poll: {errno}"))),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // The shell has not said that it is done: its group is still there.
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        // Inside Erlang this says ECHILD when the child is gone, which is all that is asked.
        let _ = self.child.wait();
    }
}

fn arguments(database: &Database) -> Vec<String> {
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
    .chain([schema])
    .collect()
}

/// The settings of other connections in our own environment, which would mix with the site's. How to
/// secure a connection (`PGSSL…`) is left to whoever set it.
fn settings() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("PG") && !name.starts_with("PGSSL")
    })
}

/// The password as libpq reads it, in a file that has no name.
fn passfile(password: &Secret) -> Result<File> {
    let temporary = std::env::temp_dir();
    let fail = |error| Error::io("cannot write in", &temporary)(error);
    if password
        .expose()
        .iter()
        .any(|byte| b"\n\r\0".contains(byte))
    {
        return Err(Error::Usage(
            "the password of the database holds a line break, which PostgreSQL's password files cannot"
                .into(),
        ));
    }
    let mut line = zeroize::Zeroizing::new(b"*:*:*:*:".to_vec());
    // Reserved, so that no copy of it stays behind when it grows.
    line.reserve_exact(2 * password.expose().len() + 1);
    for &byte in password.expose() {
        if byte == b':' || byte == b'\\' {
            line.push(b'\\');
        }
        line.push(byte);
    }
    line.push(b'\n');
    let mut file = tempfile::tempfile().map_err(fail)?;
    // libpq does not read a password that others could.
    file.set_permissions(PermissionsExt::from_mode(0o600))
        .map_err(fail)?;
    file.write_all(&line).map_err(fail)?;
    file.rewind().map_err(fail)?;
    Ok(file)
}

/// Reads to the end, and keeps the last of it.
fn words(mut errors: PipeReader) -> String {
    let mut kept = Vec::new();
    let mut block = [0; 4096];
    // What cannot be read is not told.
    while let Ok(count @ 1..) = errors.read(&mut block) {
        kept.extend_from_slice(&block[..count]);
        let surplus = kept.len().saturating_sub(LONGEST_MESSAGE);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What a person needs to know of a `pg_dump` that did not succeed.
fn failure(database: &Database, status: &str, said: &str) -> Error {
    let command = database.pg_dump.display();
    let has = |words: &str| said.contains(words);
    let server = format!("{}:{}", database.host, database.port);
    let advice = if status == "127" || status == "126" {
        format!(
            "{command} cannot be run: install PostgreSQL's client (Debian: apt-get install \
             postgresql-client), or say where it is with the setting pg_dump"
        )
    } else if has("server version mismatch") {
        "the database server is newer than pg_dump: install the client of the server's version, or \
         say where it is with the setting pg_dump"
            .into()
    } else if has("authentication failed") || has("no password supplied") {
        format!("{server} refuses the user or the password of the database: check both")
    } else if has("FATAL:") {
        format!("the database server {server} refuses the connection")
    } else if has("connection to server") || has("could not translate host name") {
        format!("the database at {server} cannot be reached: is PostgreSQL running there?")
    } else if has("no matching schemas") {
        format!(
            "the database {} has no schema {}",
            database.dbname, database.schema
        )
    } else if status.is_empty() {
        format!("{command} was killed, or never ran")
    } else if let Some(signal @ 1..=64) =
        status.parse::<i32>().ok().and_then(|n| n.checked_sub(128))
    {
        format!("{command} was killed by signal {signal}: was there too little memory?")
    } else {
        format!("{command} failed with exit status {status}")
    };
    let said = if said.is_empty() { "nothing" } else { said };
    Error::Database(format!(
        "the database was not dumped: {advice}\n{} said: {said}",
        Path::new(&database.pg_dump)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
    ))
}
