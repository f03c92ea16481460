//! What cannot be measured, because there is no such thing yet.

use super::Group;
use crate::report::Figure;

pub const GROUP: Group = Group {
    what: "what there is not yet",
    names: &["compression_auto"],
    space: |_| 0,
    measure: |_| {
        let note = "left out: the daemon does not choose a compression by itself yet";
        Ok(vec![Figure::missing("compression_auto", note)])
    },
};
