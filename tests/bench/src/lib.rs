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
//! - Decoding an object (3.4 us on average) is two thirds checking its grammar, about 12 ns a string, then one copy into
//!   memory of its own; of that, new pages are 0.4 ns a byte, and only in a first list. Tried for strings: words of 16
//!   bytes instead of 8 (5 % less), masks of 16 and 32 bytes without vectors (slower). `unsafe` vectors were not tried.
//!   kube's watcher decodes a first list faster than a watch, since nothing is dropped; ours takes the same for both.
//! - The queue and the port of each handler kept the room that a whole list had taken, and walked over it with every
//!   single update; a handler that never failed spelled out, after each call, the name of the problem to take back.
//!   Both are gone; what each of them was worth was not measured apart.
//! - Updates one by one take about three times the CPU of the same in bursts. A profile had a quarter to a third of it in
//!   the kernel, mostly receiving, waking and sleeping, and the rest spread thin, but for the store: its tree of 20,000
//!   keys looked at an object and at its name, each elsewhere in memory, at every step. CPU as a ratio to kube-runtime's,
//!   in bursts and one by one: 0.219 and 0.460 when a key was found twice, 0.204 and 0.367 when once, and 0.153 and 0.292
//!   since objects are found by hash and their order is kept apart; in a run each.
//! - `kubectl apply` to live competed, on the same two cores, with the status that the edit before it caused. Statuses now
//!   wait until proxies have confirmed the change: 5.3 ms above the floor became 3.1 ms, 39 ms (p99) became 28 ms. What is
//!   left of the p99 differs from run to run by as much; disks that several writers sync at once were suspected.
//! - The informers' kinds were slices, routes and Secrets at first. A Secret is two strings that anybody holds about as
//!   they are, and with them two budgets were missed that are met with pods; so the mix is to be said with the figures.
//! - A warm start spent a tenth of its correlation on tables that grow step by step (hashing and moving all they hold) and
//!   a tenth in `mprotect` and page faults: the C library grows an arena page by page. The tables now make room for a whole
//!   list at once. Other allocators in its place: mimalloc 2 without huge pages took a sixth off a warm start, jemalloc a
//!   fifth; 5,000 routes took the same memory, 1,000 clients 354 MiB in place of 289 with mimalloc. By their papers their
//!   sizes lie further apart than the C library's, so `held` would miss its budget, which was not measured; and jemalloc
//!   needs `make`. Neither is in, but in the static image: built for musl, with musl's allocator, that warm start took
//!   0.41 s, and 0.17 s with mimalloc, when the C library's took 0.19 s.
//! - Every good run of a correlation spelled out the name of a problem to take back, which hardly ever stood. Now a
//!   node knows which of its inputs are quarantined.

pub mod corpus;

pub mod fleet;

pub mod floor;

pub mod gateway_world;

pub mod peers;

pub mod pipeline;

pub mod probe;

pub mod report;

pub mod served;

pub mod service;

pub mod usage;
