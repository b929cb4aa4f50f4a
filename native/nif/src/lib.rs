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
use crate::offsite::{OffsiteRequest, Opened, Relay, pull_options, push_options};
use crate::reply::{Done, Reply, failed};
use crate::request::{
    DueRequest, FileRequest, PruneRequest, Request, RestoreOptions, StoreRequest, VerifyOptions,
    name, names, options,
};
use jiff::Timestamp;
use rustler::{Encoder, Env, ResourceArc, Term};
use zbackup_core::catalog::Status;
use zbackup_core::database::UnprovenDump;
use zbackup_core::error::{Error, Result};
use zbackup_core::schedule::TimeOfDay;
use zbackup_core::site::time_zone;
use zbackup_core::{
    backup, diff, list, nightly, offsite as copies, restore, revisions, stream, verify,
};

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
fn start_verify<'a>(
    env: Env<'a>,
    request: Term<'a>,
    wanted: Term<'a>,
    verify_options: Term<'a>,
) -> Term<'a> {
    started(env, || {
        let request = StoreRequest::decode(request)?;
        let wanted = names(wanted)?;
        let VerifyOptions {
            drill,
            trust_dump,
            record,
        } = options(verify_options)?;
        start(env, move |monitor| {
            let (folder, password, database) = request.open()?;
            if drill && database.is_none() {
                return Err(Error::Usage(
                    "a drill needs a server: the request has no database".into(),
                ));
            }
            let drill = database
                .as_ref()
                .filter(|_| drill)
                .map(|database| verify::Drill {
                    database,
                    unproven_dump: UnprovenDump::if_trusted(trust_dump),
                });
            let all = verify::run(&folder, &wanted, password.as_ref(), drill, monitor)?;
            // What was found out is not lost because another job has the folder, as a restore has for long.
            let recorded = match record.then(|| verify::record(&folder, &all, Timestamp::now())) {
                None => None,
                Some(Err(Error::InProgress { .. })) => Some(false),
                Some(recorded) => Some(recorded.map(|()| true)?),
            };
            Ok(Done::Verified { all, recorded })
        })
    })
}

/// Starts the restore of a site from the backup of a name.
#[rustler::nif(name = "restore")]
fn start_restore<'a>(
    env: Env<'a>,
    request: Term<'a>,
    wanted: Term<'a>,
    restore_options: Term<'a>,
) -> Term<'a> {
    started(env, || {
        let Request { source, .. } = Request::decode(request)?;
        let wanted = name(wanted)?;
        let RestoreOptions {
            only,
            timestamp,
            trust_dump,
        } = options(restore_options)?;
        let options = restore::Options {
            only,
            timestamp,
            unproven_dump: UnprovenDump::if_trusted(trust_dump),
        };
        start(env, move |monitor| {
            let site = source.site()?;
            let password = site.password()?;
            let report = restore::run(&site, &wanted, &options, password.as_ref(), monitor)?;
            Ok(Done::Restored(Box::new(report)))
        })
    })
}

/// Completes or takes back a restore of a site that was interrupted.
#[rustler::nif(name = "settle")]
fn start_settle<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let Request { source, .. } = Request::decode(request)?;
        start(env, move |monitor| {
            restore::settle(&source.site()?, monitor).map(Done::Settled)
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
            let Opened { folder, store, .. } = request.open()?;
            copies::push(&folder, &store, &options, monitor).map(Done::Pushed)
        })
    })
}

/// Starts a step of copying to or from a store that Zotonic speaks to.
#[rustler::nif(name = "relay")]
fn start_relay<'a>(env: Env<'a>, request: Term<'a>, options: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        let relay = Relay::decode(options)?;
        start(env, move |monitor| relay.run(request, monitor))
    })
}

/// Starts to download the backups of the store that are not here.
#[rustler::nif(name = "pull")]
fn start_pull<'a>(env: Env<'a>, request: Term<'a>, options: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        let options = pull_options(options)?;
        start(env, move |monitor| {
            let Opened {
                folder,
                store,
                password,
                site,
            } = request.open()?;
            copies::pull(&folder, &store, &options(password, site), monitor).map(Done::Pulled)
        })
    })
}

/// Starts to list the backups in the store.
#[rustler::nif(name = "list_offsite")]
fn start_list_offsite<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = OffsiteRequest::decode(request)?;
        start(env, move |monitor| {
            let Opened { store, .. } = request.open()?;
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

/// Starts the deletion of revisions that are kept no longer.
#[rustler::nif(name = "prune_revisions")]
fn start_prune<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    started(env, || {
        let request = PruneRequest::decode(request)?;
        start(env, move |monitor| {
            let (database, retention, options) = request.open()?;
            revisions::prune(&database, &retention, options, monitor).map(Done::Pruned)
        })
    })
}

/// The difference of two texts, in words. It has a limit of time that is too long for a normal scheduler.
#[rustler::nif(name = "diff", schedule = "DirtyCpu")]
fn diff_words<'a>(env: Env<'a>, old: Term<'a>, new: Term<'a>) -> Term<'a> {
    let text = |term: Term<'a>| -> Result<&'a str> {
        let text = term.decode::<&str>();
        text.map_err(|_| Error::Usage("a text to compare is not a binary in UTF-8".into()))
    };
    match guarded(|| Ok(diff::words(text(old)?, text(new)?))) {
        Ok(pieces) => (rustler::types::atom::ok(), pieces.reply(env)).encode(env),
        Err(error) => failed(env, &error),
    }
}

/// Lists the backups of a folder. It reads one small file and asks for the lengths of a few others:
/// short, but a disk can be slow.
#[rustler::nif(schedule = "DirtyIo")]
fn list<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let listing = guarded(|| list::run(&StoreRequest::decode(request)?.folder()?));
    answered(env, listing)
}

/// When a nightly backup is due. It reads what `list` reads.
#[rustler::nif(schedule = "DirtyIo")]
fn due<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let nightly = guarded(|| {
        let request: DueRequest = options(request)?;
        let at = match &request.at {
            Some(at) => nightly::time_of_day(at)?,
            None => TimeOfDay::default(),
        };
        let zone = time_zone(request.timezone.as_deref())?;
        let folder = &request.backup_dir;
        nightly::run(folder, request.with_files, at, &zone, Timestamp::now())
    });
    answered(env, nightly)
}

/// What was remembered of the backups of a folder.
#[rustler::nif(schedule = "DirtyIo")]
fn status<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    let status = guarded(|| Status::load(&StoreRequest::decode(request)?.folder()?));
    answered(env, status)
}

/// Remembers something of the backups of a folder.
#[rustler::nif(schedule = "DirtyIo")]
fn set_status<'a>(env: Env<'a>, request: Term<'a>, status: Term<'a>) -> Term<'a> {
    let saved = guarded(|| {
        let folder = StoreRequest::decode(request)?.folder()?;
        request::status(status)?.save(&folder)
    });
    match saved {
        Ok(()) => rustler::types::atom::ok().encode(env),
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

fn answered<'a>(env: Env<'a>, answer: Result<impl Reply>) -> Term<'a> {
    match answer {
        Ok(answer) => (rustler::types::atom::ok(), answer.reply(env)).encode(env),
        Err(error) => failed(env, &error),
    }
}

fn started<'a>(env: Env<'a>, start: impl FnOnce() -> Result<ResourceArc<Job>>) -> Term<'a> {
    match guarded(start) {
        Ok(job) => (rustler::types::atom::ok(), job).encode(env),
        Err(error) => failed(env, &error),
    }
}
