//! One moment for all disks: a process that holds a machine, paused or by commands of the admin's,
//! and always lets go.
//!
//! The daemon may crash, be killed or stopped in the middle of a snapshot. So it never pauses
//! anything itself: it starts its own program once more as a *guard*, in a session of its own,
//! not to be killed where memory runs out. The guard pauses, and unpauses when the daemon says so,
//! when the daemon is no more, on every signal that can be caught, and when `max_pause` is over.
//!
//! # Protocol
//!
//! Pipes on the guard's standard input and output; lines. The daemon says:
//!
//! | line | meaning |
//! | --- | --- |
//! | an [`Order`] as JSON | once, after `ready`: what to hold |
//! | `release` | let go |
//! | end of file, anything else | let go |
//!
//! The guard says (times in microseconds):
//!
//! | line | meaning |
//! | --- | --- |
//! | `ready` | it has its own session and catches signals; nothing is done yet |
//! | `pausing` | the pause call comes next: the daemon counts from here, and kills a guard that has not let go a second after `max_pause` |
//! | `held <monotonic clock>` | held from now on; clones may be made |
//! | `letting-go <cause>` | from now on not held for certain: `released`, `hung-up`, `signal <number>`, `expired`, `failed`, `undone` (not paused any more when it was released) |
//! | `let-go <time>` | seen not to be held any more; so long was held, at most. Last word |
//! | `refused <kind> <text>` | nothing is held: `not-here`, `not-running`, `paused-before`, `failed`, `command-failed`. Last word |
//! | `warning <text>`, `caution <text>`, `note <text>` | for people: for the answer and the log; for the log alone, as a warning that is said once; for the log alone |
//!
//! What was cloned between `held` and a `letting-go released` is of one moment.
//!
//! # States
//!
//! | state | record | goes on with |
//! | --- | --- | --- |
//! | started | – | the order, else the end |
//! | claiming | empty, locked | no other guard has the domain: checking |
//! | checking | empty | the domain runs here: recorded; else refused |
//! | recorded | written to the device | the pause call |
//! | pausing | yes | success, or the list shows it: held. Twice no success: letting go |
//! | held | yes | word, then a look at the list whether it is still paused; end of file, signal, `max_pause`: letting go |
//! | letting go | yes | unpause, list, again until the list shows the domain not paused, or three times not at all |
//! | watching | yes | only after a call that failed or was killed: a pause that comes late is undone, for ten seconds |
//! | done | removed | the end |
//!
//! With commands, *pausing* is `before_snapshot` and *letting go* is `after_snapshot`, run once; a
//! second time only where whoever ran it in a dead guard's place was killed, too.
//!
//! # What a crash leaves
//!
//! The [record] lies beside `db_file` and is locked as long as its guard lives. Whoever
//! finds one that is not locked lets go in the guard's place: the daemon that started it, at once;
//! a daemon that starts, before anything else; each recovery tick. A record of another boot is
//! about a domain that is gone. One that is damaged names no domain for certain: nothing is let go
//! of because of it, requests for its machine are refused at once, and `GET /node` says what to do.
//!
//! Only what ran, and what we paused, is unpaused. A domain that somebody else had paused before is
//! left as it is.

mod call;
mod commanding;
mod ears;
mod guards;
mod hold;
mod left;
mod line;
mod mouth;
mod pausing;
mod process;
mod record;
mod toolstack;
mod trouble;
mod watch;

pub use guards::{Guards, SUBCOMMAND};
pub use hold::{Hold, LetGo, NotHeld};
pub use line::{Cause, Order, Refusal, Said, Task};
pub use process::run;
