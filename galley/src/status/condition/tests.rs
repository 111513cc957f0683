use mesh_api::resource::Origin;

use super::*;
use crate::kind::Kind;
use crate::source::kube::Observed;

fn report(refused: bool, status: Value) -> Report {
    let diagnostic = Diagnostic {
        code: "IST0106",
        severity: Severity::Error,
        resource: None,
        origin: Origin::BuiltIn,
        field: "spec.http".to_owned(),
        message: "no good".to_owned(),
        suggestion: None,
    };
    Report {
        kind: Kind::VirtualService,
        api_version: "networking.istio.io/v1".to_owned(),
        observed: Observed {
            uid: "u".to_owned(),
            generation: 3,
            status,
        },
        refused,
        diagnostics: if refused {
            vec![diagnostic]
        } else {
            Vec::new()
        },
        feedback: None,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_quarantined_object_says_why() {
    let status = outdated(&report(true, Value::Null), at("2026-01-02T03:04:05Z"));
    let expected = json!({
        "observedGeneration": 3,
        "conditions": [{
            "type": "Reconciled",
            "status": "False",
            "reason": "Quarantined",
            "message": "error[IST0106] spec.http: no good",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }],
        "validationMessages": [{"type": {"code": "IST0106"}, "level": "ERROR"}],
    });
    assert_eq!(status, Some(expected));
}

#[test]
fn what_is_written_already_is_not_written_again() {
    let first = outdated(&report(false, Value::Null), at("2026-01-02T03:04:05Z")).unwrap();
    let again = outdated(&report(false, first), at("2026-01-02T04:00:00Z"));
    assert_eq!(again, None);
}

#[test]
fn the_time_is_that_of_the_transition_and_others_conditions_stay() {
    let mut first = outdated(&report(false, Value::Null), at("2026-01-02T03:04:05Z")).unwrap();
    let foreign = json!({"type": "Programmed", "status": "True"});
    first["conditions"]
        .as_array_mut()
        .unwrap()
        .insert(0, foreign.clone());
    first["observedGeneration"] = json!(2);
    let same = outdated(&report(false, first.clone()), at("2026-01-02T04:00:00Z")).unwrap();
    assert_eq!(same["conditions"][1], foreign);
    assert_eq!(
        same["conditions"][0]["lastTransitionTime"],
        "2026-01-02T03:04:05Z"
    );
    let refused = outdated(&report(true, first), at("2026-01-02T04:00:00Z")).unwrap();
    assert_eq!(
        refused["conditions"][0]["lastTransitionTime"],
        "2026-01-02T04:00:00Z"
    );
}
