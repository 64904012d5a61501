//! dagbok-domain.
