//! A record of the disk queue is the same when it is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|record: &[u8]| weir_delivery::check_record(record));
