//! A receiver in one file: takes GitHub's webhooks on a port and puts them into a stream.
//!
//! ```text
//! WEBHOOK_SECRET=… cargo run --release -p windlass-events --example receiver -- 127.0.0.1:8080 nats://127.0.0.1:4222
//! ```
//! The stream (say `GITHUB` on `github.>`) must exist; until it does, events wait in the directory `spool`.

use std::process::ExitCode;
use windlass_events::receiver::{Options, Service};
use windlass_events::{claim_check, publish, spool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(url)) = (arguments.next().and_then(|text| text.parse().ok()), arguments.next())
    else {
        return ExitCode::from(3);
    };
    let options = Options {
        listen,
        secrets: std::env::var("WEBHOOK_SECRET").into_iter().map(Into::into).collect(),
        subject_prefix: "github".into(),
        nats: publish::Options {
            url,
            credentials: std::env::var_os("NATS_CREDS").map(Into::into),
            authority: None,
            stream: "GITHUB".into(),
            bucket: claim_check::BUCKET.into(),
            claim_check_above: 512 * 1024,
        },
        spool: spool::Options {
            directory: "spool".into(),
            max_size: 1 << 30,
            segment_size: spool::SEGMENT_SIZE,
        },
        in_flight: 4096,
    };
    match Service::bind(options).await {
        Ok(service) => {
            service.run(async { drop(tokio::signal::ctrl_c().await) }).await;
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
