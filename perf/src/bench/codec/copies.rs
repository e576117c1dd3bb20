//! One operation on one shape and nothing else, so that valgrind's DHAT in copy mode sees only what
//! the codec copies (`perf/check-copies.sh`). Decoding reads from a real socket: the kernel's copy
//! into the block is not one of this process. Not here: times.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use raftwire::buf::{Pool, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{Config, msgappv2};
use raftwire::raftpb::Message;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use super::contender::ours;
use super::load::Load;
use crate::bench::error::BenchError;
use crate::bench::shape::Shape;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Encode,
    Decode,
}

/// What the library counted.
#[derive(Debug, Serialize)]
struct Counted {
    shape: String,
    direction: Direction,
    messages: u64,
    copied_bytes: u64,
}

/// Any: the copies do not depend on the bytes.
const SEED: u64 = 1;

/// Goes through whole passes until `messages` have been.
pub(crate) fn count_only(
    shape: Shape,
    messages: u64,
    direction: Direction,
) -> Result<ExitCode, BenchError> {
    let load = Load::steady(shape, SEED);
    let passes = messages.div_ceil(load.expected.messages);
    let copied_bytes = match direction {
        Direction::Encode => encode(&load, passes)?,
        Direction::Decode => decode(&load, passes)?,
    };
    let messages = passes * load.expected.messages;
    let counted = Counted { shape: shape.to_string(), direction, messages, copied_bytes };
    let line = serde_json::to_string(&counted);
    let stdout = |source| BenchError::io("standard output".as_ref(), source);
    println!("{}", line.map_err(std::io::Error::from).map_err(stdout)?);
    Ok(ExitCode::SUCCESS)
}

fn encode(load: &Load, passes: u64) -> Result<u64, BenchError> {
    let messages = ours::messages(load)?;
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    for _ in 0..passes {
        for batch in messages.chunks(load.queue_messages) {
            for message in batch {
                let encoded = encoder.encode(message, &mut queue);
                encoded.map_err(|error| ours::wrong(load, &error))?;
            }
            ours::flush(&mut queue);
        }
    }
    Ok(queue.copied_bytes())
}

fn decode(load: &Load, passes: u64) -> Result<u64, BenchError> {
    let socket = |source| BenchError::io("a pair of sockets".as_ref(), source);
    let (mut writer, reader) = UnixStream::pair().map_err(socket)?;
    let stream = load.stream.clone();
    let writing = std::thread::spawn(move || {
        for _ in 0..passes {
            writer.write_all(&stream)?;
        }
        Ok(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let (frames, copied) =
        runtime.map_err(socket)?.block_on(receive(load, reader)).map_err(socket)??;
    let written: std::io::Result<()> = writing.join().unwrap_or(Ok(()));
    written.map_err(socket)?;
    if frames == passes * load.messages.len() as u64 {
        return Ok(copied);
    }
    Err(BenchError::WrongAnswer {
        contender: crate::bench::report::OURS.to_owned(),
        input: load.input.clone(),
        what: format!("{frames} frames"),
    })
}

/// Decodes until the stream ends: how many frames, and what was copied for them.
async fn receive(
    load: &Load,
    reader: UnixStream,
) -> std::io::Result<Result<(u64, u64), BenchError>> {
    reader.set_nonblocking(true)?;
    let mut reader = tokio::net::UnixStream::from_std(reader)?;
    let mut received = ReceiveBuffer::new(Pool::default());
    let mut decoder = msgappv2::Decoder::<Message>::new(Config::default().local(2).remote(1));
    let mut frames = 0;
    let now = std::time::Instant::now();
    loop {
        match received.space(decoder.needed(), now) {
            Ok(Space::Room(mut room)) => {
                if reader.read_buf(&mut room).await? == 0 {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) => return Ok(Err(ours::wrong(load, &error))),
        }
        loop {
            match decoder.decode(&mut received) {
                Ok(Some(_)) => frames += 1,
                Ok(None) => break,
                Err(error) => return Ok(Err(ours::wrong(load, &error))),
            }
        }
    }
    let stats = received.stats();
    Ok(Ok((frames, stats.moved_bytes + stats.copied_out_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_payload_is_copied_once_and_a_large_one_never() {
        let small = Load::steady(Shape::new(2, 64), SEED);
        let copied = encode(&small, 2).unwrap();
        assert!(copied >= 2 * small.expected.payload_bytes, "{copied}");
        let large = Load::steady(Shape::new(1, 64 * 1024), SEED);
        assert!(encode(&large, 2).unwrap() < large.expected.payload_bytes);
    }

    #[test]
    fn decodes_from_a_socket() {
        let load = Load::steady(Shape::new(8, 1024), SEED);
        decode(&load, 3).unwrap();
    }
}
