/// Whether a comparison looks at bytes where the maps name a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refine {
    /// Never.
    None,
    /// Where the maps cannot tell (opaque extents) or the file system copies in large units.
    #[default]
    Auto,
    /// Everywhere, in blocks of 4 KiB.
    Blocks,
}

impl Refine {
    /// Every one of them.
    pub const ALL: [Refine; 3] = [Refine::None, Refine::Auto, Refine::Blocks];

    /// Its value in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Refine::None => "none",
            Refine::Auto => "auto",
            Refine::Blocks => "4096",
        }
    }

    /// What that value means.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Refine> {
        Refine::ALL.into_iter().find(|one| one.as_str() == name)
    }
}
