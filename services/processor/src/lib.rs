//! dagbok-processor.
