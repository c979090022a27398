//! Arguments, then configuration, then run.

fn main() {}
