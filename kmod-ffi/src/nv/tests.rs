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

#[test]
fn lists_in_arrays_have_libnvs_data_sizes() {
    let array = vec![
        Nvlist::new().nvlist("c", Nvlist::new().null("x")).null("y"),
        Nvlist::new(),
        Nvlist::new()
            .nvlist("e", Nvlist::new())
            .nvlist("d", Nvlist::new().null("x")),
    ];
    let list = Nvlist::new().nvlist_array("la", array).null("z");
    assert_eq!(list.pack(), Ok(hex(&LISTS_IN_ARRAYS.into())));
}

/// What libnv makes of the list in the test above: the data sizes are 223, 19 and 61.
const LISTS_IN_ARRAYS: &str = "\
    6c0000000000000000000093010000000000000b0300000000000000000003000000000000006c61006c\
    000000000000000000006a01000000000000050200df00000000000000000000000000000063006c0000\
    00000000000000004201000000000000010200000000000000000000000000000000007800ff01000000\
    000000000000000000000000000000010200000000000000000000000000000000007900fe0100000000\
    00000000000000000000000000006c00000000000000000000dd00000000000000fe0100000000000000\
    00000000000000000000006c00000000000000000000b600000000000000050200130000000000000000\
    0000000000000065006c000000000000000000008e00000000000000ff01000000000000000000000000\
    0000000000000502003d00000000000000000000000000000064006c0000000000000000000052000000\
    00000000010200000000000000000000000000000000007800ff01000000000000000000000000000000\
    000000fe0100000000000000000000000000000000000001020000000000000000000000000000000000\
    7a00";

/// Whatever is accepted must be packed to something that is accepted with the same meaning.
fn assert_stable(bytes: &[u8], flags: u8) {
    if let Ok(list) = Nvlist::unpack(bytes, flags) {
        let packed = list.pack().unwrap();
        assert_eq!(Nvlist::unpack(&packed, flags), Ok(list), "{bytes:02x?}");
    }
}

#[test]
fn no_damaged_byte_of_a_vector_panics_or_changes_its_meaning() {
    for vector in vectors() {
        for at in 0..vector.bytes.len() {
            let mut bytes = vector.bytes.clone();
            let whole = bytes[at];
            let bits = (0..8).map(|bit| whole ^ (1 << bit));
            for byte in bits.chain([0, 1, 2, 5, 6, 11, 12, 13, 19, 20, 254, 255]) {
                bytes[at] = byte;
                assert_stable(&bytes, vector.flags);
            }
        }
    }
}

#[test]
fn cut_and_lengthened_vectors_are_refused() {
    for vector in vectors() {
        let whole = &vector.bytes;
        for length in 0..whole.len() {
            let cut = Nvlist::unpack(&whole[..length], vector.flags);
            assert_eq!(cut.unwrap_err().errno(), 22, "{} at {length}", vector.name);
            assert_stable(&sized(whole[..length].to_vec()), vector.flags);
        }
        for byte in [0, 0x6c, 0xff] {
            let more = [&**whole, &[byte]].concat();
            assert!(Nvlist::unpack(&more, vector.flags).is_err());
            assert_stable(&sized(more), vector.flags);
        }
    }
}

/// With the size in the first header put right.
fn sized(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(after) = bytes.len().checked_sub(wire::LIST_HEADER) {
        bytes[11..19].copy_from_slice(&(after as u64).to_le_bytes());
    }
    bytes
}

/// A list of these pairs and markers, byte for byte.
fn raw(flags: u8, body: &[Vec<u8>]) -> Vec<u8> {
    let header = [&[wire::MAGIC, 0, flags][..], &[0; 16]].concat();
    sized([header, body.concat()].concat())
}

/// A pair, its data size told as it is.
fn pair(code: u8, name: &[u8], nitems: u64, data: &[u8]) -> Vec<u8> {
    let namesize = u16::try_from(name.len() + 1).unwrap();
    let mut pair = vec![code];
    pair.extend(namesize.to_le_bytes());
    pair.extend((data.len() as u64).to_le_bytes());
    pair.extend(nitems.to_le_bytes());
    [&pair, name, &[0], data].concat()
}

fn refused(body: &[Vec<u8>]) -> UnpackError {
    Nvlist::unpack(&raw(0, body), 0).unwrap_err()
}

#[test]
fn pairs_that_could_not_be_packed_are_errors() {
    let pack = |list: Nvlist| list.pack().map_err(|error| (error.errno(), error));
    let long = "n".repeat(NAME_MAX_LENGTH + 1);
    let refused = [
        (Nvlist::new().null(&long), 63, PackError::NameTooLong(2048)),
        (
            Nvlist::new().null("a\0"),
            22,
            PackError::NulInName("a\0".into()),
        ),
        (
            Nvlist::new().string("s", "a\0"),
            22,
            PackError::NulInString("s".into()),
        ),
        (
            Nvlist::new().string_array("s", &["", "\0"]),
            22,
            PackError::NulInString("s".into()),
        ),
        (
            Nvlist::new().binary("b", b""),
            22,
            PackError::Empty("b".into()),
        ),
        (
            Nvlist::new().bool_array("b", &[]),
            22,
            PackError::Empty("b".into()),
        ),
        (
            Nvlist::new().number_array("b", &[]),
            22,
            PackError::Empty("b".into()),
        ),
        (
            Nvlist::new().string_array("b", &[]),
            22,
            PackError::Empty("b".into()),
        ),
        (
            Nvlist::new().nvlist_array("b", vec![]),
            22,
            PackError::Empty("b".into()),
        ),
        (
            Nvlist::new().null("a").bool("a", true),
            17,
            PackError::Duplicate("a".into()),
        ),
        (
            Nvlist::with_flags(1).null("a").null("A"),
            17,
            PackError::Duplicate("A".into()),
        ),
        (Nvlist::with_flags(0x80), 22, PackError::Flags(0x80)),
    ];
    for (list, errno, error) in refused {
        assert_eq!(pack(list.clone()), Err((errno, error.clone())));
        // And wherever the list stands.
        let outer = Nvlist::new().nvlist("l", list.clone());
        assert_eq!(pack(outer), Err((errno, error.clone())));
        let outer = Nvlist::new().nvlist_array("l", vec![Nvlist::new(), list]);
        assert_eq!(pack(outer), Err((errno, error)));
    }
}

#[test]
fn names_may_have_2047_bytes() {
    let name = "n".repeat(NAME_MAX_LENGTH);
    let list = Nvlist::new().number(&name, 1);
    assert_eq!(Nvlist::unpack(&list.pack().unwrap(), 0), Ok(list));
    let name = "n".repeat(NAME_MAX_LENGTH + 1);
    let longer = pair(wire::NULL, name.as_bytes(), 0, b"");
    assert_eq!(refused(&[longer]), UnpackError::NameSize(2049));
}

#[test]
fn a_packed_list_may_have_a_megabyte() {
    let overhead = Nvlist::new().binary("b", b"x").pack().unwrap().len() - 1;
    let list = |size: usize| Nvlist::new().binary("b", &vec![7; size - overhead]);
    let largest = list(MAX_PACKED_SIZE);
    let packed = largest.pack().unwrap();
    assert_eq!(packed.len(), MAX_PACKED_SIZE);
    assert_eq!(Nvlist::unpack(&packed, 0), Ok(largest));
    let error = PackError::TooLarge(MAX_PACKED_SIZE + 1);
    assert_eq!(list(MAX_PACKED_SIZE + 1).pack(), Err(error));
    let larger = sized([packed, vec![0]].concat());
    let error = UnpackError::TooLarge(MAX_PACKED_SIZE + 1);
    assert_eq!(Nvlist::unpack(&larger, 0), Err(error));
}

#[test]
fn lists_may_stand_sixteen_deep() {
    let nested = |depth| (1..depth).fold(Nvlist::new(), |l, _| Nvlist::new().nvlist("l", l));
    let deepest = nested(MAX_DEPTH);
    assert_eq!(Nvlist::unpack(&deepest.pack().unwrap(), 0), Ok(deepest));
    assert_eq!(nested(MAX_DEPTH + 1).pack(), Err(PackError::TooDeep));
    let arrays = (1..=MAX_DEPTH).fold(Nvlist::new(), |l, _| {
        Nvlist::new().nvlist_array("l", vec![l])
    });
    assert_eq!(arrays.pack(), Err(PackError::TooDeep));
    // As deep as a megabyte can be: more than a stack could hold.
    let mut bytes = Vec::new();
    let step = wire::LIST_HEADER + wire::PAIR_HEADER + 1;
    for left in (0..MAX_PACKED_SIZE / step).rev() {
        bytes.extend([wire::MAGIC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend((left as u64 * step as u64 + 20).to_le_bytes());
        bytes.extend([wire::NVLIST, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0; 9]);
    }
    assert_eq!(Nvlist::unpack(&bytes, 0), Err(UnpackError::TooDeep));
}

#[test]
fn a_list_may_have_forty_thousand_names() {
    let pairs = MAX_PACKED_SIZE / (wire::PAIR_HEADER + 7) - 1;
    let list = (0..pairs).fold(Nvlist::new(), |l, n| l.null(format!("{n:06}")));
    assert_eq!(Nvlist::unpack(&list.pack().unwrap(), 0), Ok(list));
}

#[test]
fn descriptors_are_refused_where_the_kernel_panics() {
    for code in [wire::DESCRIPTOR, wire::DESCRIPTOR_ARRAY] {
        let error = refused(&[pair(code, b"fd", 1, &[0; 8])]);
        assert_eq!(
            (error, error.errno()),
            (UnpackError::DescriptorPair(code), 22)
        );
    }
}

#[test]
fn big_endian_lists_are_refused() {
    let mut bytes = raw(0x80, &[]);
    bytes[11..19].copy_from_slice(&0_u64.to_be_bytes());
    assert_eq!(Nvlist::unpack(&bytes, 0), Err(UnpackError::Flags(0x80)));
    let child = [raw(0x80, &[]), pair(wire::UP, b"", 0, b"")].concat();
    let mut outer = raw(0, &[pair(wire::NVLIST, b"l", 0, &child)]);
    outer[40 + 11..40 + 19].copy_from_slice(&20_u64.to_le_bytes());
    assert_eq!(Nvlist::unpack(&outer, 0), Err(UnpackError::Flags(0x80)));
}

#[test]
fn values_of_the_wrong_size_are_refused() {
    let sizes: [(u8, &[u8]); 9] = [
        (wire::NULL, b"x"),
        (wire::BOOL, b""),
        (wire::BOOL, b"\0\0"),
        (wire::NUMBER, b"1234567"),
        (wire::NUMBER, b"123456789"),
        (wire::STRING, b""),
        (wire::BINARY, b""),
        (wire::BOOL_ARRAY, b""),
        (wire::NUMBER_ARRAY, b"123456789"),
    ];
    for (code, data) in sizes {
        let datasize = data.len() as u64;
        let error = UnpackError::DataSize { code, datasize };
        assert_eq!(refused(&[pair(code, b"n", 1, data)]), error);
    }
    let mut empty_nvlist = raw(0, &[pair(wire::NVLIST, b"l", 0, b""), raw(0, &[])]);
    assert_eq!(
        Nvlist::unpack(&empty_nvlist, 0),
        Err(UnpackError::DataSize {
            code: wire::NVLIST,
            datasize: 0
        })
    );
    empty_nvlist[22] = 1;
    assert_eq!(
        Nvlist::unpack(&empty_nvlist, 0),
        Ok(Nvlist::new().nvlist("l", Nvlist::new()))
    );
    let mut beyond = pair(wire::BINARY, b"b", 0, b"1234");
    beyond[3] = 5;
    assert_eq!(refused(&[beyond]), UnpackError::Truncated);
}

#[test]
fn arrays_have_as_many_elements_as_they_say() {
    let arrays: [(u8, &[u8]); 3] = [
        (wire::BOOL_ARRAY, b"\0\x01"),
        (wire::NUMBER_ARRAY, b"1234567812345678"),
        (wire::STRING_ARRAY, b"a\0\0"),
    ];
    for (code, data) in arrays {
        for nitems in [0, 1, 3, 1 << 61, u64::MAX] {
            let error = refused(&[pair(code, b"a", nitems, data)]);
            assert_eq!(error, UnpackError::Items(nitems));
        }
        assert!(Nvlist::unpack(&raw(0, &[pair(code, b"a", 2, data)]), 0).is_ok());
    }
    assert_eq!(
        refused(&[pair(wire::BOOL_ARRAY, b"a", 1, b"\x02")]),
        UnpackError::Bool(2)
    );
    assert_eq!(
        refused(&[pair(wire::STRING_ARRAY, b"a", 1, b"a")]),
        UnpackError::StringNul
    );
    for nitems in [0, 2, 1 << 60, u64::MAX] {
        let pair = pair(wire::NVLIST_ARRAY, b"a", nitems, b"");
        assert_eq!(refused(&[pair, raw(0, &[])]), UnpackError::Items(nitems));
    }
}

#[test]
fn markers_end_what_is_open_and_nothing_else() {
    let marker = |code| pair(code, b"", 0, b"");
    for code in [wire::UP, wire::ARRAY_NEXT] {
        assert_eq!(refused(&[marker(code)]), UnpackError::Marker(code));
    }
    for (code, wrong, right) in [
        (wire::NVLIST, wire::ARRAY_NEXT, wire::UP),
        (wire::NVLIST_ARRAY, wire::UP, wire::ARRAY_NEXT),
    ] {
        let mut begin = pair(code, b"l", 1, b"");
        // The least data size of a list; that of an array counts for nothing.
        begin[3] = 1;
        let body = |end: &[u8]| {
            let mut child = raw(0, &[]);
            child[11] = u8::try_from(end.len()).unwrap();
            raw(0, &[begin.clone(), child, end.to_vec()])
        };
        let unpack = |end: &[u8]| Nvlist::unpack(&body(end), 0);
        assert_eq!(unpack(&marker(wrong)), Err(UnpackError::Marker(wrong)));
        let twice = [marker(right), marker(right)].concat();
        assert_eq!(unpack(&twice), Err(UnpackError::Marker(right)));
        let once = unpack(&marker(right));
        assert!(once.is_ok());
        // What is open at the end is closed.
        assert_eq!(unpack(&[]), once);
    }
}

#[test]
fn strings_need_not_be_utf8_but_names_must() {
    let list = Nvlist::new().string("s", b"\xff");
    let list = Nvlist::unpack(&list.pack().unwrap(), 0).unwrap();
    assert_eq!(list.get_string("s"), None);
    assert_eq!(list.get_bytes("s"), Some(&b"\xff"[..]));
    assert_eq!(
        refused(&[pair(wire::NULL, b"\xff", 0, b"")]),
        UnpackError::NameNotUtf8
    );
}

#[test]
fn values_are_found_by_name_and_type() {
    let list = Nvlist::with_flags(FLAG_NO_UNIQUE)
        .number("a", 1)
        .string("a", "text")
        .bool("a", true)
        .binary("a", b"\0")
        .nvlist("a", Nvlist::new().null("n"))
        .number("a", 2);
    assert_eq!(Nvlist::unpack(&list.pack().unwrap(), 2).as_ref(), Ok(&list));
    assert_eq!(list.get_number("a"), Some(1));
    assert_eq!(list.get_string("a"), Some("text"));
    assert_eq!(list.get_bool("a"), Some(true));
    assert_eq!(list.get_binary("a"), Some(&[0][..]));
    assert_eq!(list.get_nvlist("a"), Some(&Nvlist::new().null("n")));
    assert_eq!(list.get("a"), Some(&Value::Number(1)));
    assert_eq!(list.get("A"), None);
    assert_eq!((list.len(), list.is_empty(), list.flags()), (6, false, 2));
    let names: Vec<_> = list.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a"; 6]);

    let list = Nvlist::with_flags(FLAG_IGNORE_CASE).number("Port_Id", 3);
    assert_eq!(list.get_number("port_iD"), Some(3));
    assert_eq!(list.get_string("port_id"), None);
}
