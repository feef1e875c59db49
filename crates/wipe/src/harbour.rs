//! `harbour`: removes ephemeral state of an installed system, and touches nothing else.
