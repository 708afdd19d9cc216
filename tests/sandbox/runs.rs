//! What a slice returns, and what it leaves behind.

use backroom::domain::plugin::Shape;
use backroom::sandbox::SliceEnd;
use bytes::Bytes;

use crate::fixtures::{echo, log, run, slice};

#[tokio::test(flavor = "multi_thread")]
async fn echo_returns_its_input() {
    let echo = echo().await;
    assert_eq!(echo.inspection.shape, Shape::Handler);
    let report = run(slice("echo", echo, "hello")).await;
    assert_eq!(report.end, SliceEnd::Succeeded(Bytes::from("hello")));
    assert!(report.usage.fuel > 0 && report.usage.peak_memory_bytes > 0, "{:?}", report.usage);
    assert!(report.log.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_logs_is_kept() {
    let report = run(slice("echo", echo().await, "log:hello")).await;
    assert!(log(&report).ends_with("log:hello\n"), "{}", log(&report));
    assert_eq!(report.usage.log_bytes, 9);
    assert_eq!(report.usage.host_calls, 1);
}
