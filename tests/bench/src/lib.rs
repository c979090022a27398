//! What the benchmarks share: the corpora, and the report that `cargo xtask bench` makes its table of.
//!
//! How they measure: short work by the time that its thread worked, which other programs on the machine lengthen far
//! less than the time on the wall; what is compared, in one run and by turns; what a user waits for (cold start, file
//! to live), on the wall. Peers do the same work on the same bytes. A budget that is missed is printed as missed.
//!
//! What was tried, since it explains why the code looks as it does:
//!
//! - A host's routes as one flat list of chunks (`Seq`, and beside it the encoded chunks and the rope's segments):
//!   every edit counted references up and down in each chunk, a cache miss each, and one route among 50,000 on one host
//!   cost 1.9 times what it cost among 500. With pages of 64 chunks, and ropes of sections, it costs about the same.
//! - The clusters that a chunk's routes lead to, spelled out, sorted and counted anew for a chunk of 64 routes when one
//!   of them changed, were most of its encoding. Now each route's are kept beside its bytes, and only those of routes
//!   that came or went are counted.
//! - Every good run of a correlation spelled out the name of a problem to take back, which hardly ever stood. Now a
//!   node knows which of its inputs are quarantined.

pub mod corpus;

pub mod floor;

pub mod gateway_world;

pub mod pipeline;

pub mod report;

pub mod service;
