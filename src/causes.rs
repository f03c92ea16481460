//! What the programs and the library say when they fail.

use std::error::Error;

/// An error with those of its causes that its own text does not say already, on one line.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let text = chain.fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        }
    });
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn nothing_is_said_twice_and_all_on_one_line() {
        let error = anyhow!("no\n  route").context("cannot connect: no\n  route");
        let error = error.context("vms list");
        assert_eq!(
            super::of(error.as_ref()),
            "vms list: cannot connect: no route"
        );
    }
}
