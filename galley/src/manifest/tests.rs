use super::*;

#[test]
fn positions_count_from_the_file_not_the_document() {
    let text = "# one\napiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Service\nspec:\n  ports:\n  - port: 80\n";
    let (documents, diagnostics) = parse("a.yaml", text);
    assert_eq!(diagnostics, vec![]);
    assert_eq!(documents.len(), 2);
    let service = &documents[1];
    let spec = path::FieldPath::ROOT.field("spec");
    let ports = spec.field("ports");
    let first = ports.index(0);
    let at = first.field("port").position_in(&service.node);
    assert_eq!(
        at,
        Position {
            line: 9,
            column: 11
        }
    );
    assert_eq!(
        ports.position_in(&service.node),
        Position { line: 8, column: 3 }
    );
    // An absent field is pointed at through what encloses it.
    assert_eq!(
        first.field("name").position_in(&service.node),
        Position { line: 9, column: 5 }
    );
}

#[test]
fn a_broken_document_leaves_its_neighbours_alone() {
    let text = "apiVersion: v1\nkind: A\n---\nkind: [B\n  x: }\n---\napiVersion: v1\nkind: C\n";
    let (documents, diagnostics) = parse("a.yaml", text);
    let kinds: Vec<_> = documents.iter().map(Document::kind).collect();
    assert_eq!(kinds, ["A", "C"]);
    assert_eq!(diagnostics.len(), 1);
    let shown = diagnostics[0].to_string();
    assert!(shown.starts_with("a.yaml:5:"), "{shown}");
    assert!(
        shown.contains("error[WEFT0001]: not readable as YAML"),
        "{shown}"
    );
}

#[test]
fn lists_are_opened() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "x"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}]}"#;
    let (documents, diagnostics) = parse("a.json", text);
    assert_eq!(diagnostics, vec![]);
    let names: Vec<_> = documents
        .iter()
        .map(|d| (d.kind(), d.namespace(), d.name()))
        .collect();
    assert_eq!(names, [("Service", Some("x"), "a"), ("Pod", None, "b")]);
}

#[test]
fn scalars_mean_what_kubectl_reads() {
    let text = "apiVersion: v1\nkind: X\nmode: 0644\nquoted: \"8080\"\nyes: on\nport: 8080\nhalf: 0.5\nnothing:\n8443: {a: b}\nbig: 18446744073709551615\n";
    let (documents, diagnostics) = parse("a.yaml", text);
    assert_eq!(diagnostics, vec![]);
    let expected = serde_json::json!({
        "apiVersion": "v1", "kind": "X", "mode": 420, "quoted": "8080", "yes": true,
        "port": 8080, "half": 0.5, "nothing": null, "8443": {"a": "b"},
        "big": 18446744073709551615u64,
    });
    assert_eq!(documents[0].json(), expected);
}

#[test]
fn what_is_not_an_object_is_named() {
    let (documents, diagnostics) = parse("a.yaml", "- 1\n---\nkind: Pod\n---\njust text\n");
    assert_eq!(documents, vec![]);
    let shown: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "a.yaml:1:1: error[WEFT0001]: expected an object, found a list",
            "a.yaml:3:1: error[WEFT0001] apiVersion: field \"apiVersion\" is required",
            "a.yaml:5:1: error[WEFT0001]: expected an object, found a string",
        ]
    );
}

#[test]
fn duplicate_keys_are_errors() {
    let (documents, diagnostics) = parse("a.yaml", "apiVersion: v1\nkind: A\nkind: B\n");
    assert_eq!(documents, vec![]);
    assert!(
        diagnostics[0]
            .to_string()
            .starts_with("a.yaml:3:1: error[WEFT0001]"),
        "{}",
        diagnostics[0]
    );
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[ -~\n\t{}:&*!|>#%@`'\"-]{0,200}") {
        parse("a.yaml", &text);
    }

    #[test]
    fn never_panics_on_any_text(text in ".{0,200}") {
        parse("a.yaml", &text);
    }
}

/// Neither nesting nor aliases make a small text expensive.
#[test]
fn depth_and_aliases_are_limited() {
    let deep = format!("a: {}", "[".repeat(100_000));
    let nested = (0..20_000).map(|level| format!("{}k:\n", " ".repeat(level)));
    let nested: String = nested.take(3_000).collect();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb += &format!("a{level}: &a{level} [{before}]\n");
    }
    let long = "x".repeat(1 << 20);
    let repeated = format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(2_000));
    for text in [deep, nested, bomb, repeated] {
        let (documents, diagnostics) = parse("a", &text);
        assert_eq!(documents.len(), 0);
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        assert_eq!(diagnostics[0].code, code::BROKEN_DOCUMENT);
    }
}
