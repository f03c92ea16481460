//! Ranges page by page, so that one page is in memory.

use super::patience::Patience;
use super::progress::Progress;
use crate::client::{Client, ClientError, Comparison, DiskOf};
use crate::protocol::{ChangedRange, RangePage};

/// Hands every range on, in order, those that a page's end cut in two in one piece. Gives the last
/// page, without its ranges: what it says of the disk and of the comparison.
pub async fn each(
    client: &Client,
    disk: &DiskOf<'_>,
    comparison: &Comparison,
    progress: &mut Progress,
    mut take: impl FnMut(ChangedRange),
) -> Result<RangePage, ClientError> {
    let (mut from, mut patience) = (0, Patience::default());
    let mut held: Option<ChangedRange> = None;
    loop {
        let mut page = match client.ranges(disk, comparison, from, None).await {
            Ok(page) => page,
            Err(error) => {
                patience.wait(error).await?;
                continue;
            }
        };
        patience.renew();
        for range in page.ranges.drain(..) {
            match &mut held {
                Some(last)
                    if last.kind == range.kind && last.start + last.length == range.start =>
                {
                    last.length += range.length;
                }
                _ => {
                    if let Some(whole) = held.replace(range) {
                        take(whole);
                    }
                }
            }
        }
        // A page that goes on where it began would go on for ever.
        match page.next.filter(|next| *next > from) {
            Some(next) => {
                progress.total(page.size);
                progress.reached(next);
                from = next;
            }
            None => {
                if let Some(whole) = held {
                    take(whole);
                }
                return Ok(page);
            }
        }
    }
}
