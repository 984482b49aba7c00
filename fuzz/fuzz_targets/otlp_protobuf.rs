//! No bytes make the validation panic, and what it accepts can be written as JSON and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir_pdata::{Payload, Signal, json};

fuzz_target!(|request: &[u8]| {
    for signal in Signal::ALL {
        if let Ok(payload) = Payload::from_request(signal, Bytes::copy_from_slice(request)) {
            let text = json::from_protobuf(signal, &payload);
            json::to_protobuf(signal, &text).expect("what was written is read");
        }
    }
});
