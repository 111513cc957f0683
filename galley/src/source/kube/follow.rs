//! Following one kind: waits until it is installed, lists, watches, starts over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::kube::Client;
use ::kube::runtime::watcher::{self, watcher};
use futures_util::{StreamExt, pin_mut};
use tokio::sync::{mpsc, watch};

use super::KubeOptions;
use super::cluster::{Change, Event};
use super::definitions::{Installed, version_of};
use super::item::{Item, key};
use super::pace::Pace;
use super::received::Received;
use crate::kind::Kind;

/// What following a kind takes.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) options: Arc<KubeOptions>,
    pub(super) definitions: watch::Receiver<Installed>,
    /// The API server streams its lists (Kubernetes 1.27 and later, if switched on).
    pub(super) streaming: Arc<AtomicBool>,
    pub(super) changes: mpsc::Sender<Change>,
}

/// The pipeline is gone.
struct Closed;

/// Why a watch ended.
enum Ended {
    /// The API server does not stream lists.
    NotStreaming,
    Closed,
}

impl Follower {
    /// Runs until nobody takes the changes any more.
    pub(super) async fn follow(mut self, kind: Kind) {
        while self.follow_version(kind).await.is_ok() {}
    }

    /// Follows a kind as long as it is asked for in the same version.
    async fn follow_version(&mut self, kind: Kind) -> Result<(), Closed> {
        let mut definitions = self.definitions.clone();
        if kind.needs_definition() {
            let known = definitions.wait_for(Option::is_some).await;
            known.map_err(|_| Closed)?;
        }
        let version = version_of(kind, &definitions.borrow_and_update());
        let changed = async {
            let other = |installed: &Installed| version_of(kind, installed) != version;
            let waited = definitions.wait_for(other).await.map(drop);
            waited.map_err(|_| Closed)
        };
        let Some(version) = version else {
            tracing::debug!(kind = kind.name(), "kind is not installed");
            self.send(kind, Event::Absent).await?;
            return changed.await;
        };
        tokio::select! {
            ended = self.watch(kind, version) => match ended {
                Ended::NotStreaming => Ok(()),
                Ended::Closed => Err(Closed),
            },
            changed = changed => changed,
        }
    }

    async fn watch(&self, kind: Kind, version: &str) -> Ended {
        let streaming = self.streaming.load(Ordering::Relaxed);
        let mut config = kind.selection(&self.options);
        if streaming {
            config = config.streaming_lists();
        }
        let api = kind.api(version, self.client.clone(), &self.options);
        let events = watcher(api, config);
        pin_mut!(events);
        let api_version = kind.resource(version).api_version;
        let mut pace = Pace::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    pace.success();
                    let event = self.translate(kind, &api_version, event);
                    if self.send(kind, event).await.is_err() {
                        return Ended::Closed;
                    }
                }
                Err(error) if streaming && refuses_streaming(&error) => {
                    tracing::info!("the API server does not stream lists");
                    self.streaming.store(false, Ordering::Relaxed);
                    return Ended::NotStreaming;
                }
                Err(error) => pace.failure(kind.model_name(), &error).await,
            }
        }
        Ended::Closed
    }

    fn translate(&self, kind: Kind, api_version: &str, event: watcher::Event<Received>) -> Event {
        let item = |object| Box::new(Item::new(kind, api_version, &self.options.revision, object));
        match event {
            watcher::Event::Init => Event::Restarted,
            watcher::Event::InitApply(object) => Event::Listed(item(object)),
            watcher::Event::InitDone => Event::Complete,
            watcher::Event::Apply(object) => Event::Applied(item(object)),
            watcher::Event::Delete(object) => Event::Deleted(key(kind, &object)),
        }
    }

    async fn send(&self, kind: Kind, event: Event) -> Result<(), Closed> {
        let change = Change { kind, event };
        self.changes.send(change).await.map_err(|_| Closed)
    }
}

/// A server without the feature calls the parameter invalid.
fn refuses_streaming(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(::kube::Error::Api(status)) = error else {
        return false;
    };
    matches!(status.code, 400 | 422)
}
