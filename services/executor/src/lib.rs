//! dagbok-executor.
