//! No text makes the YAML reader panic, hang or point outside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_config::{SourceId, yaml};

fuzz_target!(|text: &str| {
    if let Err(error) = yaml::parse(text, SourceId::default()) {
        let span = error.span.expect("an error of YAML has a place");
        assert!(span.line as usize <= text.lines().count() + 1);
    }
});
