//! `/server_info`.

use axum::Json;
use axum::extract::State;
use mesh_runtime::build_info;
use serde_json::{Value, json};

use super::Admin;
use crate::worker::Stage;

pub(super) async fn server_info(State(admin): State<Admin>) -> Json<Value> {
    let node = admin.bootstrap.node.as_ref();
    let uptime = format!("{}s", admin.start.elapsed().as_secs());
    Json(json!({
        "version": format!("weft/{}", build_info::describe().trim_end()),
        "state": state(&admin),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {"concurrency": admin.workers},
        "node": {
            "id": node.map(|node| node.id.as_str()),
            "cluster": node.map(|node| node.cluster.as_str()),
        },
        "hot_restart_version": "disabled",
        "connections": admin.balance.total(),
    }))
}

fn state(admin: &Admin) -> &'static str {
    match *admin.stage.borrow() {
        Stage::Serving if admin.readiness.is_ready() => "LIVE",
        Stage::Serving => "INITIALIZING",
        Stage::Draining | Stage::Closed | Stage::Stopped => "DRAINING",
    }
}
