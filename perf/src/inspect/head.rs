//! The head of the HTTP response a captured stream begins with, sans-IO: collected until it is
//! whole, then asked for what it says of the body. httparse does the parsing.

use super::unframe::UnframeErrorKind;

/// etcd's heads have some 200 bytes; this is what Go's clients and servers bear several times over.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// etcd's heads have five headers.
const HEADERS_MAX: usize = 64;

/// How the body after a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// In chunks: what an etcd answers to HTTP/1.1.
    Chunked,
    /// By a length given in the head.
    Length(u64),
    /// Not at all; the body ends with the connection, as in HTTP/1.0.
    UntilClose,
}

/// Collects a response's head.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Takes bytes of the head from `input`: how many, and what the head says once it is whole.
    ///
    /// Interim responses (1xx) are skipped.
    pub(super) fn step(
        &mut self,
        input: &[u8],
    ) -> Result<(usize, Option<BodyFraming>), UnframeErrorKind> {
        let collected = self.bytes.len();
        let room = HEAD_BYTES_MAX - collected;
        self.bytes.extend_from_slice(&input[..input.len().min(room)]);

        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&self.bytes) {
            // At least one byte of the head was missing before, so `end` lies in `input`.
            Ok(httparse::Status::Complete(end)) => {
                let framing = body_framing(&response)?;
                if framing.is_none() {
                    self.bytes.clear();
                }
                Ok((end - collected, framing))
            }
            Ok(httparse::Status::Partial) if input.len() > room => Err(UnframeErrorKind::HeadLimit),
            Ok(httparse::Status::Partial) => Ok((input.len(), None)),
            Err(httparse::Error::TooManyHeaders) => Err(UnframeErrorKind::HeadLimit),
            Err(error) => Err(UnframeErrorKind::Head(error)),
        }
    }
}

/// What a whole head says of its body; `None` if it is an interim response, which has none.
fn body_framing(
    response: &httparse::Response<'_, '_>,
) -> Result<Option<BodyFraming>, UnframeErrorKind> {
    match response.code {
        Some(100..=199) => return Ok(None),
        Some(200) => {}
        status => return Err(UnframeErrorKind::Status(status.unwrap_or_default())),
    }
    let mut framing = BodyFraming::UntilClose;
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(UnframeErrorKind::Coding);
            }
            framing = BodyFraming::Chunked;
        } else if header.name.eq_ignore_ascii_case("content-encoding") {
            if !value.eq_ignore_ascii_case(b"identity") {
                return Err(UnframeErrorKind::Coding);
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let length = length(value).ok_or(UnframeErrorKind::Length)?;
            // Chunk framing overrides a length; two lengths must agree.
            match framing {
                BodyFraming::Length(other) if other != length => {
                    return Err(UnframeErrorKind::Length);
                }
                BodyFraming::UntilClose => framing = BodyFraming::Length(length),
                _ => {}
            }
        }
    }
    Ok(Some(framing))
}

/// Reads a length: digits alone, where `parse` would take a `+` too.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing and how many bytes the head takes, with the input cut in two.
    fn head(input: &[u8], cut: usize) -> Result<(usize, BodyFraming), UnframeErrorKind> {
        let (mut head, mut taken) = (Head::default(), 0);
        for end in [cut, input.len()] {
            while taken < end {
                let (more, framing) = head.step(&input[taken..end])?;
                taken += more;
                if let Some(framing) = framing {
                    return Ok((taken, framing));
                }
            }
        }
        panic!("head is not whole")
    }

    #[test]
    fn finds_the_end_of_the_head_for_every_split() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Server-Version: 3.4.23\r\n\
            Transfer-Encoding: Chunked\r\n\r\n1\r\n\0\r\n";
        for cut in 0..=text.len() {
            assert_eq!(head(text, cut), Ok((text.len() - 6, BodyFraming::Chunked)), "{cut}");
        }
    }

    #[test]
    fn reads_how_the_body_is_framed() {
        for (headers, framing) in [
            ("", Ok(BodyFraming::UntilClose)),
            ("Content-Length: 12\r\n", Ok(BodyFraming::Length(12))),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Ok(BodyFraming::Chunked)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", Ok(BodyFraming::Chunked)),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", Err(UnframeErrorKind::Length)),
            ("Content-Length: -1\r\n", Err(UnframeErrorKind::Length)),
            ("Content-Length: +1\r\n", Err(UnframeErrorKind::Length)),
            ("Content-Length:\r\n", Err(UnframeErrorKind::Length)),
            ("Content-Length: 18446744073709551616\r\n", Err(UnframeErrorKind::Length)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(UnframeErrorKind::Coding)),
            ("Content-Encoding: gzip\r\n", Err(UnframeErrorKind::Coding)),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            assert_eq!(head(text.as_bytes(), 0).map(|found| found.1), framing, "{headers}");
        }
    }

    #[test]
    fn refuses_an_answer_that_is_not_a_stream() {
        let answer = head(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 0);
        assert_eq!(answer, Err(UnframeErrorKind::Status(410)));
        let answer = head(b"\x02\0\0\0", 0);
        assert!(matches!(answer, Err(UnframeErrorKind::Head(_))));
    }

    #[test]
    fn bounds_the_head() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(head(many.as_bytes(), 0), Err(UnframeErrorKind::HeadLimit));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_BYTES_MAX));
        for cut in [0, 1, HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1] {
            assert_eq!(head(long.as_bytes(), cut), Err(UnframeErrorKind::HeadLimit));
        }
    }
}
