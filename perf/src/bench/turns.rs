//! In which order contenders are measured: A B C A B C, beginning with another one each round, so
//! that a slow minute of the machine falls on all of them. Not here: measuring.

/// Whose turn it is: everyone once a round, each round beginning one further.
pub(crate) fn rotated(contenders: usize, rounds: u32) -> impl Iterator<Item = usize> {
    (0..rounds as usize)
        .flat_map(move |round| (0..contenders).map(move |at| (at + round) % contenders))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_a_turn_a_round_and_begins_once() {
        let turns: Vec<usize> = rotated(3, 3).collect();
        assert_eq!(turns, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(rotated(0, 3).count(), 0);
    }
}
