//! Components that have failed for good.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use weir_component::{Failure, Status};

/// Where components are reported that have failed for good. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fatal(mpsc::Sender<(String, Failure)>);

/// The other end. Cheap to clone; each report is given to one of the clones.
#[derive(Clone)]
pub(crate) struct Failed(Arc<Mutex<mpsc::Receiver<(String, Failure)>>>);

impl Failed {
    /// The next report; pending for ever when nobody is left to report.
    pub(crate) async fn next(&self) -> (String, Failure) {
        let report = self.0.lock().await.recv().await;
        match report {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }
}

impl Fatal {
    pub(crate) fn new() -> (Fatal, Failed) {
        let (sender, receiver) = mpsc::channel(16);
        (Fatal(sender), Failed(Arc::new(Mutex::new(receiver))))
    }

    /// Reports the component `id`.
    pub(crate) fn report(&self, id: &str, failure: Failure) {
        // Full or gone: another failure is ending the service already.
        drop(self.0.try_send((id.to_owned(), failure)));
    }
}

/// A panic as a failure. The same data may cause it again, so its sender is not asked to come back with it.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    Failure::permanent(format!("panicked: {text}")).with_status(Status::Internal)
}
