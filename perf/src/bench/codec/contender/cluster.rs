//! One leader encoding each AppEntries for all its followers: sharing the frame, each apart, and
//! each apart with the plain codec. Only encodes. Not here: one stream alone (`ours`, `plain`).

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use raftwire::buf::{FrameCache, WriteQueue};
use raftwire::codec::{Config, msgappv2};
use raftwire::error::EncodeError;
use raftwire::raftpb::Message;

use super::{Codec, Operation, Stopwatch, ours, plain};
use crate::bench::codec::load::{Load, Tally};
use crate::bench::codec::tables::{APART, PLAIN_APART, SHARED};
use crate::bench::error::BenchError;

/// The members of the clusters people run.
pub(crate) const MEMBERS: [usize; 3] = [3, 5, 7];

/// The ways to encode for `followers`, in the order of the table.
pub(crate) fn ways(followers: usize) -> Vec<Box<dyn Codec>> {
    vec![
        Box::new(Cluster::new(followers, true)),
        Box::new(Cluster::new(followers, false)),
        Box::new(PlainCluster { followers: vec![Default::default(); followers], load: None }),
    ]
}

#[derive(Debug)]
struct Cluster {
    shares: bool,
    cache: FrameCache,
    followers: Vec<(msgappv2::Encoder, WriteQueue)>,
    messages: Vec<Message>,
    load: Option<Arc<Load>>,
}

impl Cluster {
    fn new(followers: usize, shares: bool) -> Self {
        let follower = || (msgappv2::Encoder::new(Config::default()), WriteQueue::new());
        Self {
            shares,
            cache: FrameCache::new(),
            followers: std::iter::repeat_with(follower).take(followers).collect(),
            messages: Vec::new(),
            load: None,
        }
    }

    fn queue(&mut self, range: std::ops::Range<usize>) -> Result<(), EncodeError> {
        for message in &self.messages[range] {
            if self.shares {
                let mut sharing = self.cache.share(message);
                for (encoder, queue) in &mut self.followers {
                    encoder.encode_shared(message, &mut sharing, queue)?;
                }
            } else {
                for (encoder, queue) in &mut self.followers {
                    encoder.encode(message, queue)?;
                }
            }
        }
        Ok(())
    }

    fn encode(&mut self, load: &Load, clock: &mut Stopwatch) -> Result<usize, EncodeError> {
        self.queue(0..load.lead)?;
        for (_, queue) in &mut self.followers {
            queue.clear();
        }
        clock.begin_steady(None);
        clock.time(|| {
            let mut encoded_bytes = 0;
            for start in (load.lead..self.messages.len()).step_by(load.queue_messages) {
                let end = self.messages.len().min(start + load.queue_messages);
                self.queue(start..end)?;
                for (_, queue) in &mut self.followers {
                    encoded_bytes += ours::flush(queue);
                }
            }
            Ok(encoded_bytes)
        })
    }
}

impl Codec for Cluster {
    fn label(&self) -> &'static str {
        if self.shares { SHARED } else { APART }
    }

    fn about(&self) -> &'static str {
        ""
    }

    fn load(&mut self, load: &Arc<Load>) -> Result<Vec<u8>, BenchError> {
        self.messages = ours::messages(load)?;
        self.load = Some(Arc::clone(load));
        self.queue(0..self.messages.len()).map_err(|error| ours::wrong(load, &error))?;
        let streams: Vec<_> =
            self.followers.iter_mut().map(|(_, queue)| queue.copy_to_bytes(queue.len())).collect();
        let same = streams.iter().all(|stream| *stream == streams[0]);
        Ok(if same { streams[0].to_vec() } else { Vec::new() })
    }

    fn pass(&mut self, _: Operation, clock: &mut Stopwatch) -> Result<Tally, BenchError> {
        let Some(load) = self.load.clone() else {
            return Ok(Tally::default());
        };
        let encoded = self.encode(&load, clock).map_err(|error| ours::wrong(&load, &error))?;
        Ok(expected(&load, encoded, self.followers.len()))
    }

    /// The memory of a shared frame belongs to the cache, which does not count.
    fn copied_bytes(&self) -> Option<u64> {
        None
    }
}

#[derive(Debug)]
struct PlainCluster {
    followers: Vec<(plain::Encoder, BytesMut)>,
    load: Option<Arc<Load>>,
}

impl Codec for PlainCluster {
    fn label(&self) -> &'static str {
        PLAIN_APART
    }

    fn about(&self) -> &'static str {
        ""
    }

    fn load(&mut self, load: &Arc<Load>) -> Result<Vec<u8>, BenchError> {
        self.load = Some(Arc::clone(load));
        Ok(plain::encode_stream(load.kind, &load.messages).into())
    }

    fn pass(&mut self, _: Operation, clock: &mut Stopwatch) -> Result<Tally, BenchError> {
        let Some(load) = self.load.clone() else {
            return Ok(Tally::default());
        };
        for (encoder, out) in &mut self.followers {
            for message in &load.messages[..load.lead] {
                encoder.encode(load.kind, message, out);
            }
            out.clear();
        }
        clock.begin_steady(None);
        let mut encoded_bytes = 0;
        clock.time(|| {
            for batch in load.timed().chunks(load.queue_messages) {
                for message in batch {
                    for (encoder, out) in &mut self.followers {
                        encoder.encode(load.kind, message, out);
                    }
                }
                for (_, out) in &mut self.followers {
                    encoded_bytes += black_box(out.chunk()).len();
                    out.clear();
                }
            }
        });
        Ok(expected(&load, encoded_bytes, self.followers.len()))
    }

    fn copied_bytes(&self) -> Option<u64> {
        None
    }
}

fn expected(load: &Load, encoded_bytes: usize, followers: usize) -> Tally {
    let once = load.stream.len() - load.lead_bytes;
    if encoded_bytes == once * followers { load.expected } else { Tally::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::codec::schedule::prepare;

    #[test]
    fn every_way_gives_every_follower_the_same_stream() {
        let load = Arc::new(Load::steady("4x2000".parse().unwrap(), 1));
        for mut way in ways(4) {
            prepare(way.as_mut(), &load).unwrap();
            for _ in 0..3 {
                let seen = way.pass(Operation::Encode, &mut Stopwatch::default()).unwrap();
                assert_eq!(seen, load.expected, "{}", way.label());
            }
        }
    }
}
