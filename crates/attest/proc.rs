//! Parsers for the process files that pins and attestors read (proc(5)).
//!
//! Pure functions over bytes, public so that fuzz targets reach them: none panics, none takes
//! memory that its input does not. Deliberately absent: reading files, and every field that no
//! check of ours looks at.

mod auxv;
mod stat;
mod status;
mod strings;

pub use auxv::{Auxv, parse_auxv};
pub use stat::{MemoryLayout, Stat, parse_stat};
pub use status::{Ids, Status, parse_status};
pub use strings::{Variable, parse_cmdline, parse_environ};
