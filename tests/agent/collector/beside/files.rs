//! The file exporter: what stands in the files.

use std::fs;
use std::path::PathBuf;

use weir_pdata::{Payload, Signal, json};

use super::Pair;
use super::normal::resolved;
use crate::backends::servers::Fleet;
use crate::collector::same;
use crate::collector::telemetry::{content, request};

/// How the file exporter is asked to write.
const FILES: [(&str, &str); 4] = [
    ("json", "format: json"),
    ("proto", "format: proto, append: true"),
    ("zstd", "compression: zstd"),
    ("group", "group_by: {enabled: true, resource_attribute: service.name}"),
];

/// What stands in a file: of each record its content.
fn records(path: &PathBuf, way: &str, signal: Signal) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let payload = |bytes: Vec<u8>| Payload::from_request(signal, bytes.into()).unwrap();
    let from_json = |text: &[u8]| payload(json::to_protobuf(signal, text).unwrap().to_vec());
    let mut all = Vec::new();
    if ["json", "group"].contains(&way) {
        all.extend(bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(from_json));
    } else {
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((record, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            let encoding = weir_otlp::encoding::Encoding::Zstd;
            all.push(match way {
                "zstd" => from_json(&encoding.decompress(record.to_vec().into(), 64 << 20).unwrap()),
                _ => payload(record.to_vec()),
            });
            rest = behind;
        }
    }
    let mut content: Vec<String> = all.iter().flat_map(|p| content(&as_received(p))).collect();
    content.sort();
    content
}

/// Profiles with texts instead of indices, and the string table as it was sent.
fn as_received(payload: &Payload) -> Payload {
    if payload.signal() != Signal::Profiles {
        return payload.clone();
    }
    let mut profiles = resolved(payload).decode_profiles();
    let sent =
        request(Signal::Profiles, 0).decode_profiles().dictionary.unwrap_or_default().string_table.len();
    profiles.dictionary.iter_mut().for_each(|d| d.string_table.truncate(sent));
    profiles.into()
}

#[test]
fn files_have_the_same_telemetry_in_the_same_form() {
    let file = |fleet: &Fleet, agent: &str, way: &str, signal: Signal| {
        let name = if way == "group" { "*" } else { "file" };
        fleet.dir().join(agent).join(way).join(signal.name()).join(name)
    };
    let mut pair = Pair::start(|agent, fleet| {
        let (mut exporters, mut pipelines) = (String::new(), String::new());
        for (way, options) in FILES {
            for signal in Signal::ALL {
                let path = file(fleet, agent, way, signal);
                exporters += &format!(
                    "  file/{way}-{signal}: {{path: '{}', create_directory: true, flush_interval: 50ms, {options}}}\n",
                    path.display()
                );
                pipelines +=
                    &format!("    {signal}/{way}: {{receivers: [otlp], exporters: [file/{way}-{signal}]}}\n");
            }
        }
        (exporters, pipelines)
    });
    for signal in Signal::ALL {
        let requests = if signal == Signal::Profiles { 1 } else { 5 };
        (0..requests).for_each(|n| pair.send(&request(signal, n)));
    }
    for (way, _) in FILES {
        for signal in Signal::ALL {
            // The Collector loses the dictionary there, without which profiles mean nothing.
            if (way, signal) == ("group", Signal::Profiles) {
                continue;
            }
            let read = |fleet: &Fleet, agent: &str| {
                let path = file(fleet, agent, way, signal);
                let mut files: Vec<_> =
                    fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
                files.sort();
                let names = files
                    .iter()
                    .map(|f| f.file_name().unwrap().to_string_lossy().into_owned())
                    .collect::<Vec<_>>();
                (names, files.iter().flat_map(|f| records(f, way, signal)).collect::<Vec<_>>())
            };
            let (names, found) = read(&pair.fleet, "weir");
            assert!(!found.is_empty(), "{way} {signal}: Weir wrote nothing");
            let dir = pair.fleet.dir().to_owned();
            let expected = pair.fleet.wait(
                &format!("{way} of {signal} by the Collector in {}", dir.display()),
                30,
                || {
                    let path = dir.join("collector").join(way).join(signal.name());
                    let mut files: Vec<_> = fs::read_dir(path).ok()?.map(|e| e.unwrap().path()).collect();
                    files.sort();
                    let all: Vec<_> = files.iter().flat_map(|f| records(f, way, signal)).collect();
                    Some((files, all)).filter(|(_, all)| all.len() >= found.len())
                },
            );
            let expected_names: Vec<_> =
                expected.0.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
            assert_eq!(names, expected_names, "{way} {signal}");
            same(&found, &expected.1, &format!("{way} {signal}"));
        }
    }
}
