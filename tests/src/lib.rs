//! The tests that see nvmfd from outside.
