//! The rules of the house, held by reading the tree: which crate may know which, what the rules of the
//! domain may not touch, how long a file may be, that what the documents name exists, that
//! every published limit is tried, that nothing of anybody's machine is in it.
//!
//! Each rule is a function from what is there to what is wrong, so that the tests can show it a made-up
//! tree that breaks it. Clippy holds what is within a file; `licences.py` beside this crate, what comes
//! from elsewhere.
pub mod arrows;
pub mod documents;
pub mod files;
pub mod limits;
pub mod manifests;
pub mod purity;
pub mod tree;
