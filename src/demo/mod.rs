//! What the demo needs beside the gateway: backends that answer.

/// A backend that says what it was asked.
pub mod echo;
