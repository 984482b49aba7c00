//! The debug exporter: its text.

use std::fs;

use weir_pdata::{Payload, Signal, json};

use super::Pair;
use super::normal::resolved;
use crate::collector::telemetry::request;

/// Whether two lines are the same but for the last digits of bounds of exponential histograms, in which Go rounds
/// differently on each architecture.
fn alike(line: &str, wanted: &str) -> bool {
    /// `le2.5=7`, `(2.500000,`: the bound and what is around it.
    fn bound(word: &str) -> Option<(f64, String)> {
        let number = |c: char| c.is_ascii_digit() || "+-.e".contains(c);
        let word = word.strip_prefix("le").unwrap_or(word);
        let from = word.find(number)?;
        let to = word[from..].find(|c| !number(c)).map_or(word.len(), |n| from + n);
        let around = format!("{} {}", &word[..from], &word[to..]);
        word[from..to].parse().ok().filter(|b: &f64| b.is_finite()).map(|b| (b, around))
    }
    let close = |a: &str, b: &str| match (bound(a), bound(b)) {
        (Some((x, a)), Some((y, b))) => (x - y).abs() <= 1e-14 * y.abs() && a == b,
        _ => false,
    };
    let (words, others) = (line.split(' '), wanted.split(' '));
    let histogram = line.starts_with("Bucket ") || line.contains(" le");
    line == wanted
        || histogram
            && words.clone().count() == others.clone().count()
            && words.zip(others).all(|(a, b)| a == b || close(a, b))
}

/// A line of the Collector without what is different on purpose: control characters, and two faults of its release.
fn mended(line: &str, number_of_scope: &mut u32) -> String {
    let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    // Scopes at normal verbosity have the number of their resource.
    let scope = ["ScopeTraces #", "ScopeLog #", "ScopeMetrics #", "ScopeProfiles #"];
    if line.starts_with("Resource") {
        *number_of_scope = 0;
    }
    if let Some(head) = scope.into_iter().find(|head| line.starts_with(head)) {
        let behind = line[head.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        *number_of_scope += 1;
        return format!("{head}{}{behind}", *number_of_scope - 1);
    }
    // Values of attributes of samples are formatted as if all were texts.
    let Some((key, value)) = line.strip_prefix("             -> ").and_then(|pair| pair.split_once(": "))
    else {
        return line;
    };
    let typed = |verb: &str| value.strip_prefix(verb).and_then(|v| v.strip_suffix(')'));
    let value = match (typed("%!s(int64="), typed("%!s(bool=")) {
        (Some(int), _) => format!("Int({int})"),
        (_, Some(bool)) => format!("Bool({bool})"),
        _ => format!("Str({value})"),
    };
    format!("             -> {key}: {value}")
}

#[test]
fn the_debug_exporter_prints_the_same_text() {
    const VERBOSITIES: [&str; 3] = ["basic", "normal", "detailed"];
    let mut pair = Pair::start(|agent, fleet| {
        let (mut exporters, mut pipelines) = (String::new(), String::new());
        for verbosity in VERBOSITIES {
            for signal in Signal::ALL {
                let path = fleet.dir().join(format!("{agent}.{verbosity}.{signal}"));
                exporters += &format!(
                    "  debug/{verbosity}-{signal}: {{verbosity: {verbosity}, use_internal_logger: false, output_paths: ['{}']}}\n",
                    path.display()
                );
                pipelines += &format!(
                    "    {signal}/{verbosity}: {{receivers: [otlp], exporters: [debug/{verbosity}-{signal}]}}\n"
                );
            }
        }
        (exporters, pipelines)
    });
    for signal in Signal::ALL {
        let golden = crate::backends::servers::root().join(format!("exporters/debug/testdata/{signal}.json"));
        let golden = json::to_protobuf(signal, &fs::read(golden).unwrap()).unwrap();
        // The Collector leaves out what is given by index.
        pair.send(&resolved(&Payload::from_request(signal, golden).unwrap()));
        (0..3).for_each(|n| pair.send(&request(signal, n)));
    }
    for verbosity in VERBOSITIES {
        for signal in Signal::ALL {
            let dir = pair.fleet.dir().to_owned();
            let read = |agent: &str| {
                fs::read_to_string(dir.join(format!("{agent}.{verbosity}.{signal}"))).unwrap_or_default()
            };
            let collector = pair
                .fleet
                .wait("the Collector's text", 10, || Some(read("collector")).filter(|text| !text.is_empty()));
            // It stands behind what the agent has acknowledged.
            let weir = pair.fleet.wait("as much text of ours", 10, || {
                Some(read("weir")).filter(|text| text.lines().count() >= collector.lines().count())
            });
            let mut scope = 0;
            for (n, (line, wanted)) in weir.lines().zip(collector.lines()).enumerate() {
                let wanted = mended(wanted, &mut scope);
                assert!(alike(line, &wanted), "line {} of {signal}, {verbosity}:\n{line}\n{wanted}", n + 1);
            }
            assert_eq!(weir.lines().count(), collector.lines().count(), "{signal}, {verbosity}");
        }
    }
}
