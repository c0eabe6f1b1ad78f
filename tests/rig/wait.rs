//! Waiting for a condition instead of for time to pass.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a machine that is busy with something else; a test that
/// passes never waits this long.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Asks again and again until `check` says `Ok`. Panics with `what` and the
/// last thing seen when [`WAIT_LIMIT`] has passed.
pub async fn until<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(WAIT_LIMIT, what, check).await
}

/// [`until`] with another limit.
pub async fn within<T>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    let mut seen = "no answer at all".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, check()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(now)) => seen = now,
            // The last complete check says more than this one, which the deadline cut off.
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}; last seen: {seen}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
