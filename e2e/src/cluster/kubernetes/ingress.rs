//! Where the ingress gateway is reached from this machine: at its load balancer, or at its port on a node.

use anyhow::{Context, Result};
use serde_json::Value;

use super::SYSTEM;

const SERVICE: &str = "istio-ingressgateway";
/// The Service's port for plain HTTP.
const HTTP: u64 = 80;

/// The gateway's URL without a path; `get` asks the cluster.
pub(super) fn address(get: impl Fn(&[&str]) -> Result<Value>) -> Result<String> {
    let service = get(&["-n", SYSTEM, "service", SERVICE])?;
    if let Some(host) = load_balancer(&service) {
        return Ok(format!("http://{host}:{HTTP}"));
    }
    let port = node_port(&service);
    let port = port.context("the gateway has neither load balancer nor node port")?;
    let nodes = get(&["nodes"])?;
    let host = internal_ip(&nodes).context("no node has an address")?;
    Ok(format!("http://{host}:{port}"))
}

fn load_balancer(service: &Value) -> Option<&str> {
    let ingress = &service["status"]["loadBalancer"]["ingress"][0];
    ingress["ip"].as_str().or(ingress["hostname"].as_str())
}

fn node_port(service: &Value) -> Option<u64> {
    let ports = service["spec"]["ports"].as_array();
    let mut ports = ports.into_iter().flatten();
    ports.find(|port| port["port"] == HTTP)?["nodePort"].as_u64()
}

fn internal_ip(nodes: &Value) -> Option<&str> {
    let addresses = nodes["items"][0]["status"]["addresses"].as_array()?;
    let internal = |address: &&Value| address["type"] == "InternalIP";
    addresses.iter().find(internal)?["address"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(status: Value, port: Value) -> Result<String> {
        address(|args| match args {
            ["nodes"] => Ok(json!({"items": [{"status": {"addresses": [
                {"type": "Hostname", "address": "weft-worker"},
                {"type": "InternalIP", "address": "172.18.0.3"},
            ]}}]})),
            _ => Ok(json!({"spec": {"ports": [{"port": 15021}, port]}, "status": status})),
        })
    }

    #[test]
    fn a_load_balancer_comes_before_a_node() {
        let port = json!({"port": 80, "nodePort": 30080});
        let balanced = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        assert_eq!(
            found(balanced, port.clone()).unwrap(),
            "http://192.0.2.1:80"
        );
        let none = json!({"loadBalancer": {}});
        assert_eq!(
            found(none.clone(), port).unwrap(),
            "http://172.18.0.3:30080"
        );
        assert!(found(none, json!({"port": 80})).is_err());
    }
}
