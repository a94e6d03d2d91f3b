//! What a store promises, by subject.

pub(crate) mod deferrals;
pub(crate) mod derive;
pub(crate) mod durability;
pub(crate) mod exceptions;
pub(crate) mod families;
pub(crate) mod intents;
pub(crate) mod kept;
pub(crate) mod kills;
pub(crate) mod lending;
pub(crate) mod life;
pub(crate) mod log;
pub(crate) mod open;
pub(crate) mod pace;
pub(crate) mod replays;
pub(crate) mod rows;
pub(crate) mod stories;
pub(crate) mod templated;
pub(crate) mod uses;
