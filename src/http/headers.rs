//! The headers of a head, and what text they may hold. What the ones that frame a body mean is in
//! `head.rs`.

use super::{HeadError, HeadErrorKind};

/// The headers of a head, in the order in which they are written.
///
/// Names are compared without regard to case, and kept as they are. Every name is a token and no
/// value holds a control byte but tabs, so that what is written is these headers and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// INVARIANT: names pass [`name_end`] whole, values [`value_end`], and have no space at an end.
    headers: Vec<Header>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    name: Box<str>,
    value: Box<[u8]>,
}

impl Headers {
    /// Makes an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { headers: Vec::new() }
    }

    /// Returns the value of the first header of that name, without spaces around it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns the values of all headers of that name, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |header| header.0.eq_ignore_ascii_case(name)).map(|header| header.1)
    }

    /// Returns names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|header| (&*header.name, &*header.value))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Sets a header: in place of the first of that name, and there is no other then; or else as the
    /// last one. Spaces and tabs around the value are dropped.
    ///
    /// # Errors
    ///
    /// The name is not a token, or the value holds a control byte. Nothing is changed then.
    pub fn insert(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        let header = Header::new(name, value.as_ref())?;
        let is_same = |other: &Header| other.name.eq_ignore_ascii_case(name);
        let Some(first) = self.headers.iter().position(is_same) else {
            self.headers.push(header);
            return Ok(());
        };
        let mut position = 0..;
        self.headers.retain(|other| position.next() <= Some(first) || !is_same(other));
        self.headers[first] = header;
        Ok(())
    }

    /// Adds a header behind the others, be there one of that name or not. Spaces and tabs around the
    /// value are dropped.
    ///
    /// # Errors
    ///
    /// The name is not a token, or the value holds a control byte. Nothing is changed then.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        self.headers.push(Header::new(name, value.as_ref())?);
        Ok(())
    }

    /// Takes over what httparse read.
    pub(super) fn parsed(headers: &[httparse::Header<'_>]) -> Result<Self, HeadError> {
        let headers = headers.iter().map(|header| Header::new(header.name, header.value));
        Ok(Self { headers: headers.collect::<Result<_, _>>()? })
    }

    /// Appends the lines, and the empty one that ends a head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Header {
    fn new(name: &str, value: &[u8]) -> Result<Self, HeadError> {
        let end = name_end(name.as_bytes());
        if end == 0 || end < name.len() {
            return Err(HeadError::new(HeadErrorKind::HeaderName, end));
        }
        let end = value_end(value);
        if end < value.len() {
            return Err(HeadError::new(HeadErrorKind::HeaderValue, end));
        }
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let start = value.iter().position(is_text).unwrap_or(value.len());
        let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
        Ok(Self { name: name.into(), value: value[start..end].into() })
    }
}

/// How many of the first bytes may stand in a name, or a method: those of a token.
pub(super) fn name_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len())
}

/// How many of the first bytes may stand in a value, or a reason.
pub(super) fn value_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_text(*byte)).unwrap_or(bytes.len())
}

pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Anything but control bytes; a tab is none here.
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.append(name, value).unwrap();
        }
        headers
    }

    #[test]
    fn finds_a_name_in_any_case() {
        let headers = headers(&[("X-PeerURLs", "a"), ("x-peerurls", "b"), ("X-Raft-To", "")]);
        assert_eq!(headers.get("X-Peerurls"), Some(&b"a"[..]));
        assert_eq!(headers.get_all("X-PEERURLS").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(headers.get("x-raft-to"), Some(&b""[..]));
        assert_eq!(headers.get("X-Raft"), None);
    }

    #[test]
    fn a_header_that_is_set_is_there_once_and_where_the_first_was() {
        let mut found = headers(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
        found.insert("A", "5").unwrap();
        found.insert("d", " \t6 ").unwrap();
        assert_eq!(found, headers(&[("A", "5"), ("b", "2"), ("c", "4"), ("d", "6")]));
    }

    #[test]
    fn refuses_what_would_be_another_line_or_none() {
        use HeadErrorKind::{HeaderName, HeaderValue};
        let mut found = Headers::new();
        for (name, value, kind, offset) in [
            ("", "a", HeaderName, 0),
            ("a b", "a", HeaderName, 1),
            ("a:", "a", HeaderName, 1),
            ("a\r\nb", "a", HeaderName, 1),
            ("\u{e9}", "a", HeaderName, 0),
            ("a", "b\r\nc: d", HeaderValue, 1),
            ("a", "b\n", HeaderValue, 1),
            ("a", "\0", HeaderValue, 0),
            ("a", "b\x7f", HeaderValue, 1),
        ] {
            let error = Err(HeadError::new(kind, offset));
            assert_eq!(found.append(name, value), error, "{name:?} {value:?}");
            assert_eq!(found.insert(name, value), error, "{name:?} {value:?}");
        }
        assert!(found.is_empty());
        found.append("a", b"\xff tabs\tas well").unwrap();
    }
}
