//! The database of a site: into a dump with `pg_dump`, and back with `psql`.

mod child;
mod dump;
mod load;
mod script;
pub(crate) mod session;
mod statement;

pub(crate) use dump::dump;
pub use load::{Fate, Loaded, Purpose, TableRows, TransactionId, Trust, fate, load};
pub use script::{check_dump, check_script};
