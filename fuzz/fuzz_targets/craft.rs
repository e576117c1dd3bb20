//! Its body, and what it asserts, is in `raftwire_fuzz::craft`.

#![no_main]

raftwire_fuzz::target!("craft");
