//! The border between Erlang and `zbackup-core`: decodes the request, starts the job, sends messages.
//!
//! What is decided here is only how things are said. `erlang/zbackup.erl` is the front of this and
//! tells what the messages look like. No function here raises an Erlang exception: an exception could
//! print its arguments, and with them a password.

#![forbid(unsafe_op_in_unsafe_fn)]

mod fields;
mod guard;
mod job;
mod offsite;
mod reply;
mod request;

use crate::guard::guarded;
use crate::job::{Job, start};
use crate::offsite::{OffsiteRequest, pull_options, push_options};
use crate::reply::{Done, Reply, failed};
use crate::request::{FileRequest, Request, StoreRequest, names};
use rustler::{Encoder, Env, ResourceArc, Term};
use zbackup_core::error::{Error, Result};
use zbackup_core::{backup, list, offsite as copies, stream, verify};

rustler::init!("zbackup_nif");

/// Starts the backup of a site.
#[rustler::nif(name = "backup")]
fn start_backup<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let Request { source, options } = Request::decode(request)?;
        start(env, move |monitor| {
            let report = backup::run(&source.site()?, options, monitor)?;
            Ok(Done::Backup(Box::new(report)))
        })
    })
}

/// Starts the proof of backups: those that are named, or all when none is.
#[rustler::nif(name = "verify")]
fn start_verify<'a>(env: Env<'a>, request: Term<'a>, wanted: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = StoreRequest::decode(request)?;
        let wanted = names(wanted)?;
        start(env, move |monitor| {
            let (folder, password) = request.open()?;
            verify::run(&folder, &wanted, password.as_ref(), monitor).map(Done::Verified)
        })
    })
}

/// Starts to upload the backups that are not in the store yet.
#[rustler::nif(name = "push")]
fn start_push<'a>(env: Env<'a>, request: Term<'a>, options: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        let options = push_options(options)?;
        start(env, move |monitor| {
            let (folder, store, _) = request.open()?;
            copies::push(&folder, &store, &options, monitor).map(Done::Pushed)
        })
    })
}

/// Starts to download the backups of the store that are not here.
#[rustler::nif(name = "pull")]
fn start_pull<'a>(env: Env<'a>, request: Term<'a>, options: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        let options = pull_options(options)?;
        start(env, move |monitor| {
            let (folder, store, password) = request.open()?;
            copies::pull(&folder, &store, &options(password), monitor).map(Done::Pulled)
        })
    })
}

/// Starts to list the backups in the store.
#[rustler::nif(name = "list_offsite")]
fn start_list_offsite<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        start(env, move |monitor| {
            let (_, store, _) = request.open()?;
            copies::list(&store, monitor).map(Done::Listed)
        })
    })
}

/// Starts the encryption of one file.
#[rustler::nif(name = "encrypt")]
fn start_encrypt<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let file = FileRequest::decode(request)?;
        start(env, move |monitor| {
            stream::encrypt_file(
                &file.input,
                file.output.as_deref(),
                &file.password,
                file.force,
                monitor,
            )
            .map(Done::Encrypted)
        })
    })
}

/// Starts the decryption of one file.
#[rustler::nif(name = "decrypt")]
fn start_decrypt<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let file = FileRequest::decode(request)?;
        start(env, move |monitor| {
            stream::decrypt_file(
                &file.input,
                file.output.as_deref(),
                &file.password,
                file.force,
                monitor,
            )
            .map(Done::Decrypted)
        })
    })
}

/// Lists the backups of a folder. It reads one small file and asks for the lengths of a few others:
/// short, but a disk can be slow.
#[rustler::nif(schedule = "DirtyIo")]
fn list<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let listing = guarded(|| list::run(&StoreRequest::decode(request)?.folder()?));
    match listing {
        Ok(listing) => (rustler::types::atom::ok(), listing.reply(env)).encode(env),
        Err(error) => failed(env, &error),
    }
}

/// Asks a job to stop. One that has ended does not mind.
#[rustler::nif]
fn cancel<'a>(env: Env<'a>, job: Term<'a>) -> Term<'a> {
    let asked = guarded(|| {
        job_of(job)?.cancel();
        Ok(())
    });
    match asked {
        Ok(()) => rustler::types::atom::ok().encode(env),
        Err(error) => failed(env, &error),
    }
}

/// Whether the calling process can wait for a job: `{ok, running}`, `{ok, ended}` (its last message is
/// in the mailbox, or was taken out), or an error when it is the job of another process.
#[rustler::nif]
fn state<'a>(env: Env<'a>, job: Term<'a>) -> Term<'a> {
    let state = guarded(|| {
        let job = job_of(job)?;
        if !job.belongs_to(env.pid()) {
            return Err(Error::Usage(
                "this job belongs to another process: the one that started it gets its messages"
                    .into(),
            ));
        }
        Ok(if job.has_ended() { "ended" } else { "running" })
    });
    match state {
        Ok(state) => (rustler::types::atom::ok(), reply::atom(env, state)).encode(env),
        Err(error) => failed(env, &error),
    }
}

fn job_of(term: Term<'_>) -> Result<ResourceArc<Job>> {
    term.decode()
        .map_err(|_| Error::Usage("this is not a job of zbackup".into()))
}

fn started<'a>(env: Env<'a>, start: impl FnOnce() -> Result<ResourceArc<Job>>) -> Term<'a> {
    match guarded(start) {
        Ok(job) => (rustler::types::atom::ok(), job).encode(env),
        Err(error) => failed(env, &error),
    }
}
