//! The keys of a type and their types, from its `Deserialize` implementation, so that nothing is listed twice.

use std::collections::BTreeMap;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Every key that holds no other keys, by its path, with the name of its type.
pub fn of<'de, T: Deserialize<'de>>() -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    let keys = Keys {
        path: String::new(),
        found: &mut found,
    };
    T::deserialize(keys).unwrap();
    found
}

/// Gives a type each value that it reads, and records the key.
struct Keys<'a> {
    path: String,
    found: &'a mut BTreeMap<String, &'static str>,
}

impl Keys<'_> {
    fn found(&mut self, kind: &'static str) {
        self.found.insert(self.path.clone(), kind);
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            self.found("int");
            visitor.visit_u64(0)
        }
    )*};
}

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = Error;

    // Only a field that takes any value calls this.
    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.found("object");
        visitor.visit_unit()
    }

    integers! { deserialize_i32 deserialize_i64 deserialize_u32 deserialize_u64 }

    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.found("float");
        visitor.visit_f64(0.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.found("bool");
        visitor.visit_bool(false)
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.found("string");
        visitor.visit_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(One(Some(self)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { keys: self, fields })
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 f32 char str bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// A list of one element.
struct One<'a>(Option<Keys<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let element = self.0.take().map(|mut keys| {
            keys.path.push_str("[]");
            seed.deserialize(keys)
        });
        element.transpose()
    }
}

/// Every field of a struct.
struct Fields<'a> {
    keys: Keys<'a>,
    fields: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.fields.first() else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Error> = (*field).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (field, rest) = self.fields.split_first().unwrap();
        self.fields = rest;
        let dot = if self.keys.path.is_empty() { "" } else { "." };
        seed.deserialize(Keys {
            path: format!("{}{dot}{field}", self.keys.path),
            found: self.keys.found,
        })
    }
}
