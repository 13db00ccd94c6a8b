//! When to measure, and what was measured.
//!
//! A cell is one contender under one load: a warm-up that is thrown away, then the window that counts. All
//! contenders are measured by this code, so that "a webhook a second" means the same for each: an answer that
//! arrived within the window, whoever gave it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;
use crate::process;

/// A process whose processor time is taken over the window.
#[derive(Clone, Copy)]
pub struct Watched {
    /// Its part in the cell.
    pub part: Part,
    /// Its process id.
    pub pid: u32,
}

/// Who spends processor time in a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// This program: the load generator, or the publisher of the raw limit.
    Load,
    /// The receiver under test.
    Receiver,
    /// nats-server.
    Server,
}

/// The load of one cell.
#[derive(Clone)]
pub struct Plan {
    /// Connections, or publishes, that wait for an answer at the same time.
    pub in_flight: usize,
    /// What is thrown away first.
    pub warm_up: Duration,
    /// What counts.
    pub measure: Duration,
    /// Whose processor time is taken.
    pub watched: Vec<Watched>,
}

/// The window of a cell that has begun.
#[derive(Clone, Copy)]
pub struct Clock {
    begin: Instant,
    end: Instant,
}

impl Clock {
    /// Starts the warm-up now.
    pub fn start(plan: &Plan) -> Self {
        let begin = Instant::now() + plan.warm_up;
        Self { begin, end: begin + plan.measure }
    }

    /// Whether no more requests are to be sent.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.end
    }

    /// Processor time of the watched processes over the window. Ends with the window.
    pub async fn watch(self, watched: Vec<Watched>) -> BTreeMap<Part, Duration> {
        let read = || watched.iter().map(|one| process::usage(one.pid).cpu).collect::<Vec<_>>();
        tokio::time::sleep_until(self.begin.into()).await;
        let before = read();
        tokio::time::sleep_until(self.end.into()).await;
        let after = read();
        watched
            .iter()
            .zip(before.into_iter().zip(after))
            .map(|(one, (before, after))| (one.part, after.saturating_sub(before)))
            .collect()
    }
}

/// What one task has seen.
#[derive(Default)]
pub struct Samples {
    /// Everything that was sent and answered, warm-up included.
    pub sent: u64,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, u64>,
    microseconds: Vec<u32>,
}

impl Samples {
    /// Takes one answer.
    pub fn answered(&mut self, clock: &Clock, status: u16, sent: Instant, answered: Instant) {
        self.sent += 1;
        *self.statuses.entry(status).or_default() += 1;
        if answered >= clock.begin && answered < clock.end {
            let elapsed = answered.duration_since(sent).as_micros();
            self.microseconds.push(u32::try_from(elapsed).unwrap_or(u32::MAX));
        }
    }
}

/// What a cell has shown.
#[derive(Clone)]
pub struct Outcome {
    /// Distinct deliveries that were sent and answered, warm-up included.
    pub sent: u64,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers a second within the window.
    pub rate: f64,
    /// Microseconds from request to answer, within the window.
    pub latency: Histogram<u64>,
    /// Microseconds of processor time for one answer, by who spent it.
    pub cpu_per_answer: BTreeMap<Part, f64>,
}

impl Outcome {
    /// Puts together what all tasks of a cell have seen.
    pub fn of(plan: &Plan, samples: Vec<Samples>, cpu: BTreeMap<Part, Duration>) -> Result<Self> {
        let mut latency = Histogram::new(3)?;
        let mut statuses = BTreeMap::new();
        let mut sent = 0;
        for one in samples {
            sent += one.sent;
            for (status, count) in one.statuses {
                *statuses.entry(status).or_default() += count;
            }
            for microseconds in one.microseconds {
                latency.record(u64::from(microseconds))?;
            }
        }
        let answers = latency.len() as f64;
        if answers == 0.0 {
            return Err("nothing was answered within the window".into());
        }
        let each = |(part, time): (Part, Duration)| (part, time.as_secs_f64() * 1e6 / answers);
        Ok(Self {
            sent,
            statuses,
            rate: answers / plan.measure.as_secs_f64(),
            latency,
            cpu_per_answer: cpu.into_iter().map(each).collect(),
        })
    }
}

/// Runs a load on a thread and a runtime of its own, so that this program's other tasks do not disturb it.
pub async fn on_own_thread<F, T>(name: &str, load: F) -> Result<T>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(load),
            Err(error) => Err(error.into()),
        };
        // The receiver is gone when the run was interrupted: then nobody wants the result.
        let _ = sender.send(result);
    })?;
    receiver.await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_within_the_window_are_measured() {
        let plan = Plan {
            in_flight: 1,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(2),
            watched: Vec::new(),
        };
        let clock = Clock::start(&plan);
        let mut samples = Samples::default();
        for offset in [500, 1500, 2500, 3500] {
            let answered = clock.begin - Duration::from_secs(1) + Duration::from_millis(offset);
            samples.answered(&clock, 200, answered, answered + Duration::from_micros(300));
        }
        let cpu = BTreeMap::from([(Part::Server, Duration::from_micros(50))]);
        let outcome = Outcome::of(&plan, vec![samples], cpu).unwrap();
        assert_eq!(outcome.sent, 4);
        assert!((outcome.rate - 1.0).abs() < 1e-9);
        assert_eq!(outcome.latency.max(), 300);
        assert!((outcome.cpu_per_answer[&Part::Server] - 25.0).abs() < 1e-9);
    }
}
