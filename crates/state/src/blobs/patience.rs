//! Asks an S3 service until it answers: the one place where a request is tried again.
//!
//! Below `object_store`, so that every request takes this way. Tried again are refused and broken connections, and the
//! answers 408, 429, 500, 502, 503 and 504; after a 429 the next try is more than a second later, because R2 takes one
//! write a second for one key. Who writes learns whether an earlier try may have arrived: see [`Trace`].

use async_trait::async_trait;
use http::header::RETRY_AFTER;
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Between two tries after a 429, at least. A little more than R2's second.
const AFTER_BUSY: Duration = Duration::from_millis(1_050);
/// The first pause after any other failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long an answer may take to begin, beside the time that the body needs on a slow line.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const SLOW_LINE_BYTES_A_SECOND: u64 = 64 * 1024;

/// What happened to the request that is being made in this task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// How often it was sent.
    pub tries: u32,
    /// Whether an earlier try may have arrived although nothing was answered.
    pub unsure: bool,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Why there was no last answer.
    pub failure: Option<String>,
}

tokio::task_local! {
    static TRACE: RefCell<Trace>;
}

/// Runs a request and says what happened on the way.
pub(crate) async fn traced<T>(request: impl Future<Output = T>) -> (T, Trace) {
    TRACE
        .scope(RefCell::new(Trace::default()), async {
            let result = request.await;
            (result, TRACE.with(|trace| trace.borrow().clone()))
        })
        .await
}

fn note(write: impl FnOnce(&mut Trace)) {
    // Outside of `traced` nobody wants to know.
    let _ = TRACE.try_with(|trace| write(&mut trace.borrow_mut()));
}

/// An HTTP client that does not give up at once.
#[derive(Debug)]
pub(crate) struct Patient {
    inner: HttpClient,
    patience: Duration,
}

impl Patient {
    /// Tries for so long.
    pub(crate) fn new(inner: HttpClient, patience: Duration) -> Self {
        Self { inner, patience }
    }

    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let length = request.body().content_length() as u64;
        let within = ANSWER_WITHIN + Duration::from_secs(length / SLOW_LINE_BYTES_A_SECOND);
        let answer = tokio::time::timeout(within, self.inner.execute(request)).await;
        answer.unwrap_or_else(|elapsed| Err(HttpError::new(HttpErrorKind::Timeout, elapsed)))
    }
}

#[async_trait]
impl HttpService for Patient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let until = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self.once(request.clone()).await;
            note(|trace| trace.tries += 1);
            let wait = match &result {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    note(|trace| (trace.status, trace.failure) = (Some(status), None));
                    match status {
                        429 => AFTER_BUSY.max(pause),
                        // Whether it was done is not said.
                        500 | 502 | 504 | 408 => {
                            note(|trace| trace.unsure = true);
                            pause
                        }
                        503 => pause,
                        _ => return result,
                    }
                    .max(asked_for(answer))
                }
                Err(error) => {
                    let reason = chain(error);
                    note(|trace| {
                        (trace.status, trace.failure) = (None, Some(reason));
                        trace.unsure |= error.kind() != HttpErrorKind::Connect;
                    });
                    pause
                }
            };
            let wait = wait.mul_f64(rand::random_range(1.0..1.25));
            if Instant::now() + wait > until {
                return result;
            }
            tracing::info!(uri = %request.uri().path(), ?wait, "asking the store again");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn asked_for(answer: &HttpResponse) -> Duration {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(Duration::from_secs(30))
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}
