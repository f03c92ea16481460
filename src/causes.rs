//! What both programs say when they fail.

/// An error with those of its causes that its own text does not say already, on one line.
#[must_use]
pub fn of(error: &anyhow::Error) -> String {
    let text = error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        }
    });
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn nothing_is_said_twice_and_all_on_one_line() {
        let error = anyhow!("no\n  route").context("cannot connect: no\n  route");
        let error = error.context("vms list");
        assert_eq!(super::of(&error), "vms list: cannot connect: no route");
    }
}
