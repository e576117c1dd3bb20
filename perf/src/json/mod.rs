//! Messages as JSON text: the form `inspect` prints, `craft` reads and the test vectors are
//! written in. Files and streams are not here.
//!
//! ```json
//! {"type":"MsgApp","to":2,"from":1,"term":5,"logTerm":5,"index":10,
//!  "entries":[{"type":"EntryNormal","term":5,"index":11,"data":"707574"}],"commit":10,
//!  "snapshot":{"data":null,"metadata":{"conf_state":{"voters":[],"learners":[],
//!    "voters_outgoing":[],"learners_next":[],"auto_leave":false},"index":0,"term":0}},
//!  "reject":false,"rejectHint":0,"context":null}
//! ```
//!
//! - Integers are JSON integers up to 2^64-1, never rounded through a double.
//! - `data` and `context` are lower-case hex; `""` is a payload of length 0, `null` is none.
//! - An enum is its name, or its number where it has no name.
//! - Written: every key, in this order, but for `vote` and `responses`, which follow `context` when
//!   they are not zero or empty. `snapshot` is always an object; the empty one means none.
//! - Read: a key may be missing (its value is then zero, or none), and comes once; an unknown key
//!   is an error, so that a misspelt one is not silently a zero. `snapshot` may be `null`. A line's
//!   lists have no more than [`LIST_ITEMS_MAX`] items.
//!
//! | file | holds |
//! |---|---|
//! | `form.rs` | the objects: their keys, order and defaults |
//! | `object.rs` | what all of them share |
//! | `value.rs` | what a key can hold beside numbers: enums, payloads, lists |
//! | `line.rs` | one line of `craft`'s input, and what can be wrong with it |

mod form;
mod line;
mod object;
mod value;

/// The most items that the lists of a line may have, entries and member ids together: one for each
/// 32 bytes of the largest message, 512 MiB. Without a limit a list of `{}`, three bytes of text each,
/// would take some thirty times its text. With it, at most a GiB; only a message of more entries,
/// which are nearly empty then, cannot be read.
pub const LIST_ITEMS_MAX: usize = (512 << 20) / 32;

pub use form::{Written, as_read_back};
pub use line::{Line, LineError};
