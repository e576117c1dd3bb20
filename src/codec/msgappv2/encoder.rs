//! Writing `msgappv2`.

use super::{APP_ENTRIES, LINK_HEARTBEAT, MSG_APP, PREFIX_BYTES, State};
use crate::buf::{Sharing, WriteQueue};
use crate::codec::decoder::LENGTH_BYTES;
use crate::codec::message::encode_whole;
use crate::codec::{Config, FrameKind};
use crate::error::{EncodeError, EncodeErrorKind};
use crate::raftpb::{
    ENTRY_PREFIX_BYTES_MAX, EntryForm, EntryRef, Expected, Head, MessageType, RaftMessage, Sink,
};

/// Writes the `msgappv2` stream of one connection.
#[derive(Clone, Debug)]
pub struct Encoder {
    config: Config,
    state: State,
}

impl Encoder {
    /// Makes the encoder of a new connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, state: State::default() }
    }

    /// Returns the state of the stream.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Goes back to where the stream was, when frames are taken back that were queued since.
    #[cfg(feature = "net")]
    pub(crate) fn restore(&mut self, state: State) {
        self.state = state;
    }

    /// Returns the kind of frame `message` would become now, if it is one the stream can carry.
    #[must_use]
    #[inline]
    pub fn kind(&self, message: &Head) -> FrameKind {
        let State { term, index } = self.state;
        // etcd's encoder looks at nothing else: not at the type, not at the entries' indexes.
        if message.is_link_heartbeat() {
            FrameKind::LinkHeartbeat
        } else if message.index == index && message.log_term == term && message.term == term {
            FrameKind::AppEntries
        } else {
            FrameKind::MsgApp
        }
    }

    /// Queues `message`, and returns the kind of frame it became.
    ///
    /// # Errors
    ///
    /// A message above the limits, and in strict mode one that is no `MsgApp`, whose entries do not
    /// run on from its index, or (in an AppEntries frame) are not of its term. Nothing is queued
    /// then, and the stream's state is as it was.
    #[inline]
    pub fn encode<M: RaftMessage>(
        &mut self,
        message: &M,
        queue: &mut WriteQueue,
    ) -> Result<FrameKind, EncodeError> {
        let head = message.head();
        let kind = self.kind(&head);
        match kind {
            FrameKind::AppEntries => self.app_entries(message, &head, queue)?,
            _ => self.encode_other(message, &head, kind, queue)?,
        }
        Ok(kind)
    }

    /// Queues `message`, and where it becomes an AppEntries frame shares that with the other
    /// streams `sharing` is passed to: the first one encodes it, the others queue the same bytes.
    ///
    /// `message` need not be the one that is shared, as each follower's names its own `to`; where
    /// commit or entries differ, or the configuration does, it is encoded by itself.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_shared<M: RaftMessage>(
        &mut self,
        message: &M,
        sharing: &mut Sharing<'_, M>,
        queue: &mut WriteQueue,
    ) -> Result<FrameKind, EncodeError> {
        let head = message.head();
        if self.kind(&head) != FrameKind::AppEntries || !same_frame(message, sharing.message) {
            return self.encode(message, queue);
        }
        if !sharing.is_encoded() {
            sharing.encode(&self.config, |frame| self.put_app_entries(message, &head, frame))?;
        }
        if !sharing.put(&self.config, queue) {
            return self.encode(message, queue);
        }
        self.state.index = head.index.wrapping_add(message.entries().len() as u64);
        Ok(FrameKind::AppEntries)
    }

    #[cold]
    fn encode_other<M: RaftMessage>(
        &mut self,
        message: &M,
        head: &Head,
        kind: FrameKind,
        queue: &mut WriteQueue,
    ) -> Result<(), EncodeError> {
        if kind == FrameKind::LinkHeartbeat {
            queue.put_byte(LINK_HEARTBEAT);
            return Ok(());
        }
        let entries = message.entries();
        let count = entries.len() as u64;
        if self.config.is_strict() {
            self.check_type(head)?;
            self.check_wrap(head, count)?;
            for (position, entry) in entries.iter().enumerate() {
                let expected = head.index + 1 + position as u64;
                check_index(&M::entry(entry), expected, position)?;
            }
        }
        let mark = queue.mark();
        queue.put_byte(MSG_APP);
        if let Err(error) = encode_whole(message, &self.config, queue) {
            queue.rollback(mark);
            return Err(error);
        }
        let index = entries.last().map_or(head.index, |entry| M::entry(entry).index);
        self.state = State { term: head.term, index };
        Ok(())
    }

    #[inline]
    fn app_entries<M: RaftMessage>(
        &mut self,
        message: &M,
        head: &Head,
        queue: &mut WriteQueue,
    ) -> Result<(), EncodeError> {
        let mark = queue.mark();
        let result = self.put_app_entries(message, head, queue);
        match result {
            Ok(()) => {
                self.state.index = head.index.wrapping_add(message.entries().len() as u64);
            }
            Err(_) => queue.rollback(mark),
        }
        result
    }

    #[inline]
    fn put_app_entries<M: RaftMessage>(
        &self,
        message: &M,
        head: &Head,
        queue: &mut WriteQueue,
    ) -> Result<(), EncodeError> {
        let entries = message.entries();
        let count = entries.len() as u64;
        let strict = self.config.is_strict();
        if strict {
            self.check_type(head)?;
            self.check_wrap(head, count)?;
        }
        let prefix = queue.tail(PREFIX_BYTES);
        prefix[0] = APP_ENTRIES;
        prefix[1..].copy_from_slice(&count.to_be_bytes());
        queue.commit(PREFIX_BYTES);
        let start = queue.len();
        let form = EntryForm::of(self.config.dialect, head.message_type);
        let mut expected = self.expect(head, entries.len(), form);
        for (position, entry) in entries.iter().enumerate() {
            let entry = M::entry(entry);
            if let Some(expects) = &mut expected {
                if expects.is(&entry) && self.put_expected(expects, &entry, queue) {
                    if !expects.advance() {
                        expected = None;
                    }
                    continue;
                }
                expected = None;
            }
            self.put_entry(
                &entry,
                head.index.wrapping_add(1 + position as u64),
                position,
                form,
                queue,
            )?;
        }
        let tail = queue.tail(LENGTH_BYTES);
        tail.copy_from_slice(&head.commit.to_be_bytes());
        queue.commit(LENGTH_BYTES);
        let bytes = (PREFIX_BYTES + queue.len() - start) as u64;
        let limit = self.config.limits.frame_bytes_max;
        if bytes > limit {
            return Err(EncodeError::new(EncodeErrorKind::Limit { bytes, limit }));
        }
        Ok(())
    }

    /// What the entries look like, if they are enough to make it worth knowing.
    #[inline]
    fn expect(&self, head: &Head, count: usize, form: EntryForm) -> Option<Expected> {
        if count < 4 {
            return None;
        }
        let first = match form {
            EntryForm::Zeros => 0x08,
            EntryForm::Appended => 0x10,
            EntryForm::Bare => return None,
        };
        Expected::new(first, self.state.term, head.index.wrapping_add(1))
    }

    /// Queues an entry that is as expected, so that it needs no check but that of its size. `false`:
    /// it is too long for that.
    #[inline]
    fn put_expected(
        &self,
        expected: &Expected,
        entry: &EntryRef<'_>,
        queue: &mut WriteQueue,
    ) -> bool {
        let Some(data) = entry.data else { return false };
        let copied = if data.len() < queue.refer_bytes_min() { data.len() } else { 0 };
        let tail = queue.tail(Expected::ROOM + copied);
        let Some(out) = tail.first_chunk_mut() else { return false };
        let Some(prefix) = expected.put(out, data.len()) else { return false };
        if (prefix - LENGTH_BYTES + data.len()) as u64 > self.config.limits.entry_bytes_max {
            return false;
        }
        tail[prefix..prefix + copied].copy_from_slice(&data[..copied]);
        queue.commit_copied(prefix, copied);
        if copied < data.len() {
            queue.put_payload(data);
        }
        true
    }

    /// Queues any entry.
    fn put_entry(
        &self,
        entry: &EntryRef<'_>,
        expected_index: u64,
        position: usize,
        form: EntryForm,
        queue: &mut WriteQueue,
    ) -> Result<(), EncodeError> {
        let strict = self.config.is_strict();
        if strict {
            check_index(entry, expected_index, position)?;
        }
        if strict && self.config.check_entry_terms && entry.term != self.state.term {
            let (expected, found) = (self.state.term, entry.term);
            let kind = EncodeErrorKind::EntryTerm { expected, found };
            return Err(EncodeError::in_entry(kind, position));
        }
        let data_len = entry.data.map_or(0, |data| data.len());
        // The length stands before the prefix, whose size is known once it is written.
        let tail = queue.tail(LENGTH_BYTES + ENTRY_PREFIX_BYTES_MAX);
        let prefix_len = form.put_prefix(entry, &mut tail[LENGTH_BYTES..]);
        let bytes = (prefix_len + data_len) as u64;
        tail[..LENGTH_BYTES].copy_from_slice(&bytes.to_be_bytes());
        let limit = self.config.limits.entry_bytes_max;
        if bytes > limit {
            return Err(EncodeError::in_entry(EncodeErrorKind::Limit { bytes, limit }, position));
        }
        queue.commit(LENGTH_BYTES + prefix_len);
        if let Some(data) = entry.data {
            queue.put_payload(data);
        }
        Ok(())
    }

    #[inline]
    fn check_type(&self, head: &Head) -> Result<(), EncodeError> {
        match head.message_type {
            MessageType::APP => Ok(()),
            other => Err(EncodeError::new(EncodeErrorKind::NotMsgApp(other))),
        }
    }

    #[inline]
    fn check_wrap(&self, head: &Head, count: u64) -> Result<(), EncodeError> {
        match head.index.checked_add(count) {
            Some(_) => Ok(()),
            None => Err(EncodeError::new(EncodeErrorKind::IndexWrap)),
        }
    }
}

#[inline]
fn check_index(entry: &EntryRef<'_>, expected: u64, position: usize) -> Result<(), EncodeError> {
    if entry.index == expected {
        return Ok(());
    }
    let kind = EncodeErrorKind::EntryIndex { expected, found: entry.index };
    Err(EncodeError::in_entry(kind, position))
}

/// Whether two messages, both alive, become the same AppEntries frame. Payloads are the same if they
/// are the same memory; equal ones elsewhere only cost an encoding.
fn same_frame<M: RaftMessage>(one: &M, other: &M) -> bool {
    if std::ptr::eq(one, other) {
        return true;
    }
    let (head, other_head) = (one.head(), other.head());
    let same_data = |one: &EntryRef<'_>, other: &EntryRef<'_>| match (one.data, other.data) {
        (Some(one), Some(other)) => one.as_ptr() == other.as_ptr() && one.len() == other.len(),
        (one, other) => one.is_none() && other.is_none(),
    };
    head.message_type == other_head.message_type
        && head.term == other_head.term
        && head.log_term == other_head.log_term
        && head.index == other_head.index
        && head.commit == other_head.commit
        && one.entries().len() == other.entries().len()
        && one.entries().iter().zip(other.entries()).all(|(one, other)| {
            let (one, other) = (M::entry(one), M::entry(other));
            one.index == other.index
                && one.term == other.term
                && one.entry_type == other.entry_type
                && same_data(&one, &other)
        })
}
