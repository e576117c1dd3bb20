//! The parts of the `raftwire` command that open, write and record streams, as a library: its
//! `main` and the fuzz targets call the same code. Benchmarks are not here.

pub mod cluster;
pub mod craft;
mod frame;
mod input;
pub mod inspect;
pub mod json;
pub mod tap;

pub use frame::Stream;
