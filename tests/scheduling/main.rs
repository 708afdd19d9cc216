//! What starts when, and what does not: the rows of domain.md 9 about order, limits, retries and recovery, on a whole
//! runtime in one thread with a simulated clock and scripted handlers.

mod host;

mod batches;
mod fairness;
mod firing;
mod held;
mod limits;
mod loops;
mod order;
mod pausing;
mod recovery;
mod retries;
mod searching;
mod states;
