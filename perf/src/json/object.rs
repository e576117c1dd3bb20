//! Objects that are written as objects and read from nothing else: what serde derives would take an
//! array for one too, and an empty one for a message of zeros. Which keys they have stands in
//! `form.rs`.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use std::fmt;
use std::marker::PhantomData;

/// What serde derives for one object of the form.
pub(super) trait Form {
    type Value;

    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error>;
}

/// The functions for serde's `with`.
pub(super) struct Object<F>(PhantomData<F>);

impl<F: Form> Object<F> {
    pub(super) fn serialize<S: Serializer>(
        value: &F::Value,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        F::write(value, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<F::Value, D::Error> {
        deserializer.deserialize_map(Self(PhantomData))
    }
}

impl<'de, F: Form> Visitor<'de> for Object<F> {
    type Value = F::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<F::Value, A::Error> {
        F::read(MapAccessDeserializer::new(map))
    }
}
