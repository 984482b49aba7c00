//! A processor that says how many bytes may be held: its settings are their number.

use std::sync::Arc;

use weir_component::{
    Budget, Build, BuildError, Context, Failure, Gate, Processor, ProcessorFactory, Transform, Verdict,
};
use weir_config::NodeKind;
use weir_pdata::Payload;
use weir_testkit::PROCESSOR;

pub(crate) const LIMITS: ProcessorFactory = ProcessorFactory { kind: "limits", create, ..PROCESSOR };

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let NodeKind::Int(limit) = build.node.kind else { return Err(build.invalid("is a number")) };
    let limit = usize::try_from(limit).map_err(|_| build.invalid("is too large"))?;
    Ok(Processor::Transform(Arc::new(Limits {
        budget: build.host.budget().clone(),
        gate: Arc::new(Most(limit)),
    })))
}

struct Limits {
    budget: Budget,
    gate: Arc<dyn Gate>,
}

impl Transform for Limits {
    fn take_effect(&self) {
        self.budget.add_gate(Arc::downgrade(&self.gate));
    }

    fn apply(&self, _: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        Ok(Verdict::Pass)
    }
}

struct Most(usize);

impl Gate for Most {
    fn admit(&self, held: usize, more: usize) -> Result<(), Failure> {
        if self.would_admit(held, more) { Ok(()) } else { Err(Failure::retry("full")) }
    }

    fn would_admit(&self, held: usize, more: usize) -> bool {
        held + more <= self.0
    }

    fn limit(&self) -> usize {
        self.0
    }
}
