//! What `harbour` removes of nodes as they are, and that nothing else changes, whatever somebody put there.

#[path = "harbour/attack.rs"]
mod attack;
#[path = "harbour/document.rs"]
mod document;
#[path = "harbour/live.rs"]
mod live;
#[path = "harbour/logical.rs"]
mod logical;
#[path = "harbour/node.rs"]
mod node;
#[path = "harbour/system.rs"]
mod system;
#[path = "harbour/tree.rs"]
mod tree;
#[path = "harbour/watch.rs"]
mod watch;
