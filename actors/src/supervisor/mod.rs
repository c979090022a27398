//! Children in one table that drives start, health, backoff, stop and await. The decisions are a pure state
//! machine (`machine`), the ractor actor around it is thin, and one shared table answers every question
//! about state without asking the actor.
//!
//! Laws: a child's failure never touches its siblings unless the strategy says so; the supervisor's mailbox
//! never waits for a child, neither for its start nor for its stop; every exit has a name.
//!
//! Invariant: nothing here knows what a child does.

mod policy;

mod breaker;

mod exit;

mod machine;

mod status;

mod table;

mod report;

mod task;

mod spec;

mod life;

mod actor;

mod handle;

pub use breaker::{Breaker, BreakerPolicy, BreakerState, Permit};
pub use exit::{BoxError, ChildExit, Exit, SupervisorError};
pub use handle::Supervisor;
pub use policy::{Backoff, Delays, Intensity, Policy, Restart, Strategy};
pub use report::Reporter;
pub use spec::ChildSpec;
pub use status::{State, TreeStatus};
pub use task::{Stop, Stopper, TaskContext};
