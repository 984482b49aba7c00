//! What must hold for any answer of a profiling endpoint; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use libdeflater::{CompressionLvl, Compressor};

use crate::census::{Behind, Census, Kind, Resource, stacks_behind};
use crate::profile::LABEL_WIDTH;
use crate::sites::{Measure, Opened, by_allocations, by_custom_profile, by_entry, by_label};
use crate::{Keeper, Limits, Profile, SiteRules};

/// Bounds that short inputs reach.
const LIMITS: Limits = Limits {
    bytes: 1 << 16,
    strings: 200,
    string: 1000,
    text: 10_000,
    functions: 30,
    locations: 30,
    samples: 40,
    labels: 4,
    all_labels: 20,
    sample_types: 4,
    stack_depth: 10,
    frames: 100,
};

/// What is accepted keeps to the limits, holds no more than its bytes are worth, is the same when it comes compressed, and
/// answers everything that is asked of a profile.
pub fn answer(bytes: &[u8]) {
    let profile = Profile::parse(bytes, LIMITS);
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        let again = Profile::parse(&gzip(bytes), LIMITS).map(|profile| describe(&profile));
        assert_eq!(again, profile.as_ref().map(describe).map_err(Clone::clone));
        let Ok(profile) = &profile else { return };
        assert!(
            profile.heap_bytes() <= 16 * bytes.len() + 4096,
            "{} of {}",
            profile.heap_bytes(),
            bytes.len()
        );
    }
    let Ok(profile) = profile else { return };
    assert!(profile.len() <= LIMITS.samples && profile.value_types().len() <= LIMITS.sample_types);
    for sample in profile.samples() {
        assert!(sample.frames().len() <= LIMITS.stack_depth + 1 && sample.labels().len() <= LIMITS.labels);
        assert_eq!(sample.values().len(), profile.value_types().len());
    }
    assert!(profile.label_sets.items() / LABEL_WIDTH <= LIMITS.all_labels);
    assert!(profile.strings.iter().map(str::len).sum::<usize>() <= LIMITS.text);
    assert!(profile.strings.iter().all(|text| text.len() <= LIMITS.string));
    use_all(&profile);
}

/// Asks for everything that can be asked of a profile, and for what holds of any.
pub(crate) fn use_all(profile: &Profile) {
    ask(profile);
    assert_eq!(describe(profile).len(), profile.len());
}

/// The same without the texts of all frames, which many may share.
pub(crate) fn ask(profile: &Profile) {
    let mut keeper = Keeper::new(10);
    assert!(keeper.next(profile).is_none());
    let delta = keeper.next(profile).expect("a second scrape");
    assert!(delta.totals().iter().all(|&total| total == 0));
    assert!(Census::take(delta.view(), 3).groups.len() <= 3);
    let rules = SiteRules::default();
    let census = Census::take(profile.view(), 3);
    let sites = [
        by_label(&census, Resource::GrpcClient),
        by_custom_profile(profile.view(), &rules),
        by_entry(profile.view(), &Kind::ALL, &rules),
        by_allocations(profile.view(), Opened::GrpcClient, Measure::InUse, &rules),
    ];
    for site in sites.iter().flatten() {
        assert!((0.0..=1.0).contains(&site.share) && (0.0..=1.0).contains(&site.relative_error), "{site:?}");
    }
    let stacks = stacks_behind(profile.view(), Behind::default(), 5);
    assert!(stacks.len() <= 5 && stacks.iter().flat_map(|stack| &stack.frames).all(|line| line.len() < 2100));
}

/// The frames and values of all samples.
pub(crate) fn describe(profile: &Profile) -> Vec<(Vec<String>, Vec<i64>)> {
    let frames = |sample: &crate::Sample<'_>| sample.frames().map(|frame| frame.to_string()).collect();
    profile.samples().map(|sample| (frames(&sample), sample.values().to_vec())).collect()
}

/// Compresses as Go does: one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("there is room");
    out.truncate(length);
    out
}
