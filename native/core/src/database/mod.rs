//! The database of a site: into a dump with `pg_dump`, and back by PostgreSQL's protocol.

pub(crate) mod connection;
mod dump;
mod dump_filter;
mod encoding;
mod load;
mod pg_process;
mod pgpass;
mod tls;
mod transaction;

pub(crate) use dump::dump;
#[doc(hidden)]
pub use dump_filter::loaded_of;
pub(crate) use dump_filter::watch_dump;
pub use dump_filter::{check_dump, check_script};
pub(crate) use load::check;
pub use load::{Loaded, Pending, Purpose, TableRows, Trust, UnprovenDump, load};
pub use transaction::{Outcome, TransactionId, outcome};
