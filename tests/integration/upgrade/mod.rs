//! From the first generation to this one, in place: what it left on a node is taken over, whatever
//! is not beyond doubt is left alone.

mod adopted;
mod interrupted;
mod names;
mod node;
mod orphans;
mod ownership;
