//! The table was taken down from Envoy 1.40.

use super::*;

fn normal(path: &str) -> String {
    match normalize(path) {
        Ok(changed) => changed.unwrap_or_else(|| path.to_owned()),
        Err(Invalid) => "400".into(),
    }
}

/// A `%` that begins no escape sequence does not begin one either when what follows it is unescaped.
#[test]
fn stray_percent_signs() {
    for (path, expected) in [
        ("/%5%61", "/%255a"),
        ("/%%361", "/%2561"),
        ("/%%35%61", "/%255a"),
        ("/a%5%61b", "/a%255ab"),
        ("/%%41", "/%A"),
        ("/%%41g", "/%Ag"),
        ("/%5%2561", "/%5%2561"),
        ("/%%%36%31", "/%%2561"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
        assert_eq!(normal(expected), expected);
    }
}

#[test]
fn normal_form() {
    for (path, expected) in [
        ("/", "/"),
        ("//", "//"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../a", "/a"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E/b", "/a/b"),
        ("/a/.%2e/b", "/b"),
        (r"/a\..\b", "/b"),
        ("/a//../b", "/a/b"),
        ("/a/...", "/a/..."),
        ("/%2F..", "/%2F.."),
        ("/%zz", "/%zz"),
        ("/a%2fb%5c", "/a%2fb%5c"),
        ("/a/.b/..c", "/a/.b/..c"),
        ("/a/b/../..", "/"),
        ("/a/b/../../..", "/"),
        ("/a/%2e%2e%2fb", "/a/..%2fb"),
        ("/a/%252e", "/a/%252e"),
        ("/a%2Db%7e%41", "/a-b~A"),
        ("/a%00b", "400"),
        ("/a\"<>^`{|}", "/a%22%3C%3E%5E%60%7B%7C%7D"),
        ("/!$&'()*+,;=:@[]", "/!$&'()*+,;=:@[]"),
        ("/a%20b%3f", "/a%20b%3f"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn parameters_do_not_hide_dot_segments() {
    for (path, expected) in [
        ("/a/..;/b", "/b"),
        ("/a/..;foo/b", "/b"),
        ("/a/.;x/b", "/a/b"),
        ("/a/b;x/c", "/a/b;x/c"),
        ("/a/%2e%2e;/b", "/a/..;/b"),
        ("/a/..%3b/b", "/a/..%3b/b"),
        ("/a/..;", "/"),
        ("/a/.;", "/a/"),
        (r"/a/..;x\b", "/"),
        ("/a/...;/b", "/a/...;/b"),
        ("/a;/../b", "/b"),
        ("/;/a", "/;/a"),
        ("/a/x;y/../b", "/a/b"),
        ("/..;/a", "/a"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn slashes_are_merged() {
    assert_eq!(merge_slashes("/a/b"), None);
    assert_eq!(merge_slashes("//a///b//").as_deref(), Some("/a/b/"));
    assert_eq!(merge_slashes("//").as_deref(), Some("/"));
}

#[test]
fn the_query_stays() {
    let options = |escaped_slashes| PathNormalization {
        normalize: true,
        merge_slashes: true,
        escaped_slashes,
    };
    let keep = options(EscapedSlashes::Keep);
    let changed = |path: &str| Cleaned::Changed(path.into());
    assert_eq!(clean(&keep, "/a?x=/../%41"), Cleaned::Unchanged);
    assert_eq!(clean(&keep, "/a/..?x=/../"), changed("/?x=/../"));
    assert_eq!(clean(&keep, "//a%2f?b"), changed("/a%2f?b"));
    assert_eq!(clean(&keep, "/%00"), Cleaned::Rejected);
    let forward = options(EscapedSlashes::UnescapeAndForward);
    assert_eq!(clean(&forward, "/a%2F..%5c?%2f"), changed("/?%2f"));
    let redirect = options(EscapedSlashes::UnescapeAndRedirect);
    assert_eq!(
        clean(&redirect, "/a%2Fb?c"),
        Cleaned::Redirect("/a/b?c".into())
    );
    assert_eq!(clean(&redirect, "/a/../b"), changed("/b"));
    let reject = options(EscapedSlashes::Reject);
    assert_eq!(clean(&reject, "/a%5Cb"), Cleaned::Rejected);
    assert_eq!(clean(&reject, "/a"), Cleaned::Unchanged);
}

proptest::proptest! {
    #[test]
    fn the_normal_form_has_no_dot_segments(path in "/[a./\\\\%2eE;]{0,24}") {
        if let Ok(Some(normal)) = normalize(&path) {
            assert!(normal.starts_with('/'));
            let hidden = |s: &str| s == "." || s == "..";
            assert!(!normal.split('/').any(hidden), "{path} -> {normal}");
        }
    }

    #[test]
    fn what_needs_no_work_is_normal(path in "(/[a-zA-Z0-9_~-]{0,5}){1,6}") {
        assert_eq!(normalize(&path), Ok(None));
    }

    #[test]
    fn any_path_is_taken(path in ".{0,40}") {
        let options = PathNormalization {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::UnescapeAndForward,
        };
        let _ = clean(&options, &path);
    }
}
