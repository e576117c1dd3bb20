//! A shape: how many entries of how many bytes an AppEntries carries, as written on the command
//! line, and the grid that is measured when none is named. Not here: the messages themselves.

use std::fmt;
use std::str::FromStr;

/// The grids etcd's own codec and transport were measured over, so that the figures can stand side by
/// side.
pub(crate) const CODEC_GRID: [Shape; 7] = [
    Shape::new(1, 64),
    Shape::new(1, KIB),
    Shape::new(1, 64 * KIB),
    Shape::new(8, KIB),
    Shape::new(64, 64),
    Shape::new(64, KIB),
    Shape::new(64, 64 * KIB),
];

pub(crate) const STREAM_GRID: [Shape; 7] = [
    Shape::new(1, 64),
    Shape::new(1, 256),
    Shape::new(1, KIB),
    Shape::new(8, KIB),
    Shape::new(64, KIB),
    Shape::new(1, 64 * KIB),
    Shape::new(1, MIB),
];

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bounds what a typing error can ask of the machine: a pass holds a few such messages.
const MESSAGE_BYTES_MAX: usize = 64 * MIB;
const ENTRIES_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) entries: usize,
    /// Of each entry's data.
    pub(crate) bytes: usize,
}

impl Shape {
    pub(crate) const fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, bytes } = self;
        match *bytes {
            bytes if bytes >= MIB && bytes % MIB == 0 => write!(f, "{entries}x{}MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{entries}x{}KiB", bytes / KIB),
            bytes => write!(f, "{entries}x{bytes}"),
        }
    }
}

/// Why a shape was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShapeError {
    Form,
    Entries,
    Bytes,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("not of the form ENTRIESxBYTES, such as 64x1KiB or 1x64"),
            Self::Entries => write!(f, "the number of entries is not in 1..={ENTRIES_MAX}"),
            Self::Bytes => write!(f, "more than {} MiB in a message", MESSAGE_BYTES_MAX / MIB),
        }
    }
}

impl std::error::Error for ShapeError {}

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let (entries, size) = text.trim().split_once(['x', 'X']).ok_or(ShapeError::Form)?;
        let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
        let (number, unit) = size.split_at(digits);
        let scale = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => KIB,
            "m" | "mib" => MIB,
            _ => return Err(ShapeError::Form),
        };
        let entries: usize = entries.parse().map_err(|_| ShapeError::Form)?;
        let number: usize = number.parse().map_err(|_| ShapeError::Form)?;
        if !(1..=ENTRIES_MAX).contains(&entries) {
            return Err(ShapeError::Entries);
        }
        let bytes = number.checked_mul(scale).ok_or(ShapeError::Bytes)?;
        match bytes.checked_mul(entries) {
            Some(total) if total <= MESSAGE_BYTES_MAX => Ok(Self { entries, bytes }),
            _ => Err(ShapeError::Bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for shape in
            CODEC_GRID.into_iter().chain(STREAM_GRID).chain([Shape::new(3, 0), Shape::new(1, 1500)])
        {
            assert_eq!(shape.to_string().parse(), Ok(shape));
        }
    }

    #[test]
    fn takes_units_in_any_case() {
        assert_eq!("8x1k".parse(), Ok(Shape::new(8, 1024)));
        assert_eq!("8X1KIB".parse(), Ok(Shape::new(8, 1024)));
        assert_eq!("2x1MiB".parse(), Ok(Shape::new(2, MIB)));
        assert_eq!("2x64B".parse(), Ok(Shape::new(2, 64)));
    }

    #[test]
    fn refuses_what_is_no_shape() {
        for text in ["", "64", "x", "1x", "x1", "1x1KB", "1x-1", "axb", "1x1x1"] {
            assert_eq!(text.parse::<Shape>(), Err(ShapeError::Form), "{text}");
        }
        assert_eq!("0x64".parse::<Shape>(), Err(ShapeError::Entries));
        assert_eq!("99999999x1".parse::<Shape>(), Err(ShapeError::Entries));
        assert_eq!("64x2MiB".parse::<Shape>(), Err(ShapeError::Bytes));
        assert_eq!("1x99999999999999999MiB".parse::<Shape>(), Err(ShapeError::Bytes));
    }
}
