//! A queue on a disk that somebody damages always opens, counts what that cost, and takes fresh records.
#![no_main]
#![allow(dead_code, reason = "the model and the world can do more than this target asks for")]

#[path = "../../disk_queue/tests/disk_queue/model.rs"]
mod model;
#[path = "../../disk_queue/tests/disk_queue/script.rs"]
mod script;
#[path = "../../disk_queue/tests/disk_queue/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::live(bytes));
