//! The transports in Rust, each behind the same trait (`end::End`) and on one runtime thread. Not
//! here: etcd's, which are Go programs that speak the same lines (`pair`).

pub(crate) mod ours;
pub(crate) mod plain;
mod runtime;
pub(crate) mod tonic;

use raftwire::raftpb::plain::Message;
use tokio::sync::mpsc::UnboundedSender;

/// Sends through the queue of a contender that has one, which owns its messages; a raft loop would
/// make each one anew.
fn enqueue(queue: &UnboundedSender<Message>, message: &Message) {
    // Without its reader there is no connection either, and whoever waits for an answer says so.
    let _ = queue.send(message.clone());
}
