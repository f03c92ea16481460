//! Two ways, taken turn and turn about.

/// Runs both ways so often. Which one begins changes from pair to pair: neither always runs on the
/// machine as the other one has left it.
pub fn alternated<A, B>(
    count: usize,
    mut one: impl FnMut() -> anyhow::Result<A>,
    mut other: impl FnMut() -> anyhow::Result<B>,
) -> anyhow::Result<Vec<(A, B)>> {
    let mut pairs = Vec::with_capacity(count);
    for at in 0..count {
        if at % 2 == 0 {
            let first = one()?;
            pairs.push((first, other()?));
        } else {
            let second = other()?;
            pairs.push((one()?, second));
        }
    }
    Ok(pairs)
}
