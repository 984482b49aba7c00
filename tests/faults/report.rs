//! Cases as tests against Weir, and side by side as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::agent::{Kind, can_limit_memory};
use crate::cases::{Case, Outcome, all};
use crate::disk::{ForgetfulDisk, SmallDisk};
use crate::strace::can_trace;

/// Runs a case against Weir and fails with all that does not hold.
fn holds(number: u32) {
    let case = all().into_iter().find(|c| c.number == number).expect("a case of that number");
    let Outcome { fired, seen, broken, .. } = (case.run)(Kind::Weir);
    assert!(broken.is_empty(), "case {number}, {}: {broken:#?}\nseen: {seen:#?}", case.name);
    assert!(fired, "case {number}, {}: the fault never happened; seen: {seen:#?}", case.name);
}

macro_rules! cases {
    ($($name:ident = $number:literal;)*) => {$(
        #[test]
        fn $name() {
            holds($number);
        }
    )*};
}

// The fast ones; `make faults` runs all.
cases! {
    a_kill_under_load_loses_nothing_on_disk = 1;
    kills_while_a_queue_on_disk_drains_lose_nothing = 2;
    damaged_files_cost_what_is_damaged_and_are_counted = 8;
    every_grpc_code_is_treated_as_otlp_says = 14;
    what_a_backend_rejects_is_not_counted_as_sent = 15;
    mistakes_in_a_configuration_are_named_by_line_and_column = 24;
    a_backend_that_was_down_gets_everything_when_it_is_back = 9;
    a_stop_under_load_loses_nothing = 17;
    a_stop_with_a_dead_backend_says_what_is_lost = 18;
    a_stop_with_a_hanging_backend_keeps_its_deadline = 19;
    open_idle_streams_do_not_hold_up_a_stop = 20;
    reloads_under_load_are_noticed_by_no_client = 21;
    a_reload_with_a_backlog_loses_nothing = 22;
    a_reload_of_a_broken_configuration_changes_nothing = 23;
    deep_nesting_is_refused = 29;
    bombs_are_refused = 30;
    crowds_of_bombs_hold_little_memory = 31;
    large_windows_are_refused = 32;
    slow_requests_are_cut_off = 33;
    an_agent_without_descriptors_waits_and_recovers = 36;
    noise_is_answered_and_survived = 40;
    attributes_of_any_size_pass_and_invalid_text_does_not = 41;
    pages_are_for_this_host_and_show_no_scripts = 45;
    a_caller_without_a_token_is_refused_before_its_body_is_read = 47;
    secrets_are_nowhere_to_be_read = 44;
    a_second_agent_is_refused_the_queue_of_the_first = 49;
}

/// Says aloud that cases are not run here, past what `cargo test` captures of a test that passes.
fn skip(cases: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: cases {cases}: {why}").expect("stderr takes a line");
}

#[test]
fn full_disks_lose_nothing() {
    if SmallDisk::new().is_some() {
        [5, 6, 7].into_iter().for_each(holds);
    } else {
        skip("5 to 7", "nothing can be mounted here");
    }
}

/// Cases that need a memory limit, in two tests, as they take longest.
#[test]
fn large_requests_never_end_in_out_of_memory_and_lose_nothing() {
    if can_limit_memory() {
        [27, 28].into_iter().for_each(holds);
    } else {
        skip("27 and 28", "no memory cgroup can be made here");
    }
}

#[test]
fn overload_never_ends_in_out_of_memory_and_loses_nothing() {
    if can_limit_memory() {
        [25, 26].into_iter().for_each(holds);
    } else {
        skip("25 and 26", "no memory cgroup can be made here");
    }
}

#[test]
fn a_loss_of_power_loses_nothing() {
    if ForgetfulDisk::new().is_some() {
        holds(3);
    } else {
        skip("3", "no ext4 can be mounted on a loop device here");
    }
}

#[test]
fn requests_share_syncs() {
    if can_trace() {
        holds(4);
    } else {
        skip("4", "strace is missing here, or may not trace");
    }
}

#[test]
#[ignore = "minutes, and needs the Go Collector: make faults"]
fn side_by_side() {
    let mut failed = Vec::new();
    // scripts/faults.sh says of which commit Weir was built; somebody else may have built it of anything.
    let build = std::env::var("WEIR_BUILD").unwrap_or_default();
    for case in chosen(&std::env::var("CASE").unwrap_or_default()) {
        let case = &case;
        let weir = cell(case, Kind::Weir);
        let collector = cell(case, Kind::Collector);
        let row = format!(
            "| {} | {} | {} | {} | {} | {} | {build} |\n",
            case.number, case.name, case.settings, case.bar, weir, collector
        );
        eprint!("{row}");
        // At once, so that a run that is broken off has done something.
        write_row(case.number, row);
        if !weir.starts_with("holds") {
            failed.push(case.number);
        }
    }
    assert!(failed.is_empty(), "Weir does not hold: {failed:?}");
}

/// The cases of a list of numbers; all when it is empty.
fn chosen(list: &str) -> Vec<Case> {
    let (all, numbers) = (all(), list.split(',').map(str::trim).filter(|number| !number.is_empty()));
    let only: Vec<u32> = numbers
        .map(|number| {
            let known = number.parse().ok().filter(|number| all.iter().any(|case| case.number == *number));
            known.unwrap_or_else(|| panic!("CASE: {number:?} is no case; write their numbers, as in 21,22"))
        })
        .collect();
    all.into_iter().filter(|case| only.is_empty() || only.contains(&case.number)).collect()
}

/// What came of a case, in a cell of the table.
fn cell(case: &Case, kind: Kind) -> String {
    let ran = std::panic::catch_unwind(|| (case.run)(kind));
    let Outcome { fired, seen, mut broken, missed } = match ran {
        Ok(outcome) => outcome,
        Err(panic) => {
            let why = panic.downcast_ref::<String>().map_or("", String::as_str);
            return format!("**could not be run**: {}", why.lines().next().unwrap_or_default());
        }
    };
    broken.extend(missed);
    let mut text = match (fired, broken.is_empty()) {
        (true, true) => "holds".to_owned(),
        (false, true) => "invalid: the fault never happened".to_owned(),
        (_, false) => "**does not hold**".to_owned(),
    };
    write!(text, ": {}", seen.join("; ")).expect("written");
    let first = |what: &String| what.lines().next().unwrap_or_default().to_owned();
    if !broken.is_empty() {
        write!(text, "; {}", broken.iter().map(first).collect::<Vec<_>>().join("; ")).expect("written");
    }
    text.replace('|', "\\|")
}

const BEGIN: &str = "<!-- written by make faults: begin -->\n";
const END: &str = "<!-- written by make faults: end -->";

/// Puts a row into the table of docs/reliability.md, in the place of the one of that number.
fn write_row(case: u32, row: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = fs::read_to_string(&path).expect("docs/reliability.md");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (table, after) = rest.split_once(END).expect("the end of the table");
    let number = |row: &str| row.split('|').nth(1)?.trim().parse::<u32>().ok();
    let old = table.lines().filter_map(|row| Some((number(row)?, format!("{row}\n"))));
    let mut all: BTreeMap<u32, String> = old.collect();
    all.insert(case, row);
    let head = "| # | Case | Settings | Bar | Weir | Go Collector | Weir built of |\n|---|---|---|---|---|---|---|\n";
    let rows: String = all.into_values().collect();
    fs::write(&path, format!("{before}{BEGIN}{head}{rows}{END}{after}")).expect("written");
}

#[test]
fn cases_are_chosen_by_number_and_what_is_none_is_refused() {
    let numbers = |list| chosen(list).iter().map(|case| case.number).collect::<Vec<_>>();
    assert_eq!(numbers(" 21, 22,"), [21, 22]);
    assert_eq!(numbers("").len(), 49);
    for wrong in ["99", "1-8", "1,x"] {
        assert!(std::panic::catch_unwind(|| numbers(wrong)).is_err(), "{wrong}");
    }
}
