//! `pg_dump` as a child process.
//!
//! A shell starts it, and writes its exit status to a pipe of its own: inside Erlang, which ignores SIGCHLD, a child's
//! status cannot be waited for (`waitpid` answers ECHILD). No status means failure. The password is in a memory file
//! without a name, which only the two processes can reach and which is gone when they are, however they end.

use super::pgpass;
use crate::error::{Error, Result};
use crate::priority;
use crate::progress::Monitor;
use crate::secret::Secret;
use crate::site::Database;
use command_fds::{CommandFdExt, FdMapping};
use crossbeam_channel::{Receiver, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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
/// What is kept of what a program says: its last words tell why it stopped.
const LONGEST_MESSAGE: usize = 16 << 10;
/// How long to wait for last words once it has ended: something that it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Maximum wait of libpq for a server that does not answer, in seconds.
const CONNECT_TIMEOUT: &str = "30";
/// Interval at which the wait for a silent program checks whether the job was cancelled, in nanoseconds.
const CANCEL_POLL: i64 = 100_000_000;

/// A program, and the database that it works on.
pub(super) struct Program<'a> {
    pub(super) database: &'a Database,
    pub(super) command: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Settings of its session, as `PGOPTIONS` has them.
    pub(super) options: String,
    /// What it did not do when it fails.
    pub(super) failed: &'static str,
}

/// A program that runs. Dropping it kills it, with all that it started.
pub(super) struct Running {
    child: Child,
    ended: bool,
    status: PipeReader,
    messages: Receiver<String>,
    /// The child ends when this is closed.
    _life: PipeWriter,
}

/// How a program ended: its status, empty where there was none, and the last of what it said.
pub(super) struct Ended {
    pub(super) status: String,
    pub(super) said: String,
}

impl Program<'_> {
    /// Starts it, and returns the pipe with its output.
    pub(super) fn start(&self) -> Result<(Running, PipeReader)> {
        let database = self.database;
        let fail = |error| Error::io("cannot start", &self.command)(error);
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
        command.arg(&self.command).args(&self.arguments);
        for name in foreign_settings() {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C") // its messages are looked at below
            .env("PGHOST", &database.host)
            .env("PGPORT", database.port.to_string())
            .env("PGUSER", &database.user)
            .env("PGDATABASE", &database.dbname)
            .env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT)
            .env("PGAPPNAME", "zbackup")
            .env("PGOPTIONS", &self.options);
        if let Some(password) = pgpass::password(database)? {
            command.env("PGPASSFILE", format!("/dev/fd/{PASSWORD_FD}"));
            descriptors.push(FdMapping {
                parent_fd: passfile(&password)?.into(),
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
        let running = Running {
            child,
            ended: false,
            status,
            messages,
            _life: life_in,
        };
        priority::spawn("messages", move || said.send(words(errors)))?;
        Ok((running, output))
    }

    /// What a person needs to know of a program that did not succeed.
    pub(super) fn failure(&self, ended: &Ended) -> Error {
        let command = self.command.display();
        let name = "pg_dump"; // the setting that says where it is, too
        let Database {
            host,
            port,
            user,
            dbname,
            ..
        } = self.database;
        let server = format!("{host}:{port}");
        let Ended { status, said } = ended;
        let has = |words: &str| said.contains(words);
        let advice = if status == "127" || status == "126" {
            format!(
                "{command} cannot be run: install PostgreSQL's client (Debian: apt-get install \
                 postgresql-client), or say where it is with the setting {name}"
            )
        } else if has("server version mismatch") {
            format!(
                "the database server is newer than {name}: install the client of the server's version, \
                 or say where it is with the setting {name}"
            )
        } else if has("authentication failed") || has("no password supplied") {
            format!("{server} refuses the user or the password of the database: check both")
        } else if has("server closed the connection") || has("connection to server was lost") {
            format!("the connection to the database server {server} broke")
        } else if has(&format!("FATAL:  database \"{dbname}\" does not exist")) {
            format!(
                "there is no database {dbname} on {server}: make it (createdb --owner {user} {dbname})"
            )
        } else if has("FATAL:") {
            format!("the database server {server} refuses the connection")
        } else if has("connection to server") || has("could not translate host name") {
            format!("the database at {server} cannot be reached: is PostgreSQL running there?")
        } else if has("unsupported startup parameter") {
            format!(
                "{server} is a connection pooler that takes no settings: name the PostgreSQL server itself, or \
                 let the pooler ignore them (pgbouncer: ignore_startup_parameters = options)"
            )
        } else if has("no matching schemas") {
            let schema = &self.database.schema;
            format!("the database {dbname} has no schema {schema}")
        } else if status.is_empty() {
            format!("{command} was killed, or never ran")
        } else if let Some(signal @ 1..=64) =
            status.parse::<i32>().ok().and_then(|n| n.checked_sub(128))
        {
            format!("{command} was killed by signal {signal}: was there too little memory?")
        } else {
            format!("{command} failed with exit status {status}")
        };
        self.error(&advice, said)
    }

    /// What was not done and why, and the program's own words.
    pub(super) fn error(&self, reason: &str, said: &str) -> Error {
        let said = if said.is_empty() { "nothing" } else { said };
        let command = self.command.file_name().unwrap_or_default();
        Error::Database(format!(
            "{}: {reason}\n{} said: {said}",
            self.failed,
            command.to_string_lossy()
        ))
    }
}

impl Running {
    /// Waits for the end.
    pub(super) fn end(mut self, monitor: &Monitor) -> Result<Ended> {
        while !is_ready(&self.status, PollFlags::IN)? {
            monitor.check()?;
        }
        let mut status = String::new();
        // An unreadable status is none.
        let _ = (&mut self.status).take(16).read_to_string(&mut status);
        self.ended = true;
        Ok(Ended {
            status: status.trim().to_owned(),
            said: self.messages.recv_timeout(LAST_WORDS).unwrap_or_default(),
        })
    }
}

/// Waits a little for something to read, or room to write, or the end of the pipe.
pub(super) fn is_ready(pipe: &impl AsFd, wanted: PollFlags) -> Result<bool> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: CANCEL_POLL,
    };
    match poll(&mut [PollFd::new(pipe, wanted)], Some(&timeout)) {
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

/// The settings of other connections in our own environment, which would mix with the site's. How to
/// secure a connection (`PGSSL…`) is left to whoever set it.
fn foreign_settings() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("PG") && !name.starts_with("PGSSL")
    })
}

/// Returns the password as libpq reads it, in a file that has no name.
fn passfile(password: &Secret) -> Result<File> {
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
    let fill = || {
        let mut file = nameless_file()?;
        // libpq does not read a password that others could.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        file.write_all(&line)?;
        file.rewind()?;
        Ok(file)
    };
    fill().map_err(Error::io("cannot write", Path::new("a memory file")))
}

/// Memory, and so no directory is needed.
#[cfg(target_os = "linux")]
fn nameless_file() -> io::Result<File> {
    let file = rustix::fs::memfd_create("zbackup", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(file.into())
}

#[cfg(not(target_os = "linux"))]
fn nameless_file() -> io::Result<File> {
    tempfile::tempfile()
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
