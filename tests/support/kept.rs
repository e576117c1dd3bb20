//! A message type that keeps its entries' encodings.

use bytes::Bytes;
use raftwire::buf::Lists;
use raftwire::raftpb::{Entry, EntryRef, EntryType, Head, Message, Parts, RaftMessage, Snapshot};
use std::borrow::Cow;

#[derive(Debug)]
pub(crate) struct KeptEntry {
    pub(crate) entry: Entry,
    pub(crate) encoded: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) message: Message,
    pub(crate) entries: Vec<KeptEntry>,
}

impl RaftMessage for Kept {
    type Entry = KeptEntry;

    const KEEPS_ENCODING: bool = true;

    fn head(&self) -> Head {
        RaftMessage::head(&self.message)
    }

    fn entries(&self) -> &[KeptEntry] {
        &self.entries
    }

    fn entry(entry: &KeptEntry) -> EntryRef<'_> {
        Message::entry(&entry.entry)
    }

    fn context(&self) -> Option<&Bytes> {
        self.message.context.as_ref()
    }

    fn snapshot(&self) -> Option<Cow<'_, Snapshot>> {
        RaftMessage::snapshot(&self.message)
    }

    fn lists() -> &'static Lists<KeptEntry> {
        static LISTS: Lists<KeptEntry> = Lists::new();
        &LISTS
    }

    fn make_entry(entry_type: EntryType, term: u64, index: u64, data: Option<Bytes>) -> KeptEntry {
        KeptEntry { entry: Entry { entry_type, term, index, data }, encoded: None }
    }

    fn keep_encoding(entry: &mut KeptEntry, encoded: Bytes) {
        assert!(entry.encoded.replace(encoded).is_none(), "given twice");
    }

    fn from_parts(parts: Parts<Self>) -> Self {
        let Parts { head, entries, context, snapshot, .. } = parts;
        let message = Message::from_parts(Parts {
            head,
            entries: Vec::new(),
            context,
            snapshot,
            responses: Vec::new(),
        });
        Self { message, entries }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        Self::lists().put(std::mem::take(&mut self.entries));
    }
}
