//! Several servers are offered, and one of them answers: none waits for another one's silence (as RFC 8305 §5 has it for
//! addresses).

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::finding::Offers;

/// How long a better offer is alone: a handshake on a slow link, with a slow processor.
pub(super) const HEAD_START: Duration = Duration::from_secs(1);

/// Returns what the first attempt found that found anything; nothing once each server that was heard of was tried in vain.
///
/// The best comes first, and each begins its head start after the one before, or as soon as one failed. What is heard meanwhile is
/// tried too.
pub(super) async fn first<T, F>(
    heard: &mut watch::Receiver<Offers>,
    head_start: Duration,
    attempt: impl Fn(String) -> F,
) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let (mut tried, mut running) = (Vec::new(), JoinSet::new());
    loop {
        let offers = heard.borrow_and_update().clone();
        let mut servers = offers.all().iter().map(|offer| &offer.server);
        let next = servers.find(|&server| !tried.contains(server));
        if let Some(server) = next {
            tried.push(server.clone());
            running.spawn(attempt(server.clone()));
        } else if running.is_empty() {
            return None;
        }
        tokio::select! {
            Some(ended) = running.join_next() => {
                if let Ok(Some(found)) = ended {
                    return Some(found);
                }
            }
            () = sleep(head_start), if next.is_some() => {}
            Ok(()) = heard.changed(), if next.is_none() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Mutex,
    };

    use tokio::time::timeout;

    use super::*;
    use crate::finding::{Offer, Source};

    /// Whoever waits for a dead server waits longer than that.
    const PATIENCE: Duration = Duration::from_mins(1);
    const MOMENT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_hours(1);

    fn offers(servers: &str) -> Offers {
        let mut offers = Offers::default();
        for server in servers.split_whitespace() {
            offers.hear(Offer { server: server.to_owned(), source: Source::Multicast });
        }
        offers
    }

    /// `dead…` never answers, `wrong…` has another key, and all others answer at once.
    async fn attempt(server: String) -> Option<String> {
        match () {
            () if server.starts_with("dead") => pending().await,
            () if server.starts_with("wrong") => None,
            () => Some(server),
        }
    }

    async fn check(servers: &str, head_start: Duration, expected: Option<&str>) {
        let (_tell, mut heard) = watch::channel(offers(servers));
        let found = timeout(PATIENCE, first(&mut heard, head_start, attempt)).await;
        assert_eq!(found.expect(servers).as_deref(), expected, "{servers}");
    }

    #[tokio::test]
    async fn a_server_that_is_dead_costs_a_moment() {
        check("dead good", MOMENT, Some("good")).await;
        check("dead1 dead2 dead3 dead4 dead5 wrong dead6 good", MOMENT, Some("good")).await;
    }

    #[tokio::test]
    async fn after_one_that_fails_the_next_begins_at_once() {
        check("wrong1 wrong2 good", LONG, Some("good")).await;
        check("wrong1 wrong2", LONG, None).await;
        check("", LONG, None).await;
    }

    #[tokio::test]
    async fn the_better_of_two_that_answer_wins_and_the_other_hears_nothing() {
        let asked = Mutex::new(Vec::new());
        let ask = |server: String| {
            asked.lock().unwrap().push(server.clone());
            ready(Some(server))
        };
        let (_tell, mut heard) = watch::channel(offers("best other"));
        assert_eq!(first(&mut heard, LONG, ask).await.as_deref(), Some("best"));
        assert_eq!(*asked.lock().unwrap(), ["best"]);
    }

    #[tokio::test]
    async fn who_is_heard_of_while_a_dead_one_is_tried_is_tried() {
        let (tell, mut heard) = watch::channel(offers("dead"));
        let late = async {
            sleep(20 * MOMENT).await;
            tell.send_replace(offers("dead good"));
        };
        let race = timeout(PATIENCE, first(&mut heard, MOMENT, attempt));
        let (found, ()) = tokio::join!(race, late);
        assert_eq!(found.unwrap().as_deref(), Some("good"));
    }
}
