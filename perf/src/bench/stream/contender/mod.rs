//! The transports in Rust, each behind the same trait (`end::End`) and on one runtime thread. Not
//! here: etcd's, which are Go programs that speak the same lines (`pair`).

pub(crate) mod ours;
pub(crate) mod plain;
mod runtime;
pub(crate) mod tonic;
