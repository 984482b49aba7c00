//! An extension that runs on simulated time, for tests of what it offers.

use std::time::Duration;

use weir_component::{Build, Capabilities, ExtensionContext, ExtensionFactory, Host, Runtime, Stop, Stopper};
use weir_config::Offer;

use crate::Simulation;

/// A running extension.
pub struct Beside {
    /// What it offers.
    pub offers: Capabilities,
    simulation: Simulation,
    _stopper: Stopper,
}

impl Beside {
    /// Builds the extension with that body under its type as id, starts and runs it. `others` are the extensions that
    /// run already.
    ///
    /// # Errors
    /// Why it could not be built or started.
    pub fn start(
        factory: &ExtensionFactory,
        body: &str,
        others: &[(&str, Capabilities)],
    ) -> Result<Beside, String> {
        let simulation = Simulation::new(1);
        let host: Host = crate::host(&simulation);
        for (id, capabilities) in others {
            host.offer(id, capabilities.clone());
        }
        let node = weir_config::parse_body(body).map_err(|e| format!("{e:?}"))?;
        let path = weir_config::Path::component("extensions", factory.kind);
        let build = Build { id: factory.kind, node: &node, path, host: &host, clock: simulation.clock() };
        let mut extension = (factory.create)(&build).map_err(|e| e.to_string())?;
        let (stopper, stop) = Stop::new();
        let cx = ExtensionContext { id: factory.kind.to_owned(), stop, clock: simulation.clock(), host };
        let started = simulation.run(async move {
            let result = extension.start(&cx).await;
            result.map(|()| (extension, cx))
        });
        let (extension, cx) =
            started.ok_or("the start waits for ever")?.map_err(|f| f.message().to_owned())?;
        let offers = extension.capabilities();
        for (offer, has) in [
            (Offer::Authentication, offers.server_auth.is_some() || offers.client_auth.is_some()),
            (Offer::Storage, offers.storage.is_some()),
        ] {
            if factory.offers.contains(&offer) != has {
                return Err(format!("the factory of {} is wrong about {offer:?}", factory.kind));
            }
        }
        simulation.spawn(Box::pin(async move { drop(extension.run(cx).await) }));
        Ok(Beside { offers, simulation, _stopper: stopper })
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        let clock = self.simulation.clock();
        self.simulation.run(async move { clock.sleep(time).await });
    }

    /// Runs something beside the extension; `None` when it waits for ever.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.simulation.run(future)
    }
}
