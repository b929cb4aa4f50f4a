//! A conversation with `psql`: statements go in, answers come out, and its end is noticed at once.

use super::child::{Ended, Program, Running, is_ready};
use super::load::Trust;
use super::script::Refused;
use crate::error::{Error, Result};
use crate::priority;
use crate::progress::Monitor;
use crate::site::Database;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

/// Why the work with `psql` stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// For a reason of ours.
    Error(Error),
    /// `psql` has ended, and said why.
    Ended,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Error(refused.into())
    }
}

/// `psql`, connected. Dropping it kills it, and the server undoes what was not committed.
pub(crate) struct Session<'a> {
    program: Program<'a>,
    running: Option<Running>,
    input: Option<PipeWriter>,
    answers: Receiver<Result<Vec<u8>>>,
    /// Starts the lines that are answers. Nobody can guess it.
    token: String,
    /// Lines that were sent so far, without those of a dump.
    lines: u64,
    monitor: &'a Monitor,
    /// So long the work goes on when it was cancelled, and when that was seen.
    grace: Duration,
    cancelled: Option<Instant>,
}

/// How often a silent `psql` is left alone to see whether the job was cancelled.
const PATIENCE: Duration = Duration::from_millis(100);
/// An answer is shorter.
const LONGEST: u64 = 16 << 20;

impl<'a> Session<'a> {
    /// Connects. No commands for `psql` itself are possible in what is sent after this; where `psql` is
    /// too old for that, only what can be trusted may be sent.
    pub(crate) fn start(
        database: &'a Database,
        failed: &'static str,
        trust: Trust,
        monitor: &'a Monitor,
    ) -> Result<Self> {
        let mut session = Self::spawn(database, failed, monitor)?;
        match session.restrict() {
            Ok(()) => return session.prepared(),
            Err(Stopped::Error(error)) => return Err(error),
            Err(Stopped::Ended) => {}
        }
        let ended = session.end()?;
        if !ended.said.contains("invalid command \\restrict") {
            return Err(session.program.failure(&ended));
        }
        match trust {
            Trust::Authenticated => Self::spawn(database, failed, monitor)?.prepared(),
            Trust::Unproven => Err(session.program.error(
                "psql is too old to load a backup that is not encrypted: it cannot forbid commands for \
                 psql in the dump. Install a newer client (18, or 17.6, 16.10, 15.14, 14.19, 13.22, or \
                 later) or say where one is with the setting psql; or read the dump yourself and load \
                 it with psql",
                &ended.said,
            )),
        }
    }

    fn spawn(database: &'a Database, failed: &'static str, monitor: &'a Monitor) -> Result<Self> {
        let program = Program {
            database,
            command: database.psql(),
            name: "psql",
            arguments: [
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--no-password",
                "--set=ON_ERROR_STOP=1",
                "--file=-",
            ]
            .map(str::to_owned)
            .into(),
            failed,
        };
        let fail = |error| Error::io("cannot start", &program.command)(error);
        let (reader, input) = io::pipe().map_err(fail)?;
        // A psql that is busy must not make us wait.
        fcntl_getfl(&input)
            .and_then(|flags| fcntl_setfl(&input, flags | OFlags::NONBLOCK))
            .map_err(|errno| fail(errno.into()))?;
        let (running, output) = program.start(Some(reader))?;
        let token = format!("z{}", random()?);
        let (answer, answers) = unbounded();
        let start = token.clone();
        priority::spawn("answers", move || listen(output, start.as_bytes(), &answer))?;
        Ok(Self {
            program,
            running: Some(running),
            input: Some(input),
            answers,
            token,
            lines: 0,
            monitor,
            grace: Duration::ZERO,
            cancelled: None,
        })
    }

    fn restrict(&mut self) -> Result<(), Stopped> {
        self.send(&format!("\\restrict {}", random()?))?;
        self.sync()
    }

    fn prepared(mut self) -> Result<Self> {
        // A server that sees nobody listen stops what it does.
        let watch = self.block(
            "BEGIN PERFORM set_config('client_connection_check_interval', '1s', false);
             EXCEPTION WHEN OTHERS THEN NULL; END",
        );
        let prepared = self
            .settings()
            .and_then(|()| self.send(&format!("{watch};")))
            .and_then(|()| self.sync());
        match prepared {
            Ok(()) => Ok(self),
            Err(stopped) => Err(self.why(stopped)),
        }
    }

    /// Settings that a dump may change, and that our own statements need.
    pub(super) fn settings(&mut self) -> Result<(), Stopped> {
        self.send(
            "SET search_path = pg_catalog, pg_temp;
             SET standard_conforming_strings = on;
             SET client_encoding = 'UTF8';
             SET client_min_messages = warning;
             SET synchronous_commit = on;
             SELECT pg_catalog.set_config(s.name, v.value, false) FROM pg_catalog.pg_settings s JOIN (VALUES
                ('lock_timeout', '30s'), ('statement_timeout', '0'), ('transaction_timeout', '0'),
                ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')
             ) v(name, value) USING (name);",
        )
    }

    /// A statement of several steps on the server.
    pub(super) fn block(&self, body: &str) -> String {
        let Self { token, .. } = self;
        format!("DO ${token}$ {body} ${token}$")
    }

    /// Sends statements, each with its semicolon.
    pub(super) fn send(&mut self, statements: &str) -> Result<(), Stopped> {
        let text = format!("{statements}\n");
        self.lines += text.matches('\n').count() as u64;
        self.write(text.as_bytes())
    }

    /// Sends a statement, and waits until it is done.
    pub(crate) fn run(&mut self, statement: &str) -> Result<(), Stopped> {
        self.send(&format!("{statement};"))?;
        self.sync()
    }

    /// Waits until all that was sent is done.
    pub(super) fn sync(&mut self) -> Result<(), Stopped> {
        self.ask::<bool>("pg_catalog.to_json(true)").map(|_| ())
    }

    /// Asks for a value as JSON.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, json: &str) -> Result<T, Stopped> {
        self.ask_with("", json)
    }

    /// The same of a statement that begins with `WITH`.
    pub(crate) fn ask_with<T: DeserializeOwned>(
        &mut self,
        with: &str,
        json: &str,
    ) -> Result<T, Stopped> {
        let question = format!(
            "{with} SELECT '{}' OPERATOR(pg_catalog.||) coalesce(({json})::pg_catalog.text, 'null');",
            self.token
        );
        self.send(&question)?;
        let line = loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(line) => break line?,
                Err(RecvTimeoutError::Timeout) => self.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Ended),
            }
        };
        let text = String::from_utf8_lossy(&line);
        serde_json::from_str(&text)
            .map_err(|error| Error::Internal(format!("an answer of psql: {error}")).into())
    }

    /// Writes a part of a dump.
    pub(super) fn write(&mut self, mut part: &[u8]) -> Result<(), Stopped> {
        while !part.is_empty() {
            let Some(input) = &mut self.input else {
                return Err(Stopped::Ended);
            };
            match input.write(part) {
                Ok(count) => part = &part[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_ready(input, PollFlags::OUT)?;
                }
                // It reads no more.
                Err(_) => return Err(Stopped::Ended),
            }
            self.check()?;
        }
        Ok(())
    }

    /// From now on a cancelled job waits so long for what it began.
    pub(super) fn has_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    fn check(&mut self) -> Result<()> {
        let Err(cancelled) = self.monitor.check() else {
            return Ok(());
        };
        let since = self.cancelled.get_or_insert_with(Instant::now);
        if since.elapsed() < self.grace {
            return Ok(());
        }
        Err(cancelled)
    }

    /// How many lines `psql` got from us so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn program(&self) -> &Program<'a> {
        &self.program
    }

    /// Why the work stopped, for a person.
    pub(crate) fn why(mut self, stopped: Stopped) -> Error {
        match stopped {
            Stopped::Error(error) => error,
            Stopped::Ended => match self.end() {
                Ok(ended) => self.program.failure(&ended),
                Err(error) => error,
            },
        }
    }

    /// Sends no more, and waits for the end.
    pub(super) fn end(&mut self) -> Result<Ended> {
        self.input = None;
        match self.running.take() {
            Some(running) => running.end(self.monitor),
            None => Err(Error::Internal("psql ended twice".into())),
        }
    }
}

/// Passes on the lines that are answers; forgets everything else that is said.
fn listen(output: PipeReader, token: &[u8], answer: &Sender<Result<Vec<u8>>>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    // What cannot be read was not said.
    while let Ok(1..) = output.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
        if let Some(text) = line.strip_prefix(token) {
            let text = match text.strip_suffix(b"\n") {
                Some(text) => Ok(text.to_vec()),
                None if line.len() as u64 == LONGEST => Err(Error::Database(
                    "psql has an answer of more than 16 MiB: how many tables, functions and roles does this \
                     database have?"
                        .into(),
                )),
                // psql has ended, and says why.
                None => break,
            };
            if answer.send(text).is_err() {
                break;
            }
        }
        line.clear();
    }
}

pub(super) fn fault(reason: impl Into<String>) -> Stopped {
    Stopped::Error(Error::Database(reason.into()))
}

/// Sixteen random bytes in hexadecimal.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
    Ok(hex::encode(bytes))
}

/// A name in SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, where a backslash means itself.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
