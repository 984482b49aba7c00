//! The stacks behind a number.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Classes, Kind, add, goroutine_value};
use crate::profile::Frame;
use crate::{SITE_LABEL, TARGET_LABEL, View};

/// Which goroutines to look at; a field that is none does not restrict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind<'a> {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this value of the label `weir.site`.
    pub site: Option<&'a str>,
    /// With this value of the label `weir.target`.
    pub target: Option<&'a str>,
}

/// A stack and how many goroutines are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackCount {
    /// Goroutines; in a delta, the growth.
    pub count: i64,
    /// `function file:line` each, the leaf first; at most 64, then `... n more`. Names are cut at 1 KiB, with `...`.
    pub frames: Vec<String>,
}

/// Frames that are printed of one stack.
const FRAMES: usize = 64;

/// Bytes that are printed of the name of a function or file.
const NAME: usize = 1024;

/// The most frequent stacks, at most `most`; those whose count is not above zero are left out.
pub fn stacks_behind(view: View<'_>, behind: Behind<'_>, most: usize) -> Vec<StackCount> {
    let profile = view.profile();
    let value = goroutine_value(view);
    let classes = Classes::of(profile);
    let mut counts = HashMap::new();
    for sample in view.samples() {
        let fits = behind.kind.is_none_or(|kind| classes.get(sample.stack()).kind == kind)
            && behind.site.is_none_or(|site| sample.label(SITE_LABEL) == Some(site))
            && behind.target.is_none_or(|target| sample.label(TARGET_LABEL) == Some(target));
        if fits {
            add(counts.entry(sample.stack()).or_insert(0), sample.value(value));
        }
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
    counts.sort_by_key(|&(stack, count)| (Reverse(count), stack));
    counts.truncate(most);
    let print = |stack| {
        let all = profile.frames(stack);
        let more = all.len().saturating_sub(FRAMES);
        let mut frames: Vec<String> = all.take(FRAMES).map(line).collect();
        if more > 0 {
            frames.push(format!("... {more} more"));
        }
        frames
    };
    counts.into_iter().map(|(stack, count)| StackCount { count, frames: print(stack) }).collect()
}

fn line(frame: Frame<'_>) -> String {
    let (function, file) = (cut(frame.function), cut(frame.file));
    Frame { function: &function, package: "", file: &file, line: frame.line }.to_string()
}

fn cut(name: &str) -> Cow<'_, str> {
    match name.get(..name.floor_char_boundary(NAME)) {
        Some(start) if start.len() < name.len() => Cow::Owned(format!("{start}...")),
        _ => Cow::Borrowed(name),
    }
}
