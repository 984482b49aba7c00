//! An extension that writes down when it starts and ends.

use std::sync::Arc;

use weir_component::{
    Build, BuildError, Extension, ExtensionContext, ExtensionFactory, Failure, Options, Stability,
    async_trait,
};

use super::{Event, Lab};

/// Makes extensions of the type `test` that follow the scripts of their [`Lab`].
pub const EXTENSION: ExtensionFactory = ExtensionFactory {
    kind: "test",
    aliases: &[],
    stability: Stability::Development,
    metadata: "",
    options: Options::none(),
    offers: &[],
    create,
};

/// What a test extension does.
#[derive(Debug, Clone, Default)]
pub struct ExtensionScript {
    /// It cannot start, with this text.
    pub fails_to_start: Option<String>,
    /// It opens this under that key.
    pub opens: Option<(String, Arc<u8>)>,
    /// It panics in its start.
    pub panics_at_start: bool,
    /// It never ends, whatever it is told.
    pub ignores_stop: bool,
    /// Ids of those that have to start before it.
    pub needs: Vec<String>,
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let lab: Arc<Lab> = build.host.shared();
    let script = lab.script(build, |state, id| state.extensions.get(id).cloned())?;
    Ok(Box::new(TestExtension { lab, script }))
}

struct TestExtension {
    lab: Arc<Lab>,
    script: ExtensionScript,
}

#[async_trait]
impl Extension for TestExtension {
    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        self.lab.record(cx.clock.now(), &cx.id, Event::Started);
        if let Some((key, thing)) = &self.script.opens {
            cx.host.handover().keep(&cx.id, key, thing);
        }
        if self.script.panics_at_start {
            panic!("a test extension panics");
        }
        self.script.fails_to_start.clone().map_or(Ok(()), |text| Err(Failure::permanent(text)))
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        if self.script.ignores_stop {
            std::future::pending::<()>().await;
        }
        cx.stop.requested().await;
        self.lab.record(cx.clock.now(), &cx.id, Event::Ended);
        Ok(())
    }

    fn needs(&self) -> Vec<String> {
        self.script.needs.clone()
    }
}
