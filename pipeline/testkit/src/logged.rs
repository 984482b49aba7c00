//! What components say in the agent's log.

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Id, Metadata, Subscriber, span};

/// Runs something in this thread and returns what it says from `level` on: `LEVEL message=...;field=value;` for each line.
pub fn logged(level: LevelFilter, during: impl FnOnce()) -> Vec<String> {
    // Of one subscriber alone a thread without any would decide that nobody listens to what it is the first to log.
    static ELSEWHERE: Once = Once::new();
    ELSEWHERE.call_once(|| {
        // Whoever was first listens as well.
        drop(tracing::subscriber::set_global_default(Lines { level: LevelFilter::TRACE, seen: None }));
    });
    let seen = Arc::<Mutex<Vec<String>>>::default();
    tracing::subscriber::with_default(Lines { level, seen: Some(Arc::clone(&seen)) }, during);
    seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Lines {
    level: LevelFilter,
    /// `None`: nobody reads them.
    seen: Option<Arc<Mutex<Vec<String>>>>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let field = format!("{}={value:?};", field.name());
        self.0.push_str(&field);
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries below speak through the same facade.
        *metadata.level() <= self.level && metadata.target().starts_with("weir")
    }

    fn event(&self, event: &Event<'_>) {
        // It is not always asked before.
        let Some(seen) = self.seen.as_ref().filter(|_| self.enabled(event.metadata())) else { return };
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
