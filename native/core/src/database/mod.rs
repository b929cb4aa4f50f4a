//! The database of a site: into a dump with `pg_dump`, and back with `psql`.

mod child;
mod dump;
mod fate;
mod load;
mod script;
pub(crate) mod session;
mod statement;
mod token;

pub(crate) use dump::dump;
pub use fate::{Fate, TransactionId, fate};
pub(crate) use load::check;
pub use load::{Loaded, Purpose, TableRows, Trust, load};
#[doc(hidden)]
pub use script::loaded_of;
pub(crate) use script::watch_dump;
pub use script::{check_dump, check_script};
