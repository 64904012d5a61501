//! dagbok-config.
