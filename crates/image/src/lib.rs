//! Image formats: recognise, unpack, cut into chunks that can be checked one by one. Pure streams, no sockets.
#![forbid(unsafe_code)]
