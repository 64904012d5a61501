//! dagbok-telemetry.
