//! dagbok-protocol.
