//! The target of `raftwire craft`, which reads JSON lines a person wrote.
//!
//! Input: a byte of options, then the lines. Asserted: what craft writes, be it before a line it
//! refuses, is a stream of as many frames as there were good lines, and each holds what a frame of
//! its kind carries of the line's message.

use raftwire::fuzzing::{Env, Stream, carried, decode_as_etcd};
use raftwire::raftpb::Dialect;
use raftwire_perf::craft::{CraftError, Options, craft};
use raftwire_perf::json::Line;

pub(crate) fn lines(input: &[u8], env: &Env) {
    let (first, text) = input.split_first().unwrap_or((&0, &[]));
    let mut options = Options::default();
    options.dialect = Dialect::ALL[usize::from(first & 3) % 3];
    options.keep_kind = first & 8 != 0;
    options.line_bytes_max = 1 << 20;
    let stream = if first & 4 == 0 {
        options.stream = raftwire_perf::Stream::Msgappv2;
        Stream::MsgAppV2
    } else {
        options.stream = raftwire_perf::Stream::Message;
        Stream::Message
    };

    let mut written = Vec::new();
    let crafted = craft(text, &mut written, &options, |_, note| {
        let _ = note.to_string();
    });
    let good = match crafted {
        Ok(()) => usize::MAX,
        Err(CraftError::Line { number, problem }) => {
            let _ = problem.to_string();
            usize::try_from(number).unwrap_or(usize::MAX) - 1
        }
        Err(error) => panic!("memory can be read and written: {error}"),
    };

    let lines = text.split(|byte| *byte == b'\n').take(good);
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let lines: Vec<_> = lines.map(|line| Line::read(line).expect("craft read it")).collect();
    let (frames, end) = decode_as_etcd(stream, (0, 0), &written, env.now);
    assert!(end.is_ok_and(|deviations| deviations.is_empty()), "{end:?}");
    assert_eq!(frames.len(), lines.len());
    for (frame, line) in frames.iter().zip(lines) {
        match line.kind {
            // A frame that keeps its kind may not follow on the stream's state, which is then what
            // is decoded.
            Some(kind) if options.keep_kind => assert_eq!(frame.kind, kind),
            _ => {
                let expected = carried(&line.message, frame.kind, options.dialect, 0, 0);
                assert_eq!(frame.message, expected);
            }
        }
    }
}
