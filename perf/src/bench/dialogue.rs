//! What every dialogue with a process that is measured has in common: one JSON object a line on its
//! standard input, each answered by one on its standard output; `{}` where there is nothing to say,
//! and `{"error":"why"}` where it could not do what it was asked. `{"op":"stop"}` is the last line.
//! Not here: the other lines (each part's `protocol`), and the process itself (`process`).

use serde::{Deserialize, Serialize};

/// The line that ends a process.
pub(crate) const STOP: &str = r#"{"op":"stop"}"#;

/// The answer where there is nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {}

/// The answer of a process that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}

/// Reads an answer; a process' own failure is its reason.
pub(crate) fn answer<T: for<'a> Deserialize<'a>>(line: &str) -> Result<T, String> {
    if let Ok(Failure { error }) = serde_json::from_str(line) {
        return Err(error);
    }
    serde_json::from_str(line).map_err(|error| {
        let begin: String = line.trim().chars().take(SHOWN_CHARS_MAX).collect();
        format!("{error} in its answer {begin}")
    })
}

/// A line that holds a whole trace is no message to a reader.
const SHOWN_CHARS_MAX: usize = 200;

/// Appends `answer` as a line is written, without its end.
pub(crate) fn write(reply: &mut Vec<u8>, answer: &impl Serialize) {
    // Cannot fail: a `Vec` takes everything, and none of the answers has a key that is no string.
    let _ = serde_json::to_writer(reply, answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_reason() {
        assert_eq!(answer::<Done>(r#"{"error":"no"}"#), Err("no".to_owned()));
        assert_eq!(answer::<Done>("{}\n"), Ok(Done {}));
        assert!(answer::<Failure>("{}").is_err());
        let mut reply = Vec::new();
        write(&mut reply, &Done {});
        assert_eq!(reply, b"{}");
    }
}
