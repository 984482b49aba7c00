//! All time constants, derived from the one setting `window`.

use super::input::BOUNDS;

/// Nanoseconds per second.
pub(crate) const SECOND: f64 = 1e9;

/// Default of `window`, in seconds.
pub const DEFAULT_WINDOW: f64 = 600.0;

/// The time constants of the detector. The comments give the values at the default window of 10 minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The age T that counts as old, in seconds: the window, raised to the next published bound (600 s).
    pub age: f64,
    /// Length of a fine block, ns: T / 2 (5 min).
    pub block: i64,
    /// Fine blocks in a coarse one (20 min).
    pub coarse: i64,
    /// How long a mended leak is shown as recovering, ns: 3 T (30 min).
    pub hold: i64,
    /// The age from which a socket in CLOSE_WAIT counts, in seconds: T / 5 (2 min).
    pub close_wait: f64,
    /// How long ago a connection must have ended for its socket to be held, in seconds: T / 10 (1 min).
    pub alive: f64,
    /// After this silence at the least a series is no longer consulted, ns: 1.5 T (15 min).
    pub stale: i64,
    /// After this silence at the least a series is forgotten, ns: 6 T (1 h).
    pub forget: i64,
    /// The same for one that was leaking when it was last heard of, ns: 144 T (1 d).
    pub keep: i64,
}

impl Scale {
    /// The constants for a window in seconds; one that is not positive or not finite counts as the default.
    pub fn new(window: f64) -> Self {
        let wanted = if window.is_finite() && window > 0.0 { window } else { DEFAULT_WINDOW };
        let age = bound(wanted);
        let ns = |factor: f64| (age * factor * SECOND) as i64;
        Scale {
            age,
            block: ns(0.5),
            coarse: 4,
            hold: ns(3.0),
            close_wait: bound(age / 5.0),
            alive: bound(age / 10.0),
            stale: ns(1.5),
            forget: ns(6.0),
            keep: ns(144.0),
        }
    }

    /// The age at which a socket counts as old when its library closes idle ones after `timeout` seconds.
    ///
    /// Timeouts are facts of the library and do not scale.
    pub(crate) fn socket_age(&self, timeout: f64) -> f64 {
        bound((1.2 * timeout).max(self.age))
    }
}

/// The smallest published bound that is at least `seconds`, or the largest one.
fn bound(seconds: f64) -> f64 {
    let found = BOUNDS.iter().find(|bound| f64::from(**bound) >= seconds);
    f64::from(*found.unwrap_or(&BOUNDS[BOUNDS.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_window_gives_the_documented_constants() {
        let scale = Scale::new(600.0);
        assert_eq!(scale.block, 300_000_000_000);
        assert_eq!(scale.hold, 1_800_000_000_000);
        assert_eq!((scale.close_wait, scale.alive), (120.0, 60.0));
        assert_eq!(scale.socket_age(1800.0), 2400.0);
    }

    #[test]
    fn a_window_between_bounds_is_raised_to_the_next() {
        assert_eq!(Scale::new(4.0).age, 5.0);
        assert_eq!(Scale::new(5.0).block, 2_500_000_000);
        assert_eq!(Scale::new(5.0).close_wait, 1.0);
        assert_eq!(Scale::new(1e9).age, 86_400.0);
        assert_eq!(Scale::new(f64::NAN).age, 600.0);
    }
}
