use std::iter::repeat_with;

use futures_util::FutureExt;
use weir_component::{Outputs, Port};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::profiles::v1development::{Profile, ResourceProfiles, Sample, ScopeProfiles};
use weir_pdata::otlp::{LogsRequest, ProfilesRequest};
use weir_testkit::{Recorder, Simulation};

use super::*;

struct Bench {
    simulation: Simulation,
    recorder: Recorder,
    batcher: Batcher,
    cx: StageContext,
}

fn bench(config: Config) -> Bench {
    let simulation = Simulation::new(1);
    let recorder = Recorder::accepting();
    let host = weir_testkit::host(&simulation);
    let port = Port { signal: Signal::Logs, pipeline: "logs".into(), output: recorder.output() };
    let cx = StageContext {
        id: "batch".into(),
        outputs: Outputs::new(vec![port]),
        clock: simulation.clock(),
        host: host.clone(),
    };
    Bench { batcher: Batcher::new(config, "batch", &host), simulation, recorder, cx }
}

impl Bench {
    /// Runs a step of the stage and returns the bench.
    fn step<F>(self, step: F) -> Bench
    where
        F: for<'a> FnOnce(&'a mut Batcher, &'a StageContext) -> futures_util::future::BoxFuture<'a, ()>
            + Send
            + 'static,
    {
        let Bench { simulation, recorder, mut batcher, cx } = self;
        let (batcher, cx) = simulation
            .run(async move {
                step(&mut batcher, &cx).await;
                (batcher, cx)
            })
            .expect("ends");
        Bench { simulation, recorder, batcher, cx }
    }

    fn put(self, first: i64, items: usize) -> Bench {
        self.put_with(first, items, Context::default())
    }

    /// Puts a payload that is in the budget, as everything is that has waited for the stage.
    fn put_owned(self, mut payload: Payload) -> Bench {
        self.cx.host.budget().own(&mut payload);
        self.step(move |b, cx| b.on_batch(0, Batch::unattended(payload), cx))
    }

    fn put_with(self, first: i64, items: usize, context: Context) -> Bench {
        let payload = weir_testkit::payload(Signal::Logs, first, items);
        self.step(move |b, cx| {
            let batch = Batch { payload, receipt: Receipt::unattended(), context: Arc::new(context) };
            b.on_batch(0, batch, cx)
        })
    }

    fn sizes(&self) -> Vec<usize> {
        self.recorder.payloads().iter().map(Payload::items).collect()
    }
}

#[test]
fn a_batch_is_sent_when_it_is_large_enough() {
    let b = bench(Config { send_batch_size: 10, ..Config::default() }).put(0, 6);
    assert!(b.sizes().is_empty());
    let b = b.put(6, 6);
    assert_eq!(b.sizes(), [12]);
    assert_eq!(b.recorder.ids(), (0..12).collect::<Vec<_>>());
    assert_eq!(b.batcher.wake_at(), None);
}

#[test]
fn a_small_batch_is_sent_when_time_is_up() {
    let b = bench(Config::default()).put(0, 3);
    assert_eq!(b.batcher.wake_at(), Some(Instant::from_nanos(200_000_000)));
    let b = b.step(|b, cx| {
        Box::pin(async move {
            cx.clock.sleep(Duration::from_millis(200)).await;
            b.on_wake(cx).await;
        })
    });
    assert_eq!(b.sizes(), [3]);
}

#[test]
fn large_requests_are_split_to_the_maximum() {
    let config = Config { send_batch_size: 10, send_batch_max_size: 10, ..Config::default() };
    let b = bench(config).put(0, 25);
    assert_eq!(b.sizes(), [10, 10]);
    let b = b.step(|b, cx| b.on_drain(cx));
    assert_eq!(b.sizes(), [10, 10, 5]);
    assert_eq!(b.recorder.ids(), (0..25).collect::<Vec<_>>());
}

#[test]
fn no_timeout_means_every_request_at_once() {
    let b = bench(Config { timeout: GoDuration::ZERO, ..Config::default() }).put(0, 1).put(1, 2);
    assert_eq!(b.sizes(), [1, 2]);
    for body in ["{timeout: 0s}", "{send_batch_size: 0}"] {
        let node = weir_config::parse_body(body).expect("YAML");
        let (host, path) =
            (weir_testkit::host(&b.simulation), weir_config::Path::component("processors", "batch"));
        let build = Build { id: "batch", node: &node, path, host: &host, clock: b.simulation.clock() };
        let at_once = matches!(create(&build), Ok(Processor::Batch(_, behind)) if behind.min_size == 0);
        assert!(at_once, "{body}: nor does anything wait behind a queue");
    }
}

fn tenant(name: &str) -> Context {
    Context { metadata: vec![("x-tenant".into(), vec![name.into()])], ..Context::default() }
}

/// Combinations of metadata values, as they are measured.
fn cardinality(host: &Host) -> u64 {
    let samples = host.stats().samples();
    samples.iter().find(|s| s.name == "otelcol_processor_batch_metadata_cardinality").expect("counted").value
}

#[test]
fn tenants_are_batched_apart_up_to_the_limit() {
    let config =
        Config { metadata_keys: vec!["X-Tenant".into()], metadata_cardinality_limit: 2, ..Config::default() };
    let b = bench(config).put_with(0, 1, tenant("a")).put_with(1, 1, tenant("b")).put_with(2, 1, tenant("a"));
    let (receipt, settled) = Receipt::new();
    let payload = weir_testkit::payload(Signal::Logs, 3, 1);
    let context = Arc::new(tenant("c"));
    let mut b = Some(b);
    let lines = weir_testkit::logged(tracing::level_filters::LevelFilter::WARN, || {
        let put = b.take().expect("a bench");
        b = Some(put.step(move |b, cx| b.on_batch(0, Batch { payload, receipt, context }, cx)));
    });
    let b = b.expect("a bench");
    let refused = b.simulation.run(settled).expect("settled").expect_err("refused");
    assert_eq!((refused.is_retryable(), refused.component()), (false, "batch"));
    let said =
        |line: &String| line.contains("metadata_cardinality_limit") && line.contains("rejected_items=1");
    assert!(lines.len() == 1 && lines.iter().all(said), "{lines:?}");
    let b = b.step(|b, cx| b.on_drain(cx));
    let mut ids: Vec<_> = b.recorder.payloads().iter().map(weir_testkit::ids).collect();
    ids.sort();
    assert_eq!(ids, [vec![0, 2], vec![1]]);
}

#[test]
fn a_combination_that_holds_nothing_makes_room_for_another_and_one_that_is_filling_does_not() {
    let config = Config {
        metadata_keys: vec!["x-tenant".into()],
        metadata_cardinality_limit: 2,
        send_batch_size: 2,
        ..Config::default()
    };
    let mut b = bench(config).put_with(0, 1, tenant("filling"));
    for first in 1..10 {
        b = b.put_with(2 * first, 2, tenant(&first.to_string()));
        assert_eq!((b.sizes().len(), cardinality(&b.cx.host)), (first as usize, 2));
    }
    let b = b.put_with(1, 1, tenant("filling"));
    assert_eq!(b.recorder.payloads().last().map(weir_testkit::ids), Some(vec![0, 1]));
}

#[test]
fn without_a_limit_combinations_that_hold_nothing_do_not_become_more_and_more() {
    let config = Config {
        metadata_keys: vec!["x-tenant".into()],
        metadata_cardinality_limit: 0,
        send_batch_size: 2,
        ..Config::default()
    };
    let mut b = bench(config);
    for filling in 0..1500 {
        b = b.put_with(filling, 1, tenant(&format!("filling {filling}")));
    }
    for idle in 0..3000 {
        b = b.put_with(2 * idle, 2, tenant(&format!("idle {idle}")));
    }
    let known = b.batcher.shards.len();
    assert!((1500..=3000).contains(&known), "{known}");
    assert_eq!((cardinality(&b.cx.host), b.sizes().len()), (known as u64, 3000));
    let b = b.step(|b, cx| b.on_drain(cx));
    assert_eq!(b.sizes().len(), 4500);
}

#[test]
fn contradictory_sizes_are_refused() {
    let config = Config { send_batch_size: 10, send_batch_max_size: 5, ..Config::default() };
    assert!(config.check().is_err_and(|e| e.contains("send_batch_max_size")));
}

#[test]
fn combinations_of_metadata_are_counted_as_long_as_the_processor_lives() {
    let config = Config { metadata_keys: vec!["x-tenant".into()], ..Config::default() };
    let b = bench(config).put_with(0, 1, tenant("a")).put_with(1, 1, tenant("b")).put_with(2, 1, tenant("a"));
    let host = b.cx.host.clone();
    assert_eq!(cardinality(&host), 2);
    let next = Batcher::new(Config::default(), "batch", &host);
    assert_eq!(cardinality(&host), 3);
    drop(b);
    assert_eq!(cardinality(&host), 1, "the one of the processor without keys");
    drop(next);
    assert_eq!(cardinality(&host), 0);
}

#[test]
fn a_trickle_does_not_put_off_the_time_of_a_batch() {
    let mut b = bench(Config::default()).put(0, 1);
    let due = b.batcher.wake_at();
    for first in 1..4 {
        b = b.step(|_, cx| cx.clock.sleep(Duration::from_millis(50))).put(first, 1);
        assert_eq!(b.batcher.wake_at(), due, "the time of the first");
    }
}

#[test]
fn what_it_holds_is_in_the_budget_until_it_is_gone() {
    let b = bench(Config { send_batch_size: 400, ..Config::default() });
    let budget = b.cx.host.budget().clone();
    let mut b = b;
    for first in 0..399 {
        b = b.put(first, 1);
    }
    let one = weir_testkit::payload(Signal::Logs, 0, 1).encoded_len();
    assert!((399 * one..3 * 399 * one).contains(&budget.held()), "{} of {one} each", budget.held());
    let b = b.put(399, 1);
    assert_eq!(b.sizes(), [400]);
    assert!(budget.held() >= 400 * one, "the batch carries what is reserved for it");
    drop(b);
    assert_eq!(budget.held(), 0);
}

/// One resource with `items` records, and one with samples, of a kilobyte each.
fn large(items: usize) -> [Payload; 2] {
    let record = || LogRecord { severity_text: "x".repeat(1000), ..LogRecord::default() };
    let scope_logs =
        vec![ScopeLogs { log_records: repeat_with(record).take(items).collect(), ..Default::default() }];
    let sample = || Sample { timestamps_unix_nano: vec![1; 125], ..Sample::default() };
    let profile = Profile { samples: repeat_with(sample).take(items).collect(), ..Profile::default() };
    let scope_profiles = vec![ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() }];
    let logs = LogsRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    let resource_profiles = vec![ResourceProfiles { scope_profiles, ..ResourceProfiles::default() }];
    [logs.into(), ProfilesRequest { resource_profiles, dictionary: None }.into()]
}

#[test]
fn requests_that_wait_and_what_a_cut_leaves_over_are_in_the_budget() {
    for payload in large(15) {
        let (one, signal) = (payload.encoded_len(), payload.signal());
        let mut b = bench(Config { send_batch_size: 50, send_batch_max_size: 50, ..Config::default() });
        let budget = b.cx.host.budget().clone();
        for waiting in 1..=3 {
            b = b.put_owned(payload.clone());
            assert_eq!(budget.held(), waiting * one, "{signal}");
        }
        b = b.put_owned(payload);
        assert_eq!(b.sizes(), [50], "{signal}");
        let held = 4 * one..5 * one;
        assert!(held.contains(&budget.held()), "{signal}: {} with the 10 left, {one} each", budget.held());
        drop(b);
        assert_eq!(budget.held(), 0, "{signal}");
    }
}

/// Never takes anything.
struct Full;

#[async_trait]
impl weir_component::Consumer for Full {
    async fn consume(&self, _held: Batch) {
        std::future::pending().await
    }
}

#[test]
fn what_was_acknowledged_and_is_dropped_with_the_processor_is_counted() {
    let config = Config { send_batch_size: 10, send_batch_max_size: 10, ..Config::default() };
    let Bench { simulation, mut batcher, mut cx, .. } = bench(config);
    let port = Port {
        signal: Signal::Logs,
        pipeline: "logs".into(),
        output: weir_component::Output::new(Arc::new(Full)),
    };
    cx.outputs = Outputs::new(vec![port]);
    let (receipt, settled) = Receipt::new();
    let payload = weir_testkit::payload(Signal::Logs, 0, 25);
    let batch = Batch { payload, receipt, context: Arc::default() };
    assert!(
        batcher.on_batch(0, batch, &cx).now_or_never().is_none(),
        "dropped while the first waits for room"
    );
    assert!(simulation.run(settled).expect("settled").is_ok());
    drop(batcher);
    let samples = cx.host.stats().samples();
    let lost = samples.iter().find(|s| s.name == "otelcol_processor_batch_lost_items").expect("counted");
    assert_eq!(lost.value, 25, "one that was being sent, one that was to be sent, and the rest");
}

#[test]
fn what_does_not_arrive_is_logged_with_who_says_so_the_pipeline_and_the_signal() {
    let lines = weir_testkit::logged(tracing::level_filters::LevelFilter::WARN, || {
        let failure = Failure::retry("sending queue is full").reported_by("otlp_http/a");
        let mut bench = bench(Config { send_batch_size: 1, ..Config::default() });
        bench.cx.outputs = Outputs::new(vec![Port {
            signal: Signal::Logs,
            pipeline: "logs/front".into(),
            output: Recorder::answering(move |_| Err(failure.clone())).output(),
        }]);
        bench.put(0, 3);
    });
    let expected = "WARN message=Sender failed;otelcol.component.id=batch;otelcol.component.kind=\"processor\";\
                    otelcol.pipeline.id=logs/front;otelcol.signal=\"logs\";error=sending queue is full;\
                    reported_by=\"otlp_http/a\";dropped_items=3;";
    assert_eq!(lines, [expected]);
}
