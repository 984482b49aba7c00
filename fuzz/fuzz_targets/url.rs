//! URLs of servers are used as they are written, shown without what may be secret, and redirects stay on the server; what
//! requests to pages name is this machine, and what they ask for is within its limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    weir_otlp::check::url(&text);
    weir_otlp::check::host(&text);
    weir_extension_pprof::check_query(&text);
});
