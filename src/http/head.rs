//! Heads, read and written: the start line, the headers, and what both say of the body behind them.
//!
//! httparse finds the parts. It takes lines that end with LF alone and empty lines before the start;
//! here the input is cut off in front of the first of these, so that it never sees one.

use super::headers::{name_end, value_end};
use super::{Body, HeadError, HeadErrorKind, HeadLimits, Headers};
use httparse::{Error, Status};

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a head has no more parts")]
pub struct RequestHead {
    /// The method, as in `GET`.
    pub method: String,
    /// The target, as in `/raft/stream/msgapp/8211f1d0f64f3269`.
    pub target: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// The headers.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a head has no more parts")]
pub struct ResponseHead {
    /// The status, as in 200.
    pub status: u16,
    /// The reason, as in `OK`. Whoever reads a head has the status to go by: one that is not ASCII is
    /// read as the empty one.
    pub reason: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// The headers.
    pub headers: Headers,
}

impl RequestHead {
    /// Reads the head at the start of `bytes`, and how many bytes it takes. `None`: more are needed,
    /// all of which are looked at again.
    ///
    /// # Errors
    ///
    /// What stands there is not the beginning of a head, or not of one within `limits`. The first
    /// thing wrong is found, however much follows, and before the end of its line.
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, HeadError> {
        let input = Input::new(bytes, limits);
        let mut headers = input.room();
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(input.taken);
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        if request.path.is_some() || request.method.is_some() && parsed == Err(Error::Token) {
            // httparse takes UTF-8 here, and finds what is not when it is through with it.
            let start = method.len() + " ".len();
            let len = visible_end(&input.taken[start..]);
            if len == 0 || len < target.len() || request.path.is_none() {
                return Err(HeadError::new(HeadErrorKind::Target, start + len));
            }
        }
        let len = match parsed {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return input.ended(),
            Err(error) => {
                return Err(input.error(error, HeadErrorKind::Method, |bytes, room| {
                    httparse::Request::new(room).parse(bytes).is_err()
                }));
            }
        };
        let head = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            minor_version: request.version.unwrap_or(0),
            headers: Headers::parsed(request.headers)?,
        };
        Ok(Some((head, len)))
    }

    /// Appends the head to `out`.
    ///
    /// # Errors
    ///
    /// The method is not a token, the target not visible ASCII, or the version not one of 0 and 1.
    /// Nothing is appended then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), HeadError> {
        let end = name_end(self.method.as_bytes());
        if end == 0 || end < self.method.len() {
            return Err(HeadError::new(HeadErrorKind::Method, end));
        }
        let end = visible_end(self.target.as_bytes());
        if end == 0 || end < self.target.len() {
            return Err(HeadError::new(HeadErrorKind::Target, end));
        }
        let version = version(self.minor_version)?;
        for part in [&self.method, " ", &self.target, " ", version, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.headers.write(out);
        Ok(())
    }

    /// Whether the connection is to be kept for another request.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(self.minor_version, &self.headers)
    }

    /// Returns what the head says of the body behind it. One that says nothing has none.
    ///
    /// # Errors
    ///
    /// It says nothing that can be relied on: see [`HeadErrorKind`] from
    /// [`ContentLength`](HeadErrorKind::ContentLength) on.
    pub fn body(&self) -> Result<Body, HeadError> {
        let start = self.method.len() + self.target.len() + "  ".len() + VERSION_BYTES;
        Ok(match framing(start, self.minor_version, &self.headers)? {
            Framing::Chunked => Body::chunked(),
            Framing::Length(length) => Body::length(length),
            Framing::Unsaid => Body::none(),
        })
    }
}

impl ResponseHead {
    /// Reads the head at the start of `bytes`, and how many bytes it takes. `None`: more are needed,
    /// all of which are looked at again.
    ///
    /// An interim response (1xx) is a head like any other; the response comes behind it.
    ///
    /// # Errors
    ///
    /// What stands there is not the beginning of a head, or not of one within `limits`. The first
    /// thing wrong is found, however much follows, and before the end of its line.
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, HeadError> {
        let input = Input::new(bytes, limits);
        let mut headers = input.room();
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(input.taken);
        let (part, status) = match response.code {
            Some(..100) => {
                return Err(HeadError::new(HeadErrorKind::Status, VERSION_BYTES + " ".len()));
            }
            Some(status) if input.taken.get(STATUS_END) == Some(&b' ') => {
                (HeadErrorKind::Reason, status)
            }
            status => (HeadErrorKind::Status, status.unwrap_or(0)),
        };
        let len = match parsed {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return input.ended(),
            Err(error) => {
                return Err(input.error(error, part, |bytes, room| {
                    httparse::Response::new(room).parse(bytes).is_err()
                }));
            }
        };
        let head = Self {
            status,
            reason: response.reason.unwrap_or("").to_owned(),
            minor_version: response.version.unwrap_or(0),
            headers: Headers::parsed(response.headers)?,
        };
        Ok(Some((head, len)))
    }

    /// Appends the head to `out`.
    ///
    /// # Errors
    ///
    /// The status has not three digits, the reason holds a control byte, or the version is not one of
    /// 0 and 1. Nothing is appended then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), HeadError> {
        if !(100..=999).contains(&self.status) {
            return Err(HeadError::new(HeadErrorKind::Status, 0));
        }
        let end = value_end(self.reason.as_bytes());
        if end < self.reason.len() {
            return Err(HeadError::new(HeadErrorKind::Reason, end));
        }
        let version = version(self.minor_version)?;
        for part in [version, " ", &self.status.to_string(), " ", &self.reason, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.headers.write(out);
        Ok(())
    }

    /// Whether the connection is kept for another request, if its body does not end with it.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(self.minor_version, &self.headers)
    }

    /// Returns what the head says of the body behind it, as the answer to a request of this method.
    /// One that says nothing goes on until the connection is closed.
    ///
    /// There is none behind 1xx, 204, 304, and what answers `HEAD`, whatever the head says.
    ///
    /// # Errors
    ///
    /// It says nothing that can be relied on: see [`HeadErrorKind`] from
    /// [`ContentLength`](HeadErrorKind::ContentLength) on.
    pub fn body(&self, request_method: &str) -> Result<Body, HeadError> {
        let start = STATUS_END + " ".len() + self.reason.len();
        let framing = framing(start, self.minor_version, &self.headers)?;
        let none = matches!(self.status, 100..=199 | 204 | 304) || request_method == "HEAD";
        Ok(match framing {
            _ if none => Body::none(),
            Framing::Chunked => Body::chunked(),
            Framing::Length(length) => Body::length(length),
            Framing::Unsaid => Body::until_close(),
        })
    }
}

const VERSION_BYTES: usize = "HTTP/1.1".len();

/// Where the status ends in a response.
const STATUS_END: usize = VERSION_BYTES + " 200".len();

/// What httparse gets to see of the input: all of it, or what lies before something it would take.
struct Input<'a> {
    taken: &'a [u8],
    headers_max: usize,
    /// What is wrong behind these bytes, should no head end in them.
    behind: Option<HeadErrorKind>,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8], limits: &HeadLimits) -> Self {
        let (mut taken, mut behind) = (bytes, None);
        // A head that is not whole by now is too long, whatever comes.
        if bytes.len() >= limits.bytes_max {
            (taken, behind) = (&bytes[..limits.bytes_max], Some(HeadErrorKind::TooLong));
        }
        let mut last = None;
        let is_bare = |byte: &u8| {
            let before = last.replace(*byte);
            *byte == b'\n' && before != Some(b'\r') || *byte == b'\r' && before.is_none()
        };
        if let Some(at) = taken.iter().position(is_bare) {
            (taken, behind) = (&taken[..at], Some(HeadErrorKind::LineEnd));
        }
        // The shortest header is `a:` and CRLF.
        let headers_max = limits.headers_max.min(taken.len() / 4);
        Self { taken, headers_max, behind }
    }

    /// Room for the headers there may be.
    fn room(&self) -> Vec<httparse::Header<'a>> {
        vec![httparse::EMPTY_HEADER; self.headers_max]
    }

    /// What it means that httparse asks for more.
    fn ended<T>(&self) -> Result<Option<T>, HeadError> {
        match self.behind {
            Some(kind) => Err(HeadError::new(kind, self.taken.len())),
            None => Ok(None),
        }
    }

    /// Says what httparse found and, as it does not, where. `part` is what it calls by one name.
    fn error(
        &self,
        error: Error,
        part: HeadErrorKind,
        fails: impl Fn(&'a [u8], &mut [httparse::Header<'a>]) -> bool,
    ) -> HeadError {
        // It reads from the front: the error is there as soon as its byte is, and stays.
        let mut room = self.room();
        let (mut good, mut bad) = (0, self.taken.len());
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fails(&self.taken[..middle], &mut room) { bad = middle } else { good = middle }
        }
        let after_cr = good.checked_sub(1).is_some_and(|before| self.taken[before] == b'\r');
        let kind = match error {
            // It is found at the end of the first one too many.
            Error::TooManyHeaders => HeadErrorKind::TooManyHeaders,
            _ if after_cr => HeadErrorKind::LineEnd,
            Error::HeaderName => HeadErrorKind::HeaderName,
            Error::HeaderValue => HeadErrorKind::HeaderValue,
            Error::NewLine => HeadErrorKind::LineEnd,
            Error::Version => HeadErrorKind::Version,
            Error::Status | Error::Token => part,
        };
        HeadError::new(kind, good)
    }
}

/// How many of the first bytes may stand in a target.
fn visible_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(bytes.len())
}

fn version(minor_version: u8) -> Result<&'static str, HeadError> {
    match minor_version {
        0 => Ok("HTTP/1.0"),
        1 => Ok("HTTP/1.1"),
        _ => Err(HeadError::new(HeadErrorKind::Version, 0)),
    }
}

fn keeps_alive(minor_version: u8, headers: &Headers) -> bool {
    let says = |option: &str| {
        headers.get_all("Connection").any(|value| {
            let mut options = value.split(|byte| *byte == b',');
            options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
        })
    };
    !says("close") && (minor_version > 0 || says("keep-alive"))
}

/// What a head says of the body's framing.
enum Framing {
    Chunked,
    Length(u64),
    Unsaid,
}

/// Reads the framing off the headers, which in the written head follow on `start` bytes and CRLF.
fn framing(start: usize, minor_version: u8, headers: &Headers) -> Result<Framing, HeadError> {
    let mut offset = start + "\r\n".len();
    let mut framing = Framing::Unsaid;
    for (name, value) in headers.iter() {
        let error = |kind| Err(HeadError::new(kind, offset));
        if name.eq_ignore_ascii_case("Transfer-Encoding") {
            framing = match framing {
                _ if minor_version == 0 => return error(HeadErrorKind::TransferEncodingInHttp10),
                Framing::Length(_) => {
                    return error(HeadErrorKind::TransferEncodingAndContentLength);
                }
                Framing::Unsaid if value.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
                _ => return error(HeadErrorKind::TransferEncoding),
            };
        } else if name.eq_ignore_ascii_case("Content-Length") {
            let Some(length) = length(value) else {
                return error(HeadErrorKind::ContentLength);
            };
            framing = match framing {
                Framing::Chunked => return error(HeadErrorKind::TransferEncodingAndContentLength),
                Framing::Length(other) if other != length => {
                    return error(HeadErrorKind::ContentLengths);
                }
                _ => Framing::Length(length),
            };
        }
        offset += name.len() + ": ".len() + value.len() + "\r\n".len();
    }
    Ok(framing)
}

/// Reads a length: digits alone, where `parse` would take a `+` too.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use HeadErrorKind as Kind;

    fn request(text: impl AsRef<[u8]>) -> Result<Option<(RequestHead, usize)>, HeadError> {
        RequestHead::parse(text.as_ref(), &HeadLimits::default())
    }

    fn response(text: impl AsRef<[u8]>) -> Result<Option<(ResponseHead, usize)>, HeadError> {
        ResponseHead::parse(text.as_ref(), &HeadLimits::default())
    }

    /// The head of a text that is one, with some of the next message behind it.
    fn request_of(text: &str) -> RequestHead {
        let (head, len) = request(format!("{text}GET /")).unwrap().unwrap();
        assert_eq!(len, text.len());
        head
    }

    fn response_of(text: &str) -> ResponseHead {
        let (head, len) = response(format!("{text}HTTP")).unwrap().unwrap();
        assert_eq!(len, text.len());
        head
    }

    #[test]
    fn reads_a_request() {
        let text =
            "GET /raft/stream/msgapp/1 HTTP/1.1\r\nX-Raft-To:2\r\nx:  a\tb \t\r\nEmpty:\r\n\r\n";
        let head = request_of(text);
        assert_eq!((&*head.method, &*head.target), ("GET", "/raft/stream/msgapp/1"));
        assert_eq!(head.minor_version, 1);
        let headers: Vec<_> = head.headers.iter().collect();
        assert_eq!(headers, [("X-Raft-To", &b"2"[..]), ("x", b"a\tb"), ("Empty", b"")]);
    }

    #[test]
    fn reads_a_response() {
        let head = response_of("HTTP/1.0 404 Not Found\r\na: \u{e9}\r\n\r\n");
        assert_eq!((head.status, &*head.reason, head.minor_version), (404, "Not Found", 0));
        assert_eq!(head.headers.get("A"), Some("\u{e9}".as_bytes()));
        for text in ["HTTP/1.1 204\r\n\r\n", "HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 204 \u{e9}\r\n\r\n"]
        {
            assert_eq!(response_of(text).reason, "");
        }
    }

    #[test]
    fn refuses_a_malformed_request() {
        for (text, kind, offset) in [
            ("\r\nGET / HTTP/1.1\r\n\r\n", Kind::LineEnd, 0),
            ("\nGET / HTTP/1.1\r\n\r\n", Kind::LineEnd, 0),
            (" GET / HTTP/1.1\r\n\r\n", Kind::Method, 0),
            ("GE(T / HTTP/1.1\r\n\r\n", Kind::Method, 2),
            ("GET\r\n\r\n", Kind::Method, 3),
            ("GET\t/ HTTP/1.1\r\n\r\n", Kind::Method, 3),
            ("GET  / HTTP/1.1\r\n\r\n", Kind::Target, 4),
            ("GET /\r\n\r\n", Kind::Target, 5),
            ("GET /\0 HTTP/1.1\r\n\r\n", Kind::Target, 5),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", Kind::Target, 5),
            ("GET /  HTTP/1.1\r\n\r\n", Kind::Version, 6),
            ("GET / http/1.1\r\n\r\n", Kind::Version, 6),
            ("GET / HTTP/2.0\r\n\r\n", Kind::Version, 11),
            ("GET / HTTP/1.2\r\n\r\n", Kind::Version, 13),
            ("GET / HTTP/1.1 \r\n\r\n", Kind::LineEnd, 14),
            ("GET / HTTP/1.11\r\n\r\n", Kind::LineEnd, 14),
            ("GET / HTTP/1.1\n\r\n", Kind::LineEnd, 14),
            ("GET / HTTP/1.1\r\r\n", Kind::LineEnd, 15),
            ("GET / HTTP/1.1\r\n\n", Kind::LineEnd, 16),
            ("GET / HTTP/1.1\r\na: b\n\r\n", Kind::LineEnd, 20),
            ("GET / HTTP/1.1\r\na: b\rc: d\r\n\r\n", Kind::LineEnd, 21),
            ("GET / HTTP/1.1\r\na: b\r\n\rx", Kind::LineEnd, 23),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Kind::HeaderName, 16),
            ("GET / HTTP/1.1\r\na : b\r\n\r\n", Kind::HeaderName, 17),
            ("GET / HTTP/1.1\r\na\r\n\r\n", Kind::HeaderName, 17),
            ("GET / HTTP/1.1\r\n a: b\r\n\r\n", Kind::HeaderName, 16),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", Kind::HeaderName, 22),
            ("GET / HTTP/1.1\r\na: b\r\n\tc\r\n\r\n", Kind::HeaderName, 22),
            ("GET / HTTP/1.1\r\na: \0\r\n\r\n", Kind::HeaderValue, 19),
            ("GET / HTTP/1.1\r\na: b\x7f\r\n\r\n", Kind::HeaderValue, 20),
        ] {
            assert_eq!(request(text), Err(HeadError::new(kind, offset)), "{text:?}");
        }
        for text in ["GET /\u{ff} H", "GET /\u{ff}\r"] {
            assert_eq!(request(text), Err(HeadError::new(Kind::Target, 5)), "{text:?}");
        }
        assert_eq!(request(b"GET /\xff H"), Err(HeadError::new(Kind::Target, 5)));
    }

    #[test]
    fn refuses_a_malformed_response() {
        for (text, kind, offset) in [
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Kind::LineEnd, 0),
            ("\x02\0\0", Kind::Version, 0),
            ("HTTP/1.1  200 OK\r\n\r\n", Kind::Status, 9),
            ("HTTP/1.1 20 OK\r\n\r\n", Kind::Status, 11),
            ("HTTP/1.1 099 OK\r\n", Kind::Status, 9),
            ("HTTP/1.1 2000 OK\r\n\r\n", Kind::Status, 12),
            ("HTTP/1.1 +20 OK\r\n\r\n", Kind::Status, 9),
            ("HTTP/1.1\r\n\r\n", Kind::Version, 8),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Kind::Reason, 14),
            ("HTTP/1.1 200 OK\n\r\n", Kind::LineEnd, 15),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\r", Kind::LineEnd, 24),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Kind::HeaderName, 23),
        ] {
            assert_eq!(response(text), Err(HeadError::new(kind, offset)), "{text:?}");
        }
    }

    #[test]
    fn bounds_the_head_at_the_same_byte_however_it_arrives() {
        let limits = HeadLimits::default().bytes_max(40).headers_max(2);
        let parse = |text: &str| RequestHead::parse(text.as_bytes(), &limits);
        let exact = "GET / HTTP/1.1\r\na: bbbbbbbb\r\nc: ddd\r\n\r\n";
        assert_eq!(exact.len(), 39);
        assert_eq!(parse(&exact.replace('c', "cc")).unwrap().unwrap().1, 40);
        let long = exact.replace('c', "ccc") + "\0";
        for end in 0..=long.len() {
            let error = Err(HeadError::new(Kind::TooLong, 40));
            assert_eq!(parse(&long[..end]), if end < 40 { Ok(None) } else { error }, "{end}");
        }
        let many = "GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n";
        let error = Err(HeadError::new(Kind::TooManyHeaders, 27));
        assert_eq!(
            (parse(&many[..27]), parse(&many[..28]), parse(many)),
            (Ok(None), error.clone(), error)
        );
        let none = limits.headers_max(0);
        let bare = b"GET / HTTP/1.1\r\n\r\n";
        assert!(RequestHead::parse(bare, &none).unwrap().is_some());
        let nothing = limits.bytes_max(0);
        let error = Err(HeadError::new(Kind::TooLong, 0));
        assert_eq!(RequestHead::parse(b"", &nothing), error);
    }

    #[test]
    fn finds_one_framing_or_refuses() {
        let chunked = || Ok(Some(Body::chunked()));
        let length = |length| Ok(Some(Body::length(length)));
        // The last header gives it away, unless said otherwise.
        for (headers, body) in [
            ("", Ok(None)),
            ("Transfer-Encoding: chunked\r\n", chunked()),
            ("transfer-encoding:\tChunked \r\n", chunked()),
            ("Content-Length: 12\r\n", length(12)),
            ("Content-Length: 0\r\n", length(0)),
            ("Content-Length: 007\r\n", length(7)),
            ("Content-Length: 18446744073709551615\r\n", length(u64::MAX)),
            ("content-length: 5\r\nA: b\r\nContent-Length: 5\r\n", length(5)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Kind::ContentLengths)),
            ("Content-Length: 18446744073709551616\r\n", Err(Kind::ContentLength)),
            ("Content-Length:\r\n", Err(Kind::ContentLength)),
            ("Content-Length: -1\r\n", Err(Kind::ContentLength)),
            ("Content-Length: +1\r\n", Err(Kind::ContentLength)),
            ("Content-Length: 1_0\r\n", Err(Kind::ContentLength)),
            ("Content-Length: 0x1\r\n", Err(Kind::ContentLength)),
            ("Content-Length: 5, 5\r\n", Err(Kind::ContentLength)),
            ("Content-Length: 5 5\r\n", Err(Kind::ContentLength)),
            ("Transfer-Encoding:\r\n", Err(Kind::TransferEncoding)),
            ("Transfer-Encoding: identity\r\n", Err(Kind::TransferEncoding)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(Kind::TransferEncoding)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(Kind::TransferEncoding)),
            ("Transfer-Encoding: chunked;a=b\r\n", Err(Kind::TransferEncoding)),
            ("Transfer-Encoding: \x0bchunked\r\n", Err(Kind::HeaderValue)),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(Kind::TransferEncoding),
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Err(Kind::TransferEncodingAndContentLength),
            ),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Err(Kind::TransferEncodingAndContentLength),
            ),
        ] {
            let text = format!("POST /raft HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
            let found = request(&text).and_then(|head| head.unwrap().0.body());
            let expected = body.clone().map(|body| body.unwrap_or(Body::none()));
            assert_eq!(found.map_err(|error| error.kind), expected, "{headers}");

            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            let found = response(&text).and_then(|head| head.unwrap().0.body("GET"));
            let expected = body.map(|body| body.unwrap_or(Body::until_close()));
            assert_eq!(found.map_err(|error| error.kind), expected, "{headers}");
        }
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let error = response_of(old).body("GET").unwrap_err();
        assert_eq!(error, HeadError::new(Kind::TransferEncodingInHttp10, 17));
    }

    #[test]
    fn says_which_header_frames_the_body_badly() {
        let head = "POST /raft HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n";
        let offset = head.find("Content").unwrap();
        assert_eq!(request_of(head).body(), Err(HeadError::new(Kind::ContentLength, offset)));
        let head = "HTTP/1.1 200 OK\r\nHost: a\r\nContent-Length: x\r\n\r\n";
        let offset = head.find("Content").unwrap();
        assert_eq!(response_of(head).body("GET"), Err(HeadError::new(Kind::ContentLength, offset)));
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (status, method) in
            [(100, "GET"), (199, "GET"), (204, "POST"), (304, "GET"), (200, "HEAD")]
        {
            for headers in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
                let head = response_of(&format!("HTTP/1.1 {status} \r\n{headers}\r\n"));
                assert_eq!(head.body(method), Ok(Body::none()), "{status} {method} {headers}");
            }
        }
    }

    #[test]
    fn knows_which_connections_go_on() {
        for (version, headers, keeps) in [
            (1, "", true),
            (1, "Connection: close\r\n", false),
            (1, "Connection: Keep-Alive,\t CLOSE\r\n", false),
            (1, "Connection: keep-alive\r\nConnection: close\r\n", false),
            (1, "Connection: closed\r\n", true),
            (0, "", false),
            (0, "Connection: keep-alive\r\n", true),
            (0, "Connection: keep-alive, close\r\n", false),
        ] {
            let head = request_of(&format!("GET / HTTP/1.{version}\r\n{headers}\r\n"));
            assert_eq!(head.keeps_alive(), keeps, "{version} {headers}");
            let head = response_of(&format!("HTTP/1.{version} 200 OK\r\n{headers}\r\n"));
            assert_eq!(head.keeps_alive(), keeps, "{version} {headers}");
        }
    }

    #[test]
    fn writes_no_line_that_is_not_the_heads() {
        let good = request_of("GET / HTTP/1.1\r\nA: b\r\n\r\n");
        for (bad, kind, offset) in [
            (RequestHead { method: String::new(), ..good.clone() }, Kind::Method, 0),
            (RequestHead { method: "GET /x".into(), ..good.clone() }, Kind::Method, 3),
            (RequestHead { target: String::new(), ..good.clone() }, Kind::Target, 0),
            (RequestHead { target: "/ HTTP/1.1\r\nB: c".into(), ..good.clone() }, Kind::Target, 1),
            (RequestHead { target: "/\0".into(), ..good.clone() }, Kind::Target, 1),
            (RequestHead { minor_version: 2, ..good }, Kind::Version, 0),
        ] {
            let mut out = Vec::new();
            assert_eq!(bad.write(&mut out), Err(HeadError::new(kind, offset)), "{bad:?}");
            assert!(out.is_empty());
        }
        let good = response_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
        for (bad, kind, offset) in [
            (ResponseHead { status: 99, ..good.clone() }, Kind::Status, 0),
            (ResponseHead { status: 1000, ..good.clone() }, Kind::Status, 0),
            (ResponseHead { reason: "OK\r\nB: c".into(), ..good.clone() }, Kind::Reason, 2),
            (ResponseHead { minor_version: 2, ..good }, Kind::Version, 0),
        ] {
            let mut out = Vec::new();
            assert_eq!(bad.write(&mut out), Err(HeadError::new(kind, offset)), "{bad:?}");
            assert!(out.is_empty());
        }
    }
}
