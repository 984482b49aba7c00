//! Single hot paths. An instruction counter runs each twice with different numbers of repetitions and takes the
//! difference, which does not depend on what else the machine does.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use weir_otlp::encoding::Encoding;
use weir_pdata::{Payload, Signal};

use crate::{edit, println, sample};

/// Names of all paths.
const NAMES: &str = "validate-traces, validate-logs, validate-metrics, validate-1, merge, edit, edit-owned, gzip, gunzip, zstd, unzstd";

/// Repeats a path and prints its time, for those who have no counter.
pub(crate) fn run(name: &str, times: usize) -> Result<(), String> {
    let path = path(name)?;
    let begin = Instant::now();
    for _ in 0..times {
        path()?;
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / times.max(1) as f64;
    println(&format!("{name}: {each:.2} µs"));
    Ok(())
}

fn path(name: &str) -> Result<Box<dyn Fn() -> Result<(), String>>, String> {
    let traces = || Bytes::from(sample::request(Signal::Traces, 0, 100));
    Ok(match name {
        "validate-traces" => validate(Signal::Traces, 100),
        "validate-logs" => validate(Signal::Logs, 100),
        "validate-metrics" => validate(Signal::Metrics, 100),
        "validate-1" => validate(Signal::Traces, 1),
        "merge" => {
            let payload = Payload::from_request(Signal::Traces, traces()).map_err(|e| e.to_string())?;
            Box::new(move || {
                let mut merged = Payload::empty(Signal::Traces);
                for _ in 0..82 {
                    merged.append(payload.clone()).map_err(|_| "another signal".to_owned())?;
                }
                black_box(merged);
                Ok(())
            })
        }
        "edit" => edited(edit::on_bytes)?,
        "edit-owned" => edited(edit::on_owned)?,
        "gzip" => compress(Encoding::Gzip, traces()),
        "zstd" => compress(Encoding::Zstd, traces()),
        "gunzip" => decompress(Encoding::Gzip, &traces())?,
        "unzstd" => decompress(Encoding::Zstd, &traces())?,
        _ => return Err(format!("no path of that name; there are {NAMES}")),
    })
}

fn validate(signal: Signal, items: usize) -> Box<dyn Fn() -> Result<(), String>> {
    let request = Bytes::from(sample::request(signal, 0, items));
    Box::new(move || {
        let payload = Payload::from_request(signal, black_box(request.clone())).map_err(|e| e.to_string())?;
        black_box(payload);
        Ok(())
    })
}

fn edited(work: fn(&Payload) -> Payload) -> Result<Box<dyn Fn() -> Result<(), String>>, String> {
    let request = Bytes::from(sample::request(Signal::Traces, 0, 100));
    let payload = Payload::from_request(Signal::Traces, request).map_err(|e| e.to_string())?;
    Ok(Box::new(move || {
        black_box(work(black_box(&payload)));
        Ok(())
    }))
}

fn compress(encoding: Encoding, input: Bytes) -> Box<dyn Fn() -> Result<(), String>> {
    Box::new(move || {
        let mut out = Vec::new();
        encoding.compress(black_box(&input), None, &mut out)?;
        black_box(out);
        Ok(())
    })
}

fn decompress(encoding: Encoding, input: &[u8]) -> Result<Box<dyn Fn() -> Result<(), String>>, String> {
    let mut small = Vec::new();
    encoding.compress(input, None, &mut small)?;
    let small = Bytes::from(small);
    Ok(Box::new(move || {
        black_box(encoding.decompress(small.clone(), 4 << 20).map_err(|e| e.to_string())?);
        Ok(())
    }))
}
