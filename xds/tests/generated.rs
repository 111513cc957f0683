//! Generates `xds/src/proto` and fails when the committed files differ from their sources.
//!
//! `WEFT_UPDATE_GENERATED=1 cargo test -p xds --test generated` rewrites them.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Generated file, committed file.
const FILES: [(&str, &str); 3] = [
    ("istio.v1.auth.rs", "istio_v1_auth.rs"),
    ("xds.r#type.v3.rs", "xds_type_v3.rs"),
    (
        "envoy.service.discovery.v3.AggregatedDiscoveryService.rs",
        "ads.rs",
    ),
];

#[test]
fn committed_code_matches_its_sources() {
    let generated = tempfile::tempdir().unwrap();
    generate_messages(generated.path());
    generate_discovery_service(generated.path());

    for (from, to) in FILES {
        let fresh = fs::read_to_string(generated.path().join(from)).unwrap();
        let committed = crate_dir().join("src/proto").join(to);
        if env::var_os("WEFT_UPDATE_GENERATED").is_some() {
            fs::write(&committed, &fresh).unwrap();
        }
        assert!(
            fs::read_to_string(&committed).unwrap_or_default() == fresh,
            "{} has drifted: run with WEFT_UPDATE_GENERATED=1",
            committed.display()
        );
    }
}

fn generate_messages(out: &Path) {
    let root = crate_dir().join("proto");
    let files = ["istio/v1/auth/ca.proto", "xds/type/v3/typed_struct.proto"].map(|f| root.join(f));
    let descriptors = protox::compile(&files, [&root]).unwrap();
    let mut config = tonic_prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out)
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::envoy_types::pb::google::protobuf")
        .compile_fds_with_config(descriptors, config)
        .unwrap();
}

fn generate_discovery_service(out: &Path) {
    use tonic_prost_build::manual::{Builder, Method, Service};
    let method = |name: &str, route: &str, input: &str, output: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type(input)
            .output_type(output)
            .codec_path("::tonic_prost::ProstCodec")
            .client_streaming()
            .server_streaming()
            .build()
    };
    let service = Service::builder()
        .name("AggregatedDiscoveryService")
        .package("envoy.service.discovery.v3")
        .method(method(
            "stream_aggregated_resources",
            "StreamAggregatedResources",
            "::envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest",
            "crate::resource::DiscoveryResponse",
        ))
        .method(method(
            "delta_aggregated_resources",
            "DeltaAggregatedResources",
            "::envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest",
            "crate::resource::DeltaDiscoveryResponse",
        ))
        .build();
    Builder::new()
        .build_transport(false)
        .out_dir(out)
        .compile(&[service]);
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
