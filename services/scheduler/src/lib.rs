//! dagbok-scheduler.
