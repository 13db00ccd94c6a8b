//! Every payload that GitHub has published is in the stream exactly once: its exact bytes, its subject, its headers; and a
//! redelivery adds nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, stream};
use windlass_tests::{Fleet, assert_as_given, examples};

#[tokio::test]
async fn each_published_payload_is_stored_once_as_it_came() {
    let Some(deliveries) = examples() else { return };
    let fleet = Fleet::start();
    let github = fleet.github();
    let deliver = async |expect_duplicate: bool| {
        let answers = stream::iter(&deliveries).map(|(delivery, _)| github.deliver(delivery)).buffered(16);
        for (answer, (delivery, _)) in answers.collect::<Vec<_>>().await.iter().zip(&deliveries) {
            assert_eq!(answer.status, 200, "{} {answer:?}", delivery.event);
            assert_eq!(answer.body["delivery"], *delivery.id);
            assert_eq!(answer.body["stream"], "GITHUB");
            assert_eq!(answer.body["duplicate"], expect_duplicate, "{answer:?}");
        }
    };
    // Times are stored in milliseconds.
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_millis(1);
    deliver(false).await;

    assert_as_given(&deliveries, &fleet.messages().await, begun);

    deliver(true).await;
    assert_eq!(fleet.count().await, deliveries.len() as u64, "a redelivery adds nothing");
}
