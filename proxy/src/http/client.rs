//! What the upstream's answers and failures mean for the request.

use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};

/// The upstream's response broke off after its head was sent to the client.
pub fn note_response_cut(info: &mut StreamInfo, error: &hyper::Error) {
    let terminated = error.is_incomplete_message() || error.is_closed();
    let (flag, details) = if terminated {
        (
            ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            "upstream_reset_after_response_started{connection_termination}",
        )
    } else {
        (
            ResponseFlags::UPSTREAM_REMOTE_RESET,
            "upstream_reset_after_response_started{remote_reset}",
        )
    };
    info.flags.insert(flag);
    info.response_code_details = details.into();
}
