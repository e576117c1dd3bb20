//! What the entries of both parts carry: pseudo-random bytes of a seed, and the term and indexes
//! they stand under. Not here: messages, which each part makes in its own types.

use bytes::Bytes;

use super::shape::Shape;

/// Messages of one term, from an index a cluster has after some hours: both take the varint
/// lengths of real ones. etcd's programs are asked for the same.
pub(crate) const TERM: u64 = 5;
pub(crate) const FIRST_INDEX: u64 = 1_000_000;

/// The data of a message's entries, which the next message uses again.
pub(crate) fn payloads(shape: Shape, seed: u64) -> Vec<Bytes> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let data = |_| std::iter::repeat_with(|| rng.u8(..)).take(shape.bytes).collect();
    (0..shape.entries).map(data).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_bytes() {
        let [one, same, other] = [1, 1, 2].map(|seed| payloads(Shape::new(2, 100), seed));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one.iter().map(Bytes::len).collect::<Vec<_>>(), [100, 100]);
    }
}
