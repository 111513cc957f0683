//! The sending side of a connection, in a task of its own: no client waits to write while it has to read.

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once this side has ended.
    orders: Option<mpsc::UnboundedSender<Order>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Reset,
}

impl Writer {
    pub(super) fn new(write: OwnedWriteHalf) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        Self {
            orders: Some(orders),
            task: Some(tokio::spawn(carry_out(write, receiver))),
        }
    }

    /// Sends bytes; what cannot be sent any more is dropped.
    pub(super) fn write(&self, bytes: Vec<u8>) {
        if let Some(orders) = &self.orders {
            orders.send(Order::Write(bytes)).ok();
        }
    }

    /// Ends this side when everything is sent.
    pub(super) async fn end(&mut self) {
        self.orders = None;
        self.wait().await;
    }

    /// Makes the end of the connection a reset.
    pub(super) async fn reset(&mut self) {
        if let Some(orders) = self.orders.take() {
            orders.send(Order::Reset).ok();
        }
        self.wait().await;
    }

    async fn wait(&mut self) {
        if let Some(task) = self.task.take() {
            // A peer that takes no more bytes is one that the reader has to find out about.
            let limited = tokio::time::timeout(crate::framing::lane::LIMIT, task);
            limited.await.ok();
        }
    }
}

async fn carry_out(mut write: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Write(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Order::Reset => {
                write.as_ref().set_zero_linger().ok();
                return write.forget();
            }
        }
    }
}
