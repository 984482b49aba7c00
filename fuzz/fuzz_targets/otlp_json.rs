//! No JSON makes the reader panic, and what it accepts is a well-formed request that survives the way back and forth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pdata::{Payload, Signal, json};

fuzz_target!(|text: &[u8]| {
    for signal in Signal::ALL {
        if let Ok(request) = json::to_protobuf(signal, text) {
            let payload = Payload::from_request(signal, request).expect("what was accepted is well formed");
            let again = json::from_protobuf(signal, &payload);
            json::to_protobuf(signal, &again).expect("what was written is read");
        }
    }
});
