//! What a key of the form can hold beside numbers and booleans: enums, payloads, lists and the
//! snapshot. Each module is a pair of functions for serde's `with`.

use super::form::{EntryForm, MessageForm, SnapshotForm};
use super::object::Object;
use bytes::Bytes;
use raftwire::raftpb::{Entries, Entry, Message, Snapshot};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize as DeriveDeserialize, Serialize as DeriveSerialize};
use std::fmt;

/// A module for an open enum: its name where it has one, its number where it has none.
macro_rules! open_enum {
    ($module:ident, $type:ident) => {
        pub(super) mod $module {
            use super::*;
            use raftwire::raftpb::$type;

            pub(in super::super) fn serialize<S: Serializer>(
                value: &$type,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match value.name() {
                    Some(name) => serializer.serialize_str(name),
                    None => serializer.serialize_i32(value.0),
                }
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$type, D::Error> {
                deserializer
                    .deserialize_any(NameOrNumber(|name| Some($type::from_name(name)?.0)))
                    .map($type)
            }
        }
    };
}

open_enum!(message_type, MessageType);
open_enum!(entry_type, EntryType);

/// Reads an enum's number, finding it with the function where the text holds a name.
struct NameOrNumber(fn(&str) -> Option<i32>);

impl Visitor<'_> for NameOrNumber {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name etcd gives it, or a number of 32 bits")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<i32, E> {
        self.0(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
        i32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
        i32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

/// Bytes as hex; `None` is null.
pub(super) mod payload {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        payload: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match payload {
            Some(bytes) => serializer.collect_str(&const_hex::display(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        deserializer.deserialize_any(Payload)
    }

    struct Payload;

    impl Visitor<'_> for Payload {
        type Value = Option<Bytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes as hex, or null")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<Bytes>, E> {
            // const_hex would take a leading `0x` too, which no other tool that reads this form does.
            if text.starts_with("0x") {
                return Err(E::custom("bytes are hex without 0x"));
            }
            let bytes = const_hex::decode(text).map_err(E::custom)?;
            Ok(Some(bytes.into()))
        }

        fn visit_unit<E: Error>(self) -> Result<Option<Bytes>, E> {
            Ok(None)
        }
    }
}

/// A module for a list whose items have a form of their own.
macro_rules! list {
    ($module:ident, $list:ty, $item:ty, $form:literal) => {
        pub(super) mod $module {
            use super::*;

            #[derive(DeriveSerialize)]
            struct Written<'a>(#[serde(with = $form)] &'a $item);

            #[derive(DeriveDeserialize)]
            struct Read(#[serde(with = $form)] $item);

            pub(in super::super) fn serialize<S: Serializer>(
                list: &[$item],
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(list.iter().map(Written))
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$list, D::Error> {
                let list = Vec::<Read>::deserialize(deserializer)?;
                Ok(list.into_iter().map(|item| item.0).collect())
            }
        }
    };
}

list!(entries, Entries, Entry, "counted_entry");
list!(nested, Vec<Message>, Message, "counted");
list!(ids, Vec<u64>, u64, "counted_id");

/// The items of all lists of a line, counted as they are read: each takes far more memory than the
/// few bytes of text it may be.
pub(super) mod items {
    use super::*;
    use crate::json::LIST_ITEMS_MAX;
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    /// Begins a line.
    pub(in super::super) fn begin() {
        COUNT.set(0);
    }

    pub(super) fn count<E: Error>() -> Result<(), E> {
        let count = COUNT.get();
        if count == LIST_ITEMS_MAX {
            return Err(E::custom(format_args!("more than {LIST_ITEMS_MAX} items in lists")));
        }
        COUNT.set(count + 1);
        Ok(())
    }
}

/// A module for an item that is counted when it is read.
macro_rules! counted_item {
    ($module:ident, $item:ty, $serialize:expr, $deserialize:expr) => {
        mod $module {
            use super::*;

            pub(super) fn serialize<S: Serializer>(
                item: &$item,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                $serialize(item, serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$item, D::Error> {
                items::count()?;
                $deserialize(deserializer)
            }
        }
    };
}

counted_item!(
    counted_entry,
    Entry,
    Object::<EntryForm>::serialize,
    Object::<EntryForm>::deserialize
);
counted_item!(counted_id, u64, serde::Serialize::serialize, u64::deserialize);

/// A message inside another, counted when it is read; its own limit is far below that of all items.
mod counted {
    use super::*;
    use raftwire::raftpb::RESPONSES_MAX;

    pub(super) fn serialize<S: Serializer>(
        message: &Message,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Object::<MessageForm>::serialize(message, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Message, D::Error> {
        let count = responses::COUNT.get();
        if count == RESPONSES_MAX {
            return Err(Error::custom("too many nested messages"));
        }
        responses::COUNT.set(count + 1);
        Object::<MessageForm>::deserialize(deserializer)
    }
}

/// A message's `responses`, as deep and as many as the codec has them and no more: the reader of
/// JSON bounds neither.
pub(super) mod responses {
    use super::*;
    use raftwire::raftpb::NESTING_MAX;
    use std::cell::Cell;

    pub(in super::super) use super::nested::serialize;

    thread_local! {
        /// How deep the message being read is nested.
        static LEVEL: Cell<u32> = const { Cell::new(0) };
        /// How many nested messages were read of the outermost one.
        pub(super) static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Message>, D::Error> {
        let level = LEVEL.get();
        if level == NESTING_MAX {
            return Err(Error::custom("messages nested too deep"));
        }
        if level == 0 {
            COUNT.set(0);
        }
        LEVEL.set(level + 1);
        let responses = nested::deserialize(deserializer);
        LEVEL.set(level);
        responses
    }
}

/// No snapshot is written as the empty one, and read from `null`. Whether an empty one is none
/// depends on the message's type, which is the message's to know.
pub(super) mod snapshot {
    use super::*;

    #[derive(DeriveSerialize)]
    struct Written<'a>(#[serde(with = "Object::<SnapshotForm>")] &'a Snapshot);

    #[derive(DeriveDeserialize)]
    struct Read(#[serde(with = "Object::<SnapshotForm>")] Snapshot);

    pub(in super::super) fn serialize<S: Serializer>(
        snapshot: &Option<Box<Snapshot>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match snapshot {
            Some(snapshot) => serializer.serialize_newtype_struct("Snapshot", &Written(snapshot)),
            None => serializer.serialize_newtype_struct("Snapshot", &Written(&Snapshot::default())),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Box<Snapshot>>, D::Error> {
        let snapshot = Option::<Read>::deserialize(deserializer)?;
        Ok(snapshot.map(|read| Box::new(read.0)))
    }
}
