//! The end of a stream: filters hear of it, then logs are written. Exactly once.

use super::filter::{Side, run};
use super::stream::Stream;
use crate::telemetry::stream_info::ResponseFlags;

impl Stream {
    /// Completes a stream that was answered.
    pub fn complete(mut self: Box<Self>) {
        self.finish();
    }

    /// Tells filters and logs; later calls do nothing.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.completed, true) {
            return;
        }
        self.end_attempt();
        run::complete(self, Side::Downstream);
        let connection = self.connection.clone();
        let hcm = &connection.hcm;
        hcm.access_logs
            .write(&connection.worker.telemetry, &self.info);
        connection.cells.response(self.info.response_code);
        connection.end_request();
    }
}

impl Drop for Stream {
    /// A stream that nobody completed is one whose client went away.
    fn drop(&mut self) {
        if self.completed {
            return;
        }
        let (flag, details) = match self.info.protocol {
            Some(http::Version::HTTP_2) => {
                self.connection.cells.downstream_rq_rx_reset.inc();
                (ResponseFlags::DOWNSTREAM_REMOTE_RESET, "http2.remote_reset")
            }
            _ => (
                ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
                "downstream_remote_disconnect",
            ),
        };
        self.info.flags.insert(flag);
        self.info.response_code_details = details.into();
        self.finish();
    }
}
