use proptest::prelude::*;

use crate::check::{self, ask, describe, gzip, use_all};
use crate::corpus::corpus;
use crate::testdata::{Writer, bytes, message, number, plain, recorded, site};
use crate::{LabelValue, Limits, Profile, ProfileError};

const RECORDED: [&str; 6] = [
    "grpc-2.goroutine",
    "grpc-2.clientconn",
    "sampled.heap",
    "mutex-2.mutex",
    "raw.goroutine",
    "idle.goroutine",
];

/// Two samples in stacks of two and one frame.
fn small() -> Writer {
    let mut writer = Writer::new(&[("goroutine", "count")]);
    let leaf = writer.function("main.leaf", "main.go", 3);
    let root = writer.function("main.root", "main.go", 7);
    writer.sample(&[leaf, root], &[5], &[("weir.site", "a.go:1"), ("k", "v")]);
    writer.sample(&[root], &[-2], &[]);
    writer
}

#[test]
fn the_string_table_may_come_first_or_last() {
    let expected = vec![
        (vec!["main.leaf main.go:3".to_owned(), "main.root main.go:7".to_owned()], vec![5]),
        (vec!["main.root main.go:7".to_owned()], vec![-2]),
    ];
    for strings_first in [false, true] {
        for bytes in [small().finish(strings_first), gzip(&small().finish(strings_first))] {
            let profile = Profile::parse(&bytes, Limits::default()).unwrap();
            assert_eq!(describe(&profile), expected);
            let sample = profile.samples().next().unwrap();
            assert_eq!((sample.label("weir.site"), sample.label("none")), (Some("a.go:1"), None));
        }
    }
}

#[test]
fn lines_of_recorded_stacks_are_those_of_the_calls() {
    let profile = recorded("grpc-2.clientconn");
    let sample =
        profile.samples().find(|sample| sample.frames().any(|f| f.function == "main.dialStock")).unwrap();
    let frames: Vec<_> = sample.frames().collect();
    let functions: Vec<_> = frames.iter().map(|frame| frame.function).collect();
    let expected = [
        "example.test/shop/grpcutil.Dial",
        "main.dialStock",
        "main.shapeGrpc.func1",
        "main.shapeGrpc",
        "main.main",
        "runtime.main",
    ];
    assert_eq!(functions, expected);
    assert_eq!(format!("{}:{}", frames[1].file, frames[1].line), site("stock"));
    assert_eq!((frames[0].package, frames[0].local_name()), ("example.test/shop/grpcutil", "Dial"));

    let mutex = recorded("mutex-1.mutex");
    let sample = mutex.samples().next().unwrap();
    let release = sample.frames().find(|frame| frame.function == "main.release").unwrap();
    assert_eq!(format!("{}:{}", release.file, release.line), site("unlock"));
}

#[test]
fn inlined_calls_have_frames_of_their_own() {
    let profile = recorded("grpc-2.clientconn");
    let sample =
        profile.samples().find(|sample| sample.frames().any(|f| f.function == "main.dialOrders")).unwrap();
    let functions: Vec<_> = sample.frames().map(|frame| frame.function).take(3).collect();
    assert_eq!(functions, ["main.dialOrders", "main.loadOrder", "main.handleOrder"]);
}

#[test]
fn types_period_and_time_are_read() {
    let heap = recorded("sampled.heap");
    let kinds: Vec<_> = heap.value_types().map(|value_type| (value_type.kind, value_type.unit)).collect();
    let counted = [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ];
    assert_eq!(kinds, counted);
    assert_eq!(
        (heap.period(), heap.period_type().kind, heap.period_type().unit),
        (524_288, "space", "bytes")
    );
    assert_eq!(
        (heap.type_index("inuse_space"), heap.default_type_index(), heap.duration_nanos()),
        (Some(3), 3, 0)
    );
    assert!(heap.time_nanos() > 1_700_000_000_000_000_000);
    let numbers: Vec<_> =
        heap.samples().next().unwrap().labels().map(|label| (label.key, label.value)).collect();
    assert!(matches!(numbers[..], [("bytes", LabelValue::Number(8.., ""))]), "{numbers:?}");
}

#[test]
fn dots_in_package_paths_are_unescaped() {
    let profile = recorded("raw.goroutine");
    let queue = "example.test/shop/queue.v2";
    assert!(profile.samples().any(|sample| sample.frames().any(|frame| frame.package == queue)));
}

#[test]
fn names_of_one_text_keep_their_own_packages() {
    let mut writer = Writer::new(&[("goroutine", "count")]);
    for (line, name) in [(1, "a%2eb.F"), (2, "a.b.F"), (3, "a%2eb.F")] {
        writer.function(name, "f.go", line);
    }
    assert_eq!(writer.profile().by_name(|frame| frame.package.len()), [3, 1, 3]);
}

#[test]
fn many_goroutines_in_few_stacks_are_cheap() {
    let mut writer = Writer::new(&[("goroutine", "count")]);
    let functions: Vec<u64> = (0..60).map(|n| writer.function(&format!("main.f{n}"), "main.go", n)).collect();
    for stack in 0..2000_usize {
        let frames: Vec<u64> =
            (0..20).map(|depth| functions[(stack * 7 + depth * (1 + stack % 13)) % 60]).collect();
        writer.sample(&frames, &[100], &[]);
    }
    let profile = writer.profile();
    let goroutines: i64 = profile.samples().map(|sample| sample.value(0)).sum();
    assert_eq!((goroutines, profile.len()), (200_000, 2000));
    assert!(profile.heap_bytes() < 256 << 10, "{}", profile.heap_bytes());

    // The same when each goroutine is a sample of its own.
    for goroutine in 0..198_000_usize {
        writer.sample(&[functions[goroutine % 60]], &[1], &[]);
    }
    let profile = writer.profile();
    assert!(profile.stack_count() <= 2060 && profile.len() == 200_000);
    assert!(profile.heap_bytes() < 8 << 20, "{}", profile.heap_bytes());
}

#[test]
fn every_limit_is_met_with_its_name() {
    let profile = small().finish(false);
    let fits = Limits {
        bytes: profile.len(),
        strings: 10,
        string: 9,
        text: 56,
        functions: 2,
        locations: 2,
        samples: 2,
        labels: 2,
        all_labels: 2,
        sample_types: 1,
        stack_depth: 2,
        frames: 3,
    };
    assert!(Profile::parse(&profile, fits).is_ok());
    let refused = |limits| Profile::parse(&profile, limits).unwrap_err().to_string();
    assert!(refused(Limits { bytes: profile.len() - 1, ..fits }).contains("more than the limit of"));
    assert!(refused(Limits { strings: 9, ..fits }).contains("more than 9 strings"));
    assert!(refused(Limits { string: 8, ..fits }).contains("more than 8 bytes in one string"));
    assert!(refused(Limits { text: 55, ..fits }).contains("more than 55 bytes in distinct strings"));
    assert!(refused(Limits { functions: 1, ..fits }).contains("more than 1 functions"));
    assert!(refused(Limits { locations: 1, ..fits }).contains("more than 1 locations"));
    assert!(refused(Limits { samples: 1, ..fits }).contains("more than 1 samples"));
    assert!(refused(Limits { labels: 1, ..fits }).contains("more than 1 labels on one sample"));
    assert!(refused(Limits { all_labels: 1, ..fits }).contains("more than 1 labels in distinct label sets"));
    assert!(refused(Limits { sample_types: 0, ..fits }).contains("more than 0 sample types"));
    assert!(refused(Limits { frames: 2, ..fits }).contains("more than 2 frames in distinct stacks"));
}

#[test]
fn a_text_is_read_once_however_many_functions_lines_and_labels_have_it() {
    // Hashed, compared or held for each of them, it would take minutes and gigabytes.
    const MANY: i64 = 1 << 15;
    let long = |start: &str, end: &str| start.repeat(20_000) + end;
    let (name, file, site) = (long("a%41", "/vendor/b.F"), long("f", ".go"), long("s", ".go:1"));
    let strings = [
        ["", "goroutine", "inuse_objects", "inuse_space", "weir.site", "n"],
        ["google.golang.org/grpc.NewClient", "client.go", &name[name.len() - 60_000..], &file, &site, ""],
    ];
    let mut body = Vec::new();
    let fields = |fields: &[(u64, i64)]| {
        let mut out = Vec::new();
        fields.iter().for_each(|&(field, value)| number(&mut out, field, value));
        out
    };
    strings.as_flattened().iter().for_each(|text| message(&mut body, 6, text.as_bytes()));
    (1..=3).for_each(|kind| message(&mut body, 1, &fields(&[(1, kind)])));
    for id in 0..MANY {
        let (name, file) = if id == 0 { (6, 7) } else { (8, 9) };
        message(&mut body, 5, &fields(&[(1, id), (2, name), (4, file)]));
        let mut location = fields(&[(1, id)]);
        message(&mut location, 4, &fields(&[(1, id), (2, id)]));
        message(&mut body, 4, &location);
        let mut sample = fields(&[(1, 0), (1, id), (2, 1), (2, 1), (2, 1)]);
        message(&mut sample, 3, &fields(&[(1, 4), (2, 10)]));
        message(&mut sample, 3, &fields(&[(1, 5), (3, id)]));
        message(&mut body, 2, &sample);
    }
    let profile = Profile::parse(&body, Limits::default()).unwrap();
    assert!(profile.heap_bytes() < 16 << 20, "{}", profile.heap_bytes());
    ask(&profile);
}

#[test]
fn deep_stacks_are_cut_at_the_start_of_the_goroutine_and_marked() {
    let limits = Limits { stack_depth: 1, ..Limits::default() };
    let profile = Profile::parse(&small().finish(false), limits).unwrap();
    let expected = vec![
        (vec!["main.leaf main.go:3".to_owned(), "...".to_owned()], vec![5]),
        (vec!["main.root main.go:7".to_owned()], vec![-2]),
    ];
    assert_eq!(describe(&profile), expected);
}

#[test]
fn locations_without_symbols_appear_by_their_address() {
    let mut body = small().finish(false);
    let mut location = Vec::new();
    number(&mut location, 1, 77);
    number(&mut location, 3, 0xabc);
    message(&mut body, 4, &location);
    let mut sample = Vec::new();
    number(&mut sample, 1, 77);
    number(&mut sample, 2, 1);
    message(&mut body, 2, &sample);
    let profile = Profile::parse(&body, Limits::default()).unwrap();
    assert_eq!(describe(&profile)[2], (vec!["0xabc".to_owned()], vec![1]));
}

/// The error of `small` with one more top-level message.
fn refused(field: u64, fields: &[(u64, i64)]) -> String {
    let mut body = small().finish(true);
    let mut extra = Vec::new();
    fields.iter().for_each(|&(field, value)| number(&mut extra, field, value));
    message(&mut body, field, &extra);
    Profile::parse(&body, Limits::default()).unwrap_err().to_string()
}

#[test]
fn broken_references_are_named_with_their_place() {
    let at = |message: &str| message.starts_with("malformed pprof at byte ");
    for (message, part) in [
        (refused(2, &[(1, 9), (2, 1)]), "a sample refers to unknown location 9"),
        (refused(2, &[(1, 1)]), "a sample has 0 values and there are 1 sample types"),
        (refused(2, &[(1, 1), (2, 1), (2, 1)]), "a sample has more than 1 values"),
        (refused(5, &[(1, 1), (2, 1)]), "function 1 occurs twice"),
        (refused(4, &[(1, 1)]), "location 1 occurs twice"),
        (refused(5, &[(1, 8), (2, 99)]), "string 99 of 10 is referred to"),
        (refused(5, &[(1, 8), (2, -1)]), "is referred to"),
    ] {
        assert!(at(&message) && message.contains(part), "{message}");
    }
    let mut line = Vec::new();
    message(&mut line, 4, &[8, 55]);
    let mut body = small().finish(true);
    message(&mut body, 4, &line);
    let error = Profile::parse(&body, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("a line refers to unknown function 55"), "{error}");
}

#[test]
fn protobuf_that_is_no_profile_is_refused() {
    let mut other = Vec::new();
    number(&mut other, 200, 3);
    assert!(matches!(Profile::parse(&other, Limits::default()), Err(ProfileError::Malformed { .. })));
    let mut types_only = Vec::new();
    message(&mut types_only, 1, &[]);
    let error = Profile::parse(&types_only, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("without a string table"), "{error}");
}

#[test]
fn a_profile_cut_anywhere_never_panics() {
    for name in RECORDED {
        let whole = plain(name);
        for length in 0..whole.len() {
            if let Ok(profile) = Profile::parse(&whole[..length], Limits::default()) {
                use_all(&profile);
            }
        }
        let compressed = bytes(name);
        for length in 0..compressed.len() {
            assert!(
                Profile::parse(&compressed[..length], Limits::default()).is_err(),
                "{name} cut at {length}"
            );
        }
    }
}

#[test]
fn answers_of_the_corpus_keep_to_the_limits() {
    corpus("pprof").iter().for_each(|answer| check::answer(answer));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let plain = Profile::parse(&bytes, Limits::default());
        if let Ok(profile) = &plain {
            use_all(profile);
        }
        prop_assert_eq!(Profile::parse(&gzip(&bytes), Limits::default()).is_ok(), plain.is_ok());
        prop_assert!(Profile::parse(&[&[0x1f, 0x8b], &bytes[..]].concat(), Limits::default()).is_err());
    }

    #[test]
    fn mutated_profiles_never_panic_and_keep_to_the_limits(
        which in 0..RECORDED.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        removed in 0_usize..40,
    ) {
        let mut bytes = plain(RECORDED[which]);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let from = cut.index(bytes.len());
        let to = (from + removed).min(bytes.len());
        bytes.drain(from..to);
        let limits = Limits { samples: 100, strings: 2000, ..Limits::default() };
        if let Ok(profile) = Profile::parse(&bytes, limits) {
            prop_assert!(profile.len() <= 100 && profile.heap_bytes() <= 16 * bytes.len() + 4096);
            use_all(&profile);
        }
    }

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec(
        (prop::collection::vec(0_usize..5, 0..6), any::<i64>(), "[a-z]{0,3}"), 0..20)) {
        let mut writer = Writer::new(&[("goroutine", "count")]);
        let ids: Vec<u64> = (0..5).map(|n| writer.function(&format!("main.f{n}"), "m.go", n + 1)).collect();
        for (stack, value, label) in &rows {
            let stack: Vec<u64> = stack.iter().map(|&at| ids[at]).collect();
            writer.sample(&stack, &[*value], &[("k", label)]);
        }
        let profile = Profile::parse(&gzip(&writer.finish(false)), Limits::default()).unwrap();
        prop_assert_eq!(profile.len(), rows.len());
        for (sample, (stack, value, label)) in profile.samples().zip(&rows) {
            let lines: Vec<usize> = sample.frames().map(|frame| frame.line as usize - 1).collect();
            prop_assert_eq!((&lines, sample.value(0)), (stack, *value));
            // The empty text is string 0, which the format reads as "not text".
            let expected = (!label.is_empty()).then_some(label.as_str());
            prop_assert_eq!(sample.label("k"), expected);
        }
        use_all(&profile);
    }
}
