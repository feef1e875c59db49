//! xz and zstd, whose libraries take what there is and say how far they got.

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, CONCATENATED, Error as XzError, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{UnpackError, error::damaged};
use crate::recognise::Format;

/// How far a library got.
pub(super) struct Step {
    consumed: usize,
    produced: usize,
    /// The input may end here.
    at_boundary: bool,
}

/// A library that unpacks.
pub(super) trait Engine {
    /// Unpacks from `input` to `output`; `at_end` says that there is no more input than this.
    fn step(&mut self, input: &[u8], output: &mut [u8], at_end: bool) -> io::Result<Step>;
    /// What it unpacks.
    const FORMAT: Format;
}

/// A library fed from a source.
pub(super) struct Stream<R, E> {
    source: R,
    engine: E,
    at_boundary: bool,
}

impl<R, E> Stream<R, E> {
    pub(super) fn new(source: R, engine: E) -> Self {
        Self { source, engine, at_boundary: false }
    }
}

impl<R: BufRead, E: Engine> Read for Stream<R, E> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.source.fill_buf()?;
            let at_end = input.is_empty();
            if at_end && self.at_boundary {
                return Ok(0);
            }
            let step = self.engine.step(input, buffer, at_end)?;
            self.source.consume(step.consumed);
            self.at_boundary = step.at_boundary;
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if step.consumed == 0 && !step.at_boundary {
                return Err(if at_end {
                    UnpackError::Truncated { format: E::FORMAT }.into()
                } else {
                    damaged(E::FORMAT, "the decoder does not get on")
                });
            }
        }
    }
}

/// liblzma, over all streams of a file.
pub(super) struct Xz {
    stream: liblzma::stream::Stream,
    window_limit: u64,
}

impl Xz {
    pub(super) fn new(window_limit: u64) -> Result<Self, UnpackError> {
        // Beside its dictionary the decoder needs some ten KiB.
        let memory = window_limit.saturating_add(1 << 20);
        let stream = liblzma::stream::Stream::new_stream_decoder(memory, CONCATENATED)
            .map_err(|_| UnpackError::Memory { format: Format::Xz })?;
        Ok(Self { stream, window_limit })
    }
}

impl Engine for Xz {
    const FORMAT: Format = Format::Xz;

    fn step(&mut self, input: &[u8], output: &mut [u8], at_end: bool) -> io::Result<Step> {
        let action = if at_end { Action::Finish } else { Action::Run };
        let before = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.process(input, output, action).map_err(|error| match error {
            XzError::MemLimit => {
                UnpackError::Window { format: Format::Xz, limit_bytes: self.window_limit }.into()
            }
            XzError::Mem => UnpackError::Memory { format: Format::Xz }.into(),
            error => damaged(Format::Xz, error.to_string()),
        })?;
        let count = |after: u64, before: u64| {
            usize::try_from(after - before).expect("no more than a slice's length")
        };
        Ok(Step {
            consumed: count(self.stream.total_in(), before.0),
            produced: count(self.stream.total_out(), before.1),
            // With all streams of a file decoded as one, only once the input is at its end.
            at_boundary: status == Status::StreamEnd,
        })
    }
}

/// libzstd, over all frames of a file.
pub(super) struct Zstd {
    context: DCtx<'static>,
    window_limit: u64,
}

impl Zstd {
    pub(super) fn new(window_limit: u64) -> Result<Self, UnpackError> {
        let mut context = DCtx::try_create().ok_or(UnpackError::Memory { format: Format::Zstd })?;
        // The library knows limits from 1 KiB to 2 GiB.
        let log = window_limit.max(1 << 10).ilog2().min(31);
        context
            .set_parameter(DParameter::WindowLogMax(log))
            .map_err(|_| UnpackError::Memory { format: Format::Zstd })?;
        Ok(Self { context, window_limit })
    }
}

/// What libzstd calls the error of a window beyond the limit.
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

impl Engine for Zstd {
    const FORMAT: Format = Format::Zstd;

    fn step(&mut self, input: &[u8], output: &mut [u8], _at_end: bool) -> io::Result<Step> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let hint = self.context.decompress_stream(&mut output, &mut input).map_err(|code| {
            match zstd_safe::get_error_name(code) {
                WINDOW_TOO_LARGE => {
                    UnpackError::Window { format: Format::Zstd, limit_bytes: self.window_limit }
                        .into()
                }
                name => damaged(Format::Zstd, name),
            }
        })?;
        Ok(Step { consumed: input.pos(), produced: output.pos(), at_boundary: hint == 0 })
    }
}
