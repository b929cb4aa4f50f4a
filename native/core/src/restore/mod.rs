//! Puts a backup back into the site.

mod place;

pub use place::place;
