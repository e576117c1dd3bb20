//! The memory of a stream: pooled blocks it is received into, and the queue it is written from.
//!
//! ```text
//! socket ──read──▶ ReceiveBuffer ──decoder──▶ messages, their payloads slices of the block
//!                      ▲    │
//!                      │    ▼  a block goes back when its last slice is dropped
//!                      Pool ◀─ blocks, counted against one budget
//!
//! messages ──encoder──▶ WriteQueue ──writev──▶ socket
//! ```
//!
//! | path | copied |
//! |---|---|
//! | receive | nothing, but: the unparsed tail of a block that is full (once), a payload longer than a block while it grows, and small payloads that would pin an otherwise dead block ([`ReceiveBuffer`]) |
//! | write | heads, and payloads below [`SHARE_BYTES_MIN`], once, into the queue |
//!
//! There is no `unsafe` here: blocks are `BytesMut`, whose reference count says when they are free.

mod carve;
mod lists;
mod pool;
mod receive;
mod shared;
mod write_queue;

pub(crate) use carve::Carve;
pub use carve::{COPY_OUT_BYTES_MAX, COPY_OUT_FRACTION};
pub use lists::{LIST_BYTES_MAX, LISTS_MAX, Lists};
pub(crate) use pool::{Block, Charge, OVERSIZE};
pub use pool::{Pool, PoolConfig, PoolStats};
pub use receive::{ReceiveBuffer, ReceiveStats, Space};
pub use shared::{FrameCache, Sharing};
#[cfg(feature = "net")]
pub(crate) use write_queue::{Later, Mark};
pub use write_queue::{SHARE_BYTES_MIN, WriteQueue};
