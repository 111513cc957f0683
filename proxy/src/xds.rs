//! The xDS client side: protobuf to `config`, subscriptions, warming.
