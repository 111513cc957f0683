//! What a change of the mesh costs the control plane: `cargo bench -p pilot --bench world`.

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use pilot::node::Node;
use pilot::world::World;
use xds::envoy::core;

/// The repository's bookinfo.
fn bookinfo() -> Arc<Snapshot> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/bookinfo");
    galley::load(&[samples], MeshConfig::default()).0
}

/// The world after a change of anything but endpoints.
fn step(criterion: &mut Criterion) {
    let first = bookinfo();
    let mut second = Snapshot::clone(&first);
    second.version += 1;
    let world = World::new(first);
    let second = Arc::new(second);
    criterion.bench_function("world step", |bencher| {
        bencher.iter(|| world.next(Arc::clone(&second)));
    });
}

/// All resources of one proxy, from nothing.
fn generate(criterion: &mut Criterion) {
    let snapshot = bookinfo();
    let wire = core::Node {
        id: "sidecar~10.244.0.2~productpage-v1-1.default~default.svc.cluster.local".into(),
        ..Default::default()
    };
    let node = Node::from_wire(&wire).expect("the id is complete");
    criterion.bench_function("generate", |bencher| {
        bencher.iter(|| pilot::generate(&snapshot, &node));
    });
}

criterion_group!(benches, step, generate);
criterion_main!(benches);
