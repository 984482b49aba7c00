use weir_connection::publish::CodeSite;

use super::*;

/// A recorded profile of a real Go program.
fn recorded(name: &str) -> Answer {
    let path = format!("{}/../../profile/testdata/{name}.pb.gz", env!("CARGO_MANIFEST_DIR"));
    Answer::of(std::fs::read(path).expect("recorded"))
}

/// `file:line` of the place that the recording program marks with `site: name`.
fn site(name: &str) -> String {
    let path = format!("{}/../../profile/testdata/sites.expected.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("recorded");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("site.{name} ")));
    line.expect("a site").to_owned()
}

fn book() -> Book {
    Book::new(64 << 20, &[])
}

fn read(book: &mut Book, profiles: &[(ProfileName, &str)]) -> Reading {
    book.read(profiles.iter().map(|(name, file)| (*name, recorded(file))).collect())
}

fn series(reading: &Reading) -> &[SeriesPoint] {
    &reading.points.as_ref().expect("goroutines").1
}

fn open(reading: &Reading) -> Vec<(&str, u64)> {
    series(reading).iter().map(|s| (s.resource.as_str(), s.open)).collect()
}

fn sites(reading: &Reading, resource: &str) -> Vec<(String, u64, &'static str)> {
    let series = series(reading).iter().find(|s| s.resource == resource).expect("the series");
    let place = |s: &CodeSite| format!("{}:{}", s.file, s.line);
    series.by_site.iter().map(|(site, count, how)| (place(site), *count, *how)).collect()
}

#[test]
fn a_grpc_client_is_counted_by_its_goroutines_and_found_by_its_label() {
    let reading = read(&mut book(), &[(ProfileName::Goroutine, "grpc-2.goroutine")]);
    let counted = [("grpc_client", 55), ("grpc_connection", 55), ("grpc_stream", 7), ("goroutine", 456)];
    assert_eq!(open(&reading), counted);
    assert!(
        series(&reading)
            .iter()
            .all(|s| s.target.is_empty() && (s.side == "client") == (s.resource != "goroutine"))
    );
    let labelled = [(site("orders"), 40, "label"), (site("stock"), 10, "label")];
    assert_eq!(sites(&reading, "grpc_client"), labelled);
    assert_eq!(sites(&reading, "grpc_connection"), labelled);
    let kinds = &reading.points.as_ref().expect("goroutines").0.goroutines;
    assert!(
        kinds.contains(&("grpc_serializer".to_owned(), 165))
            && kinds.contains(&("grpc_reader".to_owned(), 55))
    );
    assert!(kinds.contains(&("library_grpc".to_owned(), 1)));
    assert_eq!(kinds.iter().map(|(_, count)| count).sum::<u64>(), 456);
}

#[test]
fn the_custom_profile_is_preferred_and_names_functions() {
    let profiles =
        [(ProfileName::Goroutine, "grpc-2.goroutine"), (ProfileName::ClientConn, "grpc-2.clientconn")];
    let reading = read(&mut book(), &profiles);
    let exact = [(site("orders"), 40, "custom_profile"), (site("stock"), 10, "custom_profile")];
    assert_eq!(sites(&reading, "grpc_client"), exact);
    let clients = &series(&reading)[0];
    assert_eq!(clients.by_site[0].0.function, "main.dialOrders");
}

#[test]
fn functions_to_ignore_move_the_site_to_their_caller() {
    let profiles =
        [(ProfileName::Goroutine, "grpc-2.goroutine"), (ProfileName::ClientConn, "grpc-2.clientconn")];
    let reading = read(&mut Book::new(64 << 20, &["main.dialOrders".to_owned()]), &profiles);
    assert_eq!(series(&reading)[0].by_site[0].0.function, "main.loadOrder");
}

#[test]
fn without_labels_memory_shares_out_what_the_goroutines_count() {
    let profiles = [(ProfileName::Goroutine, "grpc160.goroutine"), (ProfileName::Heap, "sampled.heap")];
    let reading = read(&mut book(), &profiles);
    assert_eq!(open(&reading)[0], ("grpc_client", 20));
    let found = sites(&reading, "grpc_client");
    let of = |name: &str| found.iter().find(|(place, ..)| *place == site(name)).expect(name);
    // 22.6 MB and 7.6 MB were really allocated by the two lines: three quarters and one.
    assert!(of("orders").1.abs_diff(15) <= 2 && of("stock").1.abs_diff(5) <= 2, "{found:?}");
    assert!(found.iter().all(|(_, _, how)| *how == "heap"), "{found:?}");
}

#[test]
fn allocs_is_as_good_as_heap() {
    let goroutine = (ProfileName::Goroutine, "grpc160.goroutine");
    let heap = read(&mut book(), &[goroutine, (ProfileName::Heap, "sampled.heap")]);
    let allocs = read(&mut book(), &[goroutine, (ProfileName::Allocs, "sampled.heap")]);
    assert_eq!(heap.points, allocs.points);
}

#[test]
fn http_connections_and_unread_bodies_are_counted() {
    let profiles = [(ProfileName::Goroutine, "http.goroutine"), (ProfileName::Heap, "http.heap")];
    let reading = read(&mut book(), &profiles);
    assert_eq!(open(&reading)[..2], [("http_connection", 18), ("http_body", 9)]);
    let found = sites(&reading, "http_body");
    let lines = [site("request"), site("do")];
    assert!(found.iter().any(|(place, ..)| lines.contains(place)), "{found:?}");
    assert!(found.iter().map(|(_, count, _)| count).sum::<u64>() <= 10, "{found:?}");
}

#[test]
fn database_handles_are_counted_and_waiters_are_found_by_their_own_stacks() {
    let reading = read(&mut book(), &[(ProfileName::Goroutine, "sql.goroutine")]);
    assert_eq!(open(&reading)[..3], [("sql_transaction", 4), ("sql_rows", 3), ("sql_wait", 5)]);
    let waiting = sites(&reading, "sql_wait");
    assert_eq!(waiting.iter().map(|(_, count, _)| count).sum::<u64>(), 5, "{waiting:?}");
    assert!(
        waiting.iter().all(|(place, _, how)| place.contains("sql.go") && *how == "created_by"),
        "{waiting:?}"
    );
}

#[test]
fn goroutines_are_told_by_the_functions_that_many_were_started_with() {
    let reading = read(&mut book(), &[(ProfileName::Goroutine, "sql.goroutine")]);
    let goroutines = series(&reading).last().expect("the series");
    assert_eq!(goroutines.resource, "goroutine");
    let functions = goroutines.by_site.iter().map(|(s, n, how)| (s.function.as_str(), s.line, *n, *how));
    assert_eq!(functions.collect::<Vec<_>>(), [("main.waitForPool", 0, 5, "created_by")]);
    let few = read(&mut book(), &[(ProfileName::Goroutine, "raw.goroutine")]);
    assert!(series(&few)[0].by_site.is_empty(), "four and three are not many");
}

#[test]
fn a_series_that_fell_to_zero_goes_on_and_one_that_never_was_does_not_begin() {
    let mut book = book();
    read(&mut book, &[(ProfileName::Goroutine, "grpc-2.goroutine")]);
    let reading = read(&mut book, &[(ProfileName::Goroutine, "raw.goroutine")]);
    let names: Vec<_> = open(&reading).into_iter().filter(|(_, open)| *open == 0).collect();
    assert_eq!(names, [("grpc_client", 0), ("grpc_connection", 0), ("grpc_stream", 0)]);
    book.forget();
    let reading = read(&mut book, &[(ProfileName::Goroutine, "raw.goroutine")]);
    assert_eq!(open(&reading).len(), 1);
}

#[test]
fn stacks_are_those_that_grew_since_the_first_scrape() {
    let mut book = book();
    assert_eq!(read(&mut book, &[(ProfileName::Goroutine, "grpc-1.goroutine")]).stacks, []);
    let stacks = read(&mut book, &[(ProfileName::Goroutine, "grpc-2.goroutine")]).stacks;
    let serializers: i64 = stacks.iter().filter(|s| s.kind == "grpc serializer").map(|s| s.count).sum();
    assert!(serializers > 0 && serializers % 3 == 0, "{stacks:?}");
    assert!(stacks[0].frames.iter().any(|f| f.contains("CallbackSerializer")), "{:?}", stacks[0]);
    let again = read(&mut book, &[(ProfileName::Goroutine, "grpc-2.goroutine")]).stacks;
    assert_eq!(again, stacks, "a pause in the growth does not hide it");
    book.forget();
    assert_eq!(read(&mut book, &[(ProfileName::Goroutine, "grpc-2.goroutine")]).stacks, []);
}

#[test]
fn who_held_a_mutex_since_the_last_scrape_is_shown() {
    let mut book = book();
    assert_eq!(read(&mut book, &[(ProfileName::Mutex, "mutex-1.mutex")]).stacks, []);
    let stacks = read(&mut book, &[(ProfileName::Mutex, "mutex-2.mutex")]).stacks;
    assert!(stacks[0].kind.starts_with("mutex holder") && stacks[0].count > 0);
    assert!(stacks[0].frames.iter().any(|frame| frame.ends_with(&site("unlock"))), "{stacks:?}");
}

#[test]
fn memory_that_was_never_allocated_again_tells_a_restart() {
    let mut book = book();
    read(&mut book, &[(ProfileName::Goroutine, "grpc-1.goroutine"), (ProfileName::Heap, "unused-2.heap")]);
    let same = [(ProfileName::Goroutine, "grpc-2.goroutine"), (ProfileName::Heap, "unused-2.heap")];
    assert!(!read(&mut book, &same).stacks.is_empty());
    let restarted = [(ProfileName::Goroutine, "grpc-2.goroutine"), (ProfileName::Heap, "unused-1.heap")];
    assert_eq!(read(&mut book, &restarted).stacks, []);
}

#[test]
fn what_is_no_profile_is_a_problem_of_that_profile_alone() {
    let answers = [
        (ProfileName::Goroutine, recorded("raw.goroutine")),
        (ProfileName::Heap, Answer::of(b"<html><body>Sign in</body></html>".to_vec())),
    ];
    let reading = book().read(answers.into_iter().collect());
    assert!(reading.points.is_some());
    let (name, error) = reading.problems.first().expect("a problem");
    assert_eq!((*name, reading.problems.len()), (ProfileName::Heap, 1));
    assert_eq!(
        error.to_string(),
        "this is not a pprof profile: it starts with `<html><body>Sign in</body></html`; is the target's path right?"
    );
}

#[test]
fn a_profile_that_is_too_large_after_decompression_is_refused() {
    let packed = recorded("grpc-2.goroutine").decoded(1 << 20).expect("whole").len();
    let mut book = Book::new(packed + 1, &[]);
    let reading = read(&mut book, &[(ProfileName::Goroutine, "grpc-2.goroutine")]);
    assert!(reading.points.is_none());
    let error = reading.problems[0].1.to_string();
    assert!(error.contains(&format!("more than the limit of {}", packed + 1)), "{error}");
}

#[test]
fn contention_is_told_in_total_and_only_of_services_that_sample_it() {
    let with = [(ProfileName::Goroutine, "raw.goroutine"), (ProfileName::Mutex, "mutex-2.mutex")];
    let (contentions, seconds) =
        read(&mut book(), &with).points.expect("goroutines").0.mutex.expect("sampled");
    assert!(contentions > 0 && seconds > 0.0, "{contentions} {seconds}");
    let without = read(&mut book(), &with[..1]);
    assert_eq!(without.points.expect("goroutines").0.mutex, None);
}

#[test]
fn goroutines_that_the_runtime_proves_leaked_are_told_by_kind() {
    let leaked = |file| {
        let with = [(ProfileName::Goroutine, "raw.goroutine"), (ProfileName::GoroutineLeak, file)];
        read(&mut book(), &with).points.expect("goroutines").0.leaked_goroutines
    };
    let found = leaked("garbage.goroutineleak");
    assert!(found.contains(&("http_reader_in_select".to_owned(), 5)), "{found:?}");
    assert!(found.contains(&("http_writer".to_owned(), 5)), "{found:?}");
    let none = read(&mut book(), &[(ProfileName::Goroutine, "raw.goroutine")]);
    assert_eq!(none.points.expect("goroutines").0.leaked_goroutines, []);
}
