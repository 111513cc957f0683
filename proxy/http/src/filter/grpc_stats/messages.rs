//! Counts the length-prefixed messages of a gRPC body
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

/// One direction of a gRPC stream.
#[derive(Debug, Default)]
pub(super) struct MessageCounter {
    count: u64,
    /// Bytes of the five-byte prefix that were seen.
    prefix: [u8; 5],
    prefix_len: usize,
    /// Bytes of the current message that are still to come.
    remaining: u32,
}

impl MessageCounter {
    /// How many have begun.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Looks at the next bytes of the body.
    pub(super) fn see(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.remaining > 0 {
                let skip = data.len().min(self.remaining as usize);
                self.remaining -= skip as u32;
                data = &data[skip..];
                continue;
            }
            let take = data.len().min(5 - self.prefix_len);
            self.prefix[self.prefix_len..self.prefix_len + take].copy_from_slice(&data[..take]);
            self.prefix_len += take;
            data = &data[take..];
            if self.prefix_len == 5 {
                self.prefix_len = 0;
                let [_, a, b, c, d] = self.prefix;
                self.remaining = u32::from_be_bytes([a, b, c, d]);
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut body = Vec::new();
        for len in [0u32, 3, 700] {
            body.push(0);
            body.extend_from_slice(&len.to_be_bytes());
            body.extend(std::iter::repeat_n(7u8, len as usize));
        }
        for step in [1, 2, 5, 6, 100, 10_000] {
            let mut counter = MessageCounter::default();
            body.chunks(step).for_each(|chunk| counter.see(chunk));
            assert_eq!(counter.count(), 3, "step {step}");
        }
    }
}
