//! What is accepted, what is refused, what matches, and what it costs.

use super::*;
use rstest::rstest;

fn whole(expression: &str, value: &str) -> bool {
    Regex::full_match(expression)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
        .is_match(value.as_bytes())
}

#[rstest]
// The whole value, and alternatives as a whole.
#[case("a|b", "b", true)]
#[case("a|b", "ab", false)]
#[case("", "", true)]
#[case("a||b", "", true)]
#[case("^a$", "a", true)]
#[case(r"\Aa\z", "a", true)]
#[case("()a", "a", true)]
// Braces that repeat nothing.
#[case("/users/{id}/orders", "/users/{id}/orders", true)]
#[case("a{", "a{", true)]
#[case("a{,2}", "a{,2}", true)]
#[case("a{,2}", "aa", false)]
#[case("a{01}", "a{01}", true)]
#[case("a{ 1}", "a{ 1}", true)]
#[case("{1", "{1", true)]
#[case("}", "}", true)]
#[case("a]", "a]", true)]
#[case("a{2}", "aa", true)]
#[case("a{2,}", "aaa", true)]
#[case("a{2,3}", "aaaa", false)]
#[case("a{0}", "", true)]
#[case("a{2}?", "aa", true)]
// Perl's classes are ASCII; \s has no \v.
#[case(r"\d+", "12", true)]
#[case(r"\d", "\u{663}", false)]
#[case(r"\D", "\u{663}", true)]
#[case(r"\w+", "a_Z0", true)]
#[case(r"\w", "é", false)]
#[case(r"\W", "é", true)]
#[case(r"\s", "\t", true)]
#[case(r"\s", "\u{b}", false)]
#[case(r"\s", "\u{a0}", false)]
#[case(r"[\s]", "\u{b}", false)]
#[case(r"[[:space:]]", "\u{b}", true)]
#[case(r"[^\d]", "x", true)]
#[case(r"[a\D]", "x", true)]
#[case(r".*\bé", "é", false)]
#[case(r"a\b.*", "a é", true)]
#[case(r"a\Bb", "ab", true)]
// Characters, not bytes.
#[case(".", "é", true)]
#[case("..", "é", false)]
#[case("é+", "éé", true)]
#[case("[^/]+", "日本", true)]
#[case(".", "\n", false)]
#[case("(?s).", "\n", true)]
#[case("[^a]", "\n", true)]
// Groups of Unicode.
#[case(r"\pL+", "éαя", true)]
#[case(r"\p{Greek}", "α", true)]
#[case(r"\p{Greek}", "a", false)]
#[case(r"\P{Greek}", "a", true)]
#[case(r"\p{^Greek}", "a", true)]
#[case(r"\P{^Greek}", "α", true)]
#[case(r"[\p{Lu}\p{Nd}]+", "ÄÄ\u{663}", true)]
#[case(r"\p{Any}", "x", true)]
#[case(r"\PZ", "x", true)]
#[case(r"\p{Zl}", "\u{2028}", true)]
#[case(r"\p{C}", "\u{1}", true)]
#[case(r"\p{C}", "\u{378}", false)]
// Case, as far as Unicode's simple folding goes.
#[case("(?i)abc", "AbC", true)]
#[case("(?i)k", "\u{212a}", true)]
#[case("(?i)ß", "\u{1e9e}", true)]
#[case("(?i)[a-c]", "B", true)]
#[case("(?i)[^a]", "A", false)]
#[case(r"(?i)\p{Lu}", "ä", true)]
#[case("(?i:a)b", "Ab", true)]
#[case("(?i:a)b", "AB", false)]
#[case("((?i)a)b", "Ab", true)]
#[case("((?i)a)b", "AB", false)]
#[case("(?i)a(?-i)b", "AB", false)]
#[case("(?i)a|b", "B", true)]
#[case("(?ii-i)a", "A", false)]
#[case("(?)a", "a", true)]
#[case("(?m)a$.^b", "a\nb", false)]
#[case("(?ms)a$.^b", "a\nb", true)]
#[case("a(?U)b*", "abb", true)]
// Groups.
#[case("(?P<name>a)(?<other>b)", "ab", true)]
#[case("(?P<1>a)", "a", true)]
#[case("(?:a)", "a", true)]
// Brackets: RE2 knows neither nesting nor intersection there.
#[case("[]a]", "]", true)]
#[case("[^]a]", "]", false)]
#[case("[a&&b]", "&", true)]
#[case("[a&&b]", "a", true)]
#[case("[a[b]", "[", true)]
#[case("[--a]", "Z", true)]
#[case("[a-]", "-", true)]
#[case(r"[a\-z]", "-", true)]
#[case(r"[a\-z]", "b", false)]
#[case(r"[\d-z]", "-", true)]
#[case("[[:alpha:][:^alpha:]]", "1", true)]
#[case("[[:word:]]", "_", true)]
#[case("[[:]", ":", true)]
#[case("[a-c-e]", "d", false)]
#[case(r"[\x{d7ff}-\x{e000}]", "\u{e000}", true)]
// Escapes.
#[case(r"\<a\>", "<a>", true)]
#[case(r"\_\-\/\ ", "_-/ ", true)]
#[case(r"\x41\x{1F600}\x{0041}", "A😀A", true)]
#[case(r"\101\0", "A\0", true)]
#[case(r"\a\f\n\r\t\v", "\x07\x0c\n\r\t\x0b", true)]
#[case(r"\Qa.b*\E+", "a.b**", true)]
#[case(r"\Qa.b", "a.b", true)]
#[case(r"a*\Q\E*", "aa", true)]
#[case(r"\x{d800}|a", "a", true)]
fn values(#[case] expression: &str, #[case] value: &str, #[case] expected: bool) {
    assert_eq!(
        whole(expression, value),
        expected,
        "{expression} on {value:?}"
    );
}

#[rstest]
#[case("a(b", RegexError::MissingParenthesis)]
#[case("a)", RegexError::UnexpectedParenthesis)]
#[case("[a", RegexError::MissingBracket)]
#[case("[]", RegexError::MissingBracket)]
#[case("[z-a]", RegexError::Class("z-a".into()))]
#[case(r"[a-\d]", RegexError::Escape(r"\d".into()))]
#[case("[[:nothing:]]", RegexError::Class("[:nothing:]]".into()))]
#[case(r"\p{Nothing}", RegexError::Class(r"\p{Nothing}".into()))]
#[case(r"\p{greek}", RegexError::Class(r"\p{greek}".into()))]
#[case(r"\p{Alphabetic}", RegexError::Class(r"\p{Alphabetic}".into()))]
#[case(r"\pX", RegexError::Class(r"\pX".into()))]
#[case(r"\", RegexError::Escape(r"\".into()))]
#[case(r"\1", RegexError::Escape(r"\1".into()))]
#[case(r"\8", RegexError::Escape(r"\8".into()))]
#[case(r"\Z", RegexError::Escape(r"\Z".into()))]
#[case(r"\C", RegexError::Escape(r"\C".into()))]
#[case(r"\E", RegexError::Escape(r"\E".into()))]
#[case(r"\y", RegexError::Escape(r"\y".into()))]
#[case(r"\u0041", RegexError::Escape(r"\u".into()))]
#[case(r"\x{110000}", RegexError::Escape(r"\x".into()))]
#[case(r"\xé", RegexError::Escape(r"\x".into()))]
#[case(r"[\b]", RegexError::Escape(r"\b".into()))]
#[case(r"\b{start}x", RegexError::Program(String::new()))]
#[case("*a", RegexError::NothingToRepeat("*".into()))]
#[case("(|*)", RegexError::NothingToRepeat("*".into()))]
#[case("a**", RegexError::RepeatedRepetition("*".into()))]
#[case("a*+", RegexError::RepeatedRepetition("+".into()))]
#[case("a{2}{3}", RegexError::RepeatedRepetition("{3}".into()))]
#[case("a???", RegexError::RepeatedRepetition("?".into()))]
#[case("a{1001}", RegexError::RepeatCount("{1001}".into()))]
#[case("a{1001,}", RegexError::RepeatCount("{1001,}".into()))]
#[case("a{99999999999}", RegexError::RepeatCount("{99999999999}".into()))]
#[case("a{3,2}", RegexError::RepeatCount("{3,2}".into()))]
#[case("((a{30}){30}){30}", RegexError::RepeatCount("{30}".into()))]
#[case("(?=a)", RegexError::Group("(?=a)".into()))]
#[case("(?<!a)", RegexError::Group("(?<!a)".into()))]
#[case("(?x)a", RegexError::Group("(?x)a".into()))]
#[case("(?-u:a)", RegexError::Group("(?-u:a)".into()))]
#[case("(?i-)a", RegexError::Group("(?i-)a".into()))]
#[case("(?P<a>x)(?P<a>y)", RegexError::DuplicateName("a".into()))]
fn refused(#[case] expression: &str, #[case] expected: RegexError) {
    let found = Expression::parse(expression).map(|_| ());
    match expected {
        // Not refused by RE2: a word boundary and a plain brace.
        RegexError::Program(_) => assert_eq!(found, Ok(())),
        expected => assert_eq!(found, Err(expected), "{expression}"),
    }
}

#[test]
fn bytes_that_are_no_text_match_no_character() {
    let any = Regex::full_match(".*").unwrap();
    assert!(!any.is_match(b"a\xff"));
    let whole_line = Regex::full_match(r"(?s).*\xff").unwrap();
    assert!(whole_line.is_match("a\u{ff}".as_bytes()));
    assert!(!whole_line.is_match(b"a\xff"));
}

#[test]
fn substitution_knows_nine_groups_and_replaces_everywhere() {
    for (expression, replacement, value, expected) in [
        ("^/v([0-9]+)/(.*)$", "/${2}/v${1}", "/v1/a", "/a/v1"),
        ("a", "$$", "banana", "b$n$n$"),
        ("x*", "-", "éa", "-é-a-"),
        (
            "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)",
            "${9}${0}",
            "abcdefghij",
            "iabcdefghij",
        ),
        ("(?:a|(b))+", "<${1}>", "ab", "<b>"),
        ("z", "y", "abc", "abc"),
    ] {
        let regex = Regex::partial_match(expression).unwrap();
        assert_eq!(
            regex.replace_all(value, replacement),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn length_is_limited_where_a_user_wrote_it() {
    let longest = "a".repeat(TEXT_BYTES_MAX);
    let longer = "a".repeat(TEXT_BYTES_MAX + 1);
    assert!(Expression::parse_written(&longest).is_ok());
    let refused = Expression::parse_written(&longer).map(|_| ());
    assert_eq!(refused, Err(RegexError::TooLong));
    assert!(Regex::full_match(&longer).is_ok());
}

/// Each 1,024 bytes at most.
fn costly() -> Vec<String> {
    let filled = |part: &str| part.repeat(TEXT_BYTES_MAX / part.len());
    let mut all = vec![
        r"\w{500}1".to_owned(),
        ".{1000}".to_owned(),
        "(.{1000}){1}".to_owned(),
        "(?i)[^a]{1000}".to_owned(),
        r"(?i)\pL{100}".to_owned(),
        "((a{10}){10}){10}".to_owned(),
        "(a?){500}(a){500}".to_owned(),
        format!("{}x{}", "(".repeat(511), ")".repeat(511)),
        format!("{}x{}", "(?:".repeat(200), "*)".repeat(200)),
        format!("{}x{}", "(a|".repeat(200), ")".repeat(200)),
        "{".repeat(TEXT_BYTES_MAX),
        "[".repeat(TEXT_BYTES_MAX - 1) + "]",
    ];
    all.extend(
        [
            ".{1000}",
            r"\w{500}",
            r"\pL",
            r"(?i)\pL",
            r"[\pL\pN\pM\pS\pP]",
            r"(?i)[^\pL]",
            r"(?i)[\x{0}-\x{10FFFF}]",
            r"[^\p{Yi}\p{Vai}\p{Han}]",
            "(a?){30}",
            "(?i)k",
            "(a|b)*",
            "[:a]",
            "[[:alpha:]]",
            r"\Qa\E",
            "(?P<a>",
        ]
        .map(filled),
    );
    all
}

#[test]
fn what_is_understood_can_be_run() {
    for expression in costly() {
        let Ok(parsed) = Expression::parse_written(&expression) else {
            continue;
        };
        assert!(parsed.program_size() <= PROGRAM_SIZE_MAX);
        for compiled in [Regex::full_match, Regex::partial_match] {
            let compiled = compiled(&expression);
            assert!(compiled.is_ok(), "{expression}: {compiled:?}");
        }
    }
}

#[test]
fn the_size_of_a_program_is_known_before_it_is_built() {
    let states = |expression: &str| {
        let parsed = Expression::parse(expression).ok()?;
        let built =
            regex_automata::nfa::thompson::NFA::compiler().build_from_hir(&parsed.node.part());
        Some((built.unwrap().states().len() as u64, parsed.program_size()))
    };
    for expression in costly() {
        if let Some((built, size)) = states(&expression) {
            assert!(built <= 3 * size + 16, "{expression}: {built} of {size}");
        }
    }
    for expression in [
        r"\pL",
        r"(?i)\PL",
        ".",
        "[^/]{100}",
        r"\p{Han}",
        "[é-ü]",
        "abc|def",
        "(a|b)*c{3,7}",
    ] {
        let (built, size) = states(expression).unwrap();
        assert!(built <= 3 * size + 16, "{expression}: {built} of {size}");
        assert!(size <= 3 * built + 16, "{expression}: {built} of {size}");
    }
}

#[test]
fn work_is_bounded_by_the_length_of_the_text() {
    for expression in costly() {
        if let Ok(parsed) = Expression::parse(&expression) {
            assert!(
                parsed.work() <= 1_000_000,
                "{expression}: {}",
                parsed.work()
            );
        }
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| format!("{}x{}", "(?:".repeat(levels), "b*)+".repeat(levels));
    let parse = |levels| Expression::parse(&nested(levels)).map(|_| ());
    assert_eq!(parse(60), Ok(()));
    assert_eq!(parse(70), Err(RegexError::TooDeep));
    let groups = format!("{}x{}", "(".repeat(500), ")".repeat(500));
    assert!(whole(&groups, "x"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_judged_without_panic(text in r"[\\(){}\[\]|*+?^$.:<>=!,A-Z a-z0-9é-]{0,60}") {
        if Expression::parse(&text).is_ok() {
            assert!(Regex::full_match(&text).is_ok(), "{text}");
            assert!(Regex::partial_match(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_quoted_value_matches_itself_alone(value in "[ -~é]{0,20}", other in "[ -~é]{0,20}") {
        let expression = format!(r"\Q{}\E", value.replace('\\', r"\E\\\Q"));
        assert!(whole(&expression, &value));
        assert_eq!(whole(&expression, &other), value == other);
    }

    #[test]
    fn an_escaped_value_matches_itself_alone(value in "[ -~é]{0,20}", other in "[ -~é]{0,20}") {
        assert!(whole(&escape(&value), &value));
        assert_eq!(whole(&escape(&value), &other), value == other);
    }

    /// Without what the two read differently, the crate `regex` says the same.
    #[test]
    fn agrees_with_the_regex_crate(
        expression in "([ab.]|\\[\\^?ab\\]|\\(a\\|b\\)|\\(?:ab?\\))([*+?]|\\{1,2\\})?(\\^|\\$|\\\\b|a|b|é)?",
        value in "[abé\n]{0,4}",
    ) {
        let ascii_boundary = expression.replace(r"\b", r"(?-u:\b)");
        let theirs = ::regex::Regex::new(&format!(r"\A(?:{ascii_boundary})\z"));
        if let (Ok(theirs), Ok(ours)) = (theirs, Regex::full_match(&expression)) {
            assert_eq!(ours.is_match(value.as_bytes()), theirs.is_match(&value), "{expression} on {value:?}");
        }
    }
}

#[test]
fn folding_is_unicodes() {
    for character in ('\0'..'\u{3000}')
        .chain('\u{a640}'..'\u{abc0}')
        .chain('\u{10400}'..'\u{10600}')
    {
        let mut theirs =
            regex_syntax::hir::ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(
                character, character,
            )]);
        theirs.case_fold_simple();
        let ours = class::cases(character).map(|class| class.set.clone());
        match ours {
            Some(ours) => assert_eq!(ours, theirs, "{character:?}"),
            None => assert_eq!(theirs.ranges().len(), 1, "{character:?}"),
        }
    }
}
