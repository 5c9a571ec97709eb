//! The tests: one for each row of the table and each mode.

use crate::scene::{Mode, Result};
use crate::table;

/// Tests by their names and the numbers of their rows.
macro_rules! rows {
    ($($name:ident = $number:literal;)*) => {
        mod userspace {
            use super::{Mode, Result};

            $(#[test] fn $name() -> Result { crate::run::row($number, Mode::Userspace) })*
        }

        mod kernel {
            use super::{Mode, Result};

            $(#[test] fn $name() -> Result { crate::run::row($number, Mode::Kernel) })*
        }

        const NUMBERS: &[u8] = &[$($number),*];
    };
}

rows! {
    row_01 = 1;
    row_02 = 2;
    row_03 = 3;
    row_04 = 4;
    row_05 = 5;
    row_06 = 6;
    row_07 = 7;
    row_08 = 8;
    row_09 = 9;
    row_10 = 10;
    row_11 = 11;
    row_12 = 12;
    row_13 = 13;
    row_14 = 14;
    row_15 = 15;
    row_16 = 16;
    row_17 = 17;
    row_18 = 18;
    row_19 = 19;
    row_20 = 20;
    row_21 = 21;
    row_22 = 22;
    row_23 = 23;
    row_24 = 24;
    row_25 = 25;
    row_26 = 26;
    row_27 = 27;
    row_28 = 28;
    row_29 = 29;
    row_30 = 30;
    row_31 = 31;
    row_32 = 32;
    row_33 = 33;
    row_34 = 34;
    row_35 = 35;
    row_36 = 36;
    row_37 = 37;
    row_38 = 38;
    row_39 = 39;
    row_40 = 40;
    row_41 = 41;
    row_42 = 42;
    row_43 = 43;
    row_44 = 44;
    row_45 = 45;
    row_46 = 46;
    row_47 = 47;
    row_48 = 48;
    row_49 = 49;
    row_50 = 50;
    row_51 = 51;
    row_52 = 52;
    row_53 = 53;
    row_54 = 54;
    row_55 = 55;
    row_56 = 56;
    row_57 = 57;
    row_58 = 58;
    row_59 = 59;
    row_60 = 60;
    row_61 = 61;
    row_62 = 62;
    row_63 = 63;
    row_64 = 64;
    row_65 = 65;
    row_66 = 66;
    row_67 = 67;
    row_68 = 68;
}

#[test]
fn every_row_has_its_tests_and_every_test_its_row() {
    let numbers: Vec<u8> = table::rows().map(|row| row.number).collect();
    assert_eq!(numbers, NUMBERS);
    assert_eq!(numbers, (1..=68).collect::<Vec<_>>());
    assert!(table::rows().all(|row| !row.cases.is_empty()));
}
