//! dagbok-ui.
