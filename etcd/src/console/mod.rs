//! A member as a program: started by flags, asked by lines of JSON on its standard input, answering
//! by lines of JSON on its standard output, with its log on standard error. What runs it (the tests,
//! `raftwire cluster`, a shell) shares the types of the lines.
//!
//! ```text
//! <- {"ready":{"id":"1","url":"http://127.0.0.1:41233"}}
//! -> {"id":1,"op":"put","key":"color","value":"blue"}
//! -> {"id":2,"op":"get","key":"color"}
//! <- {"id":1,"applied":{"index":7,"version":1}}
//! <- {"id":2,"value":{"text":"blue","version":1,"index":7}}
//! -> {"id":3,"op":"change","change":{"remove":{"id":"9"}}}
//! <- {"id":3,"error":{"kind":"refused","text":"refused: there is no member 9"}}
//! -> {"id":4,"op":"stop"}
//! <- {"id":4,"done":{}}
//! ```
//!
//! A request carries a number, and its answer the same; answers come in any order. Members are named
//! in hex, as etcd prints them. The member ends when it is told to `stop` or its input is closed
//! (exit code 0), when it cannot go on, such as on a disk that is full (1, behind a line `ended`), and
//! if it cannot start (2).
//!
//! | file | holds |
//! |---|---|
//! | `args.rs` | the flags |
//! | `line.rs` | the lines, both ways |
//! | `lines.rs` | reading lines of limited length |
//! | `ask.rs` | from a request to what the node is asked, and back |
//! | `serve.rs` | the loop, and how it ends |
//!
//! Not here: a network protocol for clients. Whoever holds the pipes may do everything.

mod args;
mod ask;
mod line;
mod lines;
mod serve;

pub use args::{Args, FounderFlag, FounderFlagError};
pub use line::{
    Answer, ChangeLine, DigestLine, ErrorKind, ErrorLine, Event, Id, Op, Outcome, Request, Said,
    StatusLine, ValueLine,
};
pub use lines::{LINE_BYTES_MAX, Line, Lines};
pub use serve::{ENDED, NOT_STARTED, run};
