//! null worker
