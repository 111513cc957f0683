//! Tables for every form of matcher.

use super::*;

#[test]
fn strings() {
    let cases: &[(StringMatcher, &str, bool)] = &[
        (StringMatcher::exact("a", false), "a", true),
        (StringMatcher::exact("a", false), "A", false),
        (StringMatcher::exact("a", true), "A", true),
        (StringMatcher::prefix("/ab", false), "/abc", true),
        (StringMatcher::prefix("/ab", false), "/a", false),
        (StringMatcher::prefix("/aB", true), "/Abc", true),
        (StringMatcher::suffix(".com", false), "x.com", true),
        (StringMatcher::suffix(".com", false), "com", false),
        (StringMatcher::suffix(".COM", true), "x.com", true),
        (StringMatcher::contains("b", false), "abc", true),
        (StringMatcher::contains("B", false), "abc", false),
        (StringMatcher::contains("B", true), "abc", true),
    ];
    for (matcher, value, expected) in cases {
        assert_eq!(
            matcher.matches(value.as_bytes()),
            *expected,
            "{matcher:?} on {value}"
        );
    }
}

#[test]
fn regex_matches_the_whole_value_with_ascii_classes() {
    for (pattern, value, expected) in [
        ("a|b", "b", true),
        ("a|b", "ab", false),
        (r"\d+", "12", true),
        (r"\d+", "\u{0663}", false),
        ("v.*", "v1", true),
        ("v.*", "xv1", false),
        ("(?i)abc", "ABC", true),
        ("/users/{id}", "/users/{id}", true),
        (r"\<a\>", "<a>", true),
        (r"\pL", "é", true),
        ("[^/]", "é", true),
    ] {
        let matcher = StringMatcher::regex(pattern).unwrap();
        assert_eq!(
            matcher.matches(value.as_bytes()),
            expected,
            "{pattern} on {value}"
        );
    }
    let repeated = StringMatcher::regex(r"\w{500}1").unwrap();
    assert!(repeated.matches(("a".repeat(500) + "1").as_bytes()));
    for refused in [
        "(",
        r"\C",
        ".{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}.{1000}",
    ] {
        assert!(StringMatcher::regex(refused).is_err(), "{refused}");
    }
}

fn header(rule: HeaderRule, invert: bool, missing_is_empty: bool) -> HeaderMatcher {
    HeaderMatcher {
        name: "x-a".parse().unwrap(),
        rule,
        invert,
        missing_is_empty,
    }
}

#[test]
fn headers() {
    let exact = |v: &str| HeaderRule::String(StringMatcher::exact(v, false));
    let cases = [
        (
            header(HeaderRule::Present(true), false, false),
            Some("x"),
            true,
        ),
        (header(HeaderRule::Present(true), false, false), None, false),
        (header(HeaderRule::Present(true), true, false), None, true),
        (header(HeaderRule::Present(false), false, false), None, true),
        (
            header(HeaderRule::Present(false), true, false),
            Some(""),
            true,
        ),
        (header(exact("v"), false, false), Some("v"), true),
        (header(exact("v"), false, false), None, false),
        (header(exact("v"), true, false), Some("w"), true),
        (header(exact("v"), true, false), Some("v"), false),
        (header(exact("v"), true, false), None, false),
        (header(exact("v"), true, true), None, true),
        (header(exact(""), false, true), None, true),
        (
            header(HeaderRule::Range(-1..3), false, false),
            Some("2"),
            true,
        ),
        (
            header(HeaderRule::Range(-1..3), false, false),
            Some("3"),
            false,
        ),
        (
            header(HeaderRule::Range(-1..3), false, false),
            Some("2x"),
            false,
        ),
        (
            header(HeaderRule::Range(-1..3), true, false),
            Some("2x"),
            true,
        ),
    ];
    for (matcher, value, expected) in cases {
        let matched = matcher.matches_value(value.map(str::as_bytes));
        assert_eq!(matched, expected, "{matcher:?} on {value:?}");
    }
}

#[test]
fn query_parameters() {
    let present = QueryMatcher {
        name: "a".into(),
        value: None,
    };
    let empty = QueryMatcher {
        name: "a".into(),
        value: Some(StringMatcher::exact("", false)),
    };
    for (query, is_present, is_empty) in [
        (None, false, false),
        (Some(""), false, false),
        (Some("a"), true, true),
        (Some("a="), true, true),
        (Some("b=a&a=1"), true, false),
        (Some("a=1&a="), true, false),
        (Some("aa=1"), false, false),
    ] {
        assert_eq!(present.matches(query), is_present, "{query:?}");
        assert_eq!(empty.matches(query), is_empty, "{query:?}");
    }
}

proptest::proptest! {
    #[test]
    fn a_prefix_and_a_suffix_of_a_value_match(value in ".*", cut in 0usize..32) {
        let bytes = value.as_bytes();
        let cut = cut.min(bytes.len());
        assert!(StringMatcher::prefix(&bytes[..cut], false).matches(bytes));
        assert!(StringMatcher::suffix(&bytes[cut..], false).matches(bytes));
        assert!(StringMatcher::contains(&bytes[cut..], true).matches(&bytes.to_ascii_uppercase()));
    }

    #[test]
    fn an_escaped_regex_is_an_exact_match(value in "[ -~]{0,20}", other in "[ -~]{0,20}") {
        let matcher = StringMatcher::regex(&regex::escape(&value)).unwrap();
        assert_eq!(matcher.matches(other.as_bytes()), value == other);
        assert!(matcher.matches(value.as_bytes()));
    }
}
