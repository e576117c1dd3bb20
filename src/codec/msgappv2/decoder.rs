//! Reading `msgappv2`.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | between frames | the kind; of kind 1 the count, of kind 2 the whole frame | the frame, or *partial* |
//! | partial | an entry, or the commit index | an entry more; the frame |
//! | held | memory for the list of a whole message | the frame |
//!
//! Entries are parsed as they arrive. A run of whole entries is split off the block once; each
//! payload is a slice of that run.

use super::partial::Partial;
use super::{APP_ENTRIES, LINK_HEARTBEAT, MSG_APP, PREFIX_BYTES, State};
use crate::buf::{Carve, ReceiveBuffer};
use crate::codec::decoder::{LENGTH_BYTES, check_length};
use crate::codec::{Config, Deviations, Frame, FrameKind, decode_whole, peek_length};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::raftpb::{
    Expected, Head, MessageType, Parts, RaftMessage, RawEntry, Reader, Span, read_entry,
};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Reads the `msgappv2` stream of one connection.
pub struct Decoder<M: RaftMessage> {
    config: Config,
    state: State,
    /// Where the unparsed bytes begin.
    position: u64,
    /// Where the frame begins that they belong to.
    offset: u64,
    partial: Option<Partial<M::Entry>>,
    /// A whole MsgApp frame that waits for memory.
    held: Option<Bytes>,
    needed: usize,
    failed: Option<DecodeError>,
    /// What the next entry looks like, if nothing unexpected comes between.
    expected: Option<Expected>,
}

impl<M: RaftMessage> Decoder<M> {
    /// Makes the decoder of a new connection. [`Config::local`] and [`Config::remote`] become `to`
    /// and `from` of what AppEntries frames hold.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: config.with_sane_limits(),
            state: State::default(),
            position: 0,
            offset: 0,
            partial: None,
            held: None,
            needed: 1,
            failed: None,
            expected: None,
        }
    }

    /// Returns the state of the stream.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns how many unparsed bytes there must be before [`decode`](Self::decode) can go on:
    /// what [`ReceiveBuffer::space`] asks for.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// Returns where the next frame begins, or the one that is not whole yet, in bytes from the
    /// start of the stream.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether some entries of a frame were taken that is not whole yet.
    #[cfg(feature = "net")]
    pub(crate) fn is_within_entries(&self) -> bool {
        self.partial.is_some()
    }

    /// Decodes the next frame. `None`: more bytes are needed, or more memory;
    /// [`ReceiveBuffer::space`] says which.
    ///
    /// # Errors
    ///
    /// A length or count above its limit, malformed protobuf, an unknown kind, and in strict mode
    /// what the [module](crate::codec) lists. The stream is dead then, and every further call
    /// returns the same error.
    #[inline]
    pub fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        let (input, carve) = received.parts();
        self.decode_from(input, carve)
    }

    #[inline]
    pub(crate) fn decode_from(
        &mut self,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        carve.wants_list_bytes = 0;
        let decoded = self.step(input, carve);
        if let Err(error) = &decoded {
            self.failed = Some(*error);
        }
        decoded
    }

    fn step(
        &mut self,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        if let Some(partial) = self.partial.take() {
            return self.app_entries(partial, 0, input, carve);
        }
        if let Some(run) = self.held.take() {
            return self.msg_app(run, carve);
        }
        self.offset = self.position;
        match input.first() {
            Some(&APP_ENTRIES) => {
                let Some(count) = peek_length(input, 1) else {
                    return self.need(PREFIX_BYTES);
                };
                let partial = self.begin_app_entries(count)?;
                self.app_entries(partial, PREFIX_BYTES, input, carve)
            }
            Some(&MSG_APP) => {
                let Some(length) = peek_length(input, 1) else {
                    return self.need(PREFIX_BYTES);
                };
                let limit = self.config.limits.message_bytes_max;
                let length = check_length(length, limit, "MsgApp.length", self.position + 1)?;
                let len = PREFIX_BYTES + length;
                if input.len() < len {
                    return self.need(len);
                }
                let run = input.split_to(len).freeze();
                self.position += len as u64;
                self.msg_app(run, carve)
            }
            Some(&LINK_HEARTBEAT) => {
                input.advance(1);
                self.position += 1;
                carve.parsed(1);
                let head = Head { message_type: MessageType::HEARTBEAT, ..Head::default() };
                let message = self.message(head, Vec::new());
                Ok(Some(self.frame(FrameKind::LinkHeartbeat, message, Deviations::default())))
            }
            Some(&kind) => {
                let kind = DecodeErrorKind::FrameKind(kind);
                Err(DecodeError::new(kind, "frame.kind", self.position))
            }
            None => self.need(1),
        }
    }

    fn need(&mut self, needed: usize) -> Result<Option<Frame<M>>, DecodeError> {
        self.needed = needed;
        Ok(None)
    }

    fn message(&self, head: Head, entries: Vec<M::Entry>) -> M {
        M::from_parts(Parts { head, entries, context: None, snapshot: None, responses: Vec::new() })
    }

    fn frame(&mut self, kind: FrameKind, message: M, deviations: Deviations) -> Frame<M> {
        self.needed = 1;
        let (offset, len) = (self.offset, self.position - self.offset);
        Frame { kind, offset, len, message, deviations }
    }

    fn begin_app_entries(&self, count: u64) -> Result<Partial<M::Entry>, DecodeError> {
        let error = |kind| DecodeError::new(kind, "AppEntries.count", self.position + 1);
        // Each entry takes 8 bytes at least, so a frame within its limit holds no more than this.
        let empty = (PREFIX_BYTES + LENGTH_BYTES) as u64;
        let limit = self.config.limits.frame_bytes_max;
        check_length(empty, limit, "AppEntries.length", self.position + 1)?;
        let limit = (limit - empty) / LENGTH_BYTES as u64;
        let left = check_length(count, limit, "AppEntries.count", self.position + 1)?;
        let mut deviations = Deviations::default();
        if self.state.index.checked_add(count).is_none() {
            if self.config.is_strict() {
                return Err(error(DecodeErrorKind::IndexWrap));
            }
            deviations.add(Deviations::INDEX_WRAP);
        }
        let next = self.state.index.wrapping_add(1);
        Ok(Partial::new(left, next, deviations))
    }

    /// Goes on with an AppEntries frame of which `start` unparsed bytes are its prefix.
    fn app_entries(
        &mut self,
        mut partial: Partial<M::Entry>,
        start: usize,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        // How far do whole entries reach?
        let mut whole = 0;
        let mut at = start;
        let mut needed = None;
        let mut too_long = None;
        while whole < partial.left {
            let Some(length) = peek_length(input, at) else {
                needed = Some(at + LENGTH_BYTES);
                break;
            };
            let end = match self.entry_end(&partial, length, at, whole) {
                Ok(end) => end,
                Err(error) => {
                    // What is wrong with an entry before it is found first, however the stream was
                    // cut.
                    too_long = Some(error);
                    break;
                }
            };
            if input.len() < end {
                needed = Some(end);
                break;
            }
            at = end;
            whole += 1;
        }
        let commit = if whole == partial.left { peek_length(input, at) } else { None };
        if whole == partial.left {
            match commit {
                Some(_) => at += LENGTH_BYTES,
                None => needed = Some(at + LENGTH_BYTES),
            }
        }
        if partial.make_room(whole, carve, M::lists()).is_err() {
            self.position += start as u64;
            carve.parsed(start);
            input.advance(start);
            self.partial = Some(partial);
            return Ok(None);
        }
        let mut run = input.split_to(at).freeze();
        let run_bytes = at;
        let base = self.position;
        self.position += run_bytes as u64;
        let (mut at, taken) = match self.expect(&partial, &run, start, whole) {
            Some(expected) => partial.take_expected::<M>(expected, &mut run, start, whole, carve),
            None => (start, 0),
        };
        for position in taken..whole {
            // It was checked that the length, and the bytes it announces, are there.
            let length = peek_length(&run, at).and_then(|length| usize::try_from(length).ok());
            let start = at + LENGTH_BYTES;
            let span = Span { start, end: start + length.unwrap_or_default() };
            at = span.end;
            carve.item(LENGTH_BYTES + span.len());
            let entry = self.read_entry(&mut partial, &run, span, base)?;
            partial.entries.push(entry.make::<M>(span, true, |span| match position + 1 == whole {
                true => carve.last_payload(std::mem::take(&mut run), span),
                false => carve.payload(&run, span),
            }));
            partial.next = partial.next.wrapping_add(1);
        }
        carve.parsed(run_bytes);
        if let Some(error) = too_long {
            return Err(error);
        }
        partial.left -= whole;
        let Some(commit) = commit else {
            self.partial = Some(partial);
            return self.need(needed.unwrap_or_default() - run_bytes);
        };
        let State { term, index } = self.state;
        self.state.index = index.wrapping_add(partial.entries.len() as u64);
        let head = Head {
            message_type: MessageType::APP,
            to: self.config.local,
            from: self.config.remote,
            term,
            log_term: term,
            index,
            commit,
            ..Head::default()
        };
        let message = self.message(head, partial.entries);
        Ok(Some(self.frame(FrameKind::AppEntries, message, partial.deviations)))
    }

    /// Where the entry ends whose length stands `at` bytes into the unparsed ones, behind `whole`
    /// others.
    #[inline]
    fn entry_end(
        &self,
        partial: &Partial<M::Entry>,
        length: u64,
        at: usize,
        whole: usize,
    ) -> Result<usize, DecodeError> {
        let limits = &self.config.limits;
        let offset = self.position + at as u64;
        let len = check_length(length, limits.entry_bytes_max, "Entry.length", offset)?;
        let end = at + LENGTH_BYTES + len;
        // What is still to come behind it: a length for each entry, and the commit index.
        let rest = (partial.left - whole) * LENGTH_BYTES;
        let frame_bytes = self.position - self.offset + end as u64 + rest as u64;
        check_length(frame_bytes, limits.frame_bytes_max, "AppEntries.length", offset)?;
        Ok(end)
    }

    /// What `whole` entries at `start` of `run` look like. In steady state that is known from the
    /// frame before.
    #[inline]
    fn expect(
        &mut self,
        partial: &Partial<M::Entry>,
        run: &Bytes,
        start: usize,
        whole: usize,
    ) -> Option<&mut Expected> {
        if whole == 0 {
            return None;
        }
        let first = *run.get(start + LENGTH_BYTES)?;
        let (term, next) = (self.state.term, partial.next);
        if !self.expected.as_ref().is_some_and(|expected| expected.stands_for(first, term, next)) {
            self.expected = Expected::new(first, term, next);
        }
        self.expected.as_mut()
    }

    /// Parses the entry that lies in `span` of `run`.
    #[inline]
    fn read_entry(
        &self,
        partial: &mut Partial<M::Entry>,
        run: &Bytes,
        span: Span,
        base: u64,
    ) -> Result<RawEntry, DecodeError> {
        let entry = read_entry(Reader::over(run, span)).map_err(|error| error.shifted(base))?;
        if entry.index != partial.next || entry.term != self.state.term {
            self.check_entry(&entry, partial, base + span.start as u64)?;
        }
        Ok(entry)
    }

    #[cold]
    fn check_entry(
        &self,
        entry: &RawEntry,
        partial: &mut Partial<M::Entry>,
        offset: u64,
    ) -> Result<(), DecodeError> {
        if entry.index != partial.next {
            if self.config.is_strict() {
                let kind =
                    DecodeErrorKind::EntryIndex { expected: partial.next, found: entry.index };
                return Err(DecodeError::new(kind, "Entry.Index", offset));
            }
            partial.deviations.add(Deviations::ENTRY_INDEX);
        }
        if entry.term != self.state.term {
            if self.config.is_strict() && self.config.check_entry_terms {
                let kind =
                    DecodeErrorKind::EntryTerm { expected: self.state.term, found: entry.term };
                return Err(DecodeError::new(kind, "Entry.Term", offset));
            }
            if !self.config.is_strict() {
                partial.deviations.add(Deviations::ENTRY_TERM);
            }
        }
        Ok(())
    }

    /// Decodes the whole frame `run`.
    fn msg_app(&mut self, run: Bytes, carve: &mut Carve) -> Result<Option<Frame<M>>, DecodeError> {
        let base = self.offset;
        let decoded: Option<M> = decode_whole(&run, PREFIX_BYTES, base, carve)?;
        let Some(message) = decoded else {
            self.held = Some(run);
            return Ok(None);
        };
        carve.parsed(run.len());
        carve.item(run.len());
        let head = message.head();
        let deviations = self.check_message(&message, &head)?;
        let last = message.entries().last();
        let index = last.map_or(head.index, |entry| M::entry(entry).index);
        self.state = State { term: head.term, index };
        Ok(Some(self.frame(FrameKind::MsgApp, message, deviations)))
    }

    fn check_message(&self, message: &M, head: &Head) -> Result<Deviations, DecodeError> {
        let offset = self.offset + PREFIX_BYTES as u64;
        let mut deviations = Deviations::default();
        let mut found = |deviation, kind, field| {
            if self.config.is_strict() {
                return Err(DecodeError::new(kind, field, offset));
            }
            deviations.add(deviation);
            Ok(())
        };
        if head.message_type != MessageType::APP {
            let kind = DecodeErrorKind::NotMsgApp(head.message_type);
            found(Deviations::NOT_MSG_APP, kind, "Message.type")?;
        }
        if head.index.checked_add(message.entries().len() as u64).is_none() {
            found(Deviations::INDEX_WRAP, DecodeErrorKind::IndexWrap, "Message.index")?;
        }
        let mut expected = head.index;
        for entry in message.entries() {
            expected = expected.wrapping_add(1);
            let entry = M::entry(entry);
            if entry.index != expected {
                let kind = DecodeErrorKind::EntryIndex { expected, found: entry.index };
                found(Deviations::ENTRY_INDEX, kind, "Message.entries")?;
                break;
            }
        }
        Ok(deviations)
    }

    /// Says how the stream ended, once the peer closed it and [`decode`](Self::decode) returned
    /// `None`. A deviation is possible in [`Mode::AsEtcd`](crate::codec::Mode::AsEtcd) only.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::Truncated`] inside a frame; or the error the stream died of.
    pub fn finish(&self, received: &ReceiveBuffer) -> Result<Deviations, DecodeError> {
        self.finish_from(received.unparsed())
    }

    pub(crate) fn finish_from(&self, rest: &[u8]) -> Result<Deviations, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut deviations = Deviations::default();
        let read = rest.len();
        if read == 0 && self.partial.is_none() && self.held.is_none() {
            return Ok(deviations);
        }
        // Go's reader takes an end between two fields for the stream's.
        let (between, field) = match &self.partial {
            Some(partial) if partial.left == 0 => (read == 0, "AppEntries.commit"),
            Some(_) => (read == 0 || read == LENGTH_BYTES, "AppEntries.entries"),
            None => (read == 1 || read == PREFIX_BYTES, "frame"),
        };
        if self.config.is_strict() || !between || self.held.is_some() {
            let offset = self.position + read as u64;
            return Err(DecodeError::new(DecodeErrorKind::Truncated, field, offset));
        }
        deviations.add(Deviations::END_INSIDE_FRAME);
        Ok(deviations)
    }
}

impl<M: RaftMessage> fmt::Debug for Decoder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("config", &self.config)
            .field("state", &self.state)
            .field("offset", &self.position)
            .field("needed", &self.needed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
