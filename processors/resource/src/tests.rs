use weir_pdata::otlp::profiles::v1development::ResourceProfiles;
use weir_pdata::otlp::resource::v1::Resource as Owned;
use weir_pdata::otlp::{ProfilesRequest, kv};
use weir_testkit::{Simulation, payload};

use super::*;

fn build(body: &str) -> Result<Arc<dyn Transform>, BuildError> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let (host, path) =
        (weir_testkit::host(&simulation), weir_config::Path::component("processors", "resource"));
    match create(&Build { id: "resource", node: &node, path, host: &host, clock: simulation.clock() })? {
        Processor::Transform(transform) => Ok(transform),
        _ => unreachable!("it keeps nothing"),
    }
}

fn resources(payload: &Payload) -> Vec<Owned> {
    let all: Vec<Option<Owned>> = match payload.signal() {
        Signal::Traces => payload.decode_traces().resource_spans.into_iter().map(|r| r.resource).collect(),
        Signal::Metrics => {
            payload.decode_metrics().resource_metrics.into_iter().map(|r| r.resource).collect()
        }
        Signal::Logs => payload.decode_logs().resource_logs.into_iter().map(|r| r.resource).collect(),
        Signal::Profiles => {
            payload.decode_profiles().resource_profiles.into_iter().map(|r| r.resource).collect()
        }
    };
    all.into_iter().map(Option::unwrap_or_default).collect()
}

fn sample(signal: Signal) -> Payload {
    match signal {
        Signal::Profiles => {
            let resource = Some(Owned { attributes: vec![kv("a", 1)], ..Default::default() });
            let resource_profiles = vec![ResourceProfiles { resource, ..Default::default() }];
            ProfilesRequest { resource_profiles, ..Default::default() }.into()
        }
        other => payload(other, 0, 3),
    }
}

#[test]
fn resources_of_every_signal_change_and_nothing_else() {
    let body =
        "attributes: [{key: env, value: prod, action: insert}, {key: env, value: test, action: update}]";
    let transform = build(body).expect("built");
    for signal in Signal::ALL {
        let before = sample(signal);
        let mut after = before.clone();
        let verdict = transform.apply(&mut after, &Context::default()).expect("applied");
        assert_eq!((verdict, after.items()), (Verdict::Pass, before.items()));
        let mut expected = resources(&before);
        expected.iter_mut().for_each(|r| r.attributes.push(kv("env", "test")));
        assert_eq!(resources(&after), expected, "{signal}");
        let back = build("attributes: [{key: env, action: delete}]").expect("built");
        back.apply(&mut after, &Context::default()).expect("applied");
        assert_eq!(resources(&after), resources(&before), "{signal}");
    }
}

#[test]
fn without_actions_it_is_refused() {
    let error = build("{}").err().expect("refused").0.remove(0);
    assert_eq!(error.core, "missing required field \"attributes\"");
}
