//! What `harbour` removes of nodes as they are, and that nothing else changes, whatever somebody put there.

#[path = "harbour/attack.rs"]
mod attack;
#[path = "harbour/cuts.rs"]
mod cuts;
#[path = "harbour/document.rs"]
mod document;
#[path = "harbour/live.rs"]
mod live;
#[path = "harbour/logical.rs"]
mod logical;
#[expect(dead_code, reason = "installs need more of it")]
#[path = "../../install/tests/it/medium.rs"]
mod medium;
#[path = "harbour/node.rs"]
mod node;
#[path = "harbour/recorder.rs"]
mod recorder;
#[path = "harbour/system.rs"]
mod system;
#[path = "harbour/tree.rs"]
mod tree;
#[path = "harbour/watch.rs"]
mod watch;
