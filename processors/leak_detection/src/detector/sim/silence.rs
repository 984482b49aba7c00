//! What becomes of a verdict when sources fall silent, when others are heard, and when they come back.

use super::super::*;
use super::healthy::lost_ends;
use super::world::{View, World};
use super::{Lens, STEP, TIGHT, WIDE, real};
use weir_connection::report::State;

const FOR_EVER: f64 = 1e12;
/// When something happens to the sources, nominal seconds.
const CUT: f64 = 10_000.0;

/// What came of a run.
struct Seen {
    /// Nominal minutes, from and to.
    changes: Vec<(f64, State, State)>,
    /// Of the findings about the clients since [`CUT`]: how many at a time, and the states of the first.
    findings: Vec<(f64, usize, State)>,
    detector: Detector,
    now: i64,
}

impl Seen {
    fn after_the_cut(&self) -> Vec<(State, State)> {
        let after = self.changes.iter().filter(|(minutes, ..)| minutes * 60.0 >= CUT);
        after.map(|(_, from, to)| (*from, *to)).collect()
    }

    fn last(&self) -> Finding {
        self.detector.report(self.now).remove(0)
    }
}

/// Runs a leaking client that three sources see; what they say passes through `hear` before the detector hears it.
fn watch(
    lens: Lens,
    hours: f64,
    mut act: impl FnMut(&mut World),
    mut hear: impl FnMut(f64, Observation) -> Option<Observation>,
) -> Seen {
    let mut world = World::new(View::Full, 7);
    let mut detector = Detector::new(Settings { window: lens.window, ..Settings::default() });
    let (mut changes, mut findings, mut next, mut now) = (Vec::new(), Vec::new(), 0.0, 0);
    while world.time < hours * 3600.0 {
        world.advance(STEP);
        act(&mut world);
        if world.time < next {
            continue;
        }
        next += lens.interval;
        now = real(lens, world.time);
        let mut profiled = false;
        for observation in world.series(lens) {
            let Some(heard) = hear(world.time, observation) else { continue };
            profiled |= heard.key.source == Source::Profile;
            detector.observe(heard);
        }
        if profiled {
            world.processes(lens).into_iter().for_each(|observation| detector.observe_process(observation));
        }
        let time = world.time;
        changes.extend(detector.tick(now).into_iter().map(|change| (time / 60.0, change.from, change.to)));
        let report = detector.report(now);
        let about: Vec<&Finding> = report.iter().filter(|f| f.side == "client").collect();
        if let (true, Some(first)) = (time > CUT, about.first()) {
            findings.push((time, about.len(), first.state));
        }
    }
    Seen { changes, findings, detector, now }
}

fn leak(world: &mut World) {
    for _ in 0..world.events(0.05) {
        world.open(FOR_EVER, 41);
    }
}

fn leak_until_the_cut(world: &mut World) {
    if world.time < CUT {
        leak(world);
    }
}

#[test]
fn a_leak_of_which_only_some_sources_are_heard_goes_on_as_one_finding() {
    use Source::*;
    let heard: [&[Source]; 5] = [&[Sockets, Profile], &[Sockets], &[Profile], &[Events], &[Events, Sockets]];
    for lens in [WIDE, TIGHT] {
        for sources in heard {
            let seen = watch(lens, 10.0, leak, |time, observation| {
                (time < CUT || sources.contains(&observation.key.source)).then_some(observation)
            });
            assert_eq!(seen.after_the_cut(), [], "{sources:?} {}", lens.window);
            let one = |(_, number, state): &(f64, usize, State)| *number == 1 && *state == State::Leaking;
            assert!(seen.findings.iter().all(one), "{sources:?} {:?}", seen.findings);
            let last = seen.last();
            assert!(last.growth.open > 1500.0, "what is heard is counted: {sources:?} {:?}", last.growth);
            assert!(!last.explanation.contains("nothing is heard"), "{sources:?} {}", last.explanation);
        }
    }
}

#[test]
fn silence_of_all_sources_is_no_recovery() {
    for lens in [WIDE, TIGHT] {
        let seen = watch(lens, 20.0, leak, |time, observation| (time < CUT).then_some(observation));
        assert_eq!(seen.after_the_cut(), [], "{}", lens.window);
        let last = seen.last();
        assert_eq!(last.state, State::Leaking);
        assert!(last.explanation.contains("which does not say that it has stopped"), "{}", last.explanation);
        assert!(last.missing[0].starts_with("events since "), "{:?}", last.missing);
    }
}

#[test]
fn what_was_lost_telemetry_is_no_leak_by_falling_silent() {
    for lens in [WIDE, TIGHT] {
        let seen = watch(lens, 12.0, lost_ends, |time, observation| (time < CUT).then_some(observation));
        assert!(seen.changes.iter().all(|(.., to)| *to != State::Leaking), "{:?}", seen.changes);
        assert_eq!(seen.last().class, "telemetry_loss", "{:?}", seen.last());
    }
}

#[test]
fn a_process_that_stands_still_while_its_sockets_are_seen_has_not_recovered() {
    for lens in [WIDE, TIGHT] {
        let seen = watch(lens, 12.0, leak_until_the_cut, |time, observation| {
            (time < CUT || observation.key.source == Source::Sockets).then_some(observation)
        });
        assert_eq!(seen.after_the_cut(), [], "{}", lens.window);
    }
}

#[test]
fn what_closes_while_some_sources_are_silent_recovers_once() {
    use Source::*;
    let heard: [&[Source]; 4] = [&[Sockets, Profile], &[Sockets], &[Profile], &[Events]];
    for lens in [WIDE, TIGHT] {
        for sources in heard {
            // At once, and long after the others have fallen silent.
            for closes in [CUT + 300.0, CUT + 12_000.0] {
                let act = |world: &mut World| match world.time {
                    time if time < closes => leak(world),
                    _ => world.conns.truncate(1),
                };
                let seen = watch(lens, 9.0, act, |time, observation| {
                    (time < CUT || sources.contains(&observation.key.source)).then_some(observation)
                });
                assert_eq!(
                    seen.after_the_cut(),
                    [(State::Leaking, State::Recovering), (State::Recovering, State::Ok)],
                    "{sources:?} {} {closes}",
                    lens.window
                );
            }
        }
    }
}

#[test]
fn events_that_come_back_after_their_totals_were_lost_change_nothing() {
    for lens in [WIDE, TIGHT] {
        let mut lost = BTreeMap::new();
        let seen = watch(lens, 9.0, leak, |time, mut observation| {
            let back = time > CUT + 7200.0;
            if observation.key.source == Source::Events && time > CUT {
                let sample = &mut observation.sample;
                let before = *lost.entry(observation.key.resource.clone()).or_insert(sample.opened);
                sample.opened = sample.opened.zip(before).map(|(now, before)| now - before + 40.0);
                sample.closed = sample.closed.map(|_| 0.0);
                return back.then_some(observation);
            }
            Some(observation)
        });
        assert_eq!(seen.after_the_cut(), [], "{}", lens.window);
        assert!(seen.last().growth.opened > 0.0);
    }
}

#[test]
fn a_source_that_comes_later_does_not_take_a_verdict_away() {
    use Source::*;
    for (first, later) in [(Profile, Sockets), (Sockets, Events), (Profile, Events)] {
        let seen = watch(TIGHT, 9.0, leak, |time, observation| {
            let source = observation.key.source;
            (source == first || time > CUT && source == later).then_some(observation)
        });
        let leaks = |(_, number, state): &(f64, usize, State)| *number == 1 && *state == State::Leaking;
        assert!(seen.findings.iter().all(leaks), "{first:?} {later:?}: {:?}", seen.findings);
        let told = seen.after_the_cut();
        let moved = [(State::Ok, State::Leaking), (State::Leaking, State::Ok)];
        assert!(told.is_empty() || told == moved, "{first:?} {later:?}: {told:?}");
    }
}

#[test]
fn a_verdict_on_goroutines_stands_beside_sockets_until_these_have_one() {
    let other = |observation: &Observation| {
        let key = SeriesKey { target: "10.0.0.7:5432".into(), ..observation.key.clone() };
        Observation { key, sample: Sample { open: Some(3.0), ..Sample::default() }, ..observation.clone() }
    };
    let mut detector = Detector::new(Settings { window: TIGHT.window, ..Settings::default() });
    let mut world = World::new(View::Full, 7);
    let (mut next, mut ends) = (0.0, Vec::new());
    while world.time < 9.0 * 3600.0 {
        world.advance(STEP);
        leak(&mut world);
        if world.time < next {
            continue;
        }
        next += TIGHT.interval;
        for observation in world.series(TIGHT) {
            match observation.key.source {
                Source::Events => {}
                Source::Profile => detector.observe(observation),
                Source::Sockets if world.time > CUT => {
                    detector.observe(other(&observation));
                    detector.observe(observation);
                }
                Source::Sockets => {}
            }
        }
        let now = real(TIGHT, world.time);
        ends.extend(detector.tick(now).into_iter().filter(|c| c.to == State::Ok).map(|c| c.finding));
        let leaks = detector.report(now).iter().filter(|f| f.state == State::Leaking).count();
        assert!(world.time < CUT || leaks == 1, "{} {:#?}", world.time, detector.report(now));
    }
    let said: Vec<_> =
        ends.iter().map(|f| (f.resource.as_str(), f.process.pid, f.explanation.as_str())).collect();
    let text = "it goes on as the finding -> 127.0.0.1:50051, of which more is known now";
    assert_eq!(said, [("grpc_client", 101, text)]);
    assert_eq!(detector.report(real(TIGHT, world.time))[0].target, "127.0.0.1:50051");
}

#[test]
fn only_what_was_closed_is_called_mended() {
    for (closes, hours, text) in
        [(true, 3.0, "it is mended"), (false, 3.6, "see whether it was mended or only rests: ")]
    {
        let act = |world: &mut World| match world.time {
            time if time < CUT => leak(world),
            _ if closes => world.conns.truncate(1),
            _ => {}
        };
        let seen = watch(WIDE, hours, act, |_, observation| Some(observation));
        let last = seen.last();
        assert_eq!(last.state, State::Recovering);
        assert!(last.cure.contains(text) && last.cure.contains("it is mended") == closes, "{}", last.cure);
    }
}
