//! Recorded profiles (see `testdata/gen`) and a writer for hand-made ones.

use crate::{Limits, Profile};

/// Reads the recorded profile `name`.
pub(crate) fn recorded(name: &str) -> Profile {
    Profile::parse(&bytes(name), Limits::default()).unwrap()
}

/// The bytes of the recorded profile `name`.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/{name}.pb.gz", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A fact that the recording program noted for `shape`.
pub(crate) fn expected(shape: &str, key: &str) -> String {
    let path = format!("{}/testdata/{shape}.expected.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap().to_owned()
}

/// `file:line` of the place that the recording program marks with `site: name`.
pub(crate) fn site(name: &str) -> String {
    expected("sites", &format!("site.{name}"))
}

/// Bytes of a recorded profile without gzip.
pub(crate) fn plain(name: &str) -> Vec<u8> {
    let compressed = bytes(name);
    let mut out = vec![0; 1 << 20];
    let length = libdeflater::Decompressor::new().gzip_decompress(&compressed, &mut out).unwrap();
    out.truncate(length);
    out
}

/// Appends a varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a numeric field.
pub(crate) fn number(out: &mut Vec<u8>, field: u64, value: i64) {
    varint(out, field << 3);
    varint(out, value as u64);
}

/// Appends a field of bytes.
pub(crate) fn message(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a profile by hand.
#[derive(Default)]
pub(crate) struct Writer {
    strings: Vec<String>,
    body: Vec<u8>,
    functions: u64,
}

impl Writer {
    pub(crate) fn new(types: &[(&str, &str)]) -> Self {
        let mut writer = Self { strings: vec![String::new()], ..Self::default() };
        for (kind, unit) in types {
            let mut value_type = Vec::new();
            number(&mut value_type, 1, writer.string(kind));
            number(&mut value_type, 2, writer.string(unit));
            message(&mut writer.body, 1, &value_type);
        }
        writer
    }

    fn string(&mut self, text: &str) -> i64 {
        let at = self.strings.iter().position(|known| known == text).unwrap_or_else(|| {
            self.strings.push(text.to_owned());
            self.strings.len() - 1
        });
        at as i64
    }

    /// A function with one location of the same id in it.
    pub(crate) fn function(&mut self, name: &str, file: &str, line: i64) -> u64 {
        self.functions += 1;
        let id = self.functions as i64;
        let mut function = Vec::new();
        number(&mut function, 1, id);
        number(&mut function, 2, self.string(name));
        number(&mut function, 4, self.string(file));
        let mut line_message = Vec::new();
        number(&mut line_message, 1, id);
        number(&mut line_message, 2, line);
        let mut location = Vec::new();
        number(&mut location, 1, id);
        message(&mut location, 4, &line_message);
        message(&mut self.body, 4, &location);
        message(&mut self.body, 5, &function);
        id as u64
    }

    pub(crate) fn sample(&mut self, stack: &[u64], values: &[i64], labels: &[(&str, &str)]) {
        let mut sample = Vec::new();
        let mut packed = Vec::new();
        stack.iter().for_each(|&id| varint(&mut packed, id));
        message(&mut sample, 1, &packed);
        values.iter().for_each(|&value| number(&mut sample, 2, value));
        for (key, value) in labels {
            let mut label = Vec::new();
            number(&mut label, 1, self.string(key));
            number(&mut label, 2, self.string(value));
            message(&mut sample, 3, &label);
        }
        message(&mut self.body, 2, &sample);
    }

    /// The profile with its strings at the end, as Go writes it, or at the start.
    pub(crate) fn finish(&self, strings_first: bool) -> Vec<u8> {
        let mut strings = Vec::new();
        self.strings.iter().for_each(|text| message(&mut strings, 6, text.as_bytes()));
        if strings_first {
            [strings, self.body.clone()].concat()
        } else {
            [self.body.clone(), strings].concat()
        }
    }

    pub(crate) fn profile(&self) -> Profile {
        Profile::parse(&self.finish(false), Limits::default()).unwrap()
    }
}
