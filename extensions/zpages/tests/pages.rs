//! The page `/leaks` as a whole: what it says, in which order, and that nothing in a report can change its structure.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail by panic")]

use proptest::prelude::*;
use weir_connection::report::{Finding, Report, State};
use weir_extension_zpages::page::{MAX_SHOWN, content_security_policy, leaks_html};

mod samples;

use samples::NOW;

/// The tags of a document with the names of their attributes; texts and values left out.
fn structure(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if rest.starts_with("<script") || rest.starts_with("<style") {
            let end = rest.find("</").expect("an element that is closed");
            tags.push(rest[..rest.find('>').unwrap()].to_owned());
            rest = &rest[end..];
            continue;
        }
        let mut tag = String::new();
        let mut quoted = false;
        let mut length = 0;
        for character in rest.chars() {
            length += character.len_utf8();
            match character {
                '"' => quoted = !quoted,
                '>' if !quoted => break,
                other if !quoted => tag.push(other),
                _ => {}
            }
        }
        tags.push(tag);
        rest = &rest[length..];
    }
    tags
}

fn embedded(html: &str) -> Report {
    let json =
        html.split(r#"<script type="application/json">"#).nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(json).unwrap()
}

/// What is between tags.
fn text_of(html: &str) -> String {
    let main = html.split("<main").nth(1).unwrap().split("</main>").next().unwrap();
    main.split('<')
        .map(|part| part.split_once('>').map_or("", |(_, text)| text))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_leak_is_named_with_its_line_rate_time_left_and_cure() {
    let html = leaks_html(&samples::leaking(), NOW);
    for said in [
        "<title>1 leaking, 1 suspect, 1 recovering · weir</title>",
        "<span>checkout → 127.0.0.1:50051</span>",
        r#"data-copy="examples/leaky/client/orders.go:41""#,
        "client_<wbr>per_<wbr>call",
        "+2.0/s<small>7,200/h</small>",
        "5 h 12 m<small>memory</small>",
        "close it where its last call ends",
        "282 ESTABLISHED, 281 without payload",
        "levels off near 3,612",
        "memory limit 2.0 GiB = 37,806 open",
        "growth began ",
        "heap contradicts the verdict",
        "callback_serializer.go:88",
    ] {
        assert!(html.contains(said), "the page does not say {said}");
    }
}

#[test]
fn rows_stand_in_the_order_of_the_report_and_lead_to_their_details() {
    let report = samples::many();
    let html = leaks_html(&report, NOW);
    let rows: Vec<&str> = html.split(r##"<a href="#series-of-"##).skip(1).collect();
    assert_eq!(rows.len(), report.series.len());
    for (index, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("{index}\"")), "row {index} is {}", &row[..8]);
        assert!(html.contains(&format!(r#"id="series-of-{index}""#)));
    }
}

#[test]
fn ids_are_unique_even_when_those_of_the_report_are_not() {
    let finding = |id: &str| Finding { id: id.into(), ..Finding::default() };
    let ids = ["a", "a", "", "main", "series-1", "a"];
    let report = Report { series: ids.map(finding).to_vec(), ..Report::default() };
    let html = leaks_html(&report, NOW);
    let mut found: Vec<&str> =
        html.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    let total = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!((total, found.len()), (7, 7), "{found:?}");
}

#[test]
fn hostile_strings_in_every_field_change_no_tag() {
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover='alert(3) <!-- ]]> &lt;";
    let harmless: String =
        hostile.chars().map(|c| if matches!(c, '/' | ' ' | '.' | '_') { c } else { 'a' }).collect();
    let attacked = leaks_html(&samples::hostile_with(hostile), NOW + 1.0);
    let calm = leaks_html(&samples::hostile_with(&harmless), NOW + 1.0);
    assert_eq!(structure(&attacked), structure(&calm));
    assert_eq!(attacked.matches("<script").count(), 2);
    assert!(attacked.contains("&lt;img src=x onerror=alert(2)&gt;"));
}

#[test]
fn the_embedded_report_is_the_report() {
    let report = samples::leaking();
    assert_eq!(embedded(&leaks_html(&report, NOW)), report);
    let text = "</script><!--<script>\u{2028}";
    let hostile = Report { summary: text.into(), ..samples::waiting() };
    assert_eq!(embedded(&leaks_html(&hostile, NOW)), hostile);
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_no_attribute_holds_style_or_script() {
    for report in [
        samples::leaking(),
        samples::no_sources(),
        samples::waiting(),
        samples::all_fine(),
        samples::hostile(),
    ] {
        let html = leaks_html(&report, NOW);
        assert!(html.contains(r#"http-equiv="Content-Security-Policy""#));
        for tag in structure(&html) {
            let banned = [
                " style=", " src=", " onclick", " onerror", " onload", "<img", "<iframe", "<form", "<object",
                "<base",
            ];
            assert!(!banned.iter().any(|name| tag.contains(name)), "{tag}");
        }
    }
    assert!(content_security_policy().starts_with("default-src 'none'; script-src 'sha256-"));
}

#[test]
fn without_sources_the_page_shows_the_configuration_to_add() {
    let html = leaks_html(&samples::no_sources(), NOW);
    assert!(text_of(&html).contains("grpc_connections: {endpoint:"));
    assert!(!html.contains("class=\"findings\""));
}

#[test]
fn without_data_the_page_says_what_each_source_waits_for_and_how_long() {
    let text = text_of(&leaks_html(&samples::waiting(), NOW));
    for said in [
        "has run for 3 m 25 s",
        "the first event of a service",
        "no process is named leaky-client",
        "connection refused",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

#[test]
fn when_all_is_fine_the_page_says_since_when_and_how_sure() {
    let text = text_of(&leaks_html(&samples::all_fine(), NOW));
    for said in [
        "Everything is fine",
        "3 series are watched",
        "14:59",
        "All 3 sources deliver",
        "connections come and go",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert!(!text_of(&leaks_html(&samples::leaking(), NOW)).contains("Everything is fine"));
}

#[test]
fn an_old_report_is_not_shown_as_the_present_state() {
    let old = leaks_html(&samples::leaking(), NOW + 240.0);
    assert!(
        old.contains(r#"class="stale""#) && text_of(&old).contains("made 4 m ago and none has come since")
    );
    let fresh = leaks_html(&samples::leaking(), NOW + 2.0);
    assert!(!fresh.contains(r#"class="stale""#) && !text_of(&fresh).contains("none has come since"));
}

#[test]
fn ages_and_time_left_count_from_now_and_not_from_the_report() {
    let text = text_of(&leaks_html(&samples::leaking(), NOW + 20.0));
    assert!(text.contains("22 s old"), "the sockets were 2 s old when the report was made");
    assert!(text.contains("5 h 11 m"), "20 s of the 5 h 12 m are gone");
}

#[test]
fn more_series_than_are_shown_are_counted() {
    let finding = Finding { state: State::Ok, service: "one-of-many".into(), ..Finding::default() };
    let report = Report { series: vec![finding; MAX_SHOWN + 30], ..Report::default() };
    let html = leaks_html(&report, NOW);
    assert_eq!(html.matches("<tr role=\"row\" class=\"ok\"").count(), MAX_SHOWN);
    assert!(html.contains("and 30 less urgent series"));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -10.0..5_000.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(0.0),
        (0.0..1e6).prop_map(|d| NOW - d)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_report_becomes_a_page_with_balanced_tags(
        text in any::<String>(),
        numbers in proptest::collection::vec(any_number(), 24),
        now in any_number(),
    ) {
        let mut report = samples::hostile_with(&text);
        report.time = numbers[0];
        report.started = numbers[1];
        for finding in &mut report.series {
            finding.since = numbers[2];
            finding.onset = Some(numbers[3]);
            finding.growth.rate = numbers[4];
            finding.growth.rate_low = numbers[5];
            finding.growth.rate_high = numbers[6];
            finding.growth.open = numbers[7];
            for forecast in &mut finding.forecast {
                forecast.limit = numbers[8];
                forecast.used = numbers[9];
                forecast.per_item = numbers[10];
                forecast.seconds = Some(numbers[11]);
                forecast.seconds_low = Some(numbers[12]);
                forecast.seconds_high = Some(numbers[13]);
                forecast.plateau = Some(numbers[14]);
            }
            finding.history.time = numbers[15..20].to_vec();
            finding.history.open = numbers[19..24].to_vec();
            finding.history.idle_old = numbers[18..23].to_vec();
        }
        let html = leaks_html(&report, now);
        let mut open: Vec<String> = Vec::new();
        for tag in structure(&html) {
            let name = tag.trim_start_matches('<').split([' ', '>']).next().unwrap_or_default().to_owned();
            match name.strip_prefix('/') {
                Some(closed) => prop_assert_eq!(open.pop(), Some(closed.to_owned())),
                None if matches!(name.as_str(), "!doctype" | "meta" | "link" | "wbr") => {}
                None => open.push(name),
            }
        }
        prop_assert!(open.is_empty());
        prop_assert!(!html.contains("NaN%") && !html.contains("inf%"));
    }
}

#[test]
fn series_that_are_too_young_for_a_verdict_are_not_called_fine() {
    let mut report = samples::all_fine();
    assert!(leaks_html(&report, NOW).contains("Everything is fine"));
    for finding in &mut report.series {
        (finding.watched, finding.verdict_in) = (420.0, Some(2280.0));
    }
    let html = leaks_html(&report, report.time);
    assert!(!html.contains("Everything is fine") && !html.contains("does not grow"));
    for said in ["No verdict yet", "for 7 m at most", "in about 38 m", "not known yet"] {
        assert!(html.contains(said), "the page does not say {said}");
    }
}
