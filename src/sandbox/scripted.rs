//! A sandbox that follows a script; for the simulation and for tests.
