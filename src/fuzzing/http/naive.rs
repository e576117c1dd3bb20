//! Heads and chunk framing read straight from the grammar of RFC 9112, one production a function,
//! with all of the input at hand: what `crate::http` is compared with. Nothing is fast here, and
//! nothing goes on where it stopped.

use crate::http::{
    BodyError, BodyErrorKind, HeadError, HeadErrorKind, HeadLimits, Headers, RequestHead,
    ResponseHead, SIZE_LINE_BYTES_MAX, TRAILERS_BYTES_MAX,
};

/// Why reading stopped.
enum Stop<K> {
    /// The input ended, and nothing was wrong with it so far.
    Ended,
    /// This is wrong, at this byte.
    Wrong(K, usize),
}

type Read<T, K> = Result<T, Stop<K>>;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek<K>(&self) -> Read<u8, K> {
        self.bytes.get(self.at).copied().ok_or(Stop::Ended)
    }

    fn wrong<T, K>(&self, kind: K) -> Read<T, K> {
        Err(Stop::Wrong(kind, self.at))
    }

    /// One byte, which must be this one.
    fn expect<K>(&mut self, byte: u8, otherwise: K) -> Read<(), K> {
        if self.peek()? != byte {
            return self.wrong(otherwise);
        }
        self.at += 1;
        Ok(())
    }

    /// All bytes up to one that may not be there; there is one.
    fn run<K>(&mut self, may: impl Fn(u8) -> bool) -> Read<&'a [u8], K> {
        let start = self.at;
        while may(self.peek()?) {
            self.at += 1;
        }
        Ok(&self.bytes[start..self.at])
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// ---------------------------------------------------------------------------------------------
// Heads.

/// What [`RequestHead::parse`] is to return.
///
/// # Errors
///
/// The same.
pub fn request(
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    head(bytes, limits, |reader| {
        let method = text(token(reader, HeadErrorKind::Method)?);
        expect(reader, b' ', HeadErrorKind::Method)?;
        let target = text(target(reader)?);
        expect(reader, b' ', HeadErrorKind::Target)?;
        let minor_version = version(reader)?;
        line_end(reader, HeadErrorKind::LineEnd)?;
        let headers = headers(reader, limits)?;
        Ok(RequestHead { method, target, minor_version, headers })
    })
}

/// What [`ResponseHead::parse`] is to return.
///
/// # Errors
///
/// The same.
pub fn response(
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, HeadError> {
    head(bytes, limits, |reader| {
        let minor_version = version(reader)?;
        expect(reader, b' ', HeadErrorKind::Version)?;
        let mut status = 0;
        let start = reader.at;
        for _ in 0..3 {
            let digit = reader.peek()?;
            expect(reader, digit.clamp(b'0', b'9'), HeadErrorKind::Status)?;
            status = 10 * status + u16::from(digit - b'0');
        }
        if status < 100 {
            return Err(Stop::Wrong(HeadErrorKind::Status, start));
        }
        let mut reason = String::new();
        if reader.peek()? == b' ' {
            reader.at += 1;
            let found = reader.run(is_text)?;
            reason = if found.is_ascii() { text(found) } else { String::new() };
            line_end(reader, HeadErrorKind::Reason)?;
        } else {
            line_end(reader, HeadErrorKind::Status)?;
        }
        let headers = headers(reader, limits)?;
        Ok(ResponseHead { status, reason, minor_version, headers })
    })
}

/// A head, and how many bytes it takes.
type Whole<H> = Option<(H, usize)>;

fn head<'a, H>(
    bytes: &'a [u8],
    limits: &HeadLimits,
    read: impl FnOnce(&mut Reader<'a>) -> Read<H, HeadErrorKind>,
) -> Result<Whole<H>, HeadError> {
    let is_long = bytes.len() >= limits.bytes_max;
    let bytes = &bytes[..bytes.len().min(limits.bytes_max)];
    let mut reader = Reader { bytes, at: 0 };
    let error = |kind, offset| Err(HeadError { kind, offset });
    if let Some(b'\r' | b'\n') = bytes.first() {
        return error(HeadErrorKind::LineEnd, 0);
    }
    match read(&mut reader) {
        Ok(head) => Ok(Some((head, reader.at))),
        Err(Stop::Ended) if is_long => error(HeadErrorKind::TooLong, bytes.len()),
        Err(Stop::Ended) => Ok(None),
        Err(Stop::Wrong(kind, at)) => error(kind, at),
    }
}

/// One byte of a head. An LF that is out of place is always that.
fn expect(reader: &mut Reader<'_>, byte: u8, otherwise: HeadErrorKind) -> Read<(), HeadErrorKind> {
    let is_lf = reader.peek()? == b'\n';
    reader.expect(byte, if is_lf { HeadErrorKind::LineEnd } else { otherwise })
}

fn line_end(reader: &mut Reader<'_>, otherwise: HeadErrorKind) -> Read<(), HeadErrorKind> {
    expect(reader, b'\r', otherwise)?;
    expect(reader, b'\n', HeadErrorKind::LineEnd)
}

fn token<'a>(reader: &mut Reader<'a>, otherwise: HeadErrorKind) -> Read<&'a [u8], HeadErrorKind> {
    match reader.run(is_token)? {
        [] if reader.peek()? == b'\n' => reader.wrong(HeadErrorKind::LineEnd),
        [] => reader.wrong(otherwise),
        token => Ok(token),
    }
}

fn target<'a>(reader: &mut Reader<'a>) -> Read<&'a [u8], HeadErrorKind> {
    let start = reader.at;
    let target = reader.run(|byte| byte.is_ascii_graphic() || !byte.is_ascii())?;
    match target.iter().position(|byte| !byte.is_ascii()) {
        _ if reader.peek()? == b'\n' => reader.wrong(HeadErrorKind::LineEnd),
        Some(at) => Err(Stop::Wrong(HeadErrorKind::Target, start + at)),
        None if target.is_empty() => reader.wrong(HeadErrorKind::Target),
        None => Ok(target),
    }
}

fn version(reader: &mut Reader<'_>) -> Read<u8, HeadErrorKind> {
    for byte in b"HTTP/1." {
        expect(reader, *byte, HeadErrorKind::Version)?;
    }
    let digit = reader.peek()?;
    expect(reader, digit.clamp(b'0', b'1'), HeadErrorKind::Version)?;
    Ok(digit - b'0')
}

fn headers(reader: &mut Reader<'_>, limits: &HeadLimits) -> Read<Headers, HeadErrorKind> {
    let mut headers = Headers::new();
    while reader.peek()? != b'\r' {
        let name = text(token(reader, HeadErrorKind::HeaderName)?);
        expect(reader, b':', HeadErrorKind::HeaderName)?;
        let value = reader.run(is_text)?;
        line_end(reader, HeadErrorKind::HeaderValue)?;
        if headers.len() == limits.headers_max {
            return Err(Stop::Wrong(HeadErrorKind::TooManyHeaders, reader.at - 1));
        }
        headers.append(&name, value).expect("it was read as one");
    }
    line_end(reader, HeadErrorKind::LineEnd)?;
    Ok(headers)
}

// ---------------------------------------------------------------------------------------------
// Bodies.

/// What came of a body in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "private")]
pub struct Decoded {
    /// The bytes of its chunks, as far as they are there.
    pub payload: Vec<u8>,
    /// How many bytes it takes; `None` if it has not ended.
    pub end: Result<Option<usize>, BodyError>,
}

/// Decodes a body in chunks.
#[must_use]
pub fn chunked(raw: &[u8]) -> Decoded {
    let mut reader = Reader { bytes: raw, at: 0 };
    let mut payload = Vec::new();
    let end = match body(&mut reader, &mut payload) {
        Ok(()) => Ok(Some(reader.at)),
        Err(Stop::Ended) => Ok(None),
        Err(Stop::Wrong(kind, at)) => Err(BodyError { kind, offset: at as u64 }),
    };
    Decoded { payload, end }
}

fn body(reader: &mut Reader<'_>, payload: &mut Vec<u8>) -> Read<(), BodyErrorKind> {
    loop {
        let size = size_line(reader)?;
        if size == 0 {
            return trailers(reader);
        }
        let rest = &reader.bytes[reader.at..];
        let Some(data) = usize::try_from(size).ok().and_then(|size| rest.get(..size)) else {
            payload.extend_from_slice(rest);
            return Err(Stop::Ended);
        };
        payload.extend_from_slice(data);
        reader.at += data.len();
        reader.expect(b'\r', BodyErrorKind::ChunkEnd)?;
        reader.expect(b'\n', BodyErrorKind::ChunkEnd)?;
    }
}

fn size_line(reader: &mut Reader<'_>) -> Read<u64, BodyErrorKind> {
    let start = reader.at;
    let mut size = 0;
    while let Some(digit) = char::from(reader.peek()?).to_digit(16) {
        if reader.at - start == 16 {
            return reader.wrong(BodyErrorKind::ChunkSize);
        }
        size = 16 * size + u64::from(digit);
        reader.at += 1;
    }
    if reader.at == start {
        return reader.wrong(BodyErrorKind::ChunkSize);
    }
    let mut in_extension = false;
    loop {
        let byte = reader.peek()?;
        let is_full = reader.at - start == SIZE_LINE_BYTES_MAX as usize;
        match byte {
            b'\r' => break,
            _ if is_full => return reader.wrong(BodyErrorKind::SizeLineTooLong),
            b'\n' => return reader.wrong(BodyErrorKind::LineEnd),
            b';' => in_extension = true,
            b' ' | b'\t' => {}
            _ if !in_extension => return reader.wrong(BodyErrorKind::ChunkSize),
            _ if !is_text(byte) => return reader.wrong(BodyErrorKind::LineEnd),
            _ => {}
        }
        reader.at += 1;
    }
    reader.at += 1;
    reader.expect(b'\n', BodyErrorKind::LineEnd)?;
    Ok(size)
}

fn trailers(reader: &mut Reader<'_>) -> Read<(), BodyErrorKind> {
    /// One byte of a trailer, be it one that may be there or not.
    fn one(reader: &Reader<'_>, start: usize) -> Read<u8, BodyErrorKind> {
        let byte = reader.peek()?;
        if reader.at - start == TRAILERS_BYTES_MAX as usize {
            return reader.wrong(BodyErrorKind::TrailersTooLong);
        }
        Ok(byte)
    }

    let start = reader.at;
    while reader.peek()? != b'\r' {
        let line = reader.at;
        while is_token(one(reader, start)?) {
            reader.at += 1;
        }
        if reader.peek()? != b':' || reader.at == line {
            let bare = reader.peek()? == b'\n' && reader.at == line;
            let kind = if bare { BodyErrorKind::LineEnd } else { BodyErrorKind::Trailer };
            return reader.wrong(kind);
        }
        reader.at += 1;
        while is_text(one(reader, start)?) {
            reader.at += 1;
        }
        for byte in *b"\r\n" {
            one(reader, start)?;
            reader.expect(byte, BodyErrorKind::LineEnd)?;
        }
    }
    reader.at += 1;
    reader.expect(b'\n', BodyErrorKind::LineEnd)
}
