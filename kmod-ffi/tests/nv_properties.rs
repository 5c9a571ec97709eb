//! What holds for every name-value list and for all bytes.

use std::collections::BTreeMap;

use nvmf_kmod::nv::{Nvlist, PackError, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Values that can be packed.
fn value() -> impl Strategy<Value = Value> {
    let text = || vec(1..=255_u8, 0..20);
    let flat = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Number),
        text().prop_map(Value::String),
        vec(any::<u8>(), 1..40).prop_map(Value::Binary),
        vec(any::<bool>(), 1..9).prop_map(Value::BoolArray),
        vec(any::<u64>(), 1..9).prop_map(Value::NumberArray),
        vec(text(), 1..9).prop_map(Value::StringArray),
    ];
    flat.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            pairs(inner.clone()).prop_map(|pairs| Value::Nvlist(list(pairs))),
            vec(pairs(inner), 1..4)
                .prop_map(|lists| Value::NvlistArray(lists.into_iter().map(list).collect())),
        ]
    })
}

fn pairs(value: impl Strategy<Value = Value>) -> impl Strategy<Value = BTreeMap<String, Value>> {
    btree_map("[^\0]{0,12}", value, 0..6)
}

fn list(pairs: BTreeMap<String, Value>) -> Nvlist {
    let with = |list: Nvlist, (name, value): (String, _)| list.with(name, value);
    pairs.into_iter().fold(Nvlist::new(), with)
}

proptest! {
    #[test]
    fn lists_survive_packing(list in pairs(value()).prop_map(list)) {
        let packed = list.pack().unwrap();
        prop_assert_eq!(Nvlist::unpack(&packed, 0), Ok(list));
    }

    #[test]
    fn other_flags_are_refused(list in pairs(value()).prop_map(list), flags in 1..=255_u8) {
        let error = Nvlist::unpack(&list.pack().unwrap(), flags).unwrap_err();
        prop_assert_eq!(error.errno(), 86);
    }

    #[test]
    fn what_is_packed_can_be_unpacked(
        pairs in vec((".{0,3}", value()), 0..4),
        flags in 0..4_u8,
    ) {
        let with = |list: Nvlist, (name, value): (String, _)| list.with(name, value);
        let list = pairs.into_iter().fold(Nvlist::with_flags(flags), with);
        match list.pack() {
            Ok(packed) => prop_assert_eq!(Nvlist::unpack(&packed, flags), Ok(list)),
            Err(error) => prop_assert!(matches!(
                error,
                PackError::Duplicate(_) | PackError::NulInName(_)
            )),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300), flags: u8) {
        let _ = Nvlist::unpack(&bytes, flags);
    }
}
