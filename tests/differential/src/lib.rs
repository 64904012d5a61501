//! One history through every implementation of the primitives: see the tests.
