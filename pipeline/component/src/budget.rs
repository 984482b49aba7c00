//! One budget for the bytes of telemetry that the process really holds.
//!
//! A receiver reserves as bytes arrive, before it decodes anything, and lets the payload carry the reservation
//! ([`Reservation::hold`]): whatever becomes of the payload, in however many slices and queues it lives on, the bytes
//! are given back when the last of them is dropped, and not before. That a slice of ten bytes keeps a whole received
//! buffer alive is therefore counted as what it is.
//!
//! What becomes of a payload on its way, edited or cut, lies in bytes of its own. Whoever lets a payload wait puts them into the
//! budget before ([`Budget::own`]).

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use opentelemetry::metrics::AsyncInstrument;
use weir_config::telemetry::MetricsLevel;
use weir_pdata::Payload;

use crate::{Failure, Status, Telemetry};

/// Says whether more may be taken in, instead of the limit of the [`Budget`]: a memory limiter.
pub trait Gate: Send + Sync {
    /// Asked before `more` is reserved beside what is `held`; not for what is held anyway ([`Reservation::force`]). Must be
    /// quick and not block.
    ///
    /// # Errors
    /// A retryable failure, which the sender hears unless it needs more than the [`limit`](Gate::limit).
    fn admit(&self, held: usize, more: usize) -> Result<(), Failure>;

    /// What `admit` would say now. Nobody is refused by it and nothing comes in: it counts and logs nothing.
    fn would_admit(&self, held: usize, more: usize) -> bool;

    /// Most bytes that `admit` lets be held, whatever else it looks at.
    fn limit(&self) -> usize;
}

/// What a gate says to who only looks.
struct Shut;

/// The budget of an agent. Cheap to clone.
#[derive(Clone, Default)]
pub struct Budget(Arc<Inner>, Option<Told>);

/// Who hears of the refusals of one that reserves.
type Told = Arc<dyn Fn(&Failure) + Send + Sync>;

struct Inner {
    limit: AtomicUsize,
    held: AtomicUsize,
    refused: AtomicUsize,
    gated: AtomicBool,
    gates: RwLock<Vec<Weak<dyn Gate>>>,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            limit: AtomicUsize::new(usize::MAX),
            held: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            gated: AtomicBool::new(false),
            gates: RwLock::default(),
        }
    }
}

impl Budget {
    /// The same budget for one that wants to hear what is refused of its own reservations. `told` must be quick and not block.
    #[must_use]
    pub fn telling(&self, told: impl Fn(&Failure) + Send + Sync + 'static) -> Budget {
        Budget(Arc::clone(&self.0), Some(Arc::new(told)))
    }

    /// Sets how many bytes may be held. Default without limit; what is held already stays.
    pub fn set_limit(&self, bytes: usize) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes may be held: by the strictest gate, where there is one.
    pub fn limit(&self) -> usize {
        let strictest = Cell::new(usize::MAX);
        let look = |gate: &dyn Gate, _| {
            strictest.set(strictest.get().min(gate.limit()));
            Ok::<(), Shut>(())
        };
        match self.ask_gates(look) {
            Ok(true) => strictest.get(),
            _ => self.own_limit(),
        }
    }

    fn own_limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Reservations that were refused since the start.
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Has what is held and how much may be read as metrics of the agent.
    pub(crate) fn publish(&self, telemetry: &Telemetry) {
        if telemetry.level() == MetricsLevel::None {
            return;
        }
        let meter = telemetry.meter("weir");
        // The provider keeps what is registered.
        let gauge = |name, help, read: fn(&Budget) -> usize| {
            let budget = Budget(Arc::clone(&self.0), None);
            let read = move |i: &dyn AsyncInstrument<u64>| i.observe(read(&budget) as u64, &[]);
            let gauge = meter.u64_observable_gauge(name).with_unit("By").with_description(help);
            let _gauge = gauge.with_callback(read).build();
        };
        gauge(
            "otelcol_process_telemetry_held_bytes",
            "Bytes of telemetry that the process holds, wherever.",
            Budget::held,
        );
        gauge(
            "otelcol_process_telemetry_limit_bytes",
            "Bytes of telemetry beyond which requests are refused.",
            Budget::limit,
        );
    }

    /// Asks `gate` from now on instead of the limit, as long as somebody else keeps it and it is not [dropped](Budget::drop_gates).
    pub fn add_gate(&self, gate: Weak<dyn Gate>) {
        let mut gates = self.0.gates.write().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|gate| gate.strong_count() > 0);
        gates.push(gate);
        self.0.gated.store(true, Ordering::Release);
    }

    /// The gates that are asked now, for [`Budget::drop_gates`]; the engine calls it before others take effect.
    pub fn gates(&self) -> Vec<Weak<dyn Gate>> {
        self.0.gates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks these no more, whoever keeps them: somebody may wait for long in what a reload has removed. The engine calls it when
    /// others have taken effect, so that there is no moment without any.
    pub fn drop_gates(&self, these: &[Weak<dyn Gate>]) {
        let mut gates = self.0.gates.write().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|gate| !these.iter().any(|one| one.ptr_eq(gate)));
    }

    /// Whether `bytes` could be reserved now. A look: nothing is reserved, and no refusal is counted or logged.
    pub fn would_fit(&self, bytes: usize) -> bool {
        let look = |gate: &dyn Gate, held| gate.would_admit(held, bytes).then_some(()).ok_or(Shut);
        match self.ask_gates(look) {
            Ok(gated) => gated || self.held().saturating_add(bytes) <= self.own_limit(),
            Err(Shut) => false,
        }
    }

    /// A reservation of nothing, which grows as bytes arrive.
    pub fn begin(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Reserves `bytes`.
    ///
    /// # Errors
    /// A retryable failure when that is more than may be held now; a permanent one when it is more than may be held at all.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Failure> {
        let mut reservation = self.begin();
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves, without asking, what was made of a payload since it came in and is not in a budget yet, until it is dropped.
    pub fn own(&self, payload: &mut Payload) {
        payload.own_made(|bytes| {
            let mut room = self.begin();
            room.force(bytes.len());
            room.hold(bytes)
        });
    }

    /// Takes `bytes` for one that needs so many at once before it is through.
    fn take(&self, bytes: usize, needed: usize) -> Result<(), Failure> {
        self.admit(bytes).map_err(|now| self.refuse(self.never_fits(needed).unwrap_or(now)))
    }

    /// Counts a refusal and has it heard, as those that it decides itself: somebody keeps to a part of it.
    pub fn refuse(&self, failure: Failure) -> Failure {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(told) = &self.1 {
            told(&failure);
        }
        failure
    }

    /// Who needs more than is allowed would be sent away whenever it comes: it must not come again.
    fn never_fits(&self, needed: usize) -> Option<Failure> {
        let limit = self.limit();
        (needed > limit).then(|| {
            Failure::permanent(format!(
                "request too large for the memory of the agent: it needs {needed} bytes at once and {limit} are allowed for all \
                 telemetry; send smaller requests, or give the agent more memory (limit_mib of memory_limiter, without which it \
                 is a quarter of what the process may use)"
            ))
            .with_status(Status::ResourceExhausted)
        })
    }

    fn admit(&self, bytes: usize) -> Result<(), Failure> {
        let gated = self.ask_gates(|gate, held| gate.admit(held, bytes))?;
        let limit = if gated { usize::MAX } else { self.own_limit() };
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= limit);
        match self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(held) => Err(Failure::retry(format!(
                "data refused due to high memory usage: {held} bytes of telemetry are held and {limit} are allowed; \
                 send later"
            ))),
        }
    }

    /// Whether there is a gate; then it stands for the limit too. `ask` is given what is held.
    fn ask_gates<E>(&self, ask: impl Fn(&dyn Gate, usize) -> Result<(), E>) -> Result<bool, E> {
        if !self.0.gated.load(Ordering::Acquire) {
            return Ok(false);
        }
        let held = self.held();
        let gates = self.0.gates.read().unwrap_or_else(PoisonError::into_inner);
        let mut asked = false;
        for gate in gates.iter().filter_map(Weak::upgrade) {
            ask(&*gate, held)?;
            asked = true;
        }
        Ok(asked)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.held(), self.limit())
    }
}

/// Bytes that were reserved; they are given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Reserves more.
    ///
    /// # Errors
    /// As [`Budget::reserve`]; what was reserved before stays.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.grow_before(bytes, 0)
    }

    /// Reserves more, before at least `later` bytes that the same request will need beside it.
    ///
    /// # Errors
    /// As [`Budget::reserve`], the permanent one also when only all of it together is more than may be held at all; what was
    /// reserved before stays.
    pub fn grow_before(&mut self, bytes: usize, later: usize) -> Result<(), Failure> {
        if bytes > 0 {
            self.budget.take(bytes, self.bytes.saturating_add(bytes).saturating_add(later))?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// Reserves more or gives back, so that it is for `bytes`: what was read has become something of that size.
    ///
    /// # Errors
    /// As [`Budget::reserve`]; what was reserved before stays.
    pub fn fit(&mut self, bytes: usize) -> Result<(), Failure> {
        self.shrink_to(bytes);
        self.grow(bytes - self.bytes)
    }

    /// Is for `bytes` from now on, without asking: they are held already, and the work that they are for makes room. Who
    /// asks finds less.
    pub fn force(&mut self, bytes: usize) {
        self.shrink_to(bytes);
        self.budget.0.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.budget.0.held.fetch_sub(excess, Ordering::Relaxed);
        self.bytes -= excess;
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same bytes, which carry the reservation: it ends with the last slice of them.
    #[must_use]
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use weir_pdata::otlp::LogsRequest;
    use weir_pdata::otlp::logs::v1::ResourceLogs;

    use super::*;

    fn limited(limit: usize) -> Budget {
        let budget = Budget::default();
        budget.set_limit(limit);
        budget
    }

    #[test]
    fn the_limit_holds_to_the_byte_and_a_refusal_takes_nothing() {
        let budget = limited(10);
        let mut first = budget.reserve(6).expect("fits");
        assert!(budget.reserve(5).is_err_and(|f| f.is_retryable()));
        assert!(budget.reserve(usize::MAX).is_err());
        first.grow(4).expect("fits");
        assert_eq!((budget.held(), budget.refused()), (10, 2));
        drop(first);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_can_never_fit_is_refused_for_good_with_both_figures_and_only_for_as_long_as_that_is_the_limit() {
        let budget = limited(10);
        let is_permanent = |refused: Result<(), Failure>| !refused.expect_err("refused").is_retryable();
        let mut others = budget.reserve(8).expect("fits");
        let mut request = budget.begin();
        assert!(!is_permanent(request.grow(3)), "beside others");
        assert!(!is_permanent(request.grow_before(3, 7)));
        assert!(is_permanent(request.grow_before(3, 8)), "although only its beginning is there");
        others.shrink_to(0);
        request.grow_before(3, 8).expect("nobody knows what the limit will be then");
        let refused = request.grow(8).expect_err("refused");
        assert!(refused.message().contains("needs 11 bytes") && refused.message().contains("10 are allowed"));
        assert_eq!((refused.status(), refused.is_retryable()), (Some(Status::ResourceExhausted), false));
        budget.set_limit(20);
        others.grow(10).expect("fits");
        assert!(!is_permanent(request.grow(8)));
        assert_eq!((request.bytes(), budget.held()), (3, 13));
    }

    #[test]
    fn one_that_reserves_hears_its_own_refusals_and_not_those_of_others() {
        let budget = limited(10);
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let mine = budget.telling(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let _all = budget.reserve(10).expect("fits");
        assert!(budget.reserve(1).is_err() && mine.begin().grow(1).is_err());
        assert_eq!((heard.load(Ordering::Relaxed), budget.refused()), (1, 2));
    }

    #[test]
    fn what_is_held_anyway_leaves_less_for_those_who_ask() {
        let budget = limited(10);
        let mut held = budget.begin();
        held.force(8);
        assert!(budget.would_fit(2) && !budget.would_fit(3) && budget.reserve(3).is_err());
        held.force(20);
        assert_eq!((budget.held(), budget.refused()), (20, 1), "looking does not count");
        held.force(3);
        assert!(budget.reserve(7).is_ok());
        drop(held);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_slice_keeps_the_whole_reservation_until_it_is_dropped() {
        let budget = limited(100);
        let whole = Bytes::from(vec![7; 40]);
        let held = budget.reserve(40).expect("fits").hold(whole);
        let slice = held.slice(10..11);
        drop(held);
        assert_eq!((budget.held(), &slice[..]), (40, &[7][..]));
        drop(slice);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_was_made_of_a_payload_is_held_once_until_it_is_dropped() {
        let budget = Budget::default();
        let mut payload = Payload::from(LogsRequest { resource_logs: vec![ResourceLogs::default()] });
        let size = payload.encoded_len();
        for _ in 0..2 {
            budget.own(&mut payload);
            assert_eq!(budget.held(), size);
        }
        drop(payload);
        assert_eq!(budget.held(), 0);
    }

    /// Lets three bytes be held, and counts whom it was asked for.
    #[derive(Default)]
    struct Three(AtomicUsize);

    impl Gate for Three {
        fn admit(&self, held: usize, more: usize) -> Result<(), Failure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.would_admit(held, more) { Ok(()) } else { Err(Failure::retry("shut")) }
        }

        fn would_admit(&self, held: usize, more: usize) -> bool {
            held + more <= 3
        }

        fn limit(&self) -> usize {
            3
        }
    }

    fn gated(limit: usize) -> (Budget, Arc<Three>) {
        let (budget, gate) = (limited(limit), Arc::<Three>::default());
        let kept: Arc<dyn Gate> = gate.clone();
        budget.add_gate(Arc::downgrade(&kept));
        (budget, gate)
    }

    #[test]
    fn a_gate_is_asked_as_long_as_somebody_keeps_it() {
        let (budget, gate) = gated(100);
        let _three = budget.reserve(3).expect("admitted");
        assert_eq!((budget.reserve(1).expect_err("shut").message(), budget.limit()), ("shut", 3));
        assert!(!budget.reserve(4).expect_err("it never fits").is_retryable());
        drop(gate);
        assert_eq!(budget.limit(), 100);
        assert!(budget.reserve(1).is_ok());
    }

    #[test]
    fn a_gate_that_was_dropped_is_not_asked_though_somebody_keeps_it_and_those_after_it_are() {
        let (budget, _kept) = gated(100);
        let before = budget.gates();
        let next: Arc<dyn Gate> = Arc::<Three>::default();
        budget.add_gate(Arc::downgrade(&next));
        budget.drop_gates(&before);
        assert_eq!((budget.gates().len(), budget.limit()), (1, 3));
        drop(next);
        assert_eq!(budget.limit(), 100);
    }

    #[test]
    fn who_only_looks_hears_what_the_gate_would_say_and_it_admits_and_refuses_nothing() {
        let (budget, gate) = gated(1);
        let asked = || gate.0.load(Ordering::Relaxed);
        let mut held = budget.reserve(2).expect("the gate stands for the limit");
        assert!(budget.would_fit(1) && !budget.would_fit(2));
        assert_eq!((asked(), budget.held(), budget.refused()), (1, 2, 0));
        assert!(held.grow(2).is_err());
        assert_eq!((asked(), budget.held(), budget.refused()), (2, 2, 1));
    }
}
