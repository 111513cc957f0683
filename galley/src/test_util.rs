//! Objects that cost as much to judge as their size allows, made from the schemas of the wire structs.
//!
//! One for each field of each kind: as many items, or as long a text, as fit into a review. A field that is added
//! to a wire struct is covered without a line here.

mod field;
mod kinds;

use mesh_api::mesh_config::MeshConfig;
use serde_json::{Value, json};

use self::field::{Field, Filling};
use self::kinds::Kind;
use crate::manifest::node::Node;
use crate::manifest::{Document, Place};
use crate::store::Store;

/// Size at which [`worst_reviews`] compares what reviews cost.
const COMPARED_BYTES: usize = 32 << 10;

/// Reviews of each kind that [`worst_reviews`] chooses.
const WORST_OF_A_KIND: usize = 3;

/// An AdmissionReview, as large as asked for, that makes the most of one field.
#[derive(Debug, Clone)]
pub struct Review {
    /// Kind, field and what it is filled with.
    pub name: String,
    kind: Kind,
    field: Field,
    filling: Filling,
}

impl Review {
    /// The review as bytes: nearly `bytes` of them, and no more.
    pub fn body(&self, bytes: usize) -> Vec<u8> {
        let review = self.review(bytes);
        serde_json::to_vec(&review).expect("JSON values can be written")
    }

    /// The review.
    pub fn review(&self, bytes: usize) -> Value {
        let around = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": "1", "namespace": "istio-system", "operation": "CREATE", "object": null},
        });
        let mut review = around;
        review["request"]["object"] = self.object(bytes.saturating_sub(512));
        review
    }

    /// Steps that judging the object takes, and states of the programs of its expressions.
    pub fn cost(&self, bytes: usize) -> (u64, u64) {
        let document = Document {
            place: Place::File("review".into()),
            node: Node::from_json(&self.object(bytes)),
        };
        let reading = Store::new(MeshConfig::default()).read(&document.into());
        (reading.steps, reading.program_states)
    }

    fn object(&self, bytes: usize) -> Value {
        self.kind.object(&self.field, self.filling, bytes)
    }
}

/// One review for each field of each kind and each way to fill it.
pub fn reviews() -> Vec<Review> {
    let mut reviews = Vec::new();
    for kind in kinds::all() {
        for field in kind.fields() {
            for filling in field.fillings() {
                reviews.push(Review {
                    name: format!("{} {field}: {filling:?}", kind.name()),
                    kind: kind.clone(),
                    field: field.clone(),
                    filling,
                });
            }
        }
    }
    reviews
}

/// Of each kind the reviews that take the most steps.
pub fn worst_reviews() -> Vec<Review> {
    let mut costs: Vec<_> = reviews()
        .into_iter()
        .map(|review| (review.kind.name(), review.cost(COMPARED_BYTES), review))
        .collect();
    costs.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
    let mut worst: Vec<Review> = Vec::new();
    let mut of_kind = ("", 0);
    for (kind, _, review) in costs {
        let before = if kind == of_kind.0 { of_kind.1 } else { 0 };
        of_kind = (kind, before + 1);
        if before < WORST_OF_A_KIND {
            worst.push(review);
        }
    }
    worst
}

#[cfg(test)]
mod tests;
