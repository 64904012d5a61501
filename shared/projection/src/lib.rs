//! dagbok-projection.
