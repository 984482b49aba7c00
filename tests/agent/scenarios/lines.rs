//! Leaks with the line that a verdict has to name, or with what it has to say where nobody knows one.

use weir_connection::report::{Finding, State};

use super::{Outcome, Watch, ensure, shown, site_of, wait_for};
use crate::support::Announcement;

/// Runs a leaking scenario until the verdict and, when it is to have a line, until one is named. No other class may be
/// named on the way.
fn leak(scenario: &str, more: &[&str], line: bool) -> Result<(Finding, Announcement), String> {
    let watch = Watch::new(scenario);
    let agent = watch.agent();
    let mut program = watch.scenario(scenario, more);
    let said = program.announcement();
    let found = wait_for(&agent, "a verdict on the client", |f| {
        let leaking = f.state == State::Leaking && f.process.pid == said.pid && f.side == "client";
        leaking && !f.class.is_empty() && (!line || f.site.is_some())
    })?;
    ensure(found.class == scenario, || {
        format!("class {:?}: {}", found.class, shown(agent.report().as_ref()))
    })?;
    ensure(found.target == said.target || found.target.is_empty(), || format!("target {:?}", found.target))?;
    Ok((found, said))
}

/// The same, and the line must be one of the announced ones.
pub(super) fn leak_with_line(scenario: &str, more: &[&str]) -> Outcome {
    let (found, said) = leak(scenario, more, true)?;
    let line = site_of(&found);
    ensure(line.as_ref().is_some_and(|l| said.sites.contains(l)), || {
        format!("the site is {:?}, right would be one of {:?}", found.site, said.sites)
    })
}

/// The same where only sampled memory can tell the line: the right one is named with its uncertainty, or none, and that it
/// takes some hundreds.
pub(super) fn leak_with_sampled_line(scenario: &str, more: &[&str]) -> Outcome {
    let (found, said) = leak(scenario, more, false)?;
    match &found.site {
        Some(site) => ensure(
            !site.uncertainty.is_empty() && said.sites.contains(&format!("{}:{}", site.file, site.line)),
            || format!("the site is {site:?}, right would be one of {:?}", said.sites),
        ),
        None => lacks(&found, "the line that makes them: "),
    }
}

/// The same where no source knows the line: none is named, and that is said.
pub(super) fn leak_without_line(scenario: &str, more: &[&str], missing: &str) -> Outcome {
    let (found, _) = leak(scenario, more, false)?;
    ensure(found.site.is_none(), || format!("nobody can know that it is {:?}", found.site))?;
    lacks(&found, missing)
}

fn lacks(found: &Finding, missing: &str) -> Outcome {
    ensure(found.missing.iter().any(|m| m.starts_with(missing)), || {
        format!("{missing:?} is not said to be missing: {:?}", found.missing)
    })
}

/// The line stands in a function that two lines call, one three times as often: both are named.
pub(super) fn leak_in_a_wrapper() -> Outcome {
    let watch = Watch::new("wrapper");
    let agent = watch.agent();
    let mut program = watch.scenario("client_per_call", &["-wrapper"]);
    let said = program.announcement();
    let found = wait_for(&agent, "a leak with its callers", |f| {
        let called = f.site.as_ref().is_some_and(|site| site.callers.len() == 2);
        f.process.pid == said.pid && f.side == "client" && f.state == State::Leaking && called
    })?;
    let site = found.site.clone().unwrap_or_default();
    let callers: Vec<_> = site.callers.iter().map(|c| (c.function.as_str(), c.share)).collect();
    let right = site_of(&found).is_some_and(|line| said.sites.contains(&line))
        && site.callers.iter().all(|c| c.file.ends_with("leaks.go") && c.function.contains("clientPerCall"))
        && site.callers[0].line != site.callers[1].line
        && (0.65..0.85).contains(&site.callers[0].share)
        && site.stack.first().is_some_and(|f| f.ends_with(&format!("{}:{}", site.file, site.line)))
        && found.missing.iter().any(|m| m.contains(&format!("WEIR_IGNORE_FUNCTIONS={}", site.function)));
    ensure(right, || format!("{site:#?} {callers:?} {:?}", found.missing))
}
