//! What the receiver tells about itself, in the format of Prometheus.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)] // The names say it.
pub enum Outcome {
    Stored,
    Duplicate,
    Spooled,
    Refused,
}

/// The label of a delivery's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// What became of it.
    pub outcome: Outcome,
}

/// The label of a refusal's code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// The code, such as `WL0305`.
    pub code: &'static str,
}

/// The receiver's metrics. Cheap to share.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    stored: Counter,
    duplicate: Counter,
    spooled: Counter,
    refused: Counter,
    refusals: Family<CodeLabel, Counter>,
    latency: Histogram,
    /// Deliveries that are being handled.
    pub in_flight: Gauge,
    /// Events drained from the spool into JetStream.
    pub drained: Counter,
    /// Bytes of payload received.
    pub received_bytes: Counter,
    nats_connected: Gauge,
    spool_events: Gauge,
    spool_bytes: Gauge,
    spool_fsyncs: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let outcomes = Family::<OutcomeLabel, Counter>::default();
        let outcome = |outcome| outcomes.get_or_create(&OutcomeLabel { outcome }).clone();
        let mut metrics = Self {
            registry: Registry::with_prefix("windlass_receiver"),
            stored: outcome(Outcome::Stored),
            duplicate: outcome(Outcome::Duplicate),
            spooled: outcome(Outcome::Spooled),
            refused: outcome(Outcome::Refused),
            refusals: Family::default(),
            latency: Histogram::new([
                0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 9.0,
            ]),
            in_flight: Gauge::default(),
            drained: Counter::default(),
            received_bytes: Counter::default(),
            nats_connected: Gauge::default(),
            spool_events: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_fsyncs: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("deliveries", "Deliveries by what became of them", outcomes);
        registry.register("refusals", "Refused deliveries by error code", metrics.refusals.clone());
        registry.register_with_unit(
            "answer_duration",
            "From a request's head to its answer",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("in_flight", "Deliveries being handled", metrics.in_flight.clone());
        registry.register("drained", "Events drained from the spool into JetStream", metrics.drained.clone());
        registry.register_with_unit(
            "payload",
            "Payload received",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register("nats_connected", "1 while NATS is connected", metrics.nats_connected.clone());
        registry.register("spool_events", "Events waiting in the spool", metrics.spool_events.clone());
        registry.register_with_unit("spool", "Size of the spool", Unit::Bytes, metrics.spool_bytes.clone());
        registry.register(
            "spool_fsyncs",
            "Fsyncs of the spool since the start",
            metrics.spool_fsyncs.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts an answered delivery, and the time in seconds it took.
    pub fn answered(&self, outcome: Outcome, seconds: f64) {
        match outcome {
            Outcome::Stored => &self.stored,
            Outcome::Duplicate => &self.duplicate,
            Outcome::Spooled => &self.spooled,
            Outcome::Refused => &self.refused,
        }
        .inc();
        self.latency.observe(seconds);
    }

    /// Counts a refusal by its code.
    pub fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    /// The text for a scrape.
    pub fn render(&self, nats_connected: bool, spool: &crate::spool::Levels) -> String {
        self.nats_connected.set(i64::from(nats_connected));
        self.spool_events.set(spool.events() as i64);
        self.spool_bytes.set(spool.bytes() as i64);
        self.spool_fsyncs.set(spool.fsyncs() as i64);
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
