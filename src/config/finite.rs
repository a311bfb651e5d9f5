//! Finds infinite and NaN numbers, which JSON cannot represent.

use std::fmt;

use serde::{Serialize, Serializer, ser};
use serde_json::Value;

/// The first number in `value` that is not finite, as in `options.eps is inf`. serde_json would write it as `null`.
pub(crate) fn not_finite(value: &impl Serialize) -> Option<String> {
    value.serialize(Walker).err().map(|found| found.to_string())
}

/// Serializes `value`, but refuses infinite and NaN numbers if the format is text, such as JSON.
///
/// For `impl Serialize` of types whose numbers must not become `null`.
pub(crate) fn serialize_finite<T: Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable()
        && let Some(found) = not_finite(value)
    {
        return Err(ser::Error::custom(format!("{found}: JSON holds finite numbers alone")));
    }
    value.serialize(serializer)
}

/// A number that is not finite, with the fields and indices that lead to it, innermost first.
#[derive(Debug)]
struct NotFinite {
    path: Vec<String>,
    number: String,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        match path.strip_prefix('.').unwrap_or(&path) {
            "" => write!(f, "it is {}", self.number),
            path => write!(f, "{path} is {}", self.number),
        }
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // A value whose own `Serialize` fails is refused here too.
        Self { path: Vec::new(), number: message.to_string() }
    }
}

/// A serializer that visits every number and writes nothing.
#[derive(Clone, Copy)]
struct Walker;

type Walked = Result<(), NotFinite>;

fn number(number: f64) -> Walked {
    if number.is_finite() {
        return Ok(());
    }
    Err(NotFinite { path: Vec::new(), number: number.to_string() })
}

fn at(place: impl FnOnce() -> String, value: &(impl Serialize + ?Sized)) -> Walked {
    value.serialize(Walker).map_err(|mut found| {
        found.path.push(place());
        found
    })
}

/// Visits the elements of a sequence, or the fields of a map or struct.
#[derive(Default)]
struct Within {
    index: usize,
    key: String,
}

impl Within {
    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Walked {
        let index = self.index;
        self.index += 1;
        at(|| format!("[{index}]"), value)
    }
}

fn field(name: &str, value: &(impl Serialize + ?Sized)) -> Walked {
    at(|| format!(".{name}"), value)
}

macro_rules! passed {
    ($($method:ident($($argument:ty),*);)*) => {$(
        fn $method(self, $(_: $argument),*) -> Walked {
            Ok(())
        }
    )*};
}

impl Serializer for Walker {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Within;
    type SerializeTuple = Within;
    type SerializeTupleStruct = Within;
    type SerializeTupleVariant = Within;
    type SerializeMap = Within;
    type SerializeStruct = Within;
    type SerializeStructVariant = Within;

    passed! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_f32(self, value: f32) -> Walked {
        number(value.into())
    }

    fn serialize_f64(self, value: f64) -> Walked {
        number(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Walked {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Walked {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Walked {
        field(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Within, NotFinite> {
        Ok(Within::default())
    }
}

macro_rules! elements {
    ($($kind:ident::$method:ident)*) => {$(
        impl ser::$kind for Within {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Walked {
                self.element(value)
            }

            fn end(self) -> Walked {
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! fields {
    ($($kind:ident)*) => {$(
        impl ser::$kind for Within {
            type Ok = ();
            type Error = NotFinite;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Walked {
                field(name, value)
            }

            fn end(self) -> Walked {
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Within {
    type Ok = ();
    type Error = NotFinite;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Walked {
        self.key = match serde_json::to_value(key) {
            Ok(Value::String(key)) => key,
            Ok(other) => other.to_string(),
            Err(_) => "?".into(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Walked {
        let key = &self.key;
        at(|| format!(".{key}"), value)
    }

    fn end(self) -> Walked {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
