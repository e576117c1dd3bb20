//! The digests of messages that went over a link, as the Go peers make them (`drivers/exchange.go`):
//! SHA-256 over the JSON form of each message, a line feed behind each.

use raftwire::raftpb::{Message, MessageType};
use raftwire::transport::StreamKind;
use raftwire_perf::json::Written;
use sha2::{Digest, Sha256};

/// What went over both streams. Proposals are apart from the rest of theirs: neither end keeps an
/// order between the two.
#[derive(Default)]
pub(crate) struct Digests {
    apps: Running,
    proposals: Running,
    others: Running,
    line: Vec<u8>,
}

#[derive(Default)]
struct Running {
    count: u64,
    hash: Sha256,
}

/// What went over one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digested {
    pub(crate) count: u64,
    pub(crate) sha256: String,
}

impl Digests {
    pub(crate) fn add(&mut self, message: &Message) {
        self.line.clear();
        serde_json::to_writer(&mut self.line, &Written(message)).unwrap();
        self.line.push(b'\n');
        let of = match message.message_type {
            MessageType::APP => &mut self.apps,
            MessageType::PROP => &mut self.proposals,
            _ => &mut self.others,
        };
        of.count += 1;
        of.hash.update(&self.line);
    }

    pub(crate) fn count(&self, kind: StreamKind) -> u64 {
        match kind {
            StreamKind::MsgApp => self.apps.count,
            StreamKind::Message => self.proposals.count + self.others.count,
        }
    }

    pub(crate) fn of(&self, kind: StreamKind) -> Digested {
        let sum = |running: &Running| running.hash.clone().finalize();
        let sum = match kind {
            StreamKind::MsgApp => sum(&self.apps),
            StreamKind::Message => Sha256::new()
                .chain_update(sum(&self.others))
                .chain_update(sum(&self.proposals))
                .finalize(),
        };
        Digested { count: self.count(kind), sha256: const_hex::encode(sum) }
    }
}
