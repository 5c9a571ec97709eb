//! What is told of the worker to whoever watches it, and that clients of the metrics, good and bad,
//! cost hosts nothing. The worker is in the test's process, but for one story of the program.

#![forbid(unsafe_code)]

mod clients;
mod daemon;
mod hosts;
mod names;
mod scene;
mod scrape;
