//! The numbers of members and clusters, as the wire spells them: lower-case hex without prefix or
//! padding. Not here: raft's own fields, which are plain `u64` in [`raftpb`](crate::raftpb).

use std::fmt;
use std::str::FromStr;

/// Text that is no id: empty, not hex, or more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hexadecimal number of at most 64 bits")
    }
}

impl std::error::Error for IdError {}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::exhaustive_structs, reason = "a number")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads hex digits of either case, leading zeros allowed.
            fn from_str(text: &str) -> Result<Self, IdError> {
                // `from_str_radix` would take a sign.
                if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(IdError);
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| IdError)
            }
        }
    };
}

id! {
    /// A member of a cluster; 0 is nobody.
    ///
    /// ```
    /// use raftwire::transport::MemberId;
    ///
    /// assert_eq!("8211f1d0f64f3269".parse(), Ok(MemberId(0x8211_f1d0_f64f_3269)));
    /// assert_eq!(MemberId(26).to_string(), "1a");
    /// ```
    MemberId
}

id! {
    /// A cluster. Members of different clusters refuse each other.
    ClusterId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_etcd_reads() {
        for (text, id) in [("1", 1), ("0", 0), ("00aB", 0xab), ("ffffffffffffffff", u64::MAX)] {
            assert_eq!(text.parse(), Ok(MemberId(id)), "{text}");
        }
        for text in ["", "0x1", "-1", "+1", " 1", "g", "10000000000000000"] {
            assert_eq!(text.parse::<MemberId>(), Err(IdError), "{text}");
        }
    }
}
