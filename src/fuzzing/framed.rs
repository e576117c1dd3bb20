//! The target of the `tokio_util` adapters.
//!
//! Input: as of the stream targets, the first bit of the first byte saying which stream. Asserted:
//! however the stream is cut, the adapters give the frames and the error the core gives; and what
//! they encode is what it queues.

use super::Env;
use super::codecs::{self, Outcome, Stream};
use super::decode;
use super::input::Input;
use crate::codec::framed::{MessageStream, MsgAppV2, StreamError};
use crate::codec::{Config, Frame, Limits, Mode};
use crate::error::DecodeError;
use crate::raftpb::Message;
use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

pub(super) fn adapters(input: &[u8], env: &Env) {
    let stream = match input.first().map_or(0, |byte| byte >> 7) {
        0 => Stream::MsgAppV2,
        _ => Stream::Message,
    };
    let mut input = Input(input);
    let config = decode::config(&mut input);
    let cuts = input.sizes();
    let bytes = input.rest();
    for mode in [Mode::Strict, Mode::AsEtcd] {
        let config = config.clone().mode(mode);
        let expected = codecs::decode(stream, &config, bytes, std::iter::empty(), env.now);
        let cuts = cuts.clone();
        match stream {
            Stream::MsgAppV2 => compare(MsgAppV2::new, stream, &config, bytes, cuts, &expected),
            Stream::Message => compare(MessageStream::new, stream, &config, bytes, cuts, &expected),
        }
    }
}

fn compare<C>(
    codec: impl Fn(Config) -> C,
    stream: Stream,
    config: &Config,
    bytes: &[u8],
    cuts: impl Iterator<Item = usize>,
    expected: &Outcome,
) where
    C: Decoder<Item = Frame<Message>, Error = StreamError>,
    C: for<'a> Encoder<&'a Message, Error = StreamError>,
{
    let (frames, end) = decode_with(&mut codec(config.clone()), bytes, cuts);
    assert_eq!(frames, expected.frames);
    assert_eq!(end.err(), expected.end.err());

    let config = config.clone().mode(Mode::AsEtcd).limits(Limits::default());
    let messages = frames.iter().map(|frame| &frame.message);
    let (_, queued) = codecs::encode(stream, &config, messages.clone());
    let mut codec = codec(config);
    let mut buffer = BytesMut::new();
    for message in messages {
        assert!(codec.encode(message, &mut buffer).is_ok());
    }
    assert_eq!(buffer, queued);
}

/// Does as `Framed` does over a socket that is read in pieces and then closed.
fn decode_with<C>(
    codec: &mut C,
    mut bytes: &[u8],
    mut cuts: impl Iterator<Item = usize>,
) -> (Vec<Frame<Message>>, Result<(), DecodeError>)
where
    C: Decoder<Item = Frame<Message>, Error = StreamError>,
{
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    loop {
        let eof = bytes.is_empty();
        let size = cuts.next().unwrap_or(bytes.len()).min(bytes.len());
        let (piece, rest) = bytes.split_at(size);
        buffer.extend_from_slice(piece);
        bytes = rest;
        loop {
            let decoded =
                if eof { codec.decode_eof(&mut buffer) } else { codec.decode(&mut buffer) };
            match decoded {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(StreamError::Decode(error)) => return (frames, Err(error)),
                Err(error) => panic!("neither read nor written: {error}"),
            }
        }
        if eof {
            assert!(buffer.is_empty(), "nothing is left of a stream that ended well");
            return (frames, Ok(()));
        }
    }
}
