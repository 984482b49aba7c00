//! A runtime in one thread, on simulated time, ordered by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;
use weir_component::{Blocking, Clock, Instant, Runtime, TimeSource};

/// Unix time at which every simulation starts: 2026-01-01 00:00:00 UTC.
const EPOCH: u64 = 1_767_225_600_000_000_000;

/// A runtime on simulated time. Cheap to clone. Blocking work is a task like any other: others run before it, and between its
/// end and who waits for it.
#[derive(Clone)]
pub struct Simulation(Arc<Mutex<State>>);

struct State {
    now: Instant,
    random: u64,
    timers: BTreeMap<(Instant, u64), Waker>,
    next_timer: u64,
    tasks: BTreeMap<u64, BoxFuture<'static, ()>>,
    next_task: u64,
    /// Ordered by number, not by who woke whom first: tokio wakes the waiters of one channel in an order of its own.
    ready: BTreeSet<u64>,
    wall_offset: i64,
    contain_panics: bool,
    panics: usize,
    at_once: bool,
}

impl Simulation {
    /// A simulation whose order of events follows from `seed`.
    pub fn new(seed: u64) -> Simulation {
        Simulation(Arc::new(Mutex::new(State {
            now: Instant::default(),
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            timers: BTreeMap::new(),
            next_timer: 0,
            tasks: BTreeMap::new(),
            next_task: 0,
            ready: BTreeSet::new(),
            wall_offset: 0,
            contain_panics: false,
            panics: 0,
            at_once: false,
        })))
    }

    /// From now on a panic ends only the task or the blocking work in which it happened, as on tokio. Before, it ends the
    /// test.
    pub fn contain_panics(&self) {
        self.lock().contain_panics = true;
    }

    /// From now on a task that is woken goes on before whoever woke it does, as another thread may let it.
    pub fn wake_at_once(&self) {
        self.lock().at_once = true;
    }

    /// Panics that were contained.
    pub fn panics(&self) -> usize {
        self.lock().panics
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::new(self.clone()))
    }

    /// Moves the wall clock against the monotonic one.
    pub fn shift_wall_clock(&self, nanos: i64) {
        self.lock().wall_offset += nanos;
    }

    /// Runs until `future` has completed; `None` when everything waits for something that can never come.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        let take = move || slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.spawn(Box::pin(async move {
            // A panic of the test itself is the test's, even where those of other tasks are contained.
            let value = AssertUnwindSafe(future).catch_unwind().await;
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }));
        let value = loop {
            match take() {
                Some(value) => break Some(value),
                None if self.step() => {}
                None => break take(),
            }
        };
        value.map(|value| value.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Runs until nothing can happen any more.
    pub fn run_to_end(&self) {
        while self.step() {}
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Polls one ready task, or moves time to the next deadline. False when neither is possible.
    fn step(&self) -> bool {
        let mut state = self.lock();
        if state.ready.is_empty() {
            let Some(((at, _), waker)) = state.timers.pop_first() else {
                return false;
            };
            state.now = state.now.max(at);
            drop(state);
            waker.wake();
            return true;
        }
        let index = (state.draw() % state.ready.len() as u64) as usize;
        let Some(id) = state.ready.iter().nth(index).copied() else {
            return true;
        };
        state.ready.remove(&id);
        drop(state);
        self.poll(id);
        true
    }

    /// Polls a task, unless it has ended or is being polled.
    fn poll(&self, id: u64) {
        let mut state = self.lock();
        let Some(mut task) = state.tasks.remove(&id) else {
            return;
        };
        let contain_panics = state.contain_panics;
        drop(state);
        let waker = Waker::from(Arc::new(TaskWaker { id, simulation: self.clone() }));
        let poll = AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
        match catch_unwind(poll) {
            Ok(Poll::Pending) => drop(self.lock().tasks.insert(id, task)),
            Ok(Poll::Ready(())) => {}
            Err(_) if contain_panics => self.lock().panics += 1,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// splitmix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct TaskWaker {
    id: u64,
    simulation: Simulation,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let at_once = {
            let mut state = self.simulation.lock();
            state.ready.insert(self.id);
            state.at_once
        };
        if at_once {
            self.simulation.poll(self.id);
        }
    }
}

impl TimeSource for Simulation {
    fn now(&self) -> Instant {
        self.lock().now
    }

    fn unix_nanos(&self) -> u64 {
        let state = self.lock();
        (EPOCH + state.now.as_nanos()).saturating_add_signed(state.wall_offset)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { simulation: self.clone(), deadline, timer: None })
    }

    fn random(&self) -> u64 {
        self.lock().draw()
    }
}

impl Blocking for Simulation {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (working, ended) = oneshot::channel::<()>();
        self.spawn(Box::pin(async move {
            work();
            drop(working);
        }));
        Box::pin(async move { drop(ended.await) })
    }
}

impl Runtime for Simulation {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.lock();
        let id = state.next_task;
        state.next_task += 1;
        state.tasks.insert(id, task);
        state.ready.insert(id);
    }
}

struct Sleep {
    simulation: Simulation,
    deadline: Instant,
    timer: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.simulation.lock();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        if let Some(old) = self.timer {
            state.timers.remove(&old);
        }
        let key = (self.deadline, state.next_timer);
        state.next_timer += 1;
        state.timers.insert(key, cx.waker().clone());
        drop(state);
        self.timer = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.simulation.lock().timers.remove(&timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn order(seed: u64) -> Vec<u32> {
        let simulation = Simulation::new(seed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for i in 0..6 {
            let (clock, seen) = (simulation.clock(), Arc::clone(&seen));
            simulation.spawn(Box::pin(async move {
                clock.sleep(Duration::from_secs(u64::from(i % 2))).await;
                seen.lock().expect("not poisoned").push(i);
            }));
        }
        simulation.run_to_end();
        seen.lock().expect("not poisoned").clone()
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_seed_another() {
        assert_eq!(order(7), order(7));
        assert!((0..20).any(|seed| order(seed) != order(7)));
        assert!(order(3)[..3].iter().all(|i| i % 2 == 0), "those that wait longer come later");
    }

    #[test]
    fn blocking_work_is_done_in_any_order_also_when_nobody_waits_for_it() {
        let order = |seed| {
            let simulation = Simulation::new(seed);
            let seen = Arc::new(Mutex::new(String::new()));
            let work = |name| {
                let seen = Arc::clone(&seen);
                Blocking::run(&simulation, Box::new(move || seen.lock().expect("not poisoned").push(name)))
            };
            let waits = work('a');
            drop(work('b'));
            simulation.run(waits).expect("it ends");
            simulation.run_to_end();
            seen.lock().expect("not poisoned").clone()
        };
        let orders: BTreeSet<String> = (0..20).map(order).collect();
        assert_eq!(orders, ["ab", "ba"].map(str::to_owned).into());
    }

    #[test]
    fn time_jumps_to_the_next_deadline() {
        let simulation = Simulation::new(1);
        let clock = simulation.clock();
        let hours = simulation.run(async move {
            clock.sleep(Duration::from_secs(8 * 3600)).await;
            clock.now().as_nanos() / 3_600_000_000_000
        });
        assert_eq!(hours, Some(8));
    }

    #[test]
    #[expect(clippy::panic, reason = "it is about panics")]
    fn a_contained_panic_ends_its_own_task_and_no_other() {
        let simulation = Simulation::new(1);
        simulation.contain_panics();
        simulation.spawn(Box::pin(async { panic!("contained") }));
        let clock = simulation.clock();
        let other = simulation.run(async move {
            clock.sleep(Duration::from_secs(1)).await;
            "done"
        });
        assert_eq!((other, simulation.panics(), simulation.tasks()), (Some("done"), 1, 0));
    }

    #[test]
    #[should_panic = "of the test itself"]
    #[expect(clippy::panic, reason = "it is about panics")]
    fn a_panic_of_the_test_itself_is_never_contained() {
        let simulation = Simulation::new(1);
        simulation.contain_panics();
        simulation.run(async { panic!("of the test itself") });
    }

    #[test]
    fn a_wait_for_nothing_is_noticed() {
        assert_eq!(Simulation::new(1).run(std::future::pending::<()>()), None);
    }
}
