//! What is recognised, and what must not break it. The headers are written by hand from the formats'
//! specifications, so that no tool is needed.

#[path = "it/formats.rs"]
mod formats;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/image.rs"]
mod image;
#[path = "it/survey.rs"]
mod survey;
#[path = "it/tables.rs"]
mod tables;
