//! Files, as the log and snapshots need them.
