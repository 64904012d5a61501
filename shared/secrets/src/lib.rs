//! How what variables and connections hold is kept from whoever reads the log, the read model or the broker.
//!
//! Each value is encrypted by a key of its own, drawn by lot, and that key by a master key, which lies in a file
//! outside of every log ([`KeyFile`]). A log can't be edited; destroying the master key destroys what it wraps. So that
//! one value can be destroyed without the others, master keys are exchanged: the keys of those that hold are wrapped anew,
//! and the master key before, which alone opens all that was deleted or overwritten, goes.
//!
//! Between services a question and its answer are sealed, too ([`wire`]): the broker sees neither.
//!
//! Encryption is ChaCha20-Poly1305, derivation HKDF-SHA-256, exchange X25519. No value goes into an error or a `Debug`.
mod aead;
mod entry;
mod file;
mod master;
pub mod wire;

pub use entry::{ConnectionFields, Entry};
pub use file::{KeyFile, KeyFileError, Ring};
pub use master::{MasterKey, OpenError};
