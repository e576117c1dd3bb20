//! Its body, and what it asserts, is in `raftwire::fuzzing`.

#![no_main]

raftwire_fuzz::target!("server_connection");
