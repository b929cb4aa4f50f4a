//! Makes, proves and restores backups of a Zotonic site.
//!
//! Start at [`site`] (what to back up) and [`backup`] (how). This crate knows files and PostgreSQL;
//! the command line and Erlang are other crates on top of it.

#![forbid(unsafe_code)]

pub mod archive;
pub mod backup;
pub mod catalog;
pub mod database;
pub mod diff;
mod durable;
pub mod error;
pub mod hash;
pub mod list;
pub mod nightly;
pub mod offsite;
mod owner;
mod part_reader;
pub mod priority;
pub mod progress;
pub mod restore;
pub mod revisions;
mod room;
pub mod schedule;
pub mod secret;
pub mod site;
pub mod stream;
pub mod time;
pub mod verify;
mod way;
