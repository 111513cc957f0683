use super::*;
use crate::manifest::parse;

fn document(yaml: &str) -> Arc<Document> {
    let (mut documents, faults) = parse("a.yaml", yaml);
    assert_eq!(faults, vec![]);
    Arc::new(documents.remove(0))
}

fn rule(name: &str, spec: &str) -> Arc<Document> {
    document(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    ))
}

fn mesh(text: &str) -> Arc<Document> {
    document(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: \"{text}\"}}\n"
    ))
}

const GOOD: &str = "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}";
const BAD: &str = "{hosts: [a], http: [{route: [{destination: {host: a}, weight: 300}]}]}";

fn key(name: &str) -> ResourceKey {
    ResourceKey::new("VirtualService", "default", name)
}

fn changed(store: &mut Store) -> (BTreeSet<ResourceKey>, bool) {
    let changed = store.take_changes();
    (changed.objects.into_keys().collect(), changed.mesh)
}

#[test]
fn a_bad_version_leaves_the_good_one_in_force() {
    let mut store = Store::new(MeshConfig::default());
    assert!(store.apply(rule("x", GOOD)));
    store.take_changes();
    let before = store.get(&key("x")).unwrap().clone();
    assert!(!store.apply(rule("x", BAD)));
    assert!(Arc::ptr_eq(store.get(&key("x")).unwrap(), &before));
    assert_eq!(changed(&mut store), (BTreeSet::new(), false));
    assert_eq!(store.quarantined(), 1);
    let message = &store.diagnostics()[0].message;
    assert!(
        message.ends_with("; the last good version stays in force"),
        "{message}"
    );
    assert!(store.apply(rule("x", GOOD)));
    assert_eq!(store.quarantined(), 0);
    assert_eq!(store.diagnostics(), vec![]);
}

#[test]
fn an_object_that_never_was_good_is_not_there() {
    let mut store = Store::new(MeshConfig::default());
    assert!(!store.apply(rule("x", BAD)));
    assert!(store.get(&key("x")).is_none());
    assert_eq!(store.quarantined(), 0);
    let message = &store.diagnostics()[0].message;
    assert!(!message.contains("last good version"), "{message}");
}

#[test]
fn deletion_takes_objects_and_findings_along() {
    let mut store = Store::new(MeshConfig::default());
    let good = rule("x", GOOD);
    store.apply(good.clone());
    store.apply(rule("x", BAD));
    store.take_changes();
    store.delete(&DocumentKey::of(&good));
    assert!(store.get(&key("x")).is_none());
    assert_eq!(changed(&mut store), (BTreeSet::from([key("x")]), false));
    assert_eq!(store.diagnostics(), vec![]);
}

#[test]
fn mesh_settings_are_defaults_of_every_object() {
    let mut store = Store::new(MeshConfig::default());
    store.apply(rule("x", GOOD));
    let visibility = |store: &Store| match &store.get(&key("x")).unwrap().model {
        Model::VirtualService(rule) => rule.visibility.clone(),
        other => panic!("{other:?}"),
    };
    use mesh_api::resource::Visibility;
    assert_eq!(visibility(&store), Visibility::Public);
    let settings = mesh("defaultVirtualServiceExportTo: ['.']");
    assert!(store.apply(settings.clone()));
    assert_eq!(
        visibility(&store),
        Visibility::Namespaces(["default".into()].into())
    );
    assert!(!store.apply(mesh("defaultVirtualServiceExportTo: 5")));
    assert_eq!(
        visibility(&store),
        Visibility::Namespaces(["default".into()].into())
    );
    store.take_changes();
    store.delete(&DocumentKey::of(&settings));
    assert_eq!(visibility(&store), Visibility::Public);
    assert!(store.take_changes().mesh);
}

fn policy(kind: &str, spec: &str) -> Arc<Document> {
    document(&format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"
    ))
}

#[test]
fn a_policy_that_was_never_understood_closes() {
    use mesh_api::authz::{AuthzAction, AuthzRule};
    let mut store = Store::new(MeshConfig::default());
    let bad = "{selector: {matchLabels: {app: a}}, acton: ALLOW}";
    assert!(!store.apply(policy("AuthorizationPolicy", bad)));
    let key = ResourceKey::new("AuthorizationPolicy", "default", "x");
    let in_force = |store: &Store| match &store.get(&key).unwrap().model {
        Model::AuthorizationPolicy(policy) => (**policy).clone(),
        other => panic!("{other:?}"),
    };
    let closed = in_force(&store);
    assert_eq!(closed.action, AuthzAction::Deny);
    assert_eq!(closed.rules, [AuthzRule::default()]);
    assert_eq!(closed.selector.unwrap().labels().get("app"), Some("a"));
    assert!(store.diagnostics()[0].message.contains("is closed"));
    // A good version replaces the stand-in, and the next bad one does not bring it back.
    assert!(store.apply(policy("AuthorizationPolicy", "{}")));
    assert!(!store.apply(policy("AuthorizationPolicy", bad)));
    assert_eq!(in_force(&store).action, AuthzAction::Allow);
    assert!(
        store.diagnostics()[0]
            .message
            .contains("the last good version stays in force")
    );
    store.delete(&DocumentKey::of(&policy("AuthorizationPolicy", bad)));
    assert!(store.get(&key).is_none());
}

#[test]
fn peer_authentication_closes_to_mtls() {
    let mut store = Store::new(MeshConfig::default());
    assert!(!store.apply(policy("PeerAuthentication", "{mtls: {mode: strict}}")));
    let key = ResourceKey::new("PeerAuthentication", "default", "x");
    match &store.get(&key).unwrap().model {
        Model::PeerAuthentication(policy) => {
            assert_eq!(policy.mode, Some(mesh_api::authn::MtlsMode::Strict));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn request_authentication_closes_what_it_selects() {
    use mesh_api::authz::{AuthzAction, AuthzRule};
    let mut store = Store::new(MeshConfig::default());
    let spec =
        "{selector: {matchLabels: {app: a}}, jwtRules: [{issuer: me, jwks: '{\"keys\": []}'}]}";
    assert!(!store.apply(policy("RequestAuthentication", spec)));
    assert!(store.apply(policy("AuthorizationPolicy", "{}")));
    let changed = store.take_changes();
    let built = crate::snapshot::Builder::default().build(&changed, &store);
    let snapshot = built.snapshot.unwrap();
    assert!(snapshot.request_authentications.is_empty());
    let policies = snapshot.authorization_policies.of("default");
    let found: Vec<_> = policies
        .iter()
        .map(|policy| (&*policy.meta.key.name, policy.action.clone()))
        .collect();
    let stand_in = ("x@RequestAuthentication", AuthzAction::Deny);
    assert_eq!(found, [("x", AuthzAction::Allow), stand_in]);
    let stand_in = policies.get("x@RequestAuthentication").unwrap();
    assert_eq!(stand_in.rules, [AuthzRule::default()]);
    let selector = stand_in.selector.as_ref().unwrap();
    assert_eq!(selector.labels().get("app"), Some("a"));
}
