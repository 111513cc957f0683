//! Nonces of one resource type on one stream: what is out, what was accepted, what was refused.

/// Bytes of a client's reason that are kept: it chooses the length.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A refusal by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The response that was refused.
    pub nonce: String,
    /// The client's reason, for people; the beginning of a long one.
    pub message: String,
}

/// How far a client is with one resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Nothing was sent.
    NotSent,
    /// The client has accepted the last response.
    Synced,
    /// The last response is not answered yet.
    Stale,
    /// The client has refused the last response.
    Rejected,
}

/// Responses and the client's answers to them.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    count: u64,
    sent: Option<String>,
    acked: Option<String>,
    nack: Option<Nack>,
    outstanding: bool,
}

impl Acks {
    /// The nonce of the last response.
    pub fn sent(&self) -> Option<&str> {
        self.sent.as_deref()
    }

    /// The nonce of the last accepted response.
    pub fn acked(&self) -> Option<&str> {
        self.acked.as_deref()
    }

    /// The last refusal, until a later response is accepted.
    pub fn nack(&self) -> Option<&Nack> {
        self.nack.as_ref()
    }

    /// Whether the last response awaits its answer.
    pub fn is_outstanding(&self) -> bool {
        self.outstanding
    }

    /// How far the client is.
    pub fn state(&self) -> SyncState {
        match (&self.sent, self.outstanding, &self.nack) {
            (None, _, _) => SyncState::NotSent,
            (Some(_), true, _) => SyncState::Stale,
            (Some(_), false, Some(_)) => SyncState::Rejected,
            (Some(_), false, None) => SyncState::Synced,
        }
    }

    /// Makes the nonce of the next response.
    pub(super) fn send(&mut self) -> String {
        self.count += 1;
        let nonce = self.count.to_string();
        self.sent = Some(nonce.clone());
        self.outstanding = true;
        nonce
    }

    /// Notes the client's answer. Returns false when it answers something that was not asked, or
    /// was already answered.
    pub(super) fn answer(&mut self, nonce: &str, error: Option<&str>) -> bool {
        if !self.outstanding || self.sent.as_deref() != Some(nonce) {
            return false;
        }
        self.outstanding = false;
        match error {
            Some(message) => {
                self.nack = Some(Nack {
                    nonce: nonce.to_owned(),
                    message: message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned(),
                });
            }
            None => {
                self.acked = Some(nonce.to_owned());
                self.nack = None;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_reason_the_beginning_is_kept() {
        let mut acks = Acks::default();
        let nonce = acks.send();
        assert!(acks.answer(&nonce, Some(&"x".repeat(1 << 20))));
        assert_eq!(acks.nack().unwrap().message, "x".repeat(MESSAGE_BYTES_MAX));
    }

    #[test]
    fn an_answer_settles_the_response_it_quotes() {
        let mut acks = Acks::default();
        assert_eq!(acks.state(), SyncState::NotSent);
        let nonce = acks.send();
        assert_eq!(acks.state(), SyncState::Stale);
        assert!(!acks.answer("other", None));
        assert!(acks.answer(&nonce, None));
        assert!(!acks.answer(&nonce, None));
        assert_eq!((acks.state(), acks.acked()), (SyncState::Synced, Some("1")));
    }

    #[test]
    fn a_refusal_stands_until_something_later_is_accepted() {
        let mut acks = Acks::default();
        let nonce = acks.send();
        acks.answer(&nonce, Some("bad"));
        assert_eq!(acks.state(), SyncState::Rejected);
        assert_eq!(
            acks.nack(),
            Some(&Nack {
                nonce: "1".into(),
                message: "bad".into()
            })
        );
        let nonce = acks.send();
        assert!(acks.nack().is_some());
        acks.answer(&nonce, None);
        assert_eq!((acks.state(), acks.nack()), (SyncState::Synced, None));
    }
}
