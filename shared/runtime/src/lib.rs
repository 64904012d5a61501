//! dagbok-runtime.
