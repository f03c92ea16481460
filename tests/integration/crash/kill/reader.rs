//! Clients that only look.

use coriolis_ovm_exporter::operations::demo::guest::Random;
use reqwest::Method;

use super::guest::Book;
use crate::support::api::{Answer, Api};
use crate::support::truth::Truth;

/// What a reader has seen until the daemon was gone.
#[derive(Debug, Default)]
pub struct Seen {
    pub downloaded: u64,
    pub compared: u32,
}

/// Lists, downloads and compares until the daemon is gone.
pub async fn read(api: Api, vm: String, book: Book, seed: u64) -> Seen {
    let mut seen = Seen::default();
    let mut random = Random::new(seed);
    while look(&api, &vm, &book, &mut random, &mut seen).await.is_ok() {}
    seen
}

async fn look(
    api: &Api,
    vm: &str,
    book: &Book,
    random: &mut Random,
    seen: &mut Seen,
) -> reqwest::Result<()> {
    let known: Vec<Truth> = book.lock().unwrap().values().cloned().collect();
    let mut pick = || {
        let at = usize::try_from(random.below(known.len() as u64)).unwrap();
        known.get(at)
    };
    match (pick(), pick(), random.below(8)) {
        (Some(one), _, 0..3) => {
            let shown = api.try_body(Method::GET, &one.path(), "").await?;
            if is_there(&shown, &[one], book) {
                let bytes = one.check_downloads(api, &shown.json()).await?;
                assert!(
                    bytes == one.size() || !is_wanted(one, book),
                    "{} is lost",
                    one.id
                );
                seen.downloaded += bytes;
            }
        }
        (Some(one), Some(other), 3..6) if one.id != other.id => {
            let (base, newer) = if one.created_at < other.created_at {
                (one, other)
            } else {
                (other, one)
            };
            let path = format!("{}?compareTo={}", newer.path(), base.id);
            let compared = api.try_body(Method::GET, &path, "").await?;
            if is_there(&compared, &[one, other], book) {
                newer.check_changes(base, &compared.json());
                seen.compared += 1;
            }
        }
        (_, _, choice) => {
            let path = match choice {
                6 => "/node".to_owned(),
                7 => "/snapshots?space=true".to_owned(),
                _ => format!("/vms/{vm}/snapshots"),
            };
            let listed = api.try_body(Method::GET, &path, "").await?;
            assert_eq!(listed.status, 200, "{path}: {listed:?}");
        }
    }
    Ok(())
}

/// False where somebody has deleted one of those meanwhile, or its term is over.
fn is_there(answer: &Answer, those: &[&Truth], book: &Book) -> bool {
    if answer.status == 200 {
        return true;
    }
    assert!([404, 409, 503].contains(&answer.status), "{answer:?}");
    let all_wanted = those.iter().all(|truth| is_wanted(truth, book));
    assert!(!all_wanted, "lost: {answer:?}");
    false
}

fn is_wanted(truth: &Truth, book: &Book) -> bool {
    let book = book.lock().unwrap();
    book.get(&truth.id).is_some_and(|truth| !truth.is_over())
}
