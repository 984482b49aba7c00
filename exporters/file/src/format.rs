//! How a payload stands in a file.

use weir_pdata::{Payload, Signal, json};

use crate::config::Config;

/// Encodes payloads as records: JSON alone is a line; everything else has its length in front, in four bytes, the
/// highest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    json: bool,
    /// Level of zstd.
    compression: Option<i32>,
}

impl Format {
    pub(crate) fn new(config: &Config) -> Format {
        let level = config.compression_params.level;
        Format {
            json: config.format == "json",
            compression: (!config.compression.is_empty()).then_some(if level == 0 { 3 } else { level }),
        }
    }

    /// # Errors
    /// The payload is larger than a record can be, or the compression fails.
    pub(crate) fn record(self, signal: Signal, payload: &Payload) -> Result<Vec<u8>, String> {
        let mut content =
            if self.json { json::from_protobuf(signal, payload) } else { payload.to_bytes().to_vec() };
        match self.compression {
            None if self.json => {
                content.push(b'\n');
                return Ok(content);
            }
            None => {}
            Some(level) => {
                content = zstd::bulk::compress(&content, level).map_err(|e| format!("zstd: {e}"))?
            }
        }
        let length = u32::try_from(content.len()).map_err(|_| "a record cannot exceed 4 GiB".to_owned())?;
        let mut record = length.to_be_bytes().to_vec();
        record.append(&mut content);
        Ok(record)
    }
}
