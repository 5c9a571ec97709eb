//! The codec against libnv's own bytes: `data/nvlist-vectors.json`.

use serde_json::Value as Json;

use super::*;

const VECTORS: &str = include_str!("../../data/nvlist-vectors.json");

/// What libnv wrote, or judged.
struct Vector {
    name: String,
    bytes: Vec<u8>,
    flags: u8,
    /// FreeBSD's errno, if libnv refuses.
    errno: Option<i32>,
    /// The list, where the file has it.
    list: Option<Nvlist>,
}

fn vectors() -> Vec<Vector> {
    let file: Json = serde_json::from_str(VECTORS).unwrap();
    file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect()
}

fn vector(case: &Json) -> Vector {
    let flags = u8::try_from(case["flags"].as_u64().unwrap()).unwrap();
    let bytes = hex(&case["hex"]);
    assert_eq!(Some(bytes.len() as u64), case["len"].as_u64());
    Vector {
        name: case["name"].as_str().unwrap().into(),
        flags,
        bytes,
        // The verdicts come from libnv built on Linux, where EILSEQ is 84.
        errno: (case["expect"] == "reject").then(|| match case["linux_errno"].as_u64() {
            Some(84) => 86,
            Some(other) => i32::try_from(other).unwrap(),
            None => panic!("{case}"),
        }),
        list: case.get("pairs").map(|pairs| list(flags, pairs)),
    }
}

fn list(flags: u8, pairs: &Json) -> Nvlist {
    let mut list = Nvlist::with_flags(flags);
    for pair in pairs.as_array().unwrap() {
        list.push(
            text(&pair["name"]),
            value(&text(&pair["type"]), &pair["value"]),
        );
    }
    list
}

fn value(kind: &str, value: &Json) -> Value {
    let items = || value.as_array().unwrap().iter();
    match kind {
        "null" => Value::Null,
        "bool" => Value::Bool(value.as_bool().unwrap()),
        "number" => Value::Number(number(value)),
        "string" => Value::String(text(value).into()),
        "binary" => Value::Binary(hex(value)),
        "nvlist" => Value::Nvlist(list(0, value)),
        "bool_array" => Value::BoolArray(items().map(|v| v.as_bool().unwrap()).collect()),
        "number_array" => Value::NumberArray(items().map(number).collect()),
        "string_array" => Value::StringArray(items().map(|v| text(v).into()).collect()),
        "nvlist_array" => Value::NvlistArray(items().map(|v| list(0, v)).collect()),
        other => panic!("{other}"),
    }
}

fn text(value: &Json) -> String {
    value.as_str().unwrap().into()
}

fn number(value: &Json) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn hex(value: &Json) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn packing_gives_the_bytes_of_libnv() {
    let mut packed = 0;
    for vector in vectors() {
        if let Some(list) = &vector.list {
            assert_eq!(list.pack().as_ref(), Ok(&vector.bytes), "{}", vector.name);
            packed += 1;
        }
    }
    assert_eq!(packed, 15);
}

#[test]
fn unpacking_judges_as_libnv_does() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 39);
    for vector in vectors {
        let unpacked = Nvlist::unpack(&vector.bytes, vector.flags);
        let verdict = unpacked.as_ref().err().map(UnpackError::errno);
        assert_eq!(verdict, vector.errno, "{}: {unpacked:?}", vector.name);
        if vector.list.is_some() {
            assert_eq!(unpacked.ok(), vector.list, "{}", vector.name);
        }
    }
}
