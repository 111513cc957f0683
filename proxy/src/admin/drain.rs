//! `/drain_listeners` and `/quitquitquit`.

use axum::extract::State;

use super::Admin;
use crate::worker::Stage;

/// Stops accepting from outside and asks connections to finish. The process goes on.
pub(super) async fn drain_listeners(State(admin): State<Admin>) -> &'static str {
    admin.stage.send_if_modified(|stage| {
        let open = *stage < Stage::Closed;
        if open {
            *stage = Stage::Closed;
        }
        open
    });
    "OK\n"
}

pub(super) async fn quit(State(admin): State<Admin>) -> &'static str {
    admin.quit.cancel();
    "OK\n"
}
